"""The outbox: messages to the outside, kept in the database until they are delivered or given up.

A *row* is one message to one receiver. A *lane* is all rows of one receiver: a webhook endpoint,
or Slack (the reply that mentions the requester). The order within a deployment is kept; rows of
other deployments do not wait. A crash at any point means that a row is delivered again with the
same id, never that it is lost.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

import structlog

from bot.clock import Clock, first_of
from bot.deployments.model import Deployment, Event

_log = structlog.get_logger(__name__)

WEBHOOKS = "webhook:"
"""Prefix of the lanes of webhook endpoints."""
SLACK_LANE = "slack"
"""The lane of the reply that mentions the requester; `bot.slack.thread_replies` serves it."""
RESULTS_LANE = "results"
"""The lane of results for the channels of `notify`; `bot.slack.result_posts` serves it."""
NOTICES_LANE = "notices"
"""The lane of messages about locks; `bot.slack.notices` serves it."""

# Types of events
STARTED = "deployment.started"
FINISHED = "deployment.finished"
CORRECTED = "deployment.corrected"
NOTE = "deployment.note"
"""Only for the thread: no webhook sends it."""
APPROVAL = "deployment.approval"
"""Asks the approvers, in the thread."""


# --- rows, endpoints, and the store of both


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One row: delivered at least once, with the same id at each attempt."""

    id: str
    """ULID; the webhook-id."""
    deployment_id: str
    """Of a notice: its receiver, a Slack channel or user."""
    lane: str
    """The receiver: `slack`, or `webhook_lane(url)`."""
    kind: str
    """The event's type."""
    body: Mapping[str, object]
    """JSON. Without secrets."""
    tries: int = 0
    """Failed attempts."""
    created_at: datetime | None = None
    next_at: datetime | None = None
    last_error: str | None = None
    state: str = "waiting"
    """waiting, delivered, given_up."""
    held_until: datetime | None = field(default=None, compare=False)
    """Until when a taken row is held: no other process takes it before."""
    may_send: Callable[[], bool] = field(default=lambda: True, compare=False, repr=False)
    """Whether it is still held, by this machine's clock: asked right before what has no key."""


def webhook_lane(url: str) -> str:
    """Name the lane of an endpoint: its host and a digest, for the whole URL may be a secret."""
    host = urlsplit(url).netloc.rpartition("@")[2].lower()
    return f"{WEBHOOKS}{host}/{hashlib.sha256(url.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A webhook endpoint of the settings."""

    url: str = field(repr=False)
    """Slack's holds a secret."""
    secret: str = field(repr=False)
    """As configured: `whsec_` and base64, or any text. Never logged, stored or printed."""
    events: frozenset[str] = frozenset({FINISHED, CORRECTED})
    apps: frozenset[str] | None = None
    """None: all apps."""
    format: str = "standard"
    """`standard` (Standard Webhooks JSON) or `slack` (an incoming-webhook message)."""

    @property
    def lane(self) -> str:
        """Its lane in the outbox."""
        return webhook_lane(self.url)

    def wants(self, event: str, app: str) -> bool:
        """Whether it subscribed to this event of this app."""
        return event in self.events and (self.apps is None or app in self.apps)


Planner = Callable[[Deployment, Event], Sequence[Outgoing]]
"""Turns an event into a row for each receiver; pure, called inside the store's transaction."""


class Outbox(Protocol):
    """The rows in the database."""

    async def take(
        self, lane: str, *, limit: int, hold: timedelta, left: Sequence[Outgoing] = ()
    ) -> Sequence[Outgoing]:
        """Take due rows of a lane (exact name): of each deployment only the oldest undelivered one.

        They are invisible to others for `hold`, so that two replicas do not send one twice. Those
        of `left` that nobody has touched are due, whatever the wall clock was set to.
        """
        ...

    async def prolong(self, taken: Outgoing, hold: timedelta) -> Outgoing | None:
        """Hold a row that was taken for another `hold`. None: it was taken by another since."""
        ...

    async def delivered(self, outgoing_id: str) -> None:
        """Mark a row as delivered."""
        ...

    async def retry(self, taken: Outgoing, *, at: datetime, error: str) -> None:
        """Note a failed attempt; the next one is at `at`. `error` is redacted.

        Nothing happens if another has taken the row since.
        """
        ...

    async def give_up(self, outgoing_id: str, *, error: str) -> None:
        """Make no further attempt; the row is kept for `webhooks list` and `replay`."""
        ...

    async def outgoing(self, *, limit: int = 50) -> Sequence[Outgoing]:
        """Rows of webhook lanes, newest first, for operators."""
        ...

    async def replay(self, outgoing_id: str) -> bool:
        """Make a row due again, with its attempts forgotten. False: no such row."""
        ...

    async def turn_off(self, lane: str, reason: str) -> None:
        """Deliver nothing to the lane until `turn_on`: the endpoint answered 410."""
        ...

    async def turn_on(self, lane: str) -> bool:
        """Deliver again. False: it was not off."""
        ...


