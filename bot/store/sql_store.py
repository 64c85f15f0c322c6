"""The store on an SQL database: deployments themselves, with their leases, logs and outbox."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.clock import Clock
from bot.deployments.model import (
    Actor,
    AppKey,
    AuditEntry,
    CancelRequest,
    Deployment,
    Event,
    Live,
    MessagePlace,
    Phase,
    Who,
)
from bot.deployments.queue.rules import NO_LIMITS
from bot.deployments.refs import Commits
from bot.deployments.states import ENDINGS, RUNNING, WAITING, check_move
from bot.errors import Duplicate, StaleState
from bot.outbox import Planner
from bot.store.cancels import write_cancel
from bot.store.database import Clash, Database, DatabaseClock, Decoder, NowMs, Transaction, whole
from bot.store.leases import SqlLeases, SqlLocks, guard_first, guard_request, guard_start, hold
from bot.store.logs import SqlLogs
from bot.store.outbox import SqlOutbox, put
from bot.store.shared_tables import notices
from bot.store.tables import (
    all_values,
    audit,
    audit_values,
    commits_values,
    deployments,
    fact_values,
    leases,
    place_values,
    read_audit,
    read_deployment,
)


class SqlStore:
    """Implements the domain's `Store` port, and holds the `Outbox` beside it.

    Each method is one transaction, guarded by the table of moves. Any may raise DatabaseDown:
    there was no answer, and whether a write was made is unknown.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        planner: Planner,
        now_ms: DatabaseClock = NowMs,
        max_running: Mapping[str, int] = NO_LIMITS,
    ) -> None:
        self.database = database
        self._clock = clock
        self._planner = planner
        self._max_running = max_running
        self._unfinished = Decoder(deployments, read_deployment)
        self.leases = SqlLeases(database, now_ms=now_ms)
        self.logs = SqlLogs(database)
        self.locks = SqlLocks(database, clock=clock)
        self.outbox = SqlOutbox(database, clock=clock)
        self.notices = SqlOutbox(database, clock=clock, rows=notices, about="receiver")

    @whole
    async def create(
        self, deployment: Deployment, audit: AuditEntry, event: Event | None = None
    ) -> None:
        try:
            async with self.database.write() as tx:
                await guard_request(tx, deployment, self._clock.now())
                await tx.connection.execute(insert(deployments), all_values(deployment))
                lease = {"deployment_id": deployment.id, "fence": 0, "until_ms": 0}
                await tx.connection.execute(insert(leases), lease)
                await self._record(tx, deployment, audit, event)
                _announce(tx, deployment)
        except Clash as err:
            first = await self._value(
                select(deployments.c.id).where(deployments.c.request_key == deployment.request_key)
            )
            if first is not None:
                raise Duplicate(first) from err
            await self._refuse_second(deployment, err)
            raise

    @whole
    async def save(
        self,
        deployment: Deployment,
        *,
        was: Phase,
        by: Who,
        audit: AuditEntry | None = None,
        event: Event | None = None,
        first: bool = False,
    ) -> Deployment:
        moves = was is not deployment.phase
        if moves and audit is None:
            raise ValueError(f"a move needs an audit entry: {was} to {deployment.phase}")
        check_move(deployment, was=was, by=by)
        values = fact_values(deployment)
        if by is not Who.OWNER:
            # Only an owner has a lease, so only an owner writes its number.
            del values["fence"]
        try:
            async with self.database.write() as tx:
                if by is Who.OWNER:
                    await hold(tx.connection, deployment.id, deployment.fence)
                if first:
                    await guard_first(tx, deployment)
                if deployment.phase in RUNNING:
                    most = self._max_running.get(deployment.server, 0)
                    await guard_start(tx, deployment, was, audit, most, self._clock.now())
                fresh = await _update(tx.connection, deployment.id, values, was=was)
                await self._record(tx, fresh, audit, event)
                _announce(tx, fresh)
        except Clash as err:
            if deployment.phase in RUNNING:
                await self._refuse_second(deployment, err)
            raise
        return fresh

    @whole
    async def correct(
        self, deployment: Deployment, *, audit: AuditEntry, event: Event | None
    ) -> Deployment:
        if deployment.phase not in ENDINGS:
            raise StaleState(f"deployment {deployment.id} cannot be corrected to no end")
        values = fact_values(deployment)
        async with self.database.write() as tx:
            await hold(tx.connection, deployment.id, deployment.fence)
            fresh = await _update(tx.connection, deployment.id, values, was=None)
            await self._record(tx, fresh, audit, event)
        return fresh

    @whole
    async def place_message(self, deployment_id: str, place: MessagePlace) -> None:
        await self._place(deployment_id, place_values(place))

    @whole
    async def place_commits(self, deployment_id: str, commits: Commits) -> None:
        await self._place(deployment_id, commits_values(commits))

    async def _place(self, deployment_id: str, values: Mapping[str, Any]) -> None:
        """Write columns that no owner writes, whatever the phase."""
        async with self.database.write() as tx:
            row = update(deployments).where(deployments.c.id == deployment_id)
            if (await tx.connection.execute(row.values(values))).rowcount == 0:
                raise _missing(deployment_id)

    @whole
    async def withdraw(self, deployment_id: str, audit: AuditEntry) -> None:
        async with self.database.write() as tx:
            # The lease first: an owner locks in this order, too.
            await tx.connection.execute(
                select(leases.c.fence)
                .where(leases.c.deployment_id == deployment_id)
                .with_for_update()
            )
            gone = await tx.connection.execute(
                delete(deployments)
                .where(deployments.c.id == deployment_id, deployments.c.started_at.is_(None))
                .where(_is_in(WAITING))
            )
            if gone.rowcount == 0:
                raise await _stale(tx.connection, deployment_id, "waiting and never started")
            await self._audit(tx, deployment_id, audit)
            tx.announce("queued", deployment_id)

    @whole
    async def ask_cancel(
        self,
        deployment_id: str,
        actor: Actor,
        at: datetime,
        *,
        through: str = "service",
        build: str | None = None,
    ) -> Deployment:
        request = CancelRequest(by=actor, at=at)
        async with self.database.write() as tx:
            entry = await write_cancel(tx, deployment_id, request, through=through, build=build)
            if entry is not None:
                await self._audit(tx, deployment_id, entry)
            tx.announce("cancel", deployment_id)
            query = select(deployments).where(deployments.c.id == deployment_id)
            row = (await tx.connection.execute(query)).mappings().one_or_none()
            if row is None:
                raise _missing(deployment_id)
            return read_deployment(row)

    @whole
    async def get(self, deployment_id: str) -> Deployment | None:
        return await self._one(_ONE, row=deployment_id)

    @whole
    async def by_id_part(self, part: str, *, limit: int = 2) -> Sequence[Deployment]:
        part, identity = part.upper(), deployments.c.id
        either = or_(
            identity.startswith(part, autoescape=True), identity.endswith(part, autoescape=True)
        )
        return await self._all(
            select(deployments).where(either).order_by(identity.desc()).limit(limit)
        )

    @whole
    async def unfinished(self, key: AppKey | None = None) -> Sequence[Deployment]:
        if key is not None:
            return await self._all(_UNFINISHED.filter_by(**asdict(key)))
        async with self.database.read() as connection:
            return await self._unfinished.all(connection, _UNFINISHED)

    @whole
    async def unproven(self, since: datetime) -> Sequence[Deployment]:
        query = (
            select(deployments)
            .where(deployments.c.finished_at >= since, deployments.c.started_at.is_not(None))
            .where(_is_in(ENDINGS), deployments.c.live == Live.UNKNOWN)
            .where(deployments.c.late_over.is_(False))
        )
        return await self._all(query.order_by(deployments.c.finished_at, deployments.c.id))

    @whole
    async def lately_succeeded(self, since: datetime) -> Sequence[Deployment]:
        query = (
            select(deployments)
            .where(deployments.c.finished_at >= since)
            .where(deployments.c.phase == Phase.SUCCEEDED, deployments.c.live == Live.NEW)
            .where(deployments.c.crash_told.is_(False))
        )
        return await self._all(query.order_by(deployments.c.finished_at, deployments.c.id))

    @whole
    async def newer(self, deployment: Deployment) -> Sequence[Deployment]:
        created, identity = deployments.c.created_at, deployments.c.id
        same = and_(created == deployment.created_at, identity > deployment.id)
        later = or_(created > deployment.created_at, same)
        return await self._all(_BY_AGE.filter_by(**asdict(deployment.target)).where(later))

    @whole
    async def started(
        self, key: AppKey, *, commit: str = "", limit: int = 50
    ) -> Sequence[Deployment]:
        query = _of(key).where(deployments.c.started_at.is_not(None))
        if commit:
            query = query.where(deployments.c.sha.startswith(commit, autoescape=True))
        by_start = query.order_by(deployments.c.started_at.desc(), deployments.c.id.desc())
        return await self._all(by_start.limit(limit))

    @whole
    async def recent(
        self, *, app: str | None = None, server: str | None = None, limit: int = 20
    ) -> Sequence[Deployment]:
        of = {key: name for key, name in (("app", app), ("server", server)) if name is not None}
        newest = select(deployments).filter_by(**of).order_by(*_NEWEST_FIRST)
        return await self._all(newest.limit(limit))

    @whole
    async def by_message(self, channel: str, ts: str) -> Deployment | None:
        return await self._one(
            select(deployments)
            .where(deployments.c.message_channel == channel, deployments.c.message_ts == ts)
            .order_by(deployments.c.created_at.desc())
            .limit(1)
        )

    @whole
    async def proven_live(
        self, key: AppKey, *, before: Deployment | None = None, other_than: str | None = None
    ) -> str | None:
        query = _proven(key).where(deployments.c.sha.is_not(None))
        if before is not None:
            created, identity = deployments.c.created_at, deployments.c.id
            same = and_(created == before.created_at, identity < before.id)
            query = query.where(or_(created < before.created_at, same))
        if other_than is not None:
            query = query.where(deployments.c.sha != other_than)
        newest = await self._one(query.limit(1))
        return newest.sha if newest else None

    @whole
    async def good_durations(self, key: AppKey, limit: int = 20) -> Sequence[timedelta]:
        timed = and_(deployments.c.started_at.is_not(None), deployments.c.finished_at.is_not(None))
        good = await self._all(_proven(key).where(timed).limit(limit))
        return [
            one.finished_at - one.started_at for one in good if one.finished_at and one.started_at
        ]

    @whole
    async def audit_of(self, deployment_id: str) -> Sequence[tuple[datetime, AuditEntry]]:
        query = select(audit).where(audit.c.deployment_id == deployment_id).order_by(audit.c.seq)
        async with self.database.read() as connection:
            rows = await connection.execute(query)
            return [read_audit(row) for row in rows.mappings()]

    async def _record(
        self, tx: Transaction, fresh: Deployment, audit: AuditEntry | None, event: Event | None
    ) -> None:
        """Write what goes with a change, in its transaction: the audit row, the outbox rows."""
        if audit:
            await self._audit(tx, fresh.id, audit)
        if event:
            await put(tx, self._planner(fresh, event), now=self._clock.now())

    async def _audit(self, tx: Transaction, deployment_id: str, entry: AuditEntry) -> None:
        values = audit_values(deployment_id, entry, at=self._clock.now())
        await tx.connection.execute(insert(audit), values)

    async def _refuse_second(self, deployment: Deployment, err: Clash) -> None:
        other = await self._value(
            _of(deployment.target)
            .with_only_columns(deployments.c.id)
            .where(_is_in(RUNNING), deployments.c.id != deployment.id)
        )
        if other is not None:
            app, server = deployment.dokku_app, deployment.server
            raise StaleState(f"another deployment of {app} runs on {server}: {other}") from err

    async def _value(self, query: Select[str]) -> str | None:
        async with self.database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def _one(self, query: Select[*tuple[Any, ...]], **values: Any) -> Deployment | None:
        async with self.database.read() as connection:
            row = (await connection.execute(query, values)).mappings().one_or_none()
        return None if row is None else read_deployment(row)

    async def _all(self, query: Select[*tuple[Any, ...]]) -> Sequence[Deployment]:
        async with self.database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [read_deployment(row) for row in rows]


