"""Faults that tests switch on for Web API calls."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from bot.simulators.patience import limit_s

EVERY = "*"
"""In place of a method's name: all methods."""


@dataclass(kw_only=True)
class Failure:
    """What the next calls of a method get in place of an answer."""

    error: str | None = None
    status: int = 200
    retry_after_s: int | None = None
    times: int = 1


@dataclass(kw_only=True)
class Hold:
    """Calls of a method wait before they are handled, until `release`."""

    method: str
    waiting: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    async def arrived(self, *, timeout_s: float | None = None) -> None:
        """Wait until a call is held."""
        async with asyncio.timeout(timeout_s or limit_s()):
            await self._arrived.wait()

    def release(self) -> None:
        """Let all held calls continue."""
        self._open.set()

    async def wait(self) -> None:
        """Hold this call until `release`."""
        self.waiting += 1
        self._arrived.set()
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1


@dataclass(kw_only=True)
class Faults:
    """The active faults, by method name or `EVERY`."""

    failures: dict[str, list[Failure]] = field(default_factory=dict)
    delays_s: dict[str, float] = field(default_factory=dict)
    lost_responses: dict[str, int] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)

    def next_failure(self, method: str) -> Failure | None:
        """Take one failure that is due for this method."""
        for key in (method, EVERY):
            waiting = self.failures.get(key)
            if waiting:
                failure = waiting[0]
                failure.times -= 1
                if failure.times <= 0:
                    waiting.pop(0)
                return failure
        return None

    def delay_s(self, method: str) -> float:
        """Seconds that the call waits before it is handled."""
        return max((self.delays_s.get(key, 0.0) for key in (method, EVERY)), default=0.0)

    def loses_response(self, method: str) -> bool:
        """Whether the call is handled but its answer never arrives."""
        for key in (method, EVERY):
            if self.lost_responses.get(key, 0) > 0:
                self.lost_responses[key] -= 1
                return True
        return False

    def holds_for(self, method: str) -> Iterator[Hold]:
        """The holds that apply to this call."""
        return (hold for hold in self.holds if hold.method in {method, EVERY})

    def clear(self) -> None:
        """Remove all faults and release all holds."""
        for hold in self.holds:
            hold.release()
        self.failures.clear()
        self.delays_s.clear()
        self.lost_responses.clear()
        self.holds.clear()
