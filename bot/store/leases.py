"""Who may own a deployment: one replica at a time; and how many may run on a server."""

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from bot.deployments.states import RUNNING
from bot.errors import LeaseLost, ServerFull
from bot.store.database import Database, whole
from bot.store.tables import deployments, leases


class NowMs(FunctionElement[int]):
    """The database's own clock in milliseconds since 1970. Leases are measured only by it."""

    type = BigInteger()
    inherit_cache = True
    name = "now_ms"


@compiles(NowMs, "sqlite")
def _now_ms_on_sqlite(_element: NowMs, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"


@compiles(NowMs, "postgresql")
def _now_ms_on_postgresql(_element: NowMs, _compiler: SQLCompiler, **_kw: Any) -> str:
    # Not now(): it does not move while a transaction waits for a lock.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


DatabaseClock = Callable[[], ColumnElement[int]]
"""The expression that asks the database for its time in ms; tests pass a shifted one."""


class SqlLeases:
    """The lease rows. Each is created with its deployment, so a claim is a plain UPDATE."""

    def __init__(self, database: Database, *, now_ms: DatabaseClock = NowMs) -> None:
        self._database = database
        self._now_ms = now_ms

    @whole
    async def claim(self, deployment_id: str, replica: str, lease: timedelta) -> int | None:
        async with self._database.write() as tx:
            taken = await tx.connection.execute(
                update(leases)
                .where(leases.c.deployment_id == deployment_id)
                .where(leases.c.until_ms <= self._now_ms())
                .values(
                    replica=replica,
                    fence=leases.c.fence + 1,
                    until_ms=self._now_ms() + _ms(lease),
                )
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
                .where(leases.c.replica == replica)
                .where(leases.c.deployment_id.in_(sorted(among)))
                .values(until_ms=until_ms)
                .returning(leases.c.deployment_id)
            )
            return frozenset(held.scalars())

    @whole
    async def idle(self, deployment_id: str) -> timedelta:
        async with self._database.read() as connection:
            found = await connection.execute(
                select(self._now_ms() - leases.c.until_ms).where(
                    leases.c.deployment_id == deployment_id
                )
            )
            return timedelta(milliseconds=max(0, found.scalar_one_or_none() or 0))

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


async def hold(connection: AsyncConnection, deployment_id: str, fence: int) -> None:
    """Keep the lease from being claimed until the caller's transaction ends.

    Raises LeaseLost when `fence` is not its newest number or it was given back. A lease that ran
    out and was not claimed since is good.
    """
    found = await connection.execute(
        select(leases.c.fence, leases.c.replica)
        .where(leases.c.deployment_id == deployment_id)
        .with_for_update()
    )
    row = found.one_or_none()
    if row is None:
        raise LeaseLost(f"deployment {deployment_id} is not there any more")
    if row.fence != fence or row.replica is None:
        owner = row.replica or "nobody"
        raise LeaseLost(
            f"the lease of deployment {deployment_id} was lost: {owner} holds it"
            f" under number {row.fence}, not {fence}"
        )


async def find_place(connection: AsyncConnection, server: str, most: int) -> None:
    """Refuse a start if `most` deployments run on the server (0: no limit). Raises ServerFull.

    Until the caller's transaction ends, no other deployment can start there. SQLite needs no lock
    for that: it has one writer at a time.
    """
    if not most:
        return
    if connection.dialect.name == "postgresql":
        # A count alone would let two replicas through that start at the same time.
        name = func.hashtextextended(f"deploybot server {server}", 0)
        await connection.execute(select(func.pg_advisory_xact_lock(name)))
    found = await connection.execute(
        select(func.count())
        .select_from(deployments)
        .where(deployments.c.server == server, deployments.c.phase.in_(RUNNING))
    )
    running = found.scalar_one()
    if running >= most:
        raise ServerFull(server, running, most)


def _ms(lease: timedelta) -> int:
    return lease // timedelta(milliseconds=1)
