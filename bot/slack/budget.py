"""The edit gate: which message may be edited next, and when.

It keeps all edits together within Slack's limit, the urgent ones first. It knows no message
bodies: a message is rendered when its turn has come, so it always shows the newest state.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from bot.clock import Clock
from bot.deployments.ports import Urgency
from bot.deployments.store_parts import Replica
from bot.errors import StoreError
from bot.slack.limits import EditLimits

log = structlog.get_logger(__name__)

WINDOW_S = 60.0
COUNTS_FOR = timedelta(seconds=WINDOW_S)


class Beat(Protocol):
    """Note this replica; all that were seen within that time."""

    def __call__(
        self,
        running: int,
        seen_within: timedelta,
        /,
        *,
        listens: bool,
        posting: Collection[str],
    ) -> Awaitable[Sequence[Replica]]:
        """See `Leases.beat`."""
        ...


KEPT_FREE = {Urgency.NOW: 0, Urgency.PHASE: 6, Urgency.ROUTINE: 7}
"""Edits of each minute that this urgency leaves to the more urgent ones.

Up to six running deployments may end in one instant and show it at once. Six take 36 refreshes
a minute; each edit that leaves the minute makes room for the most urgent one that waits.
"""


@dataclass(frozen=True, slots=True)
class Go:
    """Edit this message now, then call `done`."""

    key: str
    urgency: Urgency


@dataclass(frozen=True, slots=True)
class Wait:
    """No edit for that long, unless `want` or `done` is called before."""

    seconds: float


async def _not_yet() -> bool:
    return False


class BudgetShare:
    """The part of Slack's limit that this replica may use: all replicas together have one.

    Half of it belongs to all alike, half to those that drive deployments. A replica counts for a
    minute after its last heartbeat: for that long Slack counts the edits that it made before.
    """

    def __init__(
        self, beat: Beat, *, clock: Clock, posts_for: timedelta = timedelta(seconds=15)
    ) -> None:
        """`posts_for`: how long after its last heartbeat a replica counts as posting."""
        self._beat = beat
        self._clock = clock
        self._posts_for = posts_for
        self._looking = asyncio.Lock()
        self._driven = 0
        self._listens: Callable[[], Awaitable[bool]] = _not_yet
        self._posting: Callable[[], Collection[str]] = frozenset
        self._posting_elsewhere: frozenset[str] = frozenset()
        self._fractions: deque[tuple[float, float]] = deque()
        """When a part became known, and the part; those of the last minute and the one before."""

    def tell_what_is_posted(self, posting: Callable[[], Collection[str]]) -> None:
        """From now on, the other replicas learn what this one posts."""
        self._posting = posting

    def tell_who_listens(self, listens: Callable[[], Awaitable[bool]]) -> None:
        """From now on, the other replicas learn whether this one takes requests."""
        self._listens = listens

    def posting(self) -> Collection[str]:
        """Deployments that this replica is posting, and those of others at the last look."""
        return self._posting_elsewhere.union(self._posting())

    @property
    def fraction(self) -> float:
        """The smallest part of the last minute; the last known while the database is away.

        Work moves from one replica to another sooner than Slack forgets the edits of the first.
        Parts of one instant add up to 1, so the smallest ones of each minute never exceed that.
        """
        # Others learn of a change some heartbeats later.
        since = self._clock.monotonic() - WINDOW_S - self._posts_for.total_seconds()
        while len(self._fractions) > 1 and self._fractions[1][0] <= since:
            self._fractions.popleft()
        return min((part for _, part in self._fractions), default=1.0)

    async def look(self, driven: int) -> None:
        """Tell the others how many deployments this one drives, and look who else lives."""
        async with self._looking:
            listens, posting = await self._listens(), tuple(self._posting())
            try:
                seen = await self._beat(driven, COUNTS_FOR, listens=listens, posting=posting)
            except StoreError as error:
                log.warning("replicas_not_counted", why=str(error))
                return
        self._driven = driven
        alive = [one for one in seen if one.unseen_for <= self._posts_for]
        self._posting_elsewhere = frozenset[str]().union(*(one.posting for one in alive))
        part = fraction(driven, [one.running for one in seen])
        self._fractions.append((self._clock.monotonic(), part))

    def load(self, running: int) -> float:
        """How many deployments would share the whole limit as these here share their part."""
        return running if self.fraction == 1.0 else max(running, self._driven / self.fraction)


def fraction(mine: int, all_running: Sequence[int]) -> float:
    """The part of a replica that drives `mine` deployments; the parts of all add up to 1."""
    alike = 1 / max(1, len(all_running))
    total = sum(all_running)
    return alike if total == 0 else (alike + mine / total) / 2


@dataclass(slots=True, kw_only=True)
class _WantedEdit:
    """One message that wants an edit."""

    urgency: Urgency
    since: float
    """When it was first wanted, whatever its urgency was then."""
    not_before: float


class EditGate:
    """Admission of edits. Not a task: call `take` again whenever something happened.

    `running` counts the deployments, whose messages are refreshed.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        running: Callable[[], int],
        limits: EditLimits | None = None,
        share: BudgetShare | None = None,
    ) -> None:
        self._share = share
        self._clock = clock
        self._running = running
        self._limits = limits or EditLimits()
        self._wanted: dict[str, _WantedEdit] = {}
        self._in_flight: set[str] = set()
        self._done_at: dict[str, float] = {}
        self._window: deque[float] = deque()
        self._last_start = float("-inf")
        self._paused_until = float("-inf")

    @property
    def running(self) -> int:
        """Deployments whose messages share the limit."""
        return max(0, self._running())

    def refresh_interval(self) -> timedelta:
        """How often a running message is refreshed: max(10 s, 60 N / 40 s)."""
        load = self._share.load(self.running) if self._share else self.running
        shared = WINDOW_S * load / self._limits.refreshes_per_minute
        return timedelta(seconds=max(self._limits.refresh_s, shared))

    def want(self, key: str, urgency: Urgency, *, hold: timedelta = timedelta(0)) -> bool:
        """Ask for an edit of a message, not earlier than `hold` from now.

        An edit that is wanted already stays; the more urgent request decides urgency and hold.
        Returns whether `take` may answer differently now.
        """
        now = self._clock.monotonic()
        not_before = now + hold.total_seconds()
        known = self._wanted.get(key)
        if known is None:
            self._wanted[key] = _WantedEdit(urgency=urgency, since=now, not_before=not_before)
            return True
        if urgency < known.urgency:
            known.urgency, known.not_before = urgency, not_before
            return True
        if urgency == known.urgency and not_before < known.not_before:
            known.not_before = not_before
            return True
        return False

    def forget(self, key: str) -> None:
        """The message needs no edit any more."""
        self._wanted.pop(key, None)

    def wants(self, key: str) -> bool:
        """Whether an edit of this message is waiting."""
        return key in self._wanted

    def waiting(self, most: Urgency) -> bool:
        """Whether an edit of at least this urgency is waiting or in flight."""
        return bool(self._in_flight) or any(w.urgency <= most for w in self._wanted.values())

    def pause(self, duration: timedelta) -> None:
        """Slack said 429: no edit at all for that long."""
        until = self._clock.monotonic() + duration.total_seconds()
        self._paused_until = max(self._paused_until, until)

    def done(self, key: str, *, edited: bool = True) -> None:
        """An edit handed out by `take` ended. `edited=False`: no call was made after all."""
        now = self._clock.monotonic()
        self._in_flight.discard(key)
        if not edited:
            return
        self._window.append(now)
        self._done_at[key] = now
        due = self._wanted.keys() | self._in_flight
        idle = [
            other
            for other, at in self._done_at.items()
            if now - at > self._limits.spacing_s and other not in due
        ]
        for other in idle:
            del self._done_at[other]

    def take(self) -> Go | Wait | None:
        """The most urgent edit that may go out now; else how long to wait; None: nothing to edit.

        Within one urgency the one that waited longest goes first.
        """
        now = self._clock.monotonic()
        while self._window and self._window[0] <= now - WINDOW_S:
            self._window.popleft()
        part = self._share.fraction if self._share else 1.0
        admitted_at = {urgency: self._admitted_at(urgency, now, part) for urgency in Urgency}
        spacing_s = dict.fromkeys(Urgency, self._limits.spacing_s)
        spacing_s[Urgency.ROUTINE] = self.refresh_interval().total_seconds()
        best: tuple[Urgency, float, str] | None = None
        soonest = float("inf")
        for key, wanted in self._wanted.items():
            if key in self._in_flight:
                continue
            # When the message itself may be edited again, whatever the others do.
            ready_at, urgency = wanted.not_before, wanted.urgency
            if key in self._done_at:
                ready_at = max(ready_at, self._done_at[key] + spacing_s[urgency])
            if urgency is Urgency.ROUTINE:
                urgency = self._promoted(wanted, ready_at, now)
            ready_at = max(ready_at, admitted_at[urgency])
            if ready_at > now:
                soonest = min(soonest, ready_at)
            elif best is None or (urgency, wanted.since) < best[:2]:
                best = (urgency, wanted.since, key)
        if best is not None:
            key = best[2]
            urgency = self._wanted.pop(key).urgency
            self._in_flight.add(key)
            self._last_start = now
            return Go(key, urgency)
        if soonest == float("inf"):
            return Wait(WINDOW_S) if self._wanted else None
        return Wait(soonest - now)

    def _admitted_at(self, urgency: Urgency, now: float, part: float) -> float:
        """When the minute's budget has room for an edit of this urgency.

        An edit counts from its start until a minute after its end: Slack counts it when it
        arrives, which is somewhere in between.
        """
        most = max(1, int(self._limits.per_minute * part))
        room = (
            most
            - min(most - 1, round(KEPT_FREE[urgency] * part))
            - len(self._window)
            - len(self._in_flight)
        )
        at = max(now, self._paused_until)
        if urgency is Urgency.ROUTINE:
            at = max(at, self._last_start + self._limits.routine_spacing_s)
        if room > 0:
            return at
        if len(self._window) < 1 - room:
            return float("inf")  # edits in flight take the room: wait for `done`
        return max(at, self._window[-room] + WINDOW_S)

    def _promoted(self, wanted: _WantedEdit, ready_at: float, now: float) -> Urgency:
        """Nothing starves: an overdue refresh counts as a phase; ends stay first."""
        overdue = now - max(ready_at, wanted.since) > self._limits.overdue_s
        return Urgency.PHASE if overdue else wanted.urgency
