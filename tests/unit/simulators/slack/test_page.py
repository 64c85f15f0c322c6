"""The page in a real browser: what a visitor of the demo sees and does."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, async_playwright, expect
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.simulators.slack.simulator import SlackSimulator, open_slack
from tests.unit.simulators.slack.conftest import MANIFEST

PANEL: list[dict[str, Any]] = []
HINTS = ("/sample this", "/sample form")
EVIL = "<img src=x onerror=alert(1)> *not bold* `plain` @here"

pytestmark = pytest.mark.browser


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def blocks(step: int) -> list[dict[str, Any]]:
    confirm = {
        "title": plain("Stop it?"),
        "text": plain("It is nearly done."),
        "confirm": plain("Stop"),
        "deny": plain("Let it run"),
    }
    return [
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": ":large_blue_circle: *Step* `s` &lt;b&gt;"},
            "fields": [{"type": "mrkdwn", "text": f"*Step*\n{step} of 9"}],
        },
        {
            "type": "rich_text",
            "elements": [
                {
                    "type": "rich_text_preformatted",
                    "elements": [{"type": "text", "text": EVIL}],
                }
            ],
        },
        {
            "type": "actions",
            "elements": [
                {"type": "button", "action_id": "next", "text": plain("Next")},
                {
                    "type": "button",
                    "action_id": "stop",
                    "style": "danger",
                    "text": plain("Stop"),
                    "confirm": confirm,
                },
                {"type": "button", "action_id": "mute", "text": plain("Mute")},
            ],
        },
        {
            "type": "context",
            "elements": [
                {"type": "mrkdwn", "text": "since <!date^1700000000^{date_num} {ago}|then>"}
            ],
        },
    ]


FORM: dict[str, Any] = {
    "type": "modal",
    "callback_id": "form",
    "title": plain("A form"),
    "submit": plain("Send"),
    "blocks": [
        {
            "type": "input",
            "block_id": "kind",
            "label": plain("Kind"),
            "element": {
                "type": "static_select",
                "action_id": "kind",
                "options": [{"text": plain(one), "value": one} for one in ("red", "blue")],
            },
        },
        {
            "type": "input",
            "block_id": "name",
            "label": plain("Name"),
            "hint": plain("What to call it"),
            "element": {"type": "plain_text_input", "action_id": "name"},
        },
    ],
}


async def on_command(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
    await ack()
    if body["text"] == "form":
        await client.views_open(trigger_id=body["trigger_id"], view=FORM)
    elif body["text"] == "whisper":
        await client.chat_postEphemeral(
            channel=body["channel_id"], user=body["user_id"], text="only _you_"
        )
    else:
        await client.chat_postMessage(channel=body["channel_id"], text="a step", blocks=blocks(1))


async def on_next(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
    await ack()
    container = body["container"]
    await client.chat_update(
        channel=container["channel_id"],
        ts=container["message_ts"],
        text="a step",
        blocks=blocks(2),
    )


async def on_stop(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
    await ack()
    container = body["container"]
    await client.chat_postMessage(
        channel=container["channel_id"], thread_ts=container["message_ts"], text="*stopped*"
    )


async def on_mute() -> None:
    """Never acknowledges."""


async def on_shortcut(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
    await ack()
    await client.views_open(trigger_id=body["trigger_id"], view=FORM)


async def on_form(ack: AsyncAck, view: dict[str, Any]) -> None:
    name = view["state"]["values"]["name"]["name"]["value"]
    if name == "taken":
        await ack(response_action="errors", errors={"name": "Somebody has that name"})
    else:
        await ack()


async def on_message() -> None:
    """Heard."""


async def on_home(event: dict[str, Any], client: AsyncWebClient) -> None:
    home = {"type": "home", "blocks": [{"type": "header", "text": plain("At home")}]}
    await client.views_publish(user_id=event["user"], view=home)


def bolt_app(client: AsyncWebClient) -> AsyncApp:
    app = AsyncApp(client=client)
    app.command("/sample")(on_command)
    app.action("next")(on_next)
    app.action("stop")(on_stop)
    app.action("mute")(on_mute)
    app.shortcut("take_sample")(on_shortcut)
    app.view("form")(on_form)
    app.event("message")(on_message)
    app.event("app_home_opened")(on_home)
    return app


@pytest.fixture
async def workspace() -> AsyncIterator[SlackSimulator]:
    async with open_slack(manifest=MANIFEST, hints=HINTS, side_panel=lambda: PANEL) as slack:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url)
        handler = AsyncSocketModeHandler(bolt_app(client), slack.app_token)
        await handler.connect_async()  # type: ignore[no-untyped-call]
        yield slack
        await handler.close_async()  # type: ignore[no-untyped-call]
        await handler.client.aiohttp_client_session.close()


@pytest.fixture
async def page(workspace: SlackSimulator) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(10_000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console", lambda line: problems.append(line.text) if line.type == "error" else None
        )
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        await page.goto(workspace.page_url)
        await page.wait_for_selector("#link.up")
        yield page
        await browser.close()
        assert problems == []


async def write(page: Page, text: str, composer: str = "#composer") -> None:
    await page.fill(f"{composer} textarea", text)
    await page.press(f"{composer} textarea", "Enter")


@pytest.mark.browser
async def test_visitor_can_use_channels_threads_and_buttons(
    workspace: SlackSimulator, page: Page
) -> None:
    composer = page.locator("#composer textarea")

    # A hint fills the composer, and the completion knows the command.
    await page.get_by_role("button", name=HINTS[0]).click()
    await expect(composer).to_have_value(HINTS[0])
    await composer.fill("/sa")
    await expect(page.locator("#composer .suggestions")).to_contain_text("this or that")
    await composer.press("Tab")
    await expect(composer).to_have_value("/sample ")
    await composer.press("Enter")

    # The message is drawn from its blocks, edited in place, and nothing in it is HTML.
    message = page.locator("#messages .message").first
    await expect(message).to_contain_text("1 of 9")
    await expect(message.locator("pre")).to_have_text(EVIL)
    await expect(message.locator("img, pre strong, pre .mention")).to_have_count(0)
    await expect(message.locator("time").last).to_contain_text("2023-11-14")
    await message.get_by_role("button", name="Next").click()
    await expect(message).to_contain_text("2 of 9")
    await expect(page.locator("#messages .message")).to_have_count(1)

    # A dangerous button asks first; the thread opens at the right.
    await message.get_by_role("button", name="Stop").click()
    await page.get_by_role("button", name="Let it run").click()
    await expect(page.locator("#confirm")).to_be_hidden()
    await message.get_by_role("button", name="Stop").click()
    await page.locator("#confirm button[type=submit]").click()
    await message.get_by_text("1 reply").click()
    await expect(page.locator("#replies strong").last).to_have_text("stopped")

    # Slash commands do not work in threads; a reply does.
    await write(page, "/sample x", "#thread-composer")
    await expect(page.locator(".toast")).to_contain_text("not supported in threads")
    await write(page, "thanks @samplebot", "#thread-composer")
    await expect(page.locator("#replies .message").last).to_contain_text("thanks @samplebot")

    # An unacknowledged click shows a warning.
    await message.get_by_role("button", name="Mute").click()
    await expect(page.locator(".toast").last).to_contain_text("did not respond")
    await expect(message.locator(".kit.failed")).to_have_count(1)

    # Whispers are for the one person only.
    await write(page, "/sample whisper")
    await expect(page.locator(".ephemeral")).to_contain_text("Only visible to you")
    await page.get_by_label("grace").check()
    await expect(page.locator(".ephemeral")).to_have_count(0)


@pytest.mark.browser
async def test_modals_home_tab_and_webhook_panel(workspace: SlackSimulator, page: Page) -> None:
    await write(page, "something to sample")

    # A message shortcut opens a form; it is filled in with the keyboard only.
    message = page.locator("#messages .message").first
    await message.hover()
    await message.get_by_role("button", name="More actions").click()
    await page.keyboard.press("Enter")
    modal = page.locator("#modal")
    await expect(modal.get_by_role("heading")).to_have_text("A form")
    await modal.get_by_role("button", name="Send").click()
    await expect(modal.locator(".error").first).to_have_text("This field is required")
    await modal.locator("select").select_option("blue")
    await modal.get_by_label("Name").fill("taken")
    await page.keyboard.press("Enter")
    await expect(modal.get_by_text("Somebody has that name")).to_be_visible()
    await expect(modal.locator(".error")).to_have_count(1)
    await expect(modal.locator("select")).to_have_value("blue")
    await modal.get_by_label("Name").fill("free")
    await page.keyboard.press("Enter")
    await expect(modal).to_be_hidden()

    # The app publishes the Home tab when a user opens it.
    await page.get_by_role("button", name="Sample App · Home").click()
    await expect(page.locator("#home h3")).to_have_text("At home")

    # Webhooks appear as they arrive.
    PANEL.insert(
        0,
        {
            "time": "12:00:00",
            "type": "thing.finished",
            "status": "succeeded",
            "app": "myapp",
            "verified": True,
            "body": {"id": 1},
        },
    )
    try:
        workspace.notify_page()
        await expect(page.locator("#panel-count")).to_have_text("1")
        await page.locator("#deliveries summary").click()
        await expect(page.locator("#deliveries pre")).to_contain_text('"id": 1')
    finally:
        PANEL.clear()
    await page.set_viewport_size({"width": 900, "height": 700})
    assert await page.evaluate("document.documentElement.scrollWidth") == 900


async def test_only_the_page_can_act(workspace: SlackSimulator) -> None:
    act = {"act": "say", "user": "U01ADA00001", "channel": "C01DEPLOYS0", "text": "hi"}
    url = f"{workspace.page_url}page/act"
    async with aiohttp.ClientSession() as session:
        headers = {"Origin": "https://elsewhere.example"}
        async with session.post(url, json=act, headers=headers) as answer:
            assert answer.status == 403
        async with session.post(url, json=act, headers={"Host": "elsewhere.example"}) as answer:
            assert answer.status == 403
        async with session.post(url, json={"act": "fly", "user": "U01ADA00001"}) as answer:
            assert answer.status == 400
        async with session.post(url, json=act) as answer:
            assert (await answer.json())["ok"]
        trouble = {"act": "trouble", "user": "U01ADA00001", "name": "plague", "on": True}
        async with session.post(url, json=trouble) as answer:
            assert "no troubles" in (await answer.json())["error"]
        async with session.post(url, json=act | {"text": "/x"}) as answer:
            assert "slash commands" in (await answer.json())["error"]
