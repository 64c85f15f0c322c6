"""A clock that runs faster than the machine's, for the bot under test."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from bot.clock import Clock

QUICK = 10.0


class QuickClock(Clock):
    """A clock on which the bot's pauses are shorter; what it waits for takes as long as before.

    A copy in another process of this machine shows the same time.
    """

    def __init__(self, speed: float = QUICK) -> None:
        self.speed = speed
        self._leapt_s = 0.0
        self._began = time.monotonic()
        self._began_at = datetime.now(UTC)
        self._sleeps: set[asyncio.Event] = set()

    def now(self) -> datetime:
        return self._began_at + timedelta(seconds=self.monotonic() - self._began)

    def monotonic(self) -> float:
        return self._began + self._leapt_s + (time.monotonic() - self._began) * self.speed

    def leap(self, duration: timedelta) -> None:
        """Advance the clock at once; current sleeps continue."""
        self._leapt_s += duration.total_seconds()

    def skip(self, duration: timedelta) -> None:
        """Advance the clock at once; current sleeps end as much earlier."""
        self.leap(duration)
        for skipped in self._sleeps:
            skipped.set()

    async def sleep(self, duration: timedelta) -> None:
        ends = self.monotonic() + duration.total_seconds()
        skipped = asyncio.Event()
        self._sleeps.add(skipped)
        try:
            await self._rest(duration.total_seconds(), skipped)
            while skipped.is_set():
                skipped.clear()
                await self._rest(ends - self.monotonic(), skipped)
        finally:
            self._sleeps.discard(skipped)

    async def _rest(self, seconds: float, skipped: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds) / self.speed):
                await skipped.wait()
