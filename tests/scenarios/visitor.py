"""A visitor of the demo page: the whole bot between the simulators, and Chromium in front."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page, ViewportSize, async_playwright, expect
from playwright.async_api import TimeoutError as TimedOut

from bot.clock import Clock
from bot.simulators.environment import APPS, Simulators
from bot.simulators.patience import in_time, limit_s
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import World, open_world

CHROMIUM = "/usr/bin/chromium"
DESK: ViewportSize = {"width": 1280, "height": 800}
Said = str | re.Pattern[str]


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Someone at the demo page, who first acts as ada in #deploys."""

    page: Page
    world: World

    @property
    def simulators(self) -> Simulators:
        return self.world.simulators

    async def arrive(self) -> None:
        """Open the page as a new visitor does; what earlier visitors began has ended."""
        for app in APPS:
            self.world.let_go(app.name)
        await self.simulators.slack.until(lambda: not any(map(_goes_on, self.world.messages)))
        self.simulators.slack.workspace.modals.clear()
        await self.page.emulate_media(color_scheme="light", reduced_motion="reduce")
        await self.page.set_viewport_size(DESK)
        await self.page.goto(self.simulators.slack.page_url)
        await expect(self.composer).to_be_focused()

    # --- what the visitor does

    async def act_as(self, name: str) -> None:
        await self.page.locator(f"#me-{name}").check()

    async def type(self, text: str) -> None:
        await self.composer.fill(text)
        await self.composer.press("Enter")
        await expect(self.composer).to_have_value("")

    async def deploy(self, text: str) -> Locator:
        """Type a line that leads to a new message, and return that message."""
        before = await self.messages.count()
        await self.type(text)
        return self.messages.nth(before)

    async def new_message(self, after: int) -> Locator:
        """Wait for one more message than there were."""
        try:
            await expect(self.messages).to_have_count(after + 1)
        except AssertionError as error:
            seen = self.simulators.slack.workspace.dump()
            raise AssertionError(f"{error}\n{await self.modal.inner_text()}\n{seen}") from None
        return self.messages.nth(after)

    async def press(self, where: Locator, name: str) -> None:
        """Press a button, by exactly this label or by `Label: app ref`."""
        await self.button(where, name).click()

    async def confirm(self) -> None:
        await self.page.locator("#confirm button[type=submit]").click()
        await expect(self.page.locator("#confirm")).to_be_hidden()

    async def choose(self, message: Locator, entry: str) -> None:
        """Choose an entry of a message's menu."""
        await message.hover()
        await message.get_by_role("button", name="More actions").click()
        await message.get_by_role("menuitem", name=entry).click()

    async def open_thread(self, message: Locator) -> None:
        await message.hover()
        await message.get_by_role("button", name="Reply in thread").click()

    async def reply(self, text: str) -> None:
        composer = self.page.locator("#thread-composer textarea")
        await composer.fill(text)
        await composer.press("Enter")
        await expect(composer).to_have_value("")

    async def side(self, tab: str) -> None:
        """Open the side column at a tab. A page that gets narrow closes it a moment later."""
        opener, wanted = self.page.locator("#side-open"), self.page.get_by_role("tab", name=tab)
        async with in_time():
            while True:
                if await opener.is_visible():
                    await opener.click()
                try:
                    await wanted.click(timeout=2_000)
                except TimedOut:
                    continue
                return

    # --- what the visitor sees

    @property
    def composer(self) -> Locator:
        return self.page.locator("#composer textarea")

    @property
    def modal(self) -> Locator:
        return self.page.locator("#modal")

    @property
    def messages(self) -> Locator:
        """The app's messages in the channel."""
        return self.page.locator("#messages li.message:not(.ephemeral):has(.badge)")

    @property
    def ephemerals(self) -> Locator:
        return self.page.locator("#messages li.ephemeral")

    @property
    def replies(self) -> Locator:
        return self.page.locator("#replies li.message")

    def button(self, where: Locator, name: str) -> Locator:
        return where.get_by_role("button", name=re.compile(rf"^{re.escape(name)}([:,]|$)")).first

    async def sees(self, what: Locator, *texts: Said) -> None:
        for text in texts:
            await expect(what).to_contain_text(text)


def _goes_on(message: Message) -> bool:
    waits = message.text.startswith("Waiting") and "Awaiting approval" not in message.text
    return waits or message.text.startswith("Deploying")


@asynccontextmanager
async def open_visitor(
    folder: Path, *, clock: Clock | None = None, timing: Mapping[str, Any] | None = None
) -> AsyncIterator[Visitor]:
    """Start everything once; several tests may visit the page, one after another."""
    expect.set_options(timeout=limit_s() * 1000)
    async with open_world(folder, apps=APPS) as world:
        await world.start_bot(clock=clock, timing=timing)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            )
            page = await browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(limit_s() * 1000)
            faults: list[str] = []
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on(
                "console", lambda line: faults.append(line.text) if line.type == "error" else None
            )
            yield Visitor(page=page, world=world)
            await browser.close()
            assert faults == []
