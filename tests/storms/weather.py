"""What fails around the bot, each for a minute of its clock, and what `/readyz` says meanwhile."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bot.simulators.patience import in_time
from bot.simulators.receiver import Behaviour
from bot.simulators.slack.faults import EVERY
from tests.scenarios.conftest import World
from tests.storms.servers import StormServer
from tests.support.bot_process import BotProcess
from tests.support.quick_clock import QuickClock

LOOK_S = 0.1
TICK_S = 0.02
RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """Bad weather of one kind, in readings of `time.monotonic()`."""

    kind: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of `/readyz`."""

    status: int
    why: Mapping[str, str]
    """What does not work, and why not."""


@dataclass(kw_only=True)
class Ready:
    """Asks `/readyz` of the bots all the time."""

    bots: Sequence[BotProcess]
    answers: list[Answer] = field(default_factory=list)
    most_rss_mb: float = 0.0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def watch(self) -> None:
        """Ask until cancelled."""
        async with aiohttp.ClientSession() as session:
            while True:
                for bot in self.bots:
                    await self._ask(session, bot)
                await asyncio.sleep(LOOK_S)

    async def _ask(self, session: aiohttp.ClientSession, bot: BotProcess) -> None:
        self.most_rss_mb = max(self.most_rss_mb, rss_mb(bot.pid))
        async with session.get(f"http://127.0.0.1:{bot.port}/readyz") as response:
            body = await response.json()
        why = {
            name: str(one["why"])
            for name, one in body.items()
            if name != "servers" and isinstance(one, dict) and not one["ok"]
        }
        async with self._news:
            self.answers.append(Answer(status=response.status, why=why))
            self._news.notify_all()

    async def until(self, good: Callable[[Answer], bool]) -> float:
        """Wait for such an answer; how long it took."""
        began, seen = time.monotonic(), len(self.answers)

        def there() -> bool:
            return any(good(one) for one in self.answers[seen:])

        async with in_time(), self._news:
            await self._news.wait_for(there)
        return time.monotonic() - began


def rss_mb(pid: int) -> float:
    """Memory of a process (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def keep_time(world: World, clock: QuickClock) -> None:
    """Let Slack's clock show the bot's time, by which it looks for messages. Until cancelled."""
    slacks = world.slack.workspace.clock
    while True:
        slacks.offset_s = clock.now().timestamp() - time.time()
        await asyncio.sleep(TICK_S)


@dataclass(kw_only=True)
class Weather:
    """Causes the failures."""

    world: World
    bots: Sequence[BotProcess]
    minute_s: float
    """A minute of the bot's clock, in real seconds."""
    spells: list[Spell] = field(default_factory=list)

    @asynccontextmanager
    async def _spell(self, kind: str) -> AsyncIterator[None]:
        began = time.monotonic()
        yield
        self.spells.append(Spell(kind=kind, began=began, ended=time.monotonic()))

    async def slack_is_busy(self) -> None:
        """Slack answers 429 to everything."""
        async with self._spell("429"):
            self.world.slack.rate_limit_for_test(EVERY, RETRY_AFTER_S, times=1_000_000)
            await asyncio.sleep(self.minute_s)
            self.world.slack.clear_faults_for_test()

    async def server_is_down(self, one: StormServer) -> None:
        """Its connections break, and nobody gets in."""
        async with self._spell(one.name):
            await one.server.refuse_connections_for_test()
            await one.server.drop_connections_for_test()
            await asyncio.sleep(self.minute_s)
            await one.server.accept_connections_for_test()

    @asynccontextmanager
    async def endpoint_is_dead(self) -> AsyncIterator[None]:
        """The webhook endpoint answers 503."""
        async with self._spell("webhook"):
            self.world.simulators.receiver.always_for_test(Behaviour(status=503))
            yield
            self.world.simulators.receiver.always_for_test(None)

    async def disk_is_full(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """No file of the bot may grow or change, as on a full disk."""
        async with self._spell("disk"):
            former = [resource.prlimit(bot.pid, resource.RLIMIT_FSIZE) for bot in self.bots]
            for bot, (_, hard) in zip(self.bots, former, strict=True):
                resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (0, hard))
            try:
                await asyncio.gather(meanwhile(), asyncio.sleep(self.minute_s))
            finally:
                for bot, limits in zip(self.bots, former, strict=True):
                    resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, limits)

    async def database_is_away(self, stop: Callable[[], None], start: Callable[[], None]) -> None:
        """The database server is stopped."""
        async with self._spell("database"):
            await asyncio.to_thread(stop)
            await asyncio.sleep(self.minute_s)
            await asyncio.to_thread(start)
