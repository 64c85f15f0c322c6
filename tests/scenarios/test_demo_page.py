"""The demo page in a browser, with the real bot as a process behind it."""

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
TIMEOUT_MS = 30_000


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """A visitor of the demo page."""

    page: Page
    simulators: Simulators

    async def type(self, text: str) -> None:
        composer = self.page.locator("#composer textarea")
        await composer.fill(text)
        await composer.press("Enter")
        await expect(composer).to_have_value("")

    @property
    def messages(self) -> Locator:
        """The app's messages in the channel."""
        return self.page.locator("#messages li.message:not(.ephemeral)").filter(has_text="APP")

    @property
    def ephemerals(self) -> Locator:
        return self.page.locator("#messages li.ephemeral")

    async def sees(self, what: Locator, text: str | re.Pattern[str]) -> None:
        await expect(what).to_contain_text(text, timeout=TIMEOUT_MS)


@pytest.fixture
async def visitor(tmp_path: Path) -> AsyncIterator[Visitor]:
    async with open_simulators(manifest=manifest(), folder=tmp_path, speed=SPEED) as simulators:
        bot = await BotProcess.start(
            {**simulators.settings, "DEPLOYBOT_SETTLE": "1s"}, folder=tmp_path
        )
        try:
            assert await bot.ready(), bot.last_lines
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox"]
                )
                page = await browser.new_page()
                page.set_default_timeout(TIMEOUT_MS)
                faults: list[str] = []
                page.on("pageerror", lambda error: faults.append(str(error)))
                await page.goto(simulators.slack.page_url)
                yield Visitor(page=page, simulators=simulators)
                await browser.close()
                assert faults == []
            assert bot.running, bot.last_lines
            assert simulators.dokku.complaints == []
        finally:
            await bot.stop()


async def test_good_deploy_is_one_message_and_one_webhook(visitor: Visitor) -> None:
    await visitor.type("/deploy myapp main")
    message = visitor.messages
    await visitor.sees(message, "Deploying myapp")
    await expect(message).to_have_count(1)
    await visitor.sees(message, re.compile(r"Building|Releasing"))
    await expect(message.get_by_role("button", name="Cancel")).to_be_visible()

    await message.get_by_role("button", name="Full log").click()
    modal = visitor.page.locator("#modal")
    await visitor.sees(modal, "-----> ")
    await modal.get_by_role("button", name="Close").first.click()
    await expect(modal).to_be_hidden()

    await visitor.sees(message, "Deployed myapp")
    await expect(message).to_have_count(1)
    await expect(message.get_by_role("button", name="Cancel")).to_have_count(0)

    await message.get_by_role("button", name="View thread").click()
    await visitor.sees(visitor.page.locator("#replies"), "@ada")
    await expect(visitor.page.locator("#replies li.message")).to_have_count(2)

    await visitor.page.locator("#tab-panel").click()
    delivery = visitor.page.locator("#deliveries > li")
    await expect(delivery).to_have_count(1, timeout=TIMEOUT_MS)
    for text in ("deployment.finished", "succeeded", "myapp", "signature verified"):
        await expect(delivery).to_contain_text(text)


@pytest.mark.parametrize(
    ("app", "cause"), [("shop", "the build failed"), ("blog", "the health checks failed")]
)
async def test_failure_shows_the_cause_and_that_the_old_release_serves(
    visitor: Visitor, app: str, cause: str
) -> None:
    before = visitor.simulators.dokku.live(app)
    await visitor.type(f"/deploy {app} main")
    message = visitor.messages
    await visitor.sees(message, f"Failed: {app}")
    await visitor.sees(message, cause)
    await visitor.sees(message, "the previous release")
    await expect(message.get_by_role("button", name="Retry")).to_be_visible()
    assert visitor.simulators.dokku.live(app) == before
    await visitor.sees(visitor.page.locator("#deliveries > li"), "failed")


async def test_cancel_button_asks_for_confirmation_and_stops_the_build(visitor: Visitor) -> None:
    visitor.simulators.dokku.hold_for_test("myapp", at="build step")
    await visitor.type("/deploy myapp main")
    message = visitor.messages
    await visitor.sees(message, "Building")

    await message.get_by_role("button", name="Cancel").click()
    await visitor.page.locator("#confirm").get_by_role("button").first.click()
    await expect(message).to_contain_text("Deploying myapp")

    await message.get_by_role("button", name="Cancel").click()
    await visitor.page.locator("#confirm button[type=submit]").click()
    await visitor.sees(message, "Cancelled: myapp")
    await visitor.sees(message, "the previous release")


async def test_typo_gets_an_ephemeral_reply_and_the_form_prevents_it(visitor: Visitor) -> None:
    await visitor.type("/deploy mypap main")
    await visitor.sees(visitor.ephemerals, "myapp")
    await expect(visitor.messages).to_have_count(0)

    await visitor.type("/deploy")
    modal = visitor.page.locator("#modal")
    await expect(modal.get_by_role("heading").first).to_be_visible()
    await modal.locator("select").first.select_option(label="myapp")
    await modal.locator("button[type=submit]").click()
    await visitor.sees(visitor.messages, "Deploying myapp")
    await expect(modal).to_be_hidden()


async def test_visitor_deploys_with_the_form_and_the_keyboard(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.type("/deploy")
    modal = page.locator("#modal")
    app = modal.locator("select[data-action=app]")
    await expect(app).to_be_visible(timeout=TIMEOUT_MS)
    await app.select_option("myapp")
    await visitor.sees(modal, "According to Dokku")
    ref = modal.get_by_role("combobox", name="Branch, tag or commit")
    await ref.focus()
    await visitor.sees(modal.get_by_role("listbox"), "feature/login")
    await ref.press_sequentially("logi")
    await expect(modal.get_by_role("listbox").get_by_role("option")).to_have_count(
        2, timeout=TIMEOUT_MS
    )
    await ref.press("Enter")
    await expect(ref).to_have_value("feature/login")
    await modal.get_by_role("button", name="Deploy").click()
    await visitor.sees(visitor.messages.last, "feature/login")
    await expect(modal).not_to_be_visible()


async def test_home_tab_follows_two_deployments_and_its_buttons_mean_the_right_one(
    visitor: Visitor,
) -> None:
    page = visitor.page
    await visitor.type("/deploy shop main")
    await visitor.sees(visitor.messages.last, "Failed: shop")
    await visitor.type("/deploy blog main")
    await visitor.sees(visitor.messages.last, "Failed: blog")
    await page.get_by_role("button", name="deploybot · Home").click()
    home = page.locator("#home")
    await visitor.sees(home, "Failed: shop")
    await visitor.sees(home, "Failed: blog")
    await home.get_by_role("button", name="Full log: shop main").click()
    modal = page.locator("#modal")
    await visitor.sees(modal, "missing semicolon")
    await page.keyboard.press("Escape")
    await expect(modal).to_be_hidden()
    await home.get_by_role("button", name="Retry: blog main").click()
    # Its check fails at once: the tab may never show it running.
    await visitor.sees(home, "Last deployments (3)")
    await visitor.sees(visitor.messages.last, "blog")
