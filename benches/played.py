"""The real bot, a process of its own, on the simulated stage; and deployments that last."""

import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bot.simulators.bot_process import BotProcess
from bot.simulators.environment import DemoApp, Simulators, open_simulators
from bot.slack.manifest import manifest

HELD_AT = "build step"
"""A line of every build: a held deployment stands there, its line open."""
START_WITHIN_S = 120.0
AT_ONCE = 50
"""People ask for so many at once: a server logs them in one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The stage, and the bot on it."""

    stage: Simulators
    bot: BotProcess

    async def metrics(self) -> str:
        """The bot's /metrics page."""
        url = f"http://127.0.0.1:{self.stage.settings['PORT']}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    async def deploy(self, app: str) -> None:
        """`/deploy APP main`, by ada in #deploys."""
        slack = self.stage.slack
        await slack.command(slack.user("ada"), slack.channel("deploys"), "/deploy", f"{app} main")

    async def hold(self, apps: Sequence[str]) -> None:
        """Start a deployment of each app and let it stand in its build."""
        dokku = self.stage.dokku
        for begin in range(0, len(apps), AT_ONCE):
            some = apps[begin : begin + AT_ONCE]
            for app in some:
                dokku.hold_for_test(app, at=HELD_AT)
                await self.deploy(app)
            for app in some:
                await self._held(app)

    async def _held(self, app: str) -> None:
        dokku = self.stage.dokku
        await dokku.until(lambda: dokku.holding(app), timeout_s=START_WITHIN_S)

    def release(self, apps: Sequence[str]) -> None:
        """Let them go on."""
        for app in apps:
            self.stage.dokku.release_for_test(app)


def plain_apps(count: int, behaviour: str = "ok") -> list[DemoApp]:
    """Apps called `bench-000` and so on."""
    return [
        DemoApp(name=f"bench-{n:03}", behaviour=behaviour, hint="", commits=("First", "Second"))
        for n in range(count)
    ]


@asynccontextmanager
async def play(
    apps: Sequence[DemoApp], *, speed: float = 1.0, **settings: str
) -> AsyncIterator[Played]:
    """Start everything; more settings of the bot by name. Prints the bot's end, if it ends."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        async with open_simulators(
            manifest=manifest(), folder=folder, apps=apps, speed=speed
        ) as stage:
            bot = await BotProcess.start({**stage.settings, **settings}, folder=folder)
            try:
                if not await bot.ready():
                    print("\n".join(bot.last_lines), file=sys.stderr)
                    raise RuntimeError("the bot did not get ready")
                yield Played(stage=stage, bot=bot)
            finally:
                await bot.stop()
