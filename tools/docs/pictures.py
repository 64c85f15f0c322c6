"""Takes the pictures of docs: the demo in headless Chromium, one scene after another.

`make screenshots`, or `make screenshots ARGS="running log"` for some of the pictures. A scene waits
for what it shows, and then until the page is still. It relies on headlines and buttons, and on
no sentence of the bot.
"""

import asyncio
import io
import re
import sys
import tempfile
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.async_api import Locator, Page, ViewportSize, async_playwright, expect

from bot.simulators.bot_process import BotProcess
from bot.simulators.environment import Simulators, open_simulators
from bot.slack.manifest import manifest

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
CHROMIUM = "/usr/bin/chromium"
SPEED = 3.0
LIMIT_MS = 120_000
MOST_BYTES = 200_000
COLOURS = 256
DESK: ViewportSize = {"width": 900, "height": 1500}
"""High enough for any message."""
STYLE = """
.toolbar { display: none !important; }
* { animation: none !important; transition: none !important; caret-color: transparent !important; }
.message, .message:hover { background: var(--paper); padding-top: 12px; padding-bottom: 12px; }
.message.ephemeral, .message.ephemeral:hover { background: var(--warm); }
#home .blocks { padding: 18px; background: var(--paper); }
.modal { box-shadow: none; border: 1px solid var(--line); }
.modal::backdrop { background: var(--paper); }
:focus-visible { outline: none; }
.composer:focus-within { border-color: var(--edge); box-shadow: none; }
"""
"""Nothing that only a mouse or the keyboard brings up, and a margin around what is cut out."""
STANDS_STILL = """
() => new Promise((done) => {
  let timer = setTimeout(done, 1500);
  setTimeout(done, 10000);
  new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(done, 1500); })
    .observe(document.body, { subtree: true, childList: true, characterData: true });
})
"""


@dataclass(frozen=True, kw_only=True)
class Photographer:
    """Does what a visitor of the demo does, and takes pictures of it."""

    page: Page
    simulators: Simulators
    wanted: Collection[str]
    """Names of the pictures to write; empty: all."""

    # --- what a visitor does

    async def act_as(self, name: str) -> None:
        await self.page.locator(f"#me-{name}").check()

    async def type(self, text: str) -> None:
        composer = self.page.locator("#composer textarea")
        await composer.fill(text)
        await composer.press("Enter")
        await expect(composer).to_have_value("")

    async def deploy(self, text: str) -> Locator:
        """Type a line that leads to a message of the app, and return the message."""
        messages = self.page.locator("#messages li.message:not(.ephemeral):has(.badge)")
        before = await messages.count()
        await self.type(text)
        await expect(messages).to_have_count(before + 1)
        return messages.nth(before)

    async def ask(self, text: str) -> Locator:
        """Type a line that only the visitor gets an answer to, and return the answer."""
        return await self._whispered(self.type(text))

    async def details(self, where: Locator) -> Locator:
        return await self._whispered(self.press(where, "Details"))

    async def _whispered(self, act: Awaitable[None]) -> Locator:
        whispers = self.page.locator("#messages li.ephemeral")
        before = await whispers.count()
        await act
        await expect(whispers).to_have_count(before + 1)
        return whispers.nth(before)

    async def press(self, where: Locator, name: str) -> None:
        await where.get_by_role("button", name=re.compile(rf"^{name}(:|$)")).first.click()

    async def leave(self) -> None:
        """Close the dialog."""
        await self.page.keyboard.press("Escape")
        await expect(self.page.locator("dialog[open]")).to_have_count(0)

    async def sees(self, what: Locator, text: str) -> None:
        await expect(what).to_contain_text(text)

    # --- what happens on the server

    def hold(self, at: str) -> None:
        self.simulators.dokku.hold_for_test("myapp", at=at)

    def let_go(self) -> None:
        self.simulators.dokku.release_for_test("myapp")

    # --- pictures

    async def take(self, name: str, what: Locator | None = None) -> None:
        """Wait until nothing changes any more, and save an element, or the whole window."""
        if self.wanted and name not in self.wanted:
            return
        await self.page.mouse.move(0, 0)
        await self.page.evaluate(STANDS_STILL)
        shot = await (self.page.screenshot() if what is None else what.screenshot())
        path = FOLDER / f"{name}.png"
        save(shot, path)
        size = path.stat().st_size
        sys.stdout.write(f"{path.relative_to(FOLDER.parents[1])}: {size} bytes\n")
        if size > MOST_BYTES:
            raise SystemExit(f"{path} is larger than {MOST_BYTES} bytes")


async def build_and_queue(p: Photographer) -> None:
    """A running deployment, one that waits behind it, and their good ends."""
    p.hold("build step 6/8")
    running = await p.deploy("/deploy myapp main")
    await p.sees(running, "build step 6/8")
    await p.take("running", running)
    await p.press(running, "Full log")
    modal = p.page.locator("#modal")
    await p.sees(modal, "build step 6/8")
    await p.take("log", modal)
    await p.leave()
    await p.act_as("grace")
    waiting = await p.deploy("/deploy myapp feature/login")
    await p.sees(waiting, "Waiting")
    await p.take("waiting", waiting)
    await p.take("queue", await p.ask("/deploy queue"))
    await p.act_as("ada")
    p.let_go()
    await p.sees(running, "Deployed")
    await p.take("deployed", running)
    await p.sees(waiting, "Deployed")
    await p.press(waiting, "Roll back")
    await p.take("rollback", p.page.locator("#confirm"))
    await p.leave()
    await running.get_by_text("View thread").click()
    await p.page.set_viewport_size({"width": 900, "height": 860})
    await p.take("thread", p.page.locator("#side"))
    await p.page.set_viewport_size(DESK)
    await p.page.locator("#side-close").click()


