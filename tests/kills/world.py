"""Between both simulators: a bot that dies and starts again, and what must be true afterwards."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.clock import SystemClock
from bot.outbox import LaneTiming
from bot.simulators.environment import DemoApp
from bot.simulators.patience import limit_s, stretched
from bot.slack.limits import HomeLimits, SlackLimits
from bot.store.engine import open_store, upgrade
from bot.store.sql_store import SqlStore
from bot.webhooks.payload import planner
from tests.kills.deaths import ARMED, DIED, Death, MortalRun
from tests.kills.invariants import problems_of
from tests.scenarios.conftest import HURRIED_SSH, QUICK_EDITS, QUICK_PAUSES, World
from tests.support.bot_process import BotProcess, Run
from tests.support.bot_processes import Processes, open_processes

_ONE_UPGRADE = asyncio.Lock()
"""Alembic keeps what it works on in globals."""
LOOK_S = 0.1
"""Between two looks at the database, which reports no change to another process."""
OPTIONS: Mapping[str, Any] = {
    "slack_limits": SlackLimits(
        edits=QUICK_EDITS.edits,
        home=HomeLimits(
            look=timedelta(milliseconds=200), spacing=timedelta(milliseconds=200), per_minute=10_000
        ),
        untried_reply=timedelta(seconds=1),
        message_comes=timedelta(seconds=20),
    ),
    "ssh_limits": HURRIED_SSH,
    "lane_timing": LaneTiming(
        # A killed process holds its rows for this long.
        hold=timedelta(seconds=2),
        idle=timedelta(milliseconds=300),
        retry_after=(timedelta(milliseconds=300),) * 100,
    ),
}
PAUSES: Mapping[str, Any] = {
    **QUICK_PAUSES,
    "heartbeat": timedelta(milliseconds=300),
    "look_for_work": timedelta(milliseconds=300),
    "posting": timedelta(milliseconds=500),
    "record_wait": timedelta(milliseconds=600),
    "trace_pause": timedelta(milliseconds=100),
}
LEASE = timedelta(seconds=1)


@dataclass(kw_only=True)
class Lives:
    """One bot at a time, each with its death; the simulators outlive them all."""

    processes: Processes
    store: SqlStore
    """The bot's database, which is only read here."""
    deaths: list[str] = field(default_factory=list)
    """The calls at which they died."""
    _bot: BotProcess | None = None

    @property
    def world(self) -> World:
        return self.processes.world

    @property
    def bot(self) -> BotProcess:
        assert self._bot is not None
        return self._bot

    async def begin(self, death: Death | None = None) -> None:
        """Start a bot that will die like this; None: it lives on."""
        for name in (ARMED, DIED):
            (self.world.folder / name).unlink(missing_ok=True)
        run = a_run()
        self._death = death
        main = run if death is None else MortalRun(run=run, death=death)
        self._bot = await self.processes.begin_main(main)

    def arm(self) -> None:
        """From now on the death of this bot may come."""
        (self.world.folder / ARMED).touch()

    async def died(self, within_s: float | None = None) -> str:
        """Wait until it has died its death; at which call. TimeoutError: it did not."""
        try:
            assert await self.bot.ended(within_s) == -signal.SIGKILL, self.bot.last_lines
        except TimeoutError as late:
            seen = [*self.bot.last_lines, self.world.slack.workspace.dump()]
            raise TimeoutError("\n".join([f"{self._death} never came", *seen])) from late
        self.processes.started.remove(self.bot)
        self.deaths.append((self.world.folder / DIED).read_text())
        return self.deaths[-1]

    async def kill(self) -> None:
        """Kill it from outside, whatever it is doing."""
        await self.processes.kill(self.bot)
        self.processes.started.remove(self.bot)
        self.deaths.append("from outside")

    async def stop(self) -> None:
        """Let the last one stop as a service manager does."""
        # Before that it may not handle the signal yet.
        assert await self.bot.ready(), self.bot.last_lines
        assert await self.processes.terminate(self.bot, within_s=30) == 0

    async def settled(self) -> list[str]:
        """Wait until nothing is left to do; what is wrong then, or never came to an end."""
        deadline = asyncio.get_running_loop().time() + limit_s() / 2
        while True:
            problems = await problems_of(self.world, self.store)
            if not problems or asyncio.get_running_loop().time() > deadline:
                return problems
            await asyncio.sleep(LOOK_S)


def a_run() -> Run:
    """The bot's main function, with these durations."""
    return Run(options=OPTIONS, lease=stretched(LEASE), **PAUSES)


@asynccontextmanager
async def open_lives(
    folder: Path, *apps: DemoApp, settings: str = "", url: str | None = None
) -> AsyncIterator[Lives]:
    """Open the simulators. `settings`: of the configuration file; `url`: of another database."""
    async with open_processes(folder, *apps) as processes:
        world = processes.world
        people = {name: world.slack.user(name).id for name in ("ada", "grace", "alan")}
        (folder / "deploybot.toml").write_text(settings.format(**people))
        world.environ["DEPLOYBOT_CONFIG"] = str(folder / "deploybot.toml")
        clock = SystemClock()
        url, plan = url or world.environ["DATABASE_URL"], planner((), clock=clock)
        async with _ONE_UPGRADE:
            await upgrade(url)
        async with open_store(url, clock=clock, planner=plan, migrate=False) as store:
            yield Lives(processes=processes, store=store)
