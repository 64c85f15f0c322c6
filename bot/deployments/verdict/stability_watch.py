"""Watches a new release until it has proved itself, or failed to."""

from dataclasses import dataclass, replace
from datetime import timedelta

from bot.clock import Clock
from bot.deployments.dokku_facts import BuildRecord, Containers
from bot.deployments.ports import Dokku
from bot.deployments.verdict.decisions import Ended
from bot.deployments.verdict.evidence import Evidence, images_of, own_containers
from bot.deployments.verdict.outside_changes import outside_records
from bot.deployments.verdict.stability import Look, NextLook, Watched, judge
from bot.errors import DokkuError

AGAIN = timedelta(seconds=2)
"""Between looks that only wait for something to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """How the watching ended."""

    ended: Ended
    after: Containers | None
    """What the last look showed."""
    others: tuple[BuildRecord, ...]
    """Records that others began since the snapshot, oldest first."""
    unanswered: str | None = None
    """Why the last look was not answered, in a sentence; None: it was."""


class StabilityWatch:
    """Two looks a settle time apart, more when something moves in between."""

    def __init__(self, *, dokku: Dokku, clock: Clock, settle: timedelta, most: timedelta) -> None:
        self._dokku = dokku
        self._clock = clock
        self._settle = settle
        self._most = most
        self._unanswered: str | None = None

    async def watch(self, app: str, evidence: Evidence, first_look: Look) -> Stability:
        """Watch the release that `evidence` shows; `first_look` is its read of the containers.

        Waits at most `most`; then what is not proven is said to be unknown.
        """
        began = self._clock.monotonic()
        own = own_containers(evidence)
        known = Watched(
            own=own,
            images=images_of(own, evidence.after),
            before=evidence.before,
            settle=self._settle,
        )
        first: Look | None = None
        look = first_look
        while True:
            images = known.images | images_of(known.own, look.containers)
            known = replace(known, images=images)
            over = self._clock.monotonic() - began >= self._most.total_seconds()
            judged = judge(first, look, known, last_word=over)
            if isinstance(judged, Ended):
                # Who replaced it is asked once, when it is known that it ends.
                others = await self._others(app, evidence)
                named = judge(first, look, replace(known, others=others), last_word=over)
                return Stability(
                    ended=named if isinstance(named, Ended) else judged,
                    after=look.containers,
                    others=others,
                    unanswered=self._unanswered,
                )
            if judged is NextLook.BEGIN_AGAIN:
                first = look
            await self._clock.sleep(self._pause(first))
            look = await self.look(app)

    async def _others(self, app: str, evidence: Evidence) -> tuple[BuildRecord, ...]:
        ours = evidence.record.id if evidence.record else None
        try:
            records = await self._dokku.builds(app)
        except DokkuError:
            return evidence.others
        return outside_records(records, evidence.before, ours)

    def _pause(self, first: Look | None) -> timedelta:
        if first is None:
            return min(AGAIN, self._settle)
        left = self._settle - timedelta(seconds=self._clock.monotonic() - first.done)
        return left if left > timedelta(0) else min(AGAIN, self._settle)

    async def look(self, app: str) -> Look:
        """One read; None containers when the server does not answer."""
        began = self._clock.monotonic()
        containers: Containers | None = None
        self._unanswered = None
        try:
            containers = await self._dokku.containers(app)
        except DokkuError as error:
            self._unanswered = str(error)  # the next look may read it
        return Look(began=began, done=self._clock.monotonic(), containers=containers)