async def answers(p: Photographer) -> None:
    """What only the person who asked sees."""
    status = await p.ask("/deploy status myapp")
    await p.take("status", status)
    await p.take("details", await p.details(status))
    await p.take("history", await p.ask("/deploy history myapp"))
    await p.take("help", await p.ask("/deploy help"))


async def bad_ends(p: Photographer) -> None:
    """Failures and a cancelled build."""
    for name, app in (("failed-build", "shop"), ("failed-check", "blog")):
        failed = await p.deploy(f"/deploy {app} main")
        await p.sees(failed, "Failed")
        await p.take(name, failed)
    p.hold("build step 3/8")
    cancelled = await p.deploy("/deploy myapp main")
    await p.sees(cancelled, "build step 3/8")
    await p.press(cancelled, "Cancel")
    await p.take("cancel", p.page.locator("#confirm"))
    await p.page.locator("#confirm button[type=submit]").click()
    await p.sees(cancelled, "Cancelled")
    await p.take("cancelled", cancelled)
    p.let_go()


async def approval_and_lock(p: Photographer) -> None:
    """What people decide."""
    awaited = await p.deploy("/deploy billing main")
    await expect(awaited.get_by_role("button", name=re.compile("^Approve"))).to_be_visible()
    await p.take("approval", awaited)
    await p.act_as("grace")
    await p.press(awaited, "Reject")
    await p.take("reject", p.page.locator("#modal"))
    await p.leave()
    await p.act_as("ada")
    await p.take("lock", await p.deploy("/deploy lock shop for 2h release day"))
    await p.act_as("grace")
    await p.take("locked", await p.ask("/deploy shop main"))
    await p.act_as("ada")


async def form(p: Photographer) -> None:
    """The form, with what is live below its fields, and the same one made from a message."""
    await p.type("/deploy")
    modal = p.page.locator("#modal")
    await modal.locator("select").first.select_option("myapp")
    await p.take("form", modal)
    await p.leave()
    await p.type("myapp@v1.0 has the fix, please ship it")
    message = p.page.locator("#messages li.message").filter(has_text="please ship it")
    # The menu is hidden in pictures.
    entry = message.locator("[role=menuitem]").filter(has_text="Deploy from message")
    await entry.dispatch_event("click")
    await expect(modal.locator("select").first).to_have_value("myapp")
    await p.take("form-from-message", modal)
    await p.leave()


async def crash(p: Photographer) -> None:
    """A release that does not stay up."""
    if p.simulators.troubles is None:
        raise RuntimeError("the demo has troubles")
    await p.simulators.troubles.switch("crash_loop", on=True)
    crashed = await p.deploy("/deploy myapp main")
    await p.sees(crashed, "Failed")
    await p.take("crashed", crashed)


async def home_and_page(p: Photographer) -> None:
    """The Home tab, and the whole page: on a desk, in dark mode, on a phone."""
    await p.page.get_by_role("button", name="· Home").click()
    blocks = p.page.locator("#home .blocks")
    await p.sees(blocks, "Failed")
    await p.take("home", blocks)
    await p.page.get_by_role("button", name="#deploys").click()
    await p.page.set_viewport_size({"width": 1280, "height": 800})
    await p.page.locator("#tab-panel").click()
    await p.take("page")
    await p.page.locator("#tab-troubles").click()
    await p.page.emulate_media(color_scheme="dark")
    await p.take("page-dark")
    await p.page.set_viewport_size({"width": 390, "height": 780})
    await p.page.emulate_media(color_scheme="light")
    await p.take("page-phone")


SCENES = (build_and_queue, answers, bad_ends, approval_and_lock, form, crash, home_and_page)


def save(shot: bytes, path: Path) -> None:
    """Write a picture with 256 colours, which text and flat areas do not miss."""
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


async def take_pictures(wanted: Collection[str] = ()) -> None:
    """Run the demo, and save the pictures."""
    expect.set_options(timeout=LIMIT_MS)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            open_simulators(manifest=manifest(), folder=folder, speed=SPEED) as simulators,
            async_playwright() as playwright,
        ):
            settings = {**simulators.settings, "DEPLOYBOT_SETTLE": "3s"}
            bot = await BotProcess.start(settings, folder=folder)
            try:
                if not await bot.ready():
                    raise SystemExit("\n".join(bot.last_lines))
                browser = await playwright.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox"]
                )
                page = await browser.new_page(
                    viewport=DESK,
                    device_scale_factor=1.5,
                    reduced_motion="reduce",
                    bypass_csp=True,
                )
                page.set_default_timeout(LIMIT_MS)
                await page.goto(simulators.slack.page_url)
                await page.add_style_tag(content=STYLE)
                p = Photographer(page=page, simulators=simulators, wanted=wanted)
                for scene in SCENES:
                    await scene(p)
                await browser.close()
            finally:
                await bot.stop()


def main() -> None:
    """Take all pictures, or those that are named."""
    asyncio.run(take_pictures(sys.argv[1:]))


if __name__ == "__main__":
    main()
