"""Shows waiting deployments their positions and removes those that expired or were cancelled."""

from collections.abc import Callable, Collection, Coroutine, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from bot.clock import Clock, duration_words
from bot.deployments.model import AppKey, Blocker, Deployment, Failure
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.queue.rules import is_expired, queue_positions
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.timing import Timing
from bot.errors import StaleState, StoreError

log = structlog.get_logger(__name__)

ONE_BEFORE = "the deployment ahead of it"


class WaitingList:
    """Starts nothing: the dispatcher does."""

    def __init__(
        self,
        *,
        deployments: DeploymentRepository,
        removal: QueueRemoval,
        timing: Timing,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._deployments = deployments
        self._removal = removal
        self._timing = timing
        self._clock = clock
        self._spawn = spawn
        self._being_removed: set[str] = set()

    def update(
        self, queued: Sequence[Deployment], busy: Collection[AppKey], owned: Collection[str]
    ) -> Sequence[Deployment]:
        """Show positions, remove what must leave; returns those that still wait.

        `busy`: apps with a running deployment. `owned`: deployments that a worker of this
        replica has; they are left to it.
        """
        waiting = [row for row in queued if row.id in owned or not self._is_over(row)]
        by_id = {row.id: row for row in waiting}
        for deployment_id, position in queue_positions(waiting).items():
            if deployment_id not in owned:
                behind = position > 1 or by_id[deployment_id].target in busy
                self._show(deployment_id, position, behind=behind)
        return waiting

    def end_unapproved(self, awaiting: Sequence[Deployment]) -> None:
        """Remove those that were cancelled at a shell, and those that nobody approved in time."""
        now, ttl = self._clock.now(), self._timing.approval_ttl
        for row in awaiting:
            if row.cancel is not None:
                self._end(row, partial(self._removal.cancel, row, row.cancel.by, "runner"))
            elif is_expired(row, now, ttl):
                cause = f"Nobody approved it within {duration_words(ttl)}"
                self._end(row, partial(self._removal.fail, row, Failure.EXPIRED, cause))

    def _show(self, deployment_id: str, position: int, *, behind: bool) -> None:
        known = self._deployments.progress(deployment_id)
        waits_for, blocker = known.waits_for, known.blocker
        if behind:
            waits_for, blocker = ONE_BEFORE, None
        elif waits_for == ONE_BEFORE:
            waits_for = None
        self._deployments.note_waiting(
            deployment_id, position=position, waits_for=waits_for, blocker=blocker
        )

    def _is_over(self, row: Deployment) -> bool:
        if row.cancel is not None:
            # Requested by another process (the command line), or while Dokku refused a start.
            self._end(row, partial(self._removal.cancel, row, row.cancel.by, "runner"))
            return True
        now = self._clock.now()
        if not is_expired(row, now, self._timing.queue_ttl):
            return False
        known = self._deployments.progress(row.id)
        cause = expiry_cause(known.waits_for or "its turn", known.blocker, now)
        self._end(row, partial(self._removal.fail, row, Failure.EXPIRED, cause))
        return True

    def _end(self, row: Deployment, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if row.id not in self._being_removed:
            self._being_removed.add(row.id)
            # In the background: its server may not answer.
            self._spawn(self._end_guarded(row.id, end))

    async def _end_guarded(
        self, deployment_id: str, end: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        try:
            await end()
        except StaleState as stale:
            log.info("not_removed", deployment_id=deployment_id, why=str(stale))
        except StoreError as error:
            log.warning("not_removed", deployment_id=deployment_id, why=str(error))
        finally:
            self._being_removed.discard(deployment_id)


def expiry_cause(waits_for: str, blocker: Blocker | None, now: datetime) -> str:
    """Why a deployment expired: what it waited for, and what an operator can do about that."""
    cause = f"It waited too long for {waits_for}"
    if blocker is None:
        return cause
    if blocker.since is not None:
        cause += f", which has been running for {duration_words(now - blocker.since)}"
    return f"{cause}. {blocker.advice}" if blocker.advice else cause
