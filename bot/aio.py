"""Background tasks that are kept alive and logged, and waiting for the first of several."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import structlog

from bot.errors import LeaseLost, StaleState

log = structlog.get_logger(__name__)


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
