"""The edit gate: which message may be edited next, and when.

Slack allows about 50 `chat.update` a minute for all messages of a workspace together. The gate
hands out 45 of them, the urgent ones first, and knows no message bodies: a message is rendered
when its turn has come, so that a newer state always takes the place of a waiting one.
Source: Slack docs, "Rate limits" (tier 3, one minute windows, `Retry-After`).
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from bot.clock import Clock
from bot.deployments.ports import Urgency

PER_MINUTE = 45
WINDOW_S = 60.0
SPACING_S = 2.0
"""Between two edits of one message."""
REFRESH_S = 10.0
"""A running message is refreshed this often while few deployments run."""
REFRESHES_PER_MINUTE = 40
"""What the interval of all routine refreshes together comes to."""
KEPT_FREE = {Urgency.NOW: 0, Urgency.PHASE: 6, Urgency.ROUTINE: 7}
"""Edits of each minute that this urgency leaves to the more urgent ones.

Up to six running deployments may end in one instant and show it at once. Six take 36 refreshes
a minute; each edit that leaves the minute makes room for the most urgent one that waits.
"""
ROUTINE_SPACING_S = 0.5
"""Between the start of a routine edit and the edit before it: no bursts (after a restart)."""
PATIENCE_S = 90.0
"""A refresh that has waited this much longer than it should counts as a phase."""


@dataclass(frozen=True, slots=True)
class Go:
    """Edit this message now, then call `done`."""

    key: str
    urgency: Urgency


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may go out for that long, unless `want` or `done` is called before."""

    seconds: float


@dataclass(slots=True, kw_only=True)
class _Wish:
    """One message that wants an edit."""

    urgency: Urgency
    since: float
    """When it was first wanted, whatever its urgency was then."""
    not_before: float


class EditGate:
    """Admission of edits. Not a task: ask `take` again whenever something happened.

    `running` counts the deployments of this replica whose messages are refreshed; `replicas`
    the living replicas that share the workspace, each of which takes an equal part.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        running: Callable[[], int],
        replicas: Callable[[], int] = lambda: 1,
    ) -> None:
        self._clock = clock
        self._running = running
        self._replicas = replicas
        self._wishes: dict[str, _Wish] = {}
        self._in_flight: set[str] = set()
        self._done_at: dict[str, float] = {}
        self._window: deque[float] = deque()
        self._last_start = float("-inf")
        self._paused_until = float("-inf")

    def refresh_interval(self) -> timedelta:
        """How often a running message is refreshed: max(10 s, 60 N / 40 s)."""
        together = max(0, self._running()) * max(1, self._replicas())
        return timedelta(seconds=max(REFRESH_S, 60.0 * together / REFRESHES_PER_MINUTE))

    def running_together(self) -> int:
        """Deployments that share the limit; of other replicas an estimate."""
        return max(0, self._running()) * max(1, self._replicas())

    def want(self, key: str, urgency: Urgency, *, hold: timedelta = timedelta(0)) -> bool:
        """Ask for an edit of a message, not earlier than `hold` from now.

        A wish that waits already is kept; a more urgent one takes its urgency and its hold.
        Returns whether `take` may answer differently now.
        """
        now = self._clock.monotonic()
        not_before = now + hold.total_seconds()
        known = self._wishes.get(key)
        if known is None:
            self._wishes[key] = _Wish(urgency=urgency, since=now, not_before=not_before)
            return True
        if urgency < known.urgency:
            known.urgency, known.not_before = urgency, not_before
            return True
        if urgency == known.urgency and not_before < known.not_before:
            known.not_before = not_before
            return True
        return False

    def forget(self, key: str) -> None:
        """Drop the wish of a message, if there is one."""
        self._wishes.pop(key, None)

    def wants(self, key: str) -> bool:
        """Whether an edit of this message waits."""
        return key in self._wishes

    def waiting(self, most: Urgency) -> bool:
        """Whether an edit of at least this urgency waits or is in flight."""
        return bool(self._in_flight) or any(w.urgency <= most for w in self._wishes.values())

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
        settled = [
            other
            for other, at in self._done_at.items()
            if now - at > SPACING_S and other not in self._wishes and other not in self._in_flight
        ]
        for other in settled:
            del self._done_at[other]

    def take(self) -> Go | Wait | None:
        """The most urgent edit that may go out now; else how long to wait; None: no wishes.

        Within one urgency the one that has waited longest goes first.
        """
        now = self._clock.monotonic()
        while self._window and self._window[0] <= now - WINDOW_S:
            self._window.popleft()
        interval_s = self.refresh_interval().total_seconds()
        admitted_at = {urgency: self._admitted_at(urgency, now) for urgency in Urgency}
        best: tuple[Urgency, float, str] | None = None
        soonest = float("inf")
        for key, wish in self._wishes.items():
            if key in self._in_flight:
                continue
            ready_at = self._ready_at(key, wish, interval_s)
            urgency = _promoted(wish, ready_at, now)
            ready_at = max(ready_at, admitted_at[urgency])
            if ready_at > now:
                soonest = min(soonest, ready_at)
            elif best is None or (urgency, wish.since) < best[:2]:
                best = (urgency, wish.since, key)
        if best is not None:
            key = best[2]
            urgency = self._wishes.pop(key).urgency
            self._in_flight.add(key)
            self._last_start = now
            return Go(key, urgency)
        if soonest == float("inf"):
            return Wait(WINDOW_S) if self._wishes else None
        return Wait(soonest - now)

    def _ready_at(self, key: str, wish: _Wish, interval_s: float) -> float:
        """When the message itself may be edited again, whatever the others do."""
        spacing = interval_s if wish.urgency is Urgency.ROUTINE else SPACING_S
        return max(wish.not_before, self._done_at.get(key, float("-inf")) + spacing)

    def _admitted_at(self, urgency: Urgency, now: float) -> float:
        """When the minute's budget has room for an edit of this urgency.

        An edit counts from its start until a minute after its end: Slack counts it when it
        arrives, which is somewhere in between.
        """
        share = max(1, PER_MINUTE // max(1, self._replicas()))
        free = min(share - 1, math.ceil(KEPT_FREE[urgency] * share / PER_MINUTE))
        room = share - free - len(self._window) - len(self._in_flight)
        at = max(now, self._paused_until)
        if urgency is Urgency.ROUTINE:
            at = max(at, self._last_start + ROUTINE_SPACING_S)
        if room > 0:
            return at
        if len(self._window) < 1 - room:
            return float("inf")  # edits in flight hold the room: `done` will tell
        return max(at, self._window[-room] + WINDOW_S)


def _promoted(wish: _Wish, ready_at: float, now: float) -> Urgency:
    """Nothing starves: a refresh that has waited for long counts as a phase; ends stay first."""
    overdue = now - max(ready_at, wish.since) > PATIENCE_S
    return Urgency.PHASE if overdue and wish.urgency is Urgency.ROUTINE else wish.urgency
