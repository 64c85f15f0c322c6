"""The waiting line: who stands where, what for, and who has to leave it."""

from collections.abc import Callable, Collection, Coroutine, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from bot.clock import duration_words
from bot.deployments.execution.outcome import Parts
from bot.deployments.model import AppKey, Blocker, Deployment, Failure
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.queue.rules import is_expired, places
from bot.errors import StaleState, StoreError

log = structlog.get_logger(__name__)

ONE_BEFORE = "the deployment before it"


class WaitingList:
    """Shows places; ends what waited for too long or is not wanted any more. Starts nothing."""

    def __init__(self, parts: Parts) -> None:
        self.removal: QueueRemoval | None = None
        """Ends waiting deployments; StaleState: it waits no more."""
        self._parts = parts
        self._deployments = parts.deployments
        self._going: set[str] = set()

    def move_up(
        self, queued: Sequence[Deployment], taken: Collection[AppKey], driven: Collection[str]
    ) -> Sequence[Deployment]:
        """Those who still wait, with their places shown. `taken`: apps that something runs on."""
        waiting = [row for row in queued if row.id in driven or not self._is_over(row)]
        by_id = {row.id: row for row in waiting}
        for deployment_id, place in places(waiting).items():
            if deployment_id not in driven:
                behind = place > 1 or by_id[deployment_id].target in taken
                self._show(deployment_id, place, behind=behind)
        return waiting

    def _show(self, deployment_id: str, place: int, *, behind: bool) -> None:
        known = self._deployments.progress(deployment_id)
        waits_for, blocker = known.waits_for, known.blocker
        if behind:
            waits_for, blocker = ONE_BEFORE, None
        elif waits_for == ONE_BEFORE:
            waits_for = None
        self._deployments.note_waiting(
            deployment_id, place=place, waits_for=waits_for, blocker=blocker
        )

    def _is_over(self, row: Deployment) -> bool:
        removal = self.removal
        if removal is None:
            return False
        if row.cancel is not None:
            # Asked for by another process (a shell), or while a start was being refused.
            self._end(row, partial(removal.cancel, row, row.cancel.by, "runner"))
            return True
        now = self._parts.clock.now()
        if not is_expired(row, now, self._parts.timing.queue_ttl):
            return False
        known = self._deployments.progress(row.id)
        cause = expiry(known.waits_for or "its turn", known.blocker, now)
        self._end(row, partial(removal.fail, row, Failure.EXPIRED, cause))
        return True

    def _end(self, row: Deployment, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if row.id not in self._going:
            self._going.add(row.id)
            # Its server may be dead: nobody waits for its answer.
            self._parts.spawn(self._end_guarded(row.id, end))

    async def _end_guarded(
        self, deployment_id: str, end: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        try:
            await end()
        except StaleState as stale:
            log.info("not_ended", deployment_id=deployment_id, why=str(stale))
        except StoreError as error:
            log.warning("not_ended", deployment_id=deployment_id, why=str(error))
        finally:
            self._going.discard(deployment_id)


def expiry(waits_for: str, known: Blocker | None, now: datetime) -> str:
    """Why a place in the queue was given up: what it waited for, and what an operator can do."""
    cause = f"It waited too long for {waits_for}"
    if known is None:
        return cause
    if known.since is not None:
        cause += f", which has been running for {duration_words(now - known.since)}"
    return f"{cause}. {known.mend}" if known.mend else cause
