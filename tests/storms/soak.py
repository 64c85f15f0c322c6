"""Hours of ordinary work in fast motion: the bot's memory, tasks and handles must not grow."""

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bot.bootstrap import Bot, open_bot
from bot.clock import SystemClock
from bot.config.loading import load_settings
from bot.deployments.states import ENDINGS
from bot.process import run_bot
from bot.store.engine import open_store, upgrade
from bot.store.tables import deployments
from bot.webhooks.payload import planner
from tests.storms.servers import REPO, open_servers
from tests.storms.weather import keep_time, rss_mb
from tests.support.bot_process import BotProcess
from tests.support.bot_processes import Processes, an_app, open_processes
from tests.support.postgres import postgres_server
from tests.support.quick_clock import QuickClock

TASKS = "tasks"
"""The file in which the bot notes how many tasks it has."""
NOTE_S = 0.5
APPS, SERVERS = 40, 4
SAMPLES = 48
GROWTH = 1.1
MORE = 12
"""Tasks and handles that come and go with what runs just then."""
LONGEST_S = 120.0
"""For what is left to do after the last request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """How long and how much."""

    hours: float = 24.0
    per_hour: float = 40.0
    failing: float = 0.2
    speed: float = 144.0
    postgres: int = 0
    """1: on PostgreSQL instead of SQLite."""

    @property
    def requests(self) -> int:
        """All deployments."""
        return round(self.hours * self.per_hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The bot's process at one moment."""

    rss_mb: float
    tasks: int
    handles: int
    connections: int
    """Sockets among the handles."""

    @classmethod
    def of(cls, pid: int, folder: Path) -> "Sample":
        """Read them from /proc; the tasks from the bot's note."""
        named = [_target(one) for one in Path(f"/proc/{pid}/fd").iterdir()]
        return cls(
            rss_mb=round(rss_mb(pid), 1),
            tasks=int((folder / TASKS).read_text()),
            handles=len(named),
            connections=sum(one.startswith("socket:") for one in named),
        )


def _target(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except FileNotFoundError:
        return ""  # closed just now


class CountedRun:
    """`deploybot run` on another clock, which notes how many tasks there are."""

    def __init__(self, folder: Path, *, options: dict[str, Any], **timing: Any) -> None:
        self._folder = folder
        self._options = options
        self._timing = timing

    def __call__(self) -> int:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        settings = load_settings()
        timing = replace(settings.timing(), **self._timing)
        opener = partial(self._open, timing=timing, **self._options)
        return run_bot(settings, opener=opener)

    @asynccontextmanager
    async def _open(self, *args: Any, **options: Any) -> AsyncIterator[Bot]:
        noting = asyncio.create_task(self._note())
        try:
            async with open_bot(*args, **options) as bot:
                yield bot
        finally:
            noting.cancel()

    async def _note(self) -> None:
        file, new = self._folder / TASKS, self._folder / f"{TASKS}.new"
        while True:
            new.write_text(str(len(asyncio.all_tasks())))
            new.replace(file)
            await asyncio.sleep(NOTE_S)


@dataclass(kw_only=True)
class Outcome:
    """What is wrong, and the figures."""

    problems: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)


