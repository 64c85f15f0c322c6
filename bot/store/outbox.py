"""The outbox: what the outside is sent, written with the change, until delivered or given up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from ulid import ULID

from bot.clock import Clock
from bot.deployments.lock import Notice
from bot.outbox import NOTICES_LANE, WEBHOOKS, Outgoing
from bot.store.database import Database, Transaction, whole
from bot.store.shared_tables import notices
from bot.store.tables import endpoints, outbox

WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given_up"


class SqlOutbox:
    """The rows of one table. Due times are by the bot's clock; ids and order never change.

    `about` is the column within which the order is kept: the deployment, or the receiver.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        rows: Table = outbox,
        about: str = "deployment_id",
    ) -> None:
        self._database = database
        self._clock = clock
        self._rows = rows
        self._about = about
        self._due = _due(rows, about)

    @whole
    async def take(
        self, lane: str, *, limit: int, hold: timedelta, left: Sequence[Outgoing] = ()
    ) -> Sequence[Outgoing]:
        now = self._clock.now()
        rows, about = self._rows, self._about
        due = _due(rows, about, *map(self._is_held, left)) if left else self._due
        values = {"in_lane": lane, "now": now, "most": limit}
        # Mostly there is none, and to find that out needs no writer's turn.
        async with self._database.read() as connection:
            if (await connection.execute(due, values)).first() is None:
                return []
        async with self._database.write() as tx:
            locked = due.with_for_update(of=rows, skip_locked=True)
            found = (await tx.connection.execute(locked, values)).mappings().all()
            if found:
                await tx.connection.execute(
                    update(rows)
                    .where(rows.c.seq.in_([row["seq"] for row in found]))
                    .values(next_at=now + hold)
                )
        return [replace(_read(row, about), held_until=now + hold) for row in found]

    @whole
    async def prolong(self, taken: Outgoing, hold: timedelta) -> Outgoing | None:
        until = self._clock.now() + hold
        async with self._database.write() as tx:
            held = await tx.connection.execute(
                update(self._rows).where(self._is_held(taken)).values(next_at=until)
            )
        return replace(taken, held_until=until) if held.rowcount else None

    def _is_held(self, taken: Outgoing) -> ColumnElement[bool]:
        """Whether the row is still held by this taker; each hold has its own time."""
        rows = self._rows
        return and_(
            rows.c.id == taken.id, rows.c.state == WAITING, rows.c.next_at == taken.held_until
        )

    @whole
    async def delivered(self, outgoing_id: str) -> None:
        async with self._database.write() as tx:
            await tx.connection.execute(
                update(self._rows)
                .where(self._rows.c.id == outgoing_id)
                .values(state=DELIVERED, last_error=None)
            )

    @whole
    async def retry(self, taken: Outgoing, *, at: datetime, error: str) -> None:
        await self._fail(self._is_held(taken), at=at, error=error, state=WAITING)

    @whole
    async def give_up(self, outgoing_id: str, *, error: str) -> None:
        # Another replica may have delivered it meanwhile.
        waiting = and_(self._rows.c.id == outgoing_id, self._rows.c.state == WAITING)
        await self._fail(waiting, at=self._clock.now(), error=error, state=GIVEN_UP)

    @whole
    async def outgoing(self, *, limit: int = 50) -> Sequence[Outgoing]:
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(self._rows)
                .where(self._rows.c.lane.startswith(WEBHOOKS))
                .order_by(self._rows.c.seq.desc())
                .limit(limit)
            )
            return [_read(row, self._about) for row in rows.mappings()]

    @whole
    async def replay(self, outgoing_id: str) -> bool:
        async with self._database.write() as tx:
            found = await tx.connection.execute(
                update(self._rows)
                .where(self._rows.c.id == outgoing_id)
                .values(state=WAITING, tries=0, last_error=None, next_at=self._clock.now())
                .returning(self._rows.c[self._about])
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

    @whole
    async def ages(self) -> Mapping[str, timedelta]:
        """Lane -> how long its oldest row has waited; only lanes that are on, and have one."""
        rows = self._rows
        oldest = (
            select(rows.c.lane, func.min(rows.c.created_at).label("since"))
            .where(rows.c.state == WAITING)
            .where(~exists().where(endpoints.c.lane == rows.c.lane))
            .group_by(rows.c.lane)
        )
        now = self._clock.now()
        async with self._database.read() as connection:
            found = (await connection.execute(oldest)).all()
        return {row.lane: max(timedelta(0), now - row.since) for row in found}

    async def _fail(
        self, which: ColumnElement[bool], *, at: datetime, error: str, state: str
    ) -> None:
        async with self._database.write() as tx:
            await tx.connection.execute(
                update(self._rows)
                .where(which)
                .values(tries=self._rows.c.tries + 1, next_at=at, last_error=error, state=state)
            )


def _due(rows: Table, about: str, *held: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """The first waiting row of each `about` in a lane that is on, where it is due or held."""
    older = rows.alias("older")
    lane: ColumnElement[str] = bindparam("in_lane")
    return (
        select(rows)
        .where(rows.c.lane == lane, rows.c.state == WAITING)
        .where(or_(rows.c.next_at <= bindparam("now"), *held))
        .where(~exists().where(endpoints.c.lane == lane))
        .where(
            ~exists()
            .where(older.c.lane == lane, older.c.state == WAITING)
            .where(older.c[about] == rows.c[about])
            .where(older.c.seq < rows.c.seq)
        )
        .order_by(rows.c.seq)
        .limit(bindparam("most"))
    )


async def put(tx: Transaction, planned: Sequence[Outgoing], *, now: datetime) -> None:
    """Add the rows that a planner planned, in the caller's transaction."""
    for outgoing in planned:
        row = {
            "id": outgoing.id,
            "deployment_id": outgoing.deployment_id,
            "lane": outgoing.lane,
            "kind": outgoing.kind,
            "body": dict(outgoing.body),
            "state": outgoing.state,
            "tries": outgoing.tries,
            "created_at": outgoing.created_at or now,
            "next_at": outgoing.next_at or now,
            "last_error": outgoing.last_error,
        }
        await tx.connection.execute(insert(outbox), row)
        tx.announce("outbox", outgoing.deployment_id)


async def put_notices(tx: Transaction, added: Sequence[Notice], *, now: datetime) -> None:
    """Add notices in the caller's transaction."""
    for notice in added:
        await tx.connection.execute(
            insert(notices).values(
                id=str(ULID.from_datetime(now)),
                receiver=notice.to,
                lane=NOTICES_LANE,
                kind=notice.kind,
                body=dict(notice.body),
                state=WAITING,
                tries=0,
                created_at=now,
                next_at=now,
            )
        )
        tx.announce("outbox")


def _read(row: RowMapping, about: str) -> Outgoing:
    return Outgoing(
        id=row["id"],
        deployment_id=row[about],
        lane=row["lane"],
        kind=row["kind"],
        body=row["body"],
        tries=row["tries"],
        created_at=row["created_at"],
        next_at=row["next_at"],
        last_error=row["last_error"],
        state=row["state"],
    )
