"""The demo as its page shows it: the real bot as a process, a browser in front of Slack."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, async_playwright, expect

from bot.simulators.bot_process import BotProcess
from bot.simulators.environment import Simulators, open_simulators
from bot.slack.manifest import manifest

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
SPEED = 6.0
PATIENCE_MS = 30_000


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Somebody at the page."""

    page: Page
    stage: Simulators

    async def type(self, text: str) -> None:
        composer = self.page.locator("#composer textarea")
        await composer.fill(text)
        await composer.press("Enter")
        await expect(composer).to_have_value("")

    @property
    def messages(self) -> Locator:
        """What the app posted in the channel."""
        return self.page.locator("#messages li.message:not(.ephemeral)").filter(has_text="APP")

    @property
    def whispers(self) -> Locator:
        return self.page.locator("#messages li.ephemeral")

    async def see(self, what: Locator, words: str | re.Pattern[str]) -> None:
        await expect(what).to_contain_text(words, timeout=PATIENCE_MS)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_simulators(manifest=manifest(), folder=tmp_path, speed=SPEED) as stage:
        bot = await BotProcess.start({**stage.settings, "DEPLOYBOT_SETTLE": "1s"}, folder=tmp_path)
        try:
            assert await bot.ready(), bot.last_lines
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox"]
                )
                page = await browser.new_page()
                page.set_default_timeout(PATIENCE_MS)
                faults: list[str] = []
                page.on("pageerror", lambda error: faults.append(str(error)))
                await page.goto(stage.slack.page_url)
                yield Desk(page=page, stage=stage)
                await browser.close()
                assert faults == []
            assert bot.running, bot.last_lines
            assert stage.dokku.complaints == []
        finally:
            await bot.stop()


async def test_a_good_deploy_is_one_message_from_the_first_line_to_the_webhook(desk: Desk) -> None:
    await desk.type("/deploy myapp main")
    message = desk.messages
    await desk.see(message, "Deploying myapp")
    await expect(message).to_have_count(1)
    await desk.see(message, re.compile(r"Building|Releasing"))
    await expect(message.get_by_role("button", name="Cancel")).to_be_visible()

    await message.get_by_role("button", name="Full log").click()
    modal = desk.page.locator("#modal")
    await desk.see(modal, "-----> ")
    await modal.get_by_role("button", name="Close").first.click()
    await expect(modal).to_be_hidden()

    await desk.see(message, "Deployed myapp")
    await expect(message).to_have_count(1)
    await expect(message.get_by_role("button", name="Cancel")).to_have_count(0)

    await message.get_by_role("button", name="View thread").click()
    await desk.see(desk.page.locator("#replies"), "@ada")
    await expect(desk.page.locator("#replies li.message")).to_have_count(2)

    await desk.page.locator("#tab-panel").click()
    delivery = desk.page.locator("#deliveries > li")
    await expect(delivery).to_have_count(1, timeout=PATIENCE_MS)
    for words in ("deployment.finished", "succeeded", "myapp", "signature verified"):
        await expect(delivery).to_contain_text(words)


@pytest.mark.parametrize(
    ("app", "why"), [("shop", "the build failed"), ("blog", "the health checks failed")]
)
async def test_a_failure_says_why_and_that_the_old_release_serves(
    desk: Desk, app: str, why: str
) -> None:
    before = desk.stage.dokku.live(app)
    await desk.type(f"/deploy {app} main")
    message = desk.messages
    await desk.see(message, f"Failed: {app}")
    await desk.see(message, why)
    await desk.see(message, "the previous release")
    await expect(message.get_by_role("button", name="Retry")).to_be_visible()
    assert desk.stage.dokku.live(app) == before
    await desk.see(desk.page.locator("#deliveries > li"), "failed")


async def test_a_click_on_cancel_asks_first_and_then_stops_the_build(desk: Desk) -> None:
    desk.stage.dokku.hold_for_test("myapp", at="build step")
    await desk.type("/deploy myapp main")
    message = desk.messages
    await desk.see(message, "Building")

    await message.get_by_role("button", name="Cancel").click()
    await desk.page.locator("#confirm").get_by_role("button").first.click()
    await expect(message).to_contain_text("Deploying myapp")

    await message.get_by_role("button", name="Cancel").click()
    await desk.page.locator("#confirm button[type=submit]").click()
    await desk.see(message, "Cancelled: myapp")
    await desk.see(message, "the previous release")


async def test_a_mistake_is_a_line_for_its_author_and_the_form_avoids_it(desk: Desk) -> None:
    await desk.type("/deploy mypap main")
    await desk.see(desk.whispers, "myapp")
    await expect(desk.messages).to_have_count(0)

    await desk.type("/deploy")
    modal = desk.page.locator("#modal")
    await expect(modal.get_by_role("heading").first).to_be_visible()
    await modal.locator("select").first.select_option(label="myapp")
    await modal.locator("button[type=submit]").click()
    await desk.see(desk.messages, "Deploying myapp")
    await expect(modal).to_be_hidden()
