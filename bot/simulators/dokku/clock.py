"""Simulated time: recorded seconds, run faster."""

import asyncio
import time
from datetime import UTC, datetime, timedelta


class SimClock:
    """The clock of the simulated server, `speed` times as fast as real time.

    It starts at the real time, so that timestamps look current, and runs ahead of it.
    """

    def __init__(self, speed: float) -> None:
        if speed <= 0:
            raise ValueError("speed must be positive")
        self.speed = speed
        self._began_at = datetime.now(UTC)
        self._began_s = time.monotonic()

    def elapsed_s(self) -> float:
        """Return the simulated seconds since the start."""
        return (time.monotonic() - self._began_s) * self.speed

    def now(self) -> datetime:
        """Return the simulated instant, aware UTC."""
        return self._began_at + timedelta(seconds=self.elapsed_s())

    def instant_of(self, monotonic_s: float) -> datetime:
        """Return the simulated instant at a reading of `time.monotonic()`."""
        return self._began_at + timedelta(seconds=(monotonic_s - self._began_s) * self.speed)

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of simulated seconds."""
        await asyncio.sleep(max(0.0, seconds) / self.speed)


def stamp_ns(instant: datetime) -> str:
    """Format an instant as Docker and Dokku's JSON do: RFC 3339, nanoseconds, Z."""
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond:06d}000Z"


def stamp_s(instant: datetime) -> str:
    """Format an instant as Dokku's tables do: RFC 3339, whole seconds, Z."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def go_duration(span: timedelta) -> str:
    """Format a duration as Dokku's records do: rounded to seconds, `37s`, `1m5s`, `2h0m1s`."""
    seconds = max(0, round(span.total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