async def run_soak(soak: Soak) -> Outcome:
    """Run it in an empty folder. NoPostgres: that was asked for, and is not there."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        server = stack.enter_context(postgres_server()) if soak.postgres else None
        async with (
            open_processes(folder, an_app(REPO)) as it,
            open_servers(
                it.world,
                servers=SERVERS,
                apps=APPS,
                failing=soak.failing,
                speed=soak.speed,
                seed=1,
            ),
        ):
            url = it.world.environ["DATABASE_URL"]
            if server is not None:
                url = server.new_schema()
                await upgrade(url)
            clock = QuickClock(soak.speed)
            bot = await _begin(it, clock, url)
            if not await bot.ready():
                raise RuntimeError("\n".join(bot.last_lines))
            it.world.simulators.receiver.any_time_for_test = True
            ticking = asyncio.create_task(keep_time(it.world, clock))
            try:
                return await _work(soak, it, bot, clock, url)
            finally:
                ticking.cancel()


async def _begin(it: Processes, clock: QuickClock, url: str) -> BotProcess:
    """Start a bot whose regular jobs come a few times a second: fast motion has its limits."""

    def real(seconds: float) -> timedelta:
        return timedelta(seconds=seconds)

    run = CountedRun(
        it.world.folder,
        options={"clock": clock},
        poll_interval=real(0.3),
        silent_intervals=round(50 * clock.speed),
        heartbeat=real(1),
        lease=real(20 * clock.speed),
        look_for_work=real(0.3),
        late_interval=real(1),
    )
    return await it.begin_main(run, DATABASE_URL=url, DEPLOYBOT_LOG_LEVEL="WARNING")


async def _work(soak: Soak, it: Processes, bot: BotProcess, clock: QuickClock, url: str) -> Outcome:
    began, first = time.monotonic(), clock.monotonic()
    every_s = 3600 / soak.per_hour
    samples: list[Sample] = []
    slack, deploys = it.world.slack, it.world.deploys
    people = [slack.user(name) for name in ("ada", "grace", "alan")]
    for number in range(soak.requests):
        await clock.sleep(timedelta(seconds=first + number * every_s - clock.monotonic()))
        person, app = people[number % len(people)], f"app-{number % APPS:03}"
        await slack.command(person, deploys, "/deploy", f"{app} main")
        await slack.command(person, deploys, "/deploy", f"history {app}")
        if number * SAMPLES // soak.requests >= len(samples):
            samples.append(Sample.of(bot.pid, it.world.folder))
    took_s = time.monotonic() - began
    outcome = Outcome()
    outcome.problems += await _unfinished(soak, url)
    samples.append(Sample.of(bot.pid, it.world.folder))
    quarter = samples[len(samples) // 4 - 1 :]
    outcome.problems += _growth(quarter)
    if not bot.running:
        outcome.problems.append("it ended")
    edits = sum(one.method == "chat.update" and one.outcome == "ok" for one in slack.calls)
    outcome.figures |= {
        "hours": soak.hours,
        "deployments": soak.requests,
        "database": "postgresql" if soak.postgres else "sqlite",
        "took_s": round(took_s, 1),
        "hours_by_the_bots_clock": round((took_s * soak.speed) / 3600, 1),
        "edits": edits,
        "rss_mb": [one.rss_mb for one in samples[:: max(1, len(samples) // 12)]],
        "rss_first_quarter_mb": quarter[0].rss_mb,
        "rss_end_mb": quarter[-1].rss_mb,
        "tasks": [quarter[0].tasks, quarter[-1].tasks],
        "handles": [quarter[0].handles, quarter[-1].handles],
        "connections": [quarter[0].connections, quarter[-1].connections],
    }
    return outcome


def _growth(samples: Sequence[Sample]) -> list[str]:
    begin, end = samples[0], samples[-1]
    found = []
    if end.rss_mb > begin.rss_mb * GROWTH:
        found.append(f"memory grew from {begin.rss_mb} to {end.rss_mb} MB")
    for name in ("tasks", "handles", "connections"):
        before, after = getattr(begin, name), getattr(end, name)
        if after > before + MORE:
            found.append(f"{name} grew from {before} to {after}")
    return found


async def _unfinished(soak: Soak, url: str) -> list[str]:
    """Wait until all have ended; those that have not."""
    idle = SystemClock()
    deadline = time.monotonic() + LONGEST_S
    async with open_store(url, clock=idle, planner=planner((), clock=idle), migrate=False) as store:
        while True:
            async with store.database.read() as connection:
                phases = select(deployments.c.phase, func.count()).group_by(deployments.c.phase)
                there = {one.phase: one[1] for one in await connection.execute(phases)}
            left = [f"{n} are still {phase}" for phase, n in there.items() if phase not in ENDINGS]
            if (asked := sum(there.values())) != soak.requests:
                left.append(f"{asked} deployments of {soak.requests} requests")
            if not left or time.monotonic() > deadline:
                return left
            await asyncio.sleep(NOTE_S)
