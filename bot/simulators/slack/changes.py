"""The log of everything that happened in the workspace, and waiting for more."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from bot.simulators.slack.clock import Clock

T = TypeVar("T")


class NothingHappened(AssertionError):
    """`until` timed out; the text shows the workspace as it was at the end."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One entry of the log."""

    number: int
    at: datetime
    kind: str
    detail: str


class ChangeLog:
    """Append-only. The page and tests wait on it instead of polling."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self.entries: list[Change] = []
        self._wakers: set[asyncio.Event] = set()

    def add(self, kind: str, detail: str = "") -> None:
        """Append an entry and wake everyone who waits."""
        self.entries.append(
            Change(number=len(self.entries), at=self._clock.now(), kind=kind, detail=detail)
        )
        for waker in self._wakers:
            waker.set()

    async def wait_beyond(self, number: int) -> int:
        """Wait until the log is longer than `number`; return its length. There is no timeout."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            while len(self.entries) <= number:
                waker.clear()
                await waker.wait()
            return len(self.entries)
        finally:
            self._wakers.discard(waker)

    async def until(
        self, condition: Callable[[], T], *, timeout_s: float, dump: Callable[[], str]
    ) -> T:
        """Check `condition` after every change until it is truthy; return its value.

        Raises NothingHappened after `timeout_s`, with `dump()`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    seen = len(self.entries)
                    if value := condition():
                        return value
                    await self.wait_beyond(seen)
        except TimeoutError:
            raise NothingHappened(
                f"nothing after {timeout_s} s; the workspace now:\n{dump()}"
            ) from None
