"""Time and background tasks, as dependencies."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from bot.errors import LeaseLost, StaleState

log = structlog.get_logger(__name__)


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


class SystemClock(Clock):
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(max(0.0, duration.total_seconds()))


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

    async def drain(self, limit: timedelta) -> int:
        """Wait for all of them; after `limit` cancel the rest, and return how many that were."""
        if not self._all:
            return 0
        _, late = await asyncio.wait(self._all, timeout=limit.total_seconds())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
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
