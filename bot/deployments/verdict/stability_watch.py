"""Watches a new release until it has proved itself, or failed to."""

from dataclasses import dataclass, replace
from datetime import timedelta

from bot.clock import Clock
from bot.deployments.dokku_facts import BuildRecord, Containers
from bot.deployments.ports import Dokku
from bot.deployments.verdict.evidence import Evidence, ours_images, ours_of
from bot.deployments.verdict.outside_changes import begun_by_others
from bot.deployments.verdict.rules import Verdict
from bot.deployments.verdict.stability import Look, Settling, Step, judge
from bot.errors import DokkuError

AGAIN = timedelta(seconds=2)
"""Between looks that only wait for something to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """How the watching ended."""

    verdict: Verdict
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

    async def watch(self, app: str, evidence: Evidence, first_look: Look) -> Watched:
        """Watch the release that `evidence` shows; `first_look` is its read of the containers.

        Waits at most `most`; then what is not proven is said to be unknown.
        """
        began = self._clock.monotonic()
        known = Settling(
            ours=ours_of(evidence),
            images=ours_images(ours_of(evidence), evidence.after),
            before=evidence.before,
            settle=self._settle,
        )
        first: Look | None = None
        look = first_look
        while True:
            images = known.images | ours_images(known.ours, look.containers)
            known = replace(known, images=images)
            over = self._clock.monotonic() - began >= self._most.total_seconds()
            judgement = judge(first, look, known, last_word=over)
            if judgement.verdict is not None:
                # Who replaced it is asked once, when it is known that it ends.
                others = await self._others(app, evidence)
                named = judge(first, look, replace(known, others=others), last_word=over)
                return Watched(
                    verdict=named.verdict or judgement.verdict,
                    after=look.containers,
                    others=others,
                    unanswered=self._unanswered,
                )
            if judgement.step is Step.BEGIN_AGAIN:
                first = look
            await self._clock.sleep(self._pause(first))
            look = await self.look(app)

    async def _others(self, app: str, evidence: Evidence) -> tuple[BuildRecord, ...]:
        ours = evidence.record.id if evidence.record else None
        try:
            records = await self._dokku.builds(app)
        except DokkuError:
            return evidence.others
        return begun_by_others(records, evidence.before, ours)

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
