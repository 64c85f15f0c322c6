"""Which replica acts: leases, handled requests; and places on servers, locks of people."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    RowMapping,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.clock import Clock
from bot.deployments.lock import ALL, AppLocked, Follower, Lock, Notice, Standing
from bot.deployments.locks.rules import stopping, subject_of
from bot.deployments.model import Actor, AppKey, AuditEntry, Deployment, Phase
from bot.deployments.queue.rules import find_twin
from bot.deployments.states import ENDINGS, RUNNING, SECOND_START, WAITING
from bot.deployments.store_parts import Replica
from bot.errors import Duplicate, LeaseLost, ServerFull, StaleState, Twin
from bot.store.database import Clash, Database, DatabaseClock, NowMs, Transaction, whole
from bot.store.outbox import put_notices
from bot.store.shared_tables import followers, handled, locks, replicas
from bot.store.tables import audit as audit_rows
from bot.store.tables import audit_values, deployments, leases, read_deployment

_KEPT = timedelta(hours=3)
"""Slack's last retry of an event comes about 5 minutes after the first try. Meanwhile the machine's
clock may be set forward, by an hour or two."""
_SWEEP_EVERY = timedelta(minutes=10)
_MS = timedelta(milliseconds=1)
_OF = leases.c.deployment_id == bindparam("of")
_LEASE = select(leases.c.fence, leases.c.replica).where(_OF).with_for_update()
_UNFINISHED = select(deployments.c.id).where(deployments.c.phase.not_in(ENDINGS))
_LOCKS = select(locks).order_by(locks.c.since)
_FOLLOWERS = select(followers).order_by(followers.c.since)


class SqlLeases:
    """The lease rows. Each is created with its deployment, so a claim is a plain UPDATE."""

    def __init__(self, database: Database, *, now_ms: DatabaseClock = NowMs) -> None:
        self._database = database
        self._now_ms = now_ms

    @whole
    async def claim(self, deployment_id: str, replica: str, lease: timedelta) -> int | None:
        until_ms = self._now_ms() + _ms(lease)
        async with self._database.write() as tx:
            taken = await tx.connection.execute(
                update(leases)
                .where(leases.c.deployment_id == deployment_id)
                .where(leases.c.until_ms <= self._now_ms())
                .values(replica=replica, fence=leases.c.fence + 1, until_ms=until_ms)
                .returning(leases.c.fence)
            )
            fence: int | None = taken.scalar_one_or_none()
            return fence

    @whole
    async def renew(self, replica: str, lease: timedelta, among: Collection[str]) -> frozenset[str]:
        until_ms = self._now_ms() + _ms(lease)
        async with self._database.write() as tx:
            # A lease that ran out still belongs to this replica until another one claims it.
            held = await tx.connection.execute(
                update(leases)
                .where(leases.c.replica == replica, leases.c.deployment_id.in_(sorted(among)))
                .values(until_ms=until_ms)
                .returning(leases.c.deployment_id)
            )
            return frozenset(held.scalars())

    @whole
    async def beat(
        self,
        replica: str,
        running: int,
        seen_within: timedelta,
        *,
        listens: bool = False,
        posting: Collection[str] = (),
    ) -> Sequence[Replica]:
        now, mine = self._now_ms(), replicas.c.replica == replica
        async with self._database.write() as tx:
            row = {"running": running, "seen_ms": now, "listens": listens}
            row |= {"posting": " ".join(sorted(posting))}
            known = await tx.connection.execute(update(replicas).where(mine).values(row))
            if known.rowcount == 0:
                await tx.connection.execute(insert(replicas).values(row | {"replica": replica}))
            gone = replicas.c.seen_ms < now - _ms(seen_within)
            await tx.connection.execute(delete(replicas).where(gone))
            age = (now - replicas.c.seen_ms).label("age")
            told = func.coalesce(replicas.c.posting, "").label("told")
            every = select(replicas, age, told).order_by(replicas.c.replica)
            return [
                Replica(one.replica, one.running, frozenset(one.told.split()), one.age * _MS)
                for one in await tx.connection.execute(every)
            ]

    @whole
    async def cancel_requests(self, replica: str) -> frozenset[str]:
        asked = _UNFINISHED.where(deployments.c.cancel_at.is_not(None))
        mine = select(leases.c.deployment_id).where(leases.c.replica == replica)
        async with self._database.read() as connection:
            found = await connection.execute(mine.where(leases.c.deployment_id.in_(asked)))
            return frozenset(found.scalars())

    @whole
    async def free(self) -> Mapping[str, timedelta]:
        late = self._now_ms() - leases.c.until_ms
        free = select(leases.c.deployment_id, late.label("late")).where(late >= 0)
        async with self._database.read() as connection:
            found = await connection.execute(free.where(leases.c.deployment_id.in_(_UNFINISHED)))
            return {one.deployment_id: one.late * _MS for one in found}

    @whole
    async def release(self, deployment_id: str, fence: int) -> None:
        async with self._database.write() as tx:
            freed = await tx.connection.execute(
                update(leases)
                .where(leases.c.deployment_id == deployment_id, leases.c.fence == fence)
                .where(leases.c.replica.is_not(None))
                .values(replica=None, until_ms=self._now_ms())
            )
            if freed.rowcount:
                tx.announce("queued", deployment_id)


class SqlHandled:
    """Requests of Slack's that were handled: each by one replica, however often it is delivered."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._swept_at = float("-inf")

    @whole
    async def claim(self, key: str) -> bool:
        """Whether this is its first delivery anywhere. Raises StoreError: that is not known."""
        now = self._clock.now()
        try:
            async with self._database.write() as tx:
                await tx.connection.execute(insert(handled).values(key=key, at=now))
                if self._clock.monotonic() - self._swept_at > _SWEEP_EVERY.total_seconds():
                    await tx.connection.execute(delete(handled).where(handled.c.at < now - _KEPT))
                    self._swept_at = self._clock.monotonic()
        except Clash:
            return False
        return True


