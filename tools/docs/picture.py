"""Takes the README's picture: the demo's live message during a build, in headless Chromium.

python -m tools.docs.picture
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright, expect

from bot.simulators.bot_process import BotProcess
from bot.simulators.environment import open_simulators
from bot.slack.manifest import manifest

PICTURE = Path(__file__).parents[2] / "docs" / "live-message.png"
CHROMIUM = "/usr/bin/chromium"
WIDTH = 660
LIMIT_MS = 60_000
FADED_MS = 3_000
"""The page colours an edited message for a moment."""
SHOWN = "build step 6/8"


async def take_picture(path: Path) -> None:
    """Deploy an app in the demo, and save what its message looks like during the build."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            open_simulators(manifest=manifest(), folder=Path(folder)) as simulators,
            async_playwright() as playwright,
        ):
            bot = await BotProcess.start(simulators.settings, folder=Path(folder))
            try:
                if not await bot.ready():
                    raise SystemExit("\n".join(bot.last_lines))
                browser = await playwright.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox"]
                )
                page = await browser.new_page(
                    viewport={"width": WIDTH, "height": 900}, device_scale_factor=1.5
                )
                simulators.dokku.hold_for_test("myapp", at=SHOWN)
                await page.goto(simulators.slack.page_url)
                composer = page.locator("#composer textarea")
                await composer.fill("/deploy myapp main")
                await composer.press("Enter")
                message = page.locator("#messages li.message:not(.ephemeral)").first
                await expect(message).to_contain_text(SHOWN, timeout=LIMIT_MS)
                await page.wait_for_timeout(FADED_MS)
                await message.screenshot(path=path)
                await browser.close()
            finally:
                await bot.stop()


def main() -> None:
    """Write the picture, and print its path."""
    asyncio.run(take_picture(PICTURE))
    sys.stdout.write(f"{PICTURE}\n")


if __name__ == "__main__":
    main()
