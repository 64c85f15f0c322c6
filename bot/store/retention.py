"""Deletes what is old: logs and deliveries, and, where it is set, deployments with their audit.

In small transactions, so that no lock is held for long: what is to go is looked for first, without
one. Two replicas that delete at once only find less.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Delete, Select, and_, delete, exists, func, or_, select

from bot.clock import Clock
from bot.deployments.model import Live, Phase
from bot.deployments.states import ENDINGS
from bot.errors import StoreError
from bot.store.database import Database, whole
from bot.store.outbox import WAITING
from bot.store.shared_tables import notices
from bot.store.tables import audit, deployments, log_chunks, outbox

log = structlog.get_logger(__name__)

FOR_EVER = timedelta(0)
EVERY = timedelta(minutes=10)
BATCH = 50
"""Rows of one transaction: a piece of a log has up to 64 kB."""
PAUSE = timedelta(milliseconds=50)
"""Between transactions: others get their turn."""
KEPT_SUCCESSES = 2
"""The newest proven releases of each app stay: they say what is live and where a rollback goes."""


class Retention:
    """One look deletes all that is too old by now."""

    def __init__(
        self, database: Database, *, clock: Clock, logs: timedelta, history: timedelta
    ) -> None:
        """`logs`, `history`: how long they are kept; `FOR_EVER` for nothing deleted."""
        self._database = database
        self._clock = clock
        self._logs = logs
        self._history = history

    async def look(self) -> None:
        """Delete what is too old. Errors are logged; the next look goes on."""
        now = self._clock.now()
        try:
            kept = [one for one in (self._logs, self._history) if one != FOR_EVER]
            if kept:
                await self._delete_logs(now - min(kept))
                await self._delete_deliveries(now - min(kept))
            if self._history != FOR_EVER:
                await self._delete_history(now - self._history)
        except StoreError as error:
            log.warning("old_rows_not_deleted", why=str(error))

    async def _delete_logs(self, before: datetime) -> None:
        old = (
            select(log_chunks.c.deployment_id, log_chunks.c.part, log_chunks.c.seq)
            .join(deployments, deployments.c.id == log_chunks.c.deployment_id)
            .where(deployments.c.finished_at < before, deployments.c.phase.in_(ENDINGS))
        )
        while rows := await self._find(old):
            pieces = [
                and_(
                    log_chunks.c.deployment_id == row[0],
                    log_chunks.c.part == row[1],
                    log_chunks.c.seq == row[2],
                )
                for row in rows
            ]
            await self._delete(delete(log_chunks).where(or_(*pieces)))

    async def _delete_deliveries(self, before: datetime) -> None:
        for table in (outbox, notices):
            done = select(table.c.seq).where(table.c.state != WAITING, table.c.created_at < before)
            while rows := await self._find(done):
                await self._delete(delete(table).where(table.c.seq.in_([row[0] for row in rows])))

    async def _delete_history(self, before: datetime) -> None:
        old = select(deployments.c.id).where(
            deployments.c.finished_at < before, deployments.c.phase.in_(ENDINGS), _is_replaced()
        )
        while rows := await self._find(old):
            # Leases and deliveries go with their deployment.
            ids = [row[0] for row in rows]
            await self._delete(delete(deployments).where(deployments.c.id.in_(ids)))
        of_none = ~exists().where(deployments.c.id == audit.c.deployment_id)
        lines = select(audit.c.seq).where(audit.c.at < before, of_none)
        while rows := await self._find(lines):
            await self._delete(delete(audit).where(audit.c.seq.in_([row[0] for row in rows])))

    @whole
    async def _find(self, query: Select[*tuple[object, ...]]) -> Sequence[Sequence[object]]:
        async with self._database.read() as connection:
            return [tuple(row) for row in await connection.execute(query.limit(BATCH))]

    async def _delete(self, statement: Delete) -> None:
        await self._delete_whole(statement)
        await self._clock.sleep(PAUSE)

    @whole
    async def _delete_whole(self, statement: Delete) -> None:
        async with self._database.write() as tx:
            await tx.connection.execute(statement)


def _is_replaced() -> ColumnElement[bool]:
    """Whether enough newer proven releases of the app are on record."""
    newer = deployments.alias("newer")
    count = (
        select(func.count())
        .select_from(newer)
        .where(
            newer.c.server == deployments.c.server,
            newer.c.dokku_app == deployments.c.dokku_app,
            newer.c.phase == Phase.SUCCEEDED,
            newer.c.live == Live.NEW,
            newer.c.finished_at > deployments.c.finished_at,
        )
        .correlate(deployments)
        .scalar_subquery()
    )
    return count >= KEPT_SUCCESSES
