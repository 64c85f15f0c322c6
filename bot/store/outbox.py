"""The outbox: events for the outside, written with the change, kept until delivered or given up."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, delete, exists, insert, select, update

from bot.clock import Clock
from bot.outbox import WEBHOOKS, Outgoing
from bot.store.database import Database, Transaction, whole
from bot.store.tables import endpoints, outbox

WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given_up"


class SqlOutbox:
    """The outbox's rows. Due times are by the bot's clock; ids and order never change."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @whole
    async def take(self, lane: str, *, limit: int, hold: timedelta) -> Sequence[Outgoing]:
        now = self._clock.now()
        older = outbox.alias("older")
        due = (
            select(outbox)
            .where(outbox.c.lane == lane, outbox.c.state == WAITING, outbox.c.next_at <= now)
            .where(~exists().where(endpoints.c.lane == lane))
            .where(
                ~exists()
                .where(older.c.lane == lane, older.c.state == WAITING)
                .where(older.c.deployment_id == outbox.c.deployment_id)
                .where(older.c.seq < outbox.c.seq)
            )
            .order_by(outbox.c.seq)
            .limit(limit)
            .with_for_update(of=outbox, skip_locked=True)
        )
        async with self._database.write() as tx:
            rows = (await tx.connection.execute(due)).mappings().all()
            if rows:
                await tx.connection.execute(
                    update(outbox)
                    .where(outbox.c.seq.in_([row["seq"] for row in rows]))
                    .values(next_at=now + hold)
                )
        return [_read(row) for row in rows]

    @whole
    async def delivered(self, outgoing_id: str) -> None:
        async with self._database.write() as tx:
            await tx.connection.execute(
                update(outbox)
                .where(outbox.c.id == outgoing_id)
                .values(state=DELIVERED, last_error=None)
            )

    @whole
    async def retry(self, outgoing_id: str, *, at: datetime, error: str) -> None:
        await self._fail(outgoing_id, at=at, error=error, state=WAITING)

    @whole
    async def give_up(self, outgoing_id: str, *, error: str) -> None:
        await self._fail(outgoing_id, at=self._clock.now(), error=error, state=GIVEN_UP)

    @whole
    async def outgoing(self, *, limit: int = 50) -> Sequence[Outgoing]:
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(outbox)
                .where(outbox.c.lane.startswith(WEBHOOKS))
                .order_by(outbox.c.seq.desc())
                .limit(limit)
            )
            return [_read(row) for row in rows.mappings()]

    @whole
    async def replay(self, outgoing_id: str) -> bool:
        async with self._database.write() as tx:
            found = await tx.connection.execute(
                update(outbox)
                .where(outbox.c.id == outgoing_id)
                .values(state=WAITING, tries=0, last_error=None, next_at=self._clock.now())
                .returning(outbox.c.deployment_id)
            )
            deployment_id = found.scalar_one_or_none()
            if deployment_id is not None:
                tx.announce("outbox", deployment_id)
        return deployment_id is not None

    @whole
    async def turn_off(self, lane: str, reason: str) -> None:
        async with self._database.write() as tx:
            known = await tx.connection.execute(
                update(endpoints).where(endpoints.c.lane == lane).values(reason=reason)
            )
            if known.rowcount == 0:
                await tx.connection.execute(
                    insert(endpoints).values(lane=lane, reason=reason, off_at=self._clock.now())
                )

    @whole
    async def turn_on(self, lane: str) -> bool:
        async with self._database.write() as tx:
            gone = await tx.connection.execute(delete(endpoints).where(endpoints.c.lane == lane))
            tx.announce("outbox")
        return gone.rowcount > 0

    @whole
    async def turned_off(self) -> Mapping[str, str]:
        """The lanes that are off, each with its reason; for operators."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(endpoints).order_by(endpoints.c.lane))
            return {row.lane: row.reason for row in rows}

    async def _fail(self, outgoing_id: str, *, at: datetime, error: str, state: str) -> None:
        async with self._database.write() as tx:
            await tx.connection.execute(
                update(outbox)
                # Another replica may have delivered it meanwhile.
                .where(outbox.c.id == outgoing_id, outbox.c.state == WAITING)
                .values(tries=outbox.c.tries + 1, next_at=at, last_error=error, state=state)
            )


async def put(tx: Transaction, planned: Sequence[Outgoing], *, now: datetime) -> None:
    """Add the rows that a planner planned, in the caller's transaction."""
    for outgoing in planned:
        await tx.connection.execute(
            insert(outbox).values(
                id=outgoing.id,
                deployment_id=outgoing.deployment_id,
                lane=outgoing.lane,
                kind=outgoing.kind,
                body=dict(outgoing.body),
                state=outgoing.state,
                tries=outgoing.tries,
                created_at=outgoing.created_at or now,
                next_at=outgoing.next_at or now,
                last_error=outgoing.last_error,
            )
        )
        tx.announce("outbox", outgoing.deployment_id)


def _read(row: RowMapping) -> Outgoing:
    return Outgoing(
        id=row["id"],
        deployment_id=row["deployment_id"],
        lane=row["lane"],
        kind=row["kind"],
        body=row["body"],
        tries=row["tries"],
        created_at=row["created_at"],
        next_at=row["next_at"],
        last_error=row["last_error"],
        state=row["state"],
    )
