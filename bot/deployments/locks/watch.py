"""Ends expired locks, and notifies those who wait for an app when it is free."""

from collections.abc import Collection, Sequence

import structlog

from bot.clock import Clock
from bot.deployments.lock import Follower, Lock, Standing
from bot.deployments.locks.rules import (
    ENDED,
    free_for,
    free_notice,
    in_force,
    lock_notice,
)
from bot.deployments.model import BOT, AuditEntry, Deployment
from bot.deployments.ports import Store
from bot.errors import StaleState

log = structlog.get_logger(__name__)


class LockWatch:
    """Every replica looks. The store lets one of them act, and stores the notices."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def look(self, standing: Standing, unfinished: Collection[Deployment]) -> Sequence[Lock]:
        """End what is over, tell followers; returns the locks that are in force. StoreError."""
        now = self._clock.now()
        held = in_force(standing.locks, now)
        for lock in standing.locks:
            if lock not in held:
                await self._end(lock)
        for follower in standing.followers:
            if free_for(follower, held, unfinished, now):
                await self._tell(follower)
        return held

    async def _end(self, lock: Lock) -> None:
        notices = [lock_notice(ENDED, lock, lock.channel)] if lock.channel else []
        audit = AuditEntry(actor=BOT, through="dispatcher", action="lock_ended")
        try:
            await self._store.locks.remove(lock, audit=audit, notices=notices)
        except StaleState as stale:
            log.info("lock_not_ended", app=lock.app, why=str(stale))

    async def _tell(self, follower: Follower) -> None:
        try:
            await self._store.locks.unfollow(follower, notices=[free_notice(follower)])
        except StaleState as stale:
            log.info("follower_not_told", app=follower.app, why=str(stale))
