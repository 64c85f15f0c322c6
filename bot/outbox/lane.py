"""Works off one lane of the outbox: in order within a deployment, others do not wait.

The lane knows when to look, how many at once and when to try again; `deliver` knows how to
tell. What is told stands in the database until it is marked, so a crash at any point means
telling again with the same id, never forgetting.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.outbox.model import Outbox, Outgoing

_log = structlog.get_logger(__name__)

RETRY_AFTER = tuple(timedelta(seconds=s) for s in (5, 30, 120, 600, 3_600, 21_600))
"""After each failed try in turn; then it is given up (product contract: Webhooks)."""


@dataclass(frozen=True, slots=True)
class Told:
    """It arrived. `note` is for the log: why nothing had to be sent, if so."""

    note: str | None = None


@dataclass(frozen=True, slots=True)
class NotTold:
    """It did not arrive, or nobody knows: try again. `error` is redacted."""

    error: str


@dataclass(frozen=True, slots=True)
class NeverTold:
    """It cannot arrive, however often it is tried. `error` is redacted."""

    error: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The other side wants to hear nothing any more: the lane is turned off."""

    reason: str


Answer = Told | NotTold | NeverTold | TurnedAway
Deliver = Callable[[Outgoing], Awaitable[Answer]]


def _count_nothing(_outcome: str) -> None:
    """For lanes without a metric."""


@dataclass(kw_only=True)
class OutboxLane:
    """One lane. `run` until `stop`; `kick` when a row may have been written."""

    lane: str
    outbox: Outbox
    deliver: Deliver
    clock: Clock
    retry_after: Sequence[timedelta] = RETRY_AFTER
    hold: timedelta = timedelta(seconds=60)
    """Longer than one delivery may take: a row held by a dead process comes back after it."""
    idle: timedelta = timedelta(seconds=5)
    """How often to look unasked: for rows of other replicas, and of former lives."""
    most: int = 8
    """Deliveries at once; of different deployments."""
    count: Callable[[str], None] = _count_nothing
    """Called with each outcome: `delivered`, `retried`, `given_up`, `turned_off`."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False
    _due_in: list[float] = field(default_factory=list)
    _flying: set[asyncio.Task[None]] = field(default_factory=set)

    def kick(self) -> None:
        """Look now. Returns at once."""
        self._wake.set()

    def stop(self) -> None:
        """Deliver what is due at this moment, then let `run` return."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped. Cancelling it drops deliveries in flight; rows stay."""
        try:
            while True:
                self._wake.clear()
                found = await self._look()
                if self._stopping and not found and not self._flying:
                    return
                await self._pause()
        finally:
            for task in self._flying:
                task.cancel()
            await asyncio.gather(*self._flying, return_exceptions=True)

    async def _look(self) -> bool:
        free = self.most - len(self._flying)
        if free <= 0:
            return False
        try:
            rows = await self.outbox.take(self.lane, limit=free, hold=self.hold)
        except Exception as error:  # noqa: BLE001 - the top of the lane's loop
            _log.warning("outbox_not_read", lane=self.lane, error=type(error).__name__)
            return False
        for row in rows:
            task = asyncio.create_task(self._tell(row))
            self._flying.add(task)
            task.add_done_callback(self._landed)
        return bool(rows)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.discard(task)
        self._wake.set()

    async def _pause(self) -> None:
        now = self.clock.monotonic()
        self._due_in = [due for due in self._due_in if due > now]
        wait = min([self.idle.total_seconds(), *(due - now for due in self._due_in)])
        woken = asyncio.create_task(self._wake.wait())
        rested = asyncio.create_task(self.clock.sleep(timedelta(seconds=wait)))
        try:
            await asyncio.wait({woken, rested}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            rested.cancel()
            await asyncio.gather(woken, rested, return_exceptions=True)

    async def _tell(self, row: Outgoing) -> None:
        log = _log.bind(lane=self.lane, outgoing=row.id, deployment_id=row.deployment_id)
        try:
            try:
                answer = await self.deliver(row)
            except Exception as error:  # a fault of ours must not lose the row
                log.exception("outgoing_raised")
                answer = NotTold(f"internal error: {type(error).__name__}")
            outcome = await self._mark(row, answer)
        except Exception:
            log.exception("outgoing_not_marked")
            return
        log.info(
            "outgoing_tried", outcome=outcome, kind=row.kind, tries=row.tries, said=_said(answer)
        )
        self.count(outcome)

    async def _mark(self, row: Outgoing, answer: Answer) -> str:
        match answer:
            case Told():
                await self.outbox.delivered(row.id)
                return "delivered"
            case NeverTold(error):
                await self.outbox.give_up(row.id, error=error)
                return "given_up"
            case TurnedAway(reason):
                await self.outbox.turn_off(self.lane, reason)
                await self._again(row, self.retry_after[0], reason)
                return "turned_off"
            case NotTold(error):
                if row.tries >= len(self.retry_after):
                    await self.outbox.give_up(row.id, error=error)
                    return "given_up"
                await self._again(row, self.retry_after[row.tries], error)
                return "retried"

    async def _again(self, row: Outgoing, after: timedelta, error: str) -> None:
        self._due_in.append(self.clock.monotonic() + after.total_seconds())
        await self.outbox.retry(row.id, at=self.clock.now() + after, error=error)


def _said(answer: Answer) -> str | None:
    match answer:
        case Told(note):
            return note
        case NotTold(text) | NeverTold(text) | TurnedAway(text):
            return text


@asynccontextmanager
async def open_lanes(
    lanes: Sequence[OutboxLane], *, drain: timedelta = timedelta(seconds=1)
) -> AsyncIterator[None]:
    """Run lanes, each in a task of its own. Leaving takes at most `drain`, and cancels then."""
    tasks = [asyncio.create_task(lane.run()) for lane in lanes]
    try:
        yield
    finally:
        for lane in lanes:
            lane.stop()
        if tasks:
            await asyncio.wait(tasks, timeout=drain.total_seconds())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
