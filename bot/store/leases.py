"""Who may drive a deployment: one living replica at a time, told apart by fencing numbers."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.errors import LeaseLost
from bot.store.database import whole
from bot.store.part import Part
from bot.store.tables import leases, replicas


class Leases(Part):
    """The lease rows; each is created with its deployment, so taking one is a plain UPDATE."""

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
            known = await tx.connection.execute(
                update(replicas).where(replicas.c.replica == replica).values(until_ms=until_ms)
            )
            if known.rowcount == 0:
                await tx.connection.execute(
                    insert(replicas).values(replica=replica, until_ms=until_ms)
                )
            # One that ran out is still ours as long as nobody took it.
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
                tx.tell("queued", deployment_id)

    @whole
    async def living_replicas(self) -> int:
        """How many replicas renewed lately enough to be alive."""
        async with self._database.read() as connection:
            count = await connection.execute(
                select(func.count()).where(replicas.c.until_ms > self._now_ms())
            )
            return count.scalar_one()


async def hold(connection: AsyncConnection, deployment_id: str, fence: int) -> None:
    """Keep the lease from being taken until the caller's transaction ends.

    Raises LeaseLost when `fence` is not its newest number or it was given back. One that ran
    out but was not taken by anybody is good.
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


def _ms(lease: timedelta) -> int:
    return lease // timedelta(milliseconds=1)
