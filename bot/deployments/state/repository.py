"""The one way to change a deployment: the store's transaction, then the cache, then its message.

The store is the source of truth; a restart empties the cache. Progress is only cached, because
nobody needs it after a restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from bot.clock import Clock
from bot.deployments.model import AuditEntry, Blocker, Deployment, Event, Phase, Progress, Who
from bot.deployments.ports import Announcer, Observer, Store, Urgency
from bot.deployments.states import ENDINGS, RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedDeployment:
    """One deployment as this process knows it."""

    deployment: Deployment
    progress: Progress
    ended_at: float | None = None
    """Monotonic seconds when the cache first had it as ended."""


class DeploymentCache:
    """Look-ups by id without the database. Bounded: ended deployments are dropped after `ttl`."""

    def __init__(self, *, clock: Clock, ttl: timedelta, max_size: int = 10_000) -> None:
        self._clock = clock
        self._ttl = ttl
        self._max_size = max_size
        self._all: dict[str, CachedDeployment] = {}
        # Kept apart: with 1,000 running, `get` is called some 100 times a second, and a walk over
        # all deployments each time would be too slow.
        self._ended: dict[str, float] = {}
        """Ended deployments and their `ended_at`, oldest first."""
        self._running: set[str] = set()

    def put(self, deployment: Deployment) -> None:
        """Store the newest row of a deployment; its progress is kept."""
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
        """Replace the progress of a cached deployment; unknown ids are ignored."""
        known = self._all.get(deployment_id)
        if known is not None:
            self._all[deployment_id] = replace(known, progress=progress)

    def progress(self, deployment_id: str) -> Progress:
        """The progress so far; an empty one for an unknown id."""
        known = self._all.get(deployment_id)
        return known.progress if known else Progress()

    def get(self, deployment_id: str) -> CachedDeployment | None:
        """None: not cached; ask the store."""
        self._sweep()
        return self._all.get(deployment_id)

    def forget(self, deployment_id: str) -> None:
        """Drop a deployment: withdrawn, deleted or too old."""
        self._all.pop(deployment_id, None)
        self._ended.pop(deployment_id, None)
        self._running.discard(deployment_id)

    @property
    def running(self) -> int:
        """How many deployments run."""
        return len(self._running)

    def active(self) -> Sequence[CachedDeployment]:
        """All deployments that have not ended."""
        return [known for known in self._all.values() if known.ended_at is None]

    def known(self) -> Sequence[CachedDeployment]:
        """All cached deployments, recently ended ones too."""
        self._sweep()
        return list(self._all.values())

    def _sweep(self) -> None:
        limit = self._clock.monotonic() - self._ttl.total_seconds()
        while self._ended:
            oldest = next(iter(self._ended))
            if self._ended[oldest] >= limit and len(self._all) <= self._max_size:
                return
            self.forget(oldest)


class DeploymentRepository:
    """Writes to the store first; only what was committed is cached and announced."""

    def __init__(
        self, *, store: Store, cache: DeploymentCache, announcer: Announcer, observer: Observer
    ) -> None:
        self.store = store
        self.cache = cache
        self.announcer = announcer
        self.observer = observer

    async def save(
        self,
        deployment: Deployment,
        *,
        was: Phase,
        by: Who,
        audit: AuditEntry | None = None,
        event: Event | None = None,
    ) -> Deployment:
        """Write, cache, announce; return the fresh row. Raises what `Store.save` raises."""
        fresh = await self.store.save(deployment, was=was, by=by, audit=audit, event=event)
        return self.adopt(fresh, was=was)

    def adopt(self, fresh: Deployment, *, was: Phase) -> Deployment:
        """Cache and announce a row that is already stored; `was` is the phase known before."""
        self.cache.put(fresh)
        if fresh.phase in ENDINGS:
            self.observer.ended(fresh)
            self.announcer.changed(fresh.id, Urgency.NOW)
        elif fresh.phase is not was:
            self.announcer.changed(fresh.id, Urgency.PHASE)
        else:
            self.announcer.changed(fresh.id, Urgency.ROUTINE)
        return fresh

    async def correct(
        self, deployment: Deployment, *, audit: AuditEntry, event: Event | None = None
    ) -> Deployment:
        """Change an ended deployment. Raises what `Store.correct` raises."""
        fresh = await self.store.correct(deployment, audit=audit, event=event)
        self.cache.put(fresh)
        self.announcer.changed(fresh.id, Urgency.NOW)
        return fresh

    def note(
        self, deployment_id: str, progress: Progress, urgency: Urgency = Urgency.ROUTINE
    ) -> None:
        """Replace the progress shown with the row; nothing is stored."""
        if self.cache.progress(deployment_id) != progress:
            self.cache.note(deployment_id, progress)
            self.announcer.changed(deployment_id, urgency)

    def progress(self, deployment_id: str) -> Progress:
        """The progress shown with the row."""
        return self.cache.progress(deployment_id)

    def note_waiting(
        self,
        deployment_id: str,
        *,
        position: int | None,
        waits_for: str | None,
        blocker: Blocker | None = None,
    ) -> None:
        """Show the position of a waiting deployment and what it waits for."""
        progress = replace(
            self.progress(deployment_id), place=position, waits_for=waits_for, blocker=blocker
        )
        self.note(deployment_id, progress, Urgency.PHASE)
