"""Shows waiting deployments their positions and removes those that expired or were cancelled."""

from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from bot.clock import Ages, Clock, duration_words
from bot.deployments.lock import Lock
from bot.deployments.locks.rules import blocker_of
from bot.deployments.model import Deployment, Failure
from bot.deployments.progress import Blocker
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.queue.rules import is_expired, queue_positions, superseded
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.timing import Timing
from bot.errors import StaleState, StoreError

log = structlog.get_logger(__name__)

NO_LOCKS: Mapping[str, Lock] = {}
ONE_BEFORE = "the deployment ahead of it"


def _never(_row: Deployment) -> bool:
    return False


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
        is_latest: Callable[[Deployment], bool] = _never,
    ) -> None:
        self._deployments = deployments
        self._removal = removal
        self._timing = timing
        self._clock = clock
        self._spawn = spawn
        self._is_latest = is_latest
        self._being_removed: set[str] = set()
        self._ages = Ages(clock)

    def update(
        self,
        queued: Sequence[Deployment],
        running: Collection[Deployment],
        owned: Collection[str],
        locked: Mapping[str, Lock] = NO_LOCKS,
        awaiting: Sequence[Deployment] = (),
    ) -> Sequence[Deployment]:
        """Show positions, remove what must leave; returns those that still wait for their turn.

        `running`: each is in front of all others of its app. `owned`: deployments that a worker of
        this replica has; they are left to it. `locked`: those that a lock stops; those behind them
        pass them, for the lock's holder may deploy. `awaiting`: those that await approval.
        """
        self._ages.keep({row.id for row in (*queued, *awaiting)})
        waiting = [row for row in queued if row.id in owned or not self._is_over(row)]
        asked = [*awaiting, *waiting]
        gone = self._supersede(asked, locked) if len(asked) > 1 else ()
        waiting = [row for row in waiting if row.id not in gone]
        by_id = {row.id: row for row in waiting}
        ahead = {row.target: row for row in running}
        for deployment_id, position in queue_positions(waiting, locked).items():
            if deployment_id in owned:
                continue
            if deployment_id in locked:
                self._show_lock(deployment_id, position, locked[deployment_id])
            else:
                first = ahead.get(by_id[deployment_id].target)
                behind = position > 1 or first is not None
                self._show(deployment_id, position, left_by(first), behind=behind)
        return [row for row in waiting if row.id not in locked]

    def _supersede(self, waiting: Sequence[Deployment], locked: Collection[str]) -> Collection[str]:
        counts = Counter(row.target for row in waiting)
        latest = {row.target for row in waiting if counts[row.target] > 1 and self._is_latest(row)}
        gone = superseded(waiting, latest, locked)
        for row in waiting:
            if row.id in gone:
                self._end(row, partial(self._removal.supersede, row, gone[row.id]))
        return gone.keys()

    def _show_lock(self, deployment_id: str, position: int, lock: Lock) -> None:
        blocker = blocker_of(lock)
        self._deployments.note_waiting(
            deployment_id, position=position, waits_for=blocker.what, blocker=blocker
        )

    def end_unapproved(self, awaiting: Sequence[Deployment]) -> None:
        """Remove those that were cancelled at a shell, and those not approved in time."""
        ttl = self._timing.approval_ttl
        for row in awaiting:
            if row.cancel is not None:
                self._end(row, partial(self._removal.cancel, row, row.cancel.by, "runner"))
            elif self._is_expired(row, ttl):
                cause = f"Nobody approved it within {duration_words(ttl)}"
                self._end(row, partial(self._removal.fail, row, Failure.EXPIRED, cause))

    def _show(
        self, deployment_id: str, position: int, left: Blocker | None, *, behind: bool
    ) -> None:
        known = self._deployments.progress(deployment_id)
        waits_for, blocker = known.waits_for, known.blocker
        if behind:
            waits_for, blocker = ONE_BEFORE, left
        elif waits_for == ONE_BEFORE or (blocker is not None and blocker.by is not None):
            waits_for, blocker = None, None
        self._deployments.note_waiting(
            deployment_id, position=position, waits_for=waits_for, blocker=blocker
        )

    def _is_over(self, row: Deployment) -> bool:
        if row.cancel is not None:
            # Requested by another process (the command line), or while Dokku refused a start.
            self._end(row, partial(self._removal.cancel, row, row.cancel.by, "runner"))
            return True
        if not self._is_expired(row, self._timing.queue_ttl):
            return False
        now = self._clock.now()
        known = self._deployments.progress(row.id)
        cause = expiry_cause(known.waits_for or "its turn", known.blocker, now)
        self._end(row, partial(self._removal.fail, row, Failure.EXPIRED, cause))
        return True

    def _is_expired(self, row: Deployment, ttl: timedelta) -> bool:
        since = row.queued_at or row.created_at
        return is_expired(row, since + self._ages.of(row.id, since), ttl)

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


def left_by(running: Deployment | None) -> Blocker | None:
    """What is in front of those behind it: a build that goes on without the bot's connection."""
    if running is None or running.build_id is None or running.left_build != running.build_id:
        return None
    return Blocker(what=ONE_BEFORE, since=running.started_at, build=running.build_id, left=True)


def expiry_cause(waits_for: str, blocker: Blocker | None, now: datetime) -> str:
    """Why a deployment expired: what it waited for, and what an operator can do about that."""
    cause = f"It waited too long for {waits_for}"
    if blocker is None:
        return cause
    if blocker.since is not None:
        cause += f", which has been running for {duration_words(now - blocker.since)}"
    return f"{cause}. {blocker.advice}" if blocker.advice else cause
