"""A clock that runs faster than the machine's, for the bot under test."""

import asyncio
import time
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

    def now(self) -> datetime:
        return self._began_at + timedelta(seconds=self.monotonic() - self._began)

    def monotonic(self) -> float:
        return self._began + self._leapt_s + (time.monotonic() - self._began) * self.speed

    def leap(self, duration: timedelta) -> None:
        """Advance the clock at once; current sleeps continue."""
        self._leapt_s += duration.total_seconds()

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(max(0.0, duration.total_seconds()) / self.speed)
