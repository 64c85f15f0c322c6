"""The one way to change a deployment: the store's transaction, then the cache, then its message."""

from dataclasses import replace

from bot.deployments.model import AuditEntry, Blocker, Deployment, Event, Phase, Progress
from bot.deployments.ports import Announcer, Observer, Urgency
from bot.deployments.state.cache import DeploymentCache
from bot.deployments.states import ENDINGS, Who
from bot.deployments.store_port import Store


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