def _of(key: AppKey) -> Select[*tuple[Any, ...]]:
    return select(deployments).filter_by(**asdict(key))


def _proven(key: AppKey) -> Select[*tuple[Any, ...]]:
    """Deployments of an app that succeeded and were proven live, the last to end first."""
    return (
        _of(key)
        .where(deployments.c.phase == Phase.SUCCEEDED, deployments.c.live == Live.NEW)
        .order_by(deployments.c.finished_at.desc(), deployments.c.id.desc())
    )


def _is_in(phases: Collection[Phase]) -> ColumnElement[bool]:
    return deployments.c.phase.in_(phases)


# Built once: building one of all columns takes as long as running it.
_ONE = select(deployments).where(deployments.c.id == bindparam("row"))
_NEWEST_FIRST = deployments.c.created_at.desc(), deployments.c.id.desc()
_BY_AGE = select(deployments).order_by(deployments.c.created_at, deployments.c.id)
_UNFINISHED = _BY_AGE.where(deployments.c.phase.not_in(ENDINGS))
_WRITE = update(deployments).where(deployments.c.id == bindparam("row")).returning(deployments)
_CHANGE = _WRITE.where(deployments.c.phase == bindparam("was"))
_CORRECT = _WRITE.where(_is_in(ENDINGS))


async def _update(
    connection: AsyncConnection, deployment_id: str, values: Mapping[str, Any], *, was: Phase | None
) -> Deployment:
    """Write a row if its stored phase is `was` (None: if it has ended)."""
    guard = {"row": deployment_id} if was is None else {"row": deployment_id, "was": was}
    written = await connection.execute(_CORRECT if was is None else _CHANGE, {**values, **guard})
    row = written.mappings().one_or_none()
    if row is None:
        raise await _stale(connection, deployment_id, was.value if was else "ended")
    return read_deployment(row)


async def _stale(connection: AsyncConnection, deployment_id: str, believed: str) -> StaleState:
    query = select(deployments.c.phase).where(deployments.c.id == deployment_id)
    phase = await connection.scalar(query)
    if phase is None:
        return _missing(deployment_id)
    return StaleState(f"deployment {deployment_id} is {phase} by now, not {believed}")


def _missing(deployment_id: str) -> StaleState:
    return StaleState(f"deployment {deployment_id} is not there any more")


def _announce(tx: Transaction, deployment: Deployment) -> None:
    if deployment.phase is Phase.QUEUED:
        tx.announce("queued", deployment.id)
    elif deployment.phase in ENDINGS:
        tx.announce("ended", deployment.id)
