"""An in-memory cache of active deployments and those that ended a while ago.

A kill -9 may empty it; the store owns the truth. It also holds each deployment's progress,
which nobody needs after a restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from bot.clock import Clock
from bot.deployments.model import Deployment, Progress
from bot.deployments.states import ENDINGS, RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedDeployment:
    """One deployment as it is known at this moment."""

    deployment: Deployment
    progress: Progress
    ended_at: float | None = None
    """Monotonic seconds when the cache learnt of the end."""


class DeploymentCache:
    """Look-ups by id without the database. Bounded: ended ones leave after `ttl`."""

    def __init__(self, *, clock: Clock, ttl: timedelta, most: int = 10_000) -> None:
        self._clock = clock
        self._ttl = ttl
        self._most = most
        self._all: dict[str, CachedDeployment] = {}
        # Each look would cost a walk over all of them, at 1,000 running some 100 times a second.
        self._ended: dict[str, float] = {}
        """Those that ended, in the order in which that was learnt."""
        self._running: set[str] = set()

    def put(self, deployment: Deployment) -> None:
        """Remember the newest row of a deployment; its progress is kept."""
        known = self._all.get(deployment.id)
        ended_at = None
        if deployment.phase in ENDINGS:
            ended_at = self._ended.setdefault(deployment.id, self._clock.monotonic())
        else:
            self._ended.pop(deployment.id, None)
        if deployment.phase in RUNNING:
            self._running.add(deployment.id)
        else:
            self._running.discard(deployment.id)
        self._all[deployment.id] = CachedDeployment(
            deployment=deployment,
            progress=known.progress if known else Progress(),
            ended_at=ended_at,
        )
        self._sweep()

    def note(self, deployment_id: str, progress: Progress) -> None:
        """Replace the progress of a tracked deployment; unknown ids are ignored."""
        known = self._all.get(deployment_id)
        if known is not None:
            self._all[deployment_id] = replace(known, progress=progress)

    def progress(self, deployment_id: str) -> Progress:
        """The progress so far; an empty one for unknown ids."""
        known = self._all.get(deployment_id)
        return known.progress if known else Progress()

    def get(self, deployment_id: str) -> CachedDeployment | None:
        """None: not active here and not ended lately; ask the store."""
        self._sweep()
        return self._all.get(deployment_id)

    def forget(self, deployment_id: str) -> None:
        """Drop a deployment (withdrawn, or owned by another replica)."""
        self._all.pop(deployment_id, None)
        self._ended.pop(deployment_id, None)
        self._running.discard(deployment_id)

    @property
    def running(self) -> int:
        """How many of them run."""
        return len(self._running)

    def active(self) -> Sequence[CachedDeployment]:
        """All that have not ended."""
        return [known for known in self._all.values() if known.ended_at is None]

    def known(self) -> Sequence[CachedDeployment]:
        """All, those that ended a while ago among them."""
        self._sweep()
        return list(self._all.values())

    def _sweep(self) -> None:
        limit = self._clock.monotonic() - self._ttl.total_seconds()
        while self._ended:
            oldest = next(iter(self._ended))
            if self._ended[oldest] >= limit and len(self._all) <= self._most:
                return
            self.forget(oldest)