class SqlLocks:
    """The locks of people, and who waits for an app."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @whole
    async def standing(self) -> Standing:
        async with self._database.snapshot() as connection:
            held = (await connection.execute(_LOCKS)).mappings()
            waiting = await connection.execute(_FOLLOWERS)
            return Standing(
                locks=[_read_lock(row) for row in held.all()],
                followers=[_read_follower(row) for row in waiting.mappings().all()],
            )

    @whole
    async def put(
        self, lock: Lock, *, instead_of: Lock | None, audit: AuditEntry, notices: Sequence[Notice]
    ) -> None:
        try:
            async with self._database.write() as tx:
                await _wait_for_starts(tx)
                if instead_of is not None:
                    await _delete(tx, delete(locks).where(locks.c.id == instead_of.id))
                await tx.connection.execute(insert(locks).values(_lock_values(lock)))
                await self._record(tx, lock, audit, notices)
        except Clash as err:
            raise StaleState(f"{lock.app} was locked by someone else meanwhile") from err

    @whole
    async def remove(self, lock: Lock, *, audit: AuditEntry, notices: Sequence[Notice]) -> None:
        async with self._database.write() as tx:
            await _delete(tx, delete(locks).where(locks.c.id == lock.id))
            await self._record(tx, lock, audit, notices)

    @whole
    async def follow(self, follower: Follower) -> None:
        async with self._database.write() as tx:
            found = await tx.connection.execute(select(followers).where(_is_follower(follower)))
            if found.first() is None:
                values = _key_values(follower.key) | {
                    "app": follower.app,
                    "user": follower.user,
                    "since": follower.since,
                }
                await tx.connection.execute(insert(followers).values(values))
            tx.announce("queued")

    @whole
    async def unfollow(self, follower: Follower, *, notices: Sequence[Notice]) -> None:
        async with self._database.write() as tx:
            await _delete(tx, delete(followers).where(_is_follower(follower)))
            await put_notices(tx, notices, now=self._clock.now())

    async def _record(
        self, tx: Transaction, lock: Lock, audit: AuditEntry, notices: Sequence[Notice]
    ) -> None:
        now = self._clock.now()
        values = audit_values(subject_of(lock.key), audit, at=now)
        await tx.connection.execute(insert(audit_rows).values(values))
        await put_notices(tx, notices, now=now)
        # What waits may start now, or has to say why it does not.
        tx.announce("queued")


async def refuse_locked(tx: Transaction, deployment: Deployment, now: datetime) -> None:
    """Refuse a request or a start that someone else's lock stops. Raises AppLocked.

    Until the caller's transaction ends, no lock can be set: on PostgreSQL `put` waits for it;
    SQLite has one writer at a time.
    """
    await _wait_for_locks(tx)
    key = deployment.target
    either = _is_key(locks, key) | _is_key(locks, ALL)
    found = await tx.connection.execute(select(locks).where(either))
    held = [_read_lock(row) for row in found.mappings().all()]
    lock = stopping(held, key, deployment.requested_by, now) if held else None
    if lock is not None:
        raise AppLocked(lock)


async def guard_request(tx: Transaction, deployment: Deployment, now: datetime) -> None:
    """Refuse a request that a lock stops, or a retry or rollback that was started before.

    Two people may press the same button at the same instant, on two replicas: on PostgreSQL the
    second one waits here for the first one's row. Raises AppLocked, Duplicate.
    """
    await refuse_locked(tx, deployment, now)
    column, old = deployments.c.retry_of, deployment.retry_of
    if old is None:
        column, old = deployments.c.rollback_of, deployment.rollback_of
    if old is None:
        return
    await tx.wait_for(f"again {column.name} {old}")
    found = await tx.connection.execute(
        select(deployments.c.id).where(column == old, deployments.c.phase.not_in(ENDINGS)).limit(1)
    )
    first = found.scalar_one_or_none()
    if first is not None:
        raise Duplicate(first)


async def guard_first(tx: Transaction, deployment: Deployment) -> None:
    """Refuse what another deployment of the app waits for already. Raises Twin.

    Of two that come at the same instant, the second one waits here for the first one's commit.
    """
    await tx.wait_for(f"first {deployment.server} {deployment.dokku_app}")
    waiting = select(deployments).where(_is_key(deployments, deployment.target))
    found = await tx.connection.execute(waiting.where(deployments.c.phase.in_(WAITING)))
    twin = find_twin([read_deployment(row) for row in found.mappings()], deployment)
    if twin is not None:
        raise Twin(twin.id)


async def guard_start(
    tx: Transaction,
    deployment: Deployment,
    was: Phase,
    audit: AuditEntry | None,
    most: int,
    now: datetime,
) -> None:
    """Refuse to start a deployment that has no place or is locked. Raises ServerFull, AppLocked.

    The second attempt is a start, too; but it has its place, and its phase may stay.
    """
    if was not in RUNNING:
        await find_place(tx, deployment.server, most)
        await refuse_locked(tx, deployment, now)
    elif audit is not None and audit.action == SECOND_START:
        await refuse_locked(tx, deployment, now)


_ALL_LOCKS = func.hashtextextended("deploybot locks", 0)


async def _wait_for_locks(tx: Transaction) -> None:
    if tx.connection.dialect.name == "postgresql":
        await tx.connection.execute(select(func.pg_advisory_xact_lock_shared(_ALL_LOCKS)))


async def _wait_for_starts(tx: Transaction) -> None:
    if tx.connection.dialect.name == "postgresql":
        await tx.connection.execute(select(func.pg_advisory_xact_lock(_ALL_LOCKS)))


async def _delete(tx: Transaction, statement: Delete) -> None:
    gone = await tx.connection.execute(statement)
    if gone.rowcount == 0:
        raise StaleState("someone else has changed or removed it meanwhile")


def _is_key(table: Table, key: AppKey) -> ColumnElement[bool]:
    return and_(table.c.server == key.server, table.c.dokku_app == key.dokku_app)


def _is_follower(follower: Follower) -> ColumnElement[bool]:
    return and_(_is_key(followers, follower.key), followers.c.user == follower.user)


def _key_values(key: AppKey) -> dict[str, Any]:
    return {"server": key.server, "dokku_app": key.dokku_app}


def _lock_values(lock: Lock) -> dict[str, Any]:
    return _key_values(lock.key) | {
        "id": lock.id,
        "app": lock.app,
        "holder": asdict(lock.holder),
        "reason": lock.reason,
        "since": lock.since,
        "until": lock.until,
        "channel": lock.channel,
    }


def _read_lock(row: RowMapping) -> Lock:
    return Lock(
        id=row["id"],
        key=AppKey(server=row["server"], dokku_app=row["dokku_app"]),
        app=row["app"],
        holder=Actor(**row["holder"]),
        reason=row["reason"],
        since=row["since"],
        until=row["until"],
        channel=row["channel"],
    )


def _read_follower(row: RowMapping) -> Follower:
    return Follower(
        key=AppKey(server=row["server"], dokku_app=row["dokku_app"]),
        app=row["app"],
        user=row["user"],
        since=row["since"],
    )


async def hold(connection: AsyncConnection, deployment_id: str, fence: int) -> None:
    """Keep the lease from being claimed until the caller's transaction ends.

    Raises LeaseLost when `fence` is not its newest number or it was given back. A lease that ran
    out and was not claimed since is good.
    """
    found = await connection.execute(_LEASE, {"of": deployment_id})
    if (row := found.one_or_none()) is None:
        raise LeaseLost(f"deployment {deployment_id} is not there any more")
    if row.fence != fence or row.replica is None:
        owner = row.replica or "nobody"
        raise LeaseLost(
            f"the lease of deployment {deployment_id} was lost: {owner} holds it"
            f" under number {row.fence}, not {fence}"
        )


async def find_place(tx: Transaction, server: str, most: int) -> None:
    """Refuse a start if `most` deployments run on the server (0: no limit). Raises ServerFull.

    Until the caller's transaction ends, no other deployment can start there.
    """
    if not most:
        return
    # A count alone would let two replicas through that start at the same time.
    await tx.wait_for(f"server {server}")
    found = await tx.connection.execute(
        select(func.count())
        .select_from(deployments)
        .where(deployments.c.server == server, deployments.c.phase.in_(RUNNING))
    )
    if (running := found.scalar_one()) >= most:
        raise ServerFull(server, running, most)


def _ms(lease: timedelta) -> int:
    return lease // _MS
