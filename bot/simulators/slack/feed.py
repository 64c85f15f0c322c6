"""What happened in the workspace, in order, and a way to wait for more."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from bot.simulators.slack.clock import Clock
from bot.simulators.slack.errors import NothingHappened

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of the feed."""

    number: int
    at: datetime
    kind: str
    detail: str


class Feed:
    """Append-only; page and tests wait on it instead of polling."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self.changes: list[Change] = []
        self._wakers: set[asyncio.Event] = set()

    def add(self, kind: str, detail: str = "") -> None:
        """Note a change and wake everybody who waits."""
        self.changes.append(
            Change(number=len(self.changes), at=self._clock.now(), kind=kind, detail=detail)
        )
        for waker in self._wakers:
            waker.set()

    async def wait_beyond(self, number: int) -> int:
        """Sleep until the feed is longer than `number`; the new length. The caller bounds it."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            while len(self.changes) <= number:
                waker.clear()
                await waker.wait()
            return len(self.changes)
        finally:
            self._wakers.discard(waker)

    async def until(
        self, condition: Callable[[], T], *, timeout_s: float, dump: Callable[[], str]
    ) -> T:
        """Look at `condition` after every change until it holds; its (truthy) value.

        Raises: NothingHappened after `timeout_s`, with `dump()`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    seen = len(self.changes)
                    if value := condition():
                        return value
                    await self.wait_beyond(seen)
        except TimeoutError:
            raise NothingHappened(
                f"not within {timeout_s} s; the workspace now:\n{dump()}"
            ) from None
