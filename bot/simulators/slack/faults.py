"""Trouble on demand: everything a Web API call can suffer. Used by tests only."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

EVERY = "*"
"""Instead of a method's name: all of them."""


@dataclass(kw_only=True)
class Failure:
    """What the next calls of a method get instead of an answer."""

    error: str | None = None
    status: int = 200
    retry_after_s: int | None = None
    times: int = 1


@dataclass(kw_only=True)
class Hold:
    """Calls of a method stand still at Slack's door until `release`."""

    method: str
    waiting: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    async def arrived(self, *, timeout_s: float = 10.0) -> None:
        """Wait until a call stands at the door."""
        async with asyncio.timeout(timeout_s):
            await self._arrived.wait()

    def release(self) -> None:
        """Let all of them in."""
        self._open.set()

    async def stand(self) -> None:
        """Be one of those who wait."""
        self.waiting += 1
        self._arrived.set()
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1


@dataclass(kw_only=True)
class Faults:
    """The faults that are switched on now, by method name or `EVERY`."""

    failures: dict[str, list[Failure]] = field(default_factory=dict)
    delays_s: dict[str, float] = field(default_factory=dict)
    lost_responses: dict[str, int] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)

    def next_failure(self, method: str) -> Failure | None:
        """Use up one failure that is due for this method."""
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
        """How long the call is kept waiting before it is looked at."""
        return max((self.delays_s.get(key, 0.0) for key in (method, EVERY)), default=0.0)

    def loses_response(self, method: str) -> bool:
        """Whether the call is done but its answer never arrives."""
        for key in (method, EVERY):
            if self.lost_responses.get(key, 0) > 0:
                self.lost_responses[key] -= 1
                return True
        return False

    def holds_for(self, method: str) -> Iterator[Hold]:
        """The doors that this call has to pass."""
        return (hold for hold in self.holds if hold.method in {method, EVERY})

    def clear(self) -> None:
        """Switch everything off and open all doors."""
        for hold in self.holds:
            hold.release()
        self.failures.clear()
        self.delays_s.clear()
        self.lost_responses.clear()
        self.holds.clear()
