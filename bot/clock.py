"""Time as a dependency, so that tests can control it."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


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
