"""The real bot as a process between the simulators, with deployments that stay in their build."""

import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bot.simulators.bot_process import BotProcess
from bot.simulators.environment import DemoApp, Simulators, open_simulators
from bot.slack.manifest import manifest
from bot.store.engine import upgrade
from tests.support.bot_processes import free_port
from tests.support.postgres import postgres_server

HELD_AT = "build step"
"""A line of every build, after which a held deployment waits with its connection open."""
START_WITHIN_S = 600.0
AT_ONCE = 50
"""Deployments requested at once; a server logs their connections in one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBot:
    """The bot's process, and the simulators around it."""

    simulators: Simulators
    process: BotProcess
    port: int

    async def metrics(self) -> str:
        """Return the bot's /metrics page."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    async def deploy(self, app: str) -> None:
        """Type `/deploy APP main` as ada in #deploys."""
        slack = self.simulators.slack
        await slack.command(slack.user("ada"), slack.channel("deploys"), "/deploy", f"{app} main")

    async def hold(self, apps: Sequence[str]) -> None:
        """Start a deployment of each app and hold it in its build."""
        dokku = self.simulators.dokku
        for begin in range(0, len(apps), AT_ONCE):
            some = apps[begin : begin + AT_ONCE]
            for app in some:
                dokku.hold_for_test(app, at=HELD_AT)
                await self.deploy(app)
            for app in some:
                await self._until_held(app)

    async def _until_held(self, app: str) -> None:
        dokku = self.simulators.dokku
        await dokku.until(lambda: dokku.holding(app), timeout_s=START_WITHIN_S)

    def release(self, apps: Sequence[str]) -> None:
        """Let the held deployments continue."""
        for app in apps:
            self.simulators.dokku.release_for_test(app)


def plain_apps(count: int, behaviour: str = "ok") -> list[DemoApp]:
    """Return apps named `bench-000` and so on."""
    return [
        DemoApp(name=f"bench-{n:03}", behaviour=behaviour, hint="", commits=("First", "Second"))
        for n in range(count)
    ]


@asynccontextmanager
async def run_bot(
    apps: Sequence[DemoApp], *, speed: float = 1.0, **settings: str
) -> AsyncIterator[RunningBot]:
    """Start the simulators and the bot, with more settings by name.

    Prints the bot's last lines if it does not get ready.
    """
    async with _open(apps, speed) as (simulators, folder):
        given = {**simulators.settings, **settings}
        async with _start(simulators, folder, given) as bot:
            yield bot


@asynccontextmanager
async def run_replicas(
    apps: Sequence[DemoApp], count: int, *, speed: float = 1.0
) -> AsyncIterator[Sequence[RunningBot]]:
    """Start the simulators and several bots on one PostgreSQL. NoPostgres: it is not installed."""
    async with _open(apps, speed) as (simulators, folder), AsyncExitStack() as stack:
        url = stack.enter_context(postgres_server()).new_schema()
        await upgrade(url)
        bots = []
        for _ in range(count):
            given = {**simulators.settings, "DATABASE_URL": url, "PORT": str(free_port())}
            bots.append(await stack.enter_async_context(_start(simulators, folder, given)))
        yield bots


@asynccontextmanager
async def _open(apps: Sequence[DemoApp], speed: float) -> AsyncIterator[tuple[Simulators, Path]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        async with open_simulators(
            manifest=manifest(), folder=folder, apps=apps, speed=speed
        ) as simulators:
            yield simulators, folder


@asynccontextmanager
async def _start(
    simulators: Simulators, folder: Path, settings: Mapping[str, str]
) -> AsyncIterator[RunningBot]:
    process = await BotProcess.start(settings, folder=folder)
    try:
        if not await process.ready():
            print("\n".join(process.last_lines), file=sys.stderr)
            raise RuntimeError("the bot did not get ready")
        yield RunningBot(simulators=simulators, process=process, port=int(settings["PORT"]))
    finally:
        await process.stop()
