"""Time as a dependency, so that tests can own it."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the domain knows of time."""

    def now(self) -> datetime:
        """The wall clock: aware, UTC. For people and records."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back. For intervals."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Wait."""
        ...


class SystemClock(Clock):
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(max(0.0, duration.total_seconds()))
