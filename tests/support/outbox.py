"""An outbox in memory, and a clock that the test advances. Both implement their ports."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

from bot.clock import Clock
from bot.outbox import Outbox, Outgoing


class HandClock(Clock):
    """A clock that only `advance` moves. It starts now: signatures are checked in real time."""

    def __init__(self) -> None:
        self._start = datetime.now(UTC)
        self._elapsed = 0.0
        self._set_by = timedelta(0)
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> datetime:
        return self._start + self._set_by + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, duration: timedelta) -> None:
        if duration > timedelta(0):
            due = asyncio.Event()
            self._sleepers.append((self._elapsed + duration.total_seconds(), due))
            await due.wait()

    def set_wall(self, by: timedelta) -> None:
        """Set the wall clock; nobody who sleeps notices."""
        self._set_by += by

    def advance(self, duration: timedelta) -> None:
        self._elapsed += duration.total_seconds()
        for due, event in self._sleepers:
            if due <= self._elapsed:
                event.set()
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self._elapsed]


class MemoryOutbox(Outbox):
    """The port, without a database."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ids = count(1)
        self.rows: dict[str, Outgoing] = {}
        self.off: dict[str, str] = {}
        self.held: dict[str, datetime] = {}
        self.looks = 0
        self.left = 0
        """How many rows were said to be due whatever the wall clock shows."""
        self.news = asyncio.Condition()
        self.broken = 0
        """How many of the next calls of `take` fail."""

    def add(self, *, lane: str, deployment: str, body: dict[str, object] | None = None) -> str:
        key = f"out-{next(self._ids):03}"
        now = self._clock.now()
        self.rows[key] = Outgoing(
            id=key,
            deployment_id=deployment,
            lane=lane,
            kind="deployment.finished",
            body=body or {"n": key},
            created_at=now,
            next_at=now,
        )
        return key

    async def take(
        self, lane: str, *, limit: int, hold: timedelta, left: Sequence[Outgoing] = ()
    ) -> Sequence[Outgoing]:
        self.looks += 1
        self.left += len(left)
        if self.broken:
            self.broken -= 1
            await self._tell()
            raise ConnectionError("the database is away")
        now = self._clock.now()
        oldest: dict[str, Outgoing] = {}
        for row in self.rows.values():
            if row.lane == lane and row.state == "waiting":
                oldest.setdefault(row.deployment_id, row)
        untouched = {one.id for one in left if self.rows[one.id].next_at == one.held_until}
        due = [
            row
            for row in oldest.values()
            if row.id in untouched
            or ((row.next_at or now) <= now and self.held.get(row.id, now) <= now)
        ]
        taken = [] if lane in self.off else due[:limit]
        self.held |= {row.id: now + hold for row in taken}
        await self._tell()
        return taken

    async def prolong(self, taken: Outgoing, hold: timedelta) -> Outgoing | None:
        if self.broken:
            raise ConnectionError("the database is away")
        self.held[taken.id] = self._clock.now() + hold
        await self._tell()
        return taken

    async def delivered(self, outgoing_id: str) -> None:
        await self._put(replace(self.rows[outgoing_id], state="delivered"))

    async def retry(self, taken: Outgoing, *, at: datetime, error: str) -> None:
        self.held.pop(taken.id, None)
        row = self.rows[taken.id]
        await self._put(replace(row, next_at=at, last_error=error, tries=row.tries + 1))

    async def give_up(self, outgoing_id: str, *, error: str) -> None:
        row = self.rows[outgoing_id]
        await self._put(replace(row, state="given_up", last_error=error, tries=row.tries + 1))

    async def outgoing(self, *, limit: int = 50) -> Sequence[Outgoing]:
        return list(reversed(self.rows.values()))[:limit]

    async def replay(self, outgoing_id: str) -> bool:
        return outgoing_id in self.rows

    async def turn_off(self, lane: str, reason: str) -> None:
        self.off[lane] = reason
        await self._tell()

    async def turn_on(self, lane: str) -> bool:
        return self.off.pop(lane, None) is not None

    async def until_looked(self, times: int) -> None:
        """Wait until `take` was called this many times."""
        async with asyncio.timeout(5), self.news:
            await self.news.wait_for(lambda: self.looks >= times)

    async def until(self, outgoing_id: str, *, state: str = "waiting", tries: int = 0) -> Outgoing:
        """Wait until a row has this state and at least this number of failed attempts."""

        def reached() -> bool:
            row = self.rows[outgoing_id]
            return row.state == state and row.tries >= tries

        async with asyncio.timeout(5), self.news:
            await self.news.wait_for(reached)
        return self.rows[outgoing_id]

    async def _put(self, row: Outgoing) -> None:
        self.rows[row.id] = row
        await self._tell()

    async def _tell(self) -> None:
        async with self.news:
            self.news.notify_all()
