"""Looks up the commits of deployments that wait for an approval and have none yet.

A queued one is looked up when it starts. One that waits for an approval never starts without it,
and without a commit there is nothing to approve.
"""

from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import replace
from typing import Any

import structlog

from bot.clock import Clock, Retries
from bot.deployments.model import Deployment, NotDeployable, Resolved, Who
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.timing import Timing
from bot.errors import DokkuError, StaleState, StoreError

log = structlog.get_logger(__name__)


class UnresolvedCommits:
    """The look-up of the request was lost: its server was away, or its process died."""

    def __init__(
        self,
        *,
        deployments: DeploymentRepository,
        removal: QueueRemoval,
        look_up: Callable[[Deployment], Awaitable[Resolved | NotDeployable]],
        read_commits: Callable[[Deployment], None],
        timing: Timing,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._deployments = deployments
        self._removal = removal
        self._look_up = look_up
        self._read_commits = read_commits
        self._timing = timing
        self._clock = clock
        self._spawn = spawn
        self._retries = Retries(clock)
        self._running: set[str] = set()

    def look(self, awaiting: Collection[Deployment]) -> None:
        """Look up, in the background, those that no request is looking up any more."""
        self._retries.keep({row.id for row in awaiting})
        before = self._clock.now() - self._timing.posting
        for row in awaiting:
            lost = not row.ready and row.cancel is None and row.created_at < before
            if lost and row.id not in self._running and self._retries.is_due(row.id):
                self._running.add(row.id)
                self._spawn(self._resolve_guarded(row))

    async def _resolve_guarded(self, row: Deployment) -> None:
        try:
            await self._resolve(row)
        except (DokkuError, StaleState, StoreError) as error:
            log.info("commit_not_looked_up", deployment_id=row.id, why=str(error))
        finally:
            self._retries.wait(row.id, self._timing.poll_interval)
            self._running.discard(row.id)

    async def _resolve(self, row: Deployment) -> None:
        found = await self._look_up(row)
        if isinstance(found, NotDeployable):
            await self._removal.fail(row, found.failure, found.sentence)
            return
        resolved = replace(row, ref=found.ref, repo=found.repo, sha=found.sha, ready=True)
        fresh = await self._deployments.save(resolved, was=row.phase, by=Who.SERVICE)
        self._deployments.note_waiting(row.id, position=None, waits_for=None)
        self._read_commits(fresh)