# --- delivering


@dataclass(frozen=True, slots=True)
class Delivered:
    """The row was delivered. `note` is for the log: why nothing had to be sent, if so."""

    note: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The row was not delivered, or it is unknown: try again. `error` is redacted."""

    error: str


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """No further attempt can succeed. `error` is redacted."""

    error: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver wants no more messages: the lane is turned off."""

    reason: str


Attempt = Delivered | Failed | Undeliverable | Gone
"""The result of one attempt to deliver a row."""
Deliver = Callable[[Outgoing], Awaitable[Attempt]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneTiming:
    """When a lane reads the outbox and tries again."""

    retry_after: tuple[timedelta, ...] = tuple(
        timedelta(seconds=s) for s in (5, 30, 120, 600, 3_600, 21_600)
    )
    """Pauses after the failed attempts in turn; then the row is given up (docs/webhooks.md)."""
    hold: timedelta = timedelta(seconds=60)
    """A row taken by a dead process is due again after it. A living one prolongs it, or ends."""
    idle: timedelta = timedelta(seconds=5)
    """Between two reads without a kick: for rows of other replicas, and of earlier processes."""
    at_once: int = 8
    """Deliveries at the same time, each of another deployment."""


@dataclass(kw_only=True)
class OutboxLane:
    """Delivers the rows of one lane. `run` until `stop`; `kick` when a row may have been written.

    It knows when to read, how many to deliver at once, when to try again; `deliver` tries once.
    """

    lane: str
    outbox: Outbox
    deliver: Deliver
    clock: Clock
    timing: LaneTiming = field(default_factory=LaneTiming)
    count: Callable[[str], None] = lambda _outcome: None
    """Called with each outcome: `delivered`, `retried`, `given_up`, `turned_off`."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False
    _left: list[tuple[float, datetime, Outgoing]] = field(default_factory=list)
    """When rows are due again, in monotonic seconds and by the wall clock, which may be set."""
    _in_flight: dict[asyncio.Task[None], str] = field(default_factory=dict)
    """Deliveries under way, and the ids of their rows."""

    def kick(self) -> None:
        """Read the outbox now. Returns at once."""
        self._wake.set()

    def on_change(self, kind: str, _deployment_id: str) -> None:
        """Something was written to the database."""
        if kind == "outbox":
            self.kick()

    def stop(self) -> None:
        """Deliver what is due now, then let `run` return."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped. Cancelling it drops deliveries in flight; their rows stay."""
        try:
            while True:
                self._wake.clear()
                found = await self._take()
                if self._stopping and not found and not self._in_flight:
                    return
                await self._pause()
        finally:
            for task in self._in_flight:
                task.cancel()
            await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def _take(self) -> bool:
        free = self.timing.at_once - len(self._in_flight)
        if free <= 0:
            return False
        now, wall = self.clock.monotonic(), self.clock.now()
        # Only a clock that was set back shows what is due as not due yet.
        self._left = [one for one in self._left if one[0] > now or one[1] > wall]
        left = [row for due, _, row in self._left if due <= now]
        try:
            rows = await self.outbox.take(self.lane, limit=free, hold=self.timing.hold, left=left)
        except Exception as error:  # noqa: BLE001 - the top of the lane's loop
            _log.warning("outbox_not_read", lane=self.lane, error=type(error).__name__)
            return False
        for row in rows:
            # One whose hold ended early (the clock was put forward) is still under way.
            if row.id in self._in_flight.values():
                continue
            task = asyncio.create_task(self._attempt(row))
            self._in_flight[task] = row.id
            task.add_done_callback(self._done)
        return bool(rows)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.pop(task, None)
        self._wake.set()

    async def _pause(self) -> None:
        now = self.clock.monotonic()
        later = (due - now for due, *_ in self._left if due > now)
        wait = min([self.timing.idle.total_seconds(), *later])
        woken = asyncio.create_task(self._wake.wait())
        slept = asyncio.create_task(self.clock.sleep(timedelta(seconds=wait)))
        try:
            await asyncio.wait({woken, slept}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            slept.cancel()
            await asyncio.gather(woken, slept, return_exceptions=True)

    async def _attempt(self, row: Outgoing) -> None:
        log = _log.bind(lane=self.lane, outgoing=row.id, deployment_id=row.deployment_id)
        try:
            try:
                row, attempt = await self._deliver(row)
            except Exception as error:  # a bug must not lose the row
                log.exception("delivery_raised")
                attempt = Failed(f"internal error: {type(error).__name__}")
            outcome = await self._store(row, attempt)
        except Exception:
            log.exception("delivery_not_stored")
            return
        log.info(
            "delivery_attempted",
            outcome=outcome,
            kind=row.kind,
            tries=row.tries,
            detail=_detail(attempt),
        )
        self.count(outcome)

    async def _deliver(self, row: Outgoing) -> tuple[Outgoing, Attempt]:
        """One attempt, while no other process may take the row; the row as it is held then.

        By this machine's clock: a hold that could not be prolonged ends the attempt, as the
        next one may begin in another process. The receiver gets the same id.
        """
        hold_s = self.timing.hold.total_seconds()
        until = self.clock.monotonic() + hold_s * 3 / 4
        held_here = replace(row, may_send=lambda: self.clock.monotonic() < until)
        attempt = asyncio.ensure_future(self.deliver(held_here))
        try:
            while not attempt.done():
                pause = self.clock.sleep(timedelta(seconds=hold_s / 4))
                await first_of(asyncio.wait({attempt}), pause)
                if attempt.done():
                    break
                asked_at = self.clock.monotonic()
                held = await self._prolong(row) if asked_at < until else None
                if held is not None:
                    row, until = held, asked_at + hold_s * 3 / 4
                if self.clock.monotonic() >= until:
                    return row, Failed("it took too long while the database did not answer")
            return row, attempt.result()
        finally:
            attempt.cancel()
            await asyncio.gather(attempt, return_exceptions=True)

    async def _prolong(self, row: Outgoing) -> Outgoing | None:
        try:
            return await self.outbox.prolong(row, self.timing.hold)
        except Exception as error:  # noqa: BLE001 - tried again while the hold lasts
            _log.warning("hold_not_prolonged", outgoing=row.id, error=type(error).__name__)
            return None

    async def _store(self, row: Outgoing, attempt: Attempt) -> str:
        match attempt:
            case Delivered():
                await self.outbox.delivered(row.id)
                return "delivered"
            case Undeliverable(error):
                await self.outbox.give_up(row.id, error=error)
                return "given_up"
            case Gone(reason):
                await self.outbox.turn_off(self.lane, reason)
                await self._retry(row, self.timing.retry_after[0], reason)
                return "turned_off"
            case Failed(error):
                if row.tries >= len(self.timing.retry_after):
                    await self.outbox.give_up(row.id, error=error)
                    return "given_up"
                await self._retry(row, self.timing.retry_after[row.tries], error)
                return "retried"

    async def _retry(self, row: Outgoing, after: timedelta, error: str) -> None:
        at, due = self.clock.now() + after, self.clock.monotonic() + after.total_seconds()
        self._left.append((due, at, replace(row, held_until=at)))
        await self.outbox.retry(row, at=at, error=error)


def _detail(attempt: Attempt) -> str | None:
    match attempt:
        case Delivered(note):
            return note
        case Failed(text) | Undeliverable(text) | Gone(text):
            return text


@asynccontextmanager
async def open_lanes(
    lanes: Sequence[OutboxLane], *, drain: timedelta = timedelta(seconds=1)
) -> AsyncIterator[None]:
    """Run each lane in its task. Leaving takes at most `drain`; then deliveries are cancelled."""
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
