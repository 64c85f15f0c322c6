"""Time and background tasks, as dependencies; the beginning and the end of a process."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

import structlog

from bot.errors import LeaseLost, SlackError, StaleState

log = structlog.get_logger(__name__)

T = TypeVar("T")
P = ParamSpec("P")

_WORK = ThreadPoolExecutor(max_workers=2, thread_name_prefix="work")
"""For work that only computes. asyncio's own threads look up names, and a dead name server can
occupy all of them for a long time."""


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Compute something that would hold up the event loop. It must wait for nothing."""
    return await asyncio.get_running_loop().run_in_executor(_WORK, partial(work, *args, **kwargs))


def duration_words(value: timedelta) -> str:
    """Format a duration: `45s`, `1m 20s`, `1h 5m`; a negative one is 0s."""
    seconds = max(0, int(value.total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {seconds}s" if minutes else f"{seconds}s"


class Clock(Protocol):
    """The clocks that the domain uses."""

    def now(self) -> datetime:
        """The wall clock: aware, UTC. For people and stored times."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards. For intervals."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Wait."""
        ...


_SECONDS: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds() -> float:
    """Seconds that never go backwards, and that count while the machine is suspended.

    A lease runs out meanwhile. Elsewhere than on Linux, those seconds may be missing.
    """
    return time.clock_gettime(_SECONDS)


class SystemClock(Clock):
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return seconds()

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(max(0.0, duration.total_seconds()))


class Ages:
    """How long ago stored instants were, whatever this machine's clock is set to meanwhile.

    Only the first look at each goes by the wall clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[str, tuple[datetime, float]] = {}

    def of(self, key: str, instant: datetime) -> timedelta:
        """The age of the instant that is known under `key`."""
        now, known = self._clock.monotonic(), self._began.get(key)
        if known is None or known[0] != instant:
            ago = self._clock.now() - instant
            known = self._began[key] = instant, now - ago.total_seconds()
        return timedelta(seconds=now - known[1])

    def keep(self, keys: Collection[str]) -> None:
        """Forget all others."""
        for gone in self._began.keys() - set(keys):
            del self._began[gone]


class Kept(Generic[T]):
    """Answers of Slack by key: asked again when no longer fresh, used while Slack gives none."""

    def __init__(
        self, clock: Clock, *, fresh: timedelta, usable: timedelta, most: int = 10_000
    ) -> None:
        self._clock = clock
        self._fresh_s, self._usable_s = fresh.total_seconds(), usable.total_seconds()
        self._most = most
        self._all: dict[str, tuple[float, T]] = {}

    async def get(self, key: str, ask: Callable[[str], Awaitable[T]]) -> T:
        """The answer about `key`. SlackError: Slack gives none, and none is recent enough."""
        kept = self._all.get(key)
        if kept is not None and self._clock.monotonic() - kept[0] < self._fresh_s:
            return kept[1]
        try:
            answer = await ask(key)
        except SlackError:
            if kept is None or self._clock.monotonic() - kept[0] >= self._usable_s:
                raise
            return kept[1]
        if len(self._all) >= self._most:
            self._all.clear()
        self._all[key] = (self._clock.monotonic(), answer)
        return answer


class Tasks:
    """Tracked tasks: asyncio itself keeps none of them alive, and their errors must be logged."""

    def __init__(self) -> None:
        self._all: set[asyncio.Task[None]] = set()

    def spawn(
        self, work: Coroutine[Any, Any, None], *, name: str | None = None
    ) -> asyncio.Task[None]:
        """Run in the background."""
        task = asyncio.create_task(work, name=name)
        self._all.add(task)
        task.add_done_callback(self._done)
        return task

    async def settle(self, limit: timedelta) -> None:
        """Wait for all of them, at most for `limit`."""
        if self._all:
            await asyncio.wait(self._all, timeout=limit.total_seconds())

    async def drain(self, limit: timedelta) -> int:
        """Wait for all of them; cancel the rest after half of `limit`. How many that were.

        In the other half they can say that they were cut off.
        """
        await self.settle(limit / 2)
        late = list(self._all)
        if late:
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=limit.total_seconds() / 2)
        await self.close()
        return len(late)

    async def close(self) -> None:
        """Cancel what is left, and wait for it."""
        for task in self._all:
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._all.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, LeaseLost | StaleState):
            log.info("task_stopped", why=str(error))
        elif error is not None:
            log.error("task_failed", exc_info=error)


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Wait until the first of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def begun(starting: Coroutine[Any, Any, T], undo: Callable[[T], Awaitable[None]]) -> T:
    """Let something begin completely. If it is cut off meanwhile, it is undone first.

    A process whose start is cancelled may keep running, with pipes that stay open.
    """
    task = asyncio.ensure_future(starting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await undo(await task)
        raise


_PIPES_S = 5.0


async def end_group(process: asyncio.subprocess.Process) -> None:
    """Kill a process with its helpers, which are in its group (git's: ssh, git-remote-https).

    Once it is reaped, another group may have its number.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    # To the end of its pipes, which closes them. A helper that outlives a reaped one keeps them.
    with suppress(TimeoutError):
        async with asyncio.timeout(_PIPES_S):
            await process.communicate()


@dataclass(slots=True)
class _Tries:
    count: int = 0
    next_at: float = 0.0


class Retries:
    """When may a deployment be tried again? Counts tries, so that nothing is asked in a storm."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all: dict[str, _Tries] = {}

    def is_due(self, deployment_id: str) -> bool:
        """Whether it may be tried now."""
        tries = self._all.get(deployment_id)
        return tries is None or self._clock.monotonic() >= tries.next_at

    def left(self, deployment_id: str) -> timedelta:
        """How much of the pause is left."""
        tries = self._all.get(deployment_id)
        rest = tries.next_at - self._clock.monotonic() if tries else 0.0
        return timedelta(seconds=max(0.0, rest))

    def wait(self, deployment_id: str, pause: timedelta) -> None:
        """Not before the pause is over. Counts no try."""
        tries = self._all.setdefault(deployment_id, _Tries())
        tries.next_at = self._clock.monotonic() + pause.total_seconds()

    def failed(self, deployment_id: str, pause: timedelta) -> int:
        """A try failed: how many in a row have. The next one not before the pause is over."""
        self.wait(deployment_id, pause)
        tries = self._all[deployment_id]
        tries.count += 1
        return tries.count

    def forget(self, deployment_id: str) -> None:
        """Start counting again."""
        self._all.pop(deployment_id, None)

    def keep(self, deployment_ids: Collection[str]) -> None:
        """Forget all others: they have ended."""
        for gone in self._all.keys() - set(deployment_ids):
            del self._all[gone]
