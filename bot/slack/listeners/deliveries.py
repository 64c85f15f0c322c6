"""Acts of people that were heard: each once, each as a task that somebody holds."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from bot.clock import Clock

REMEMBERED = timedelta(minutes=10)
"""Slack's last retry of an event comes about 5 minutes after the first try."""
MOST = 20_000


class Seen:
    """Which deliveries were heard lately, in this process.

    Several replicas, and a restart, are covered by the request key in the database; this saves
    a second answer to a question, and the database the question.
    """

    def __init__(self, *, clock: Clock, keep: timedelta = REMEMBERED, most: int = MOST) -> None:
        self._clock = clock
        self._keep = keep.total_seconds()
        self._most = most
        self._heard: OrderedDict[str, float] = OrderedDict()

    def first(self, key: str) -> bool:
        """Whether the key is new; it is remembered."""
        now = self._clock.monotonic()
        while self._heard:
            oldest, since = next(iter(self._heard.items()))
            if now - since < self._keep and len(self._heard) < self._most:
                break
            del self._heard[oldest]
        if key in self._heard:
            return False
        self._heard[key] = now
        return True


class Tasks:
    """Running tasks. asyncio itself holds them only weakly."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run on beside the caller."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def drain(self, limit: timedelta) -> int:
        """Wait for all, then cancel what is left; how many those were."""
        if not self._running:
            return 0
        _, late = await asyncio.wait(self._running, timeout=limit.total_seconds())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)


class KeyedLocks:
    """One lock per key, kept only while somebody holds or wants it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of `key` for the block."""
        lock, wanted = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            lock, wanted = self._locks.pop(key)
            if wanted > 1:
                self._locks[key] = (lock, wanted - 1)
