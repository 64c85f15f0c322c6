"""What shells leave for the bot: their requests, until their answers are read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update

from bot.deployments.model import Actor
from bot.deployments.requests.from_shell import ShellAnswer, ShellRequest, ShellRequestKind
from bot.store.database import Database, DatabaseClock, NowMs, whole
from bot.store.shared_tables import shell_requests as rows
from bot.store.tables import deployments

TAKEN_AGAIN = timedelta(seconds=60)
"""For how long after its shell's patience another bot may take what a dead one had taken. The shell
waits longer than this for the answer."""
KEPT = timedelta(days=1)
"""How long a request is kept whose shell never came back for its answer."""


class SqlInbox:
    """Implements the domain's `Inbox` port."""

    def __init__(self, database: Database, *, now_ms: DatabaseClock = NowMs) -> None:
        self._database = database
        self._now_ms = now_ms

    @whole
    async def put(self, request: ShellRequest, *, within: timedelta) -> None:
        async with self._database.write() as tx:
            old = rows.c.until_ms < self._now_ms() - _ms(KEPT)
            await tx.connection.execute(delete(rows).where(old))
            await tx.connection.execute(
                insert(rows).values(
                    id=request.id, body=asdict(request), until_ms=self._now_ms() + _ms(within)
                )
            )

    @whole
    async def waiting(self) -> Sequence[ShellRequest]:
        async with self._database.read() as connection:
            query = select(rows.c.body).where(self._is_free()).order_by(rows.c.id)
            return [_read(body) for body in (await connection.execute(query)).scalars()]

    @whole
    async def take(self, request_id: str, hold: timedelta) -> bool:
        async with self._database.write() as tx:
            taken = await tx.connection.execute(
                update(rows)
                .where(rows.c.id == request_id, self._is_free())
                .values(taken_until_ms=self._now_ms() + _ms(hold))
            )
            return taken.rowcount > 0

    @whole
    async def answer(self, request: ShellRequest, answer: ShellAnswer) -> None:
        deployment_id: Any = answer.deployment_id
        if deployment_id is None and answer.refusal is None:
            by_key = select(deployments.c.id).where(deployments.c.request_key == request.key)
            deployment_id = by_key.scalar_subquery()
        async with self._database.write() as tx:
            await tx.connection.execute(
                update(rows)
                .where(rows.c.id == request.id)
                .values(deployment_id=deployment_id, refusal=answer.refusal)
            )

    @whole
    async def answered(self, request_id: str) -> ShellAnswer | None:
        query = select(rows.c.deployment_id, rows.c.refusal).where(rows.c.id == request_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None or (row.deployment_id is None and row.refusal is None):
            return None
        return ShellAnswer(deployment_id=row.deployment_id, refusal=row.refusal)

    @whole
    async def withdraw(self, request_id: str) -> bool:
        untaken = and_(rows.c.id == request_id, rows.c.taken_until_ms.is_(None))
        async with self._database.write() as tx:
            return (await tx.connection.execute(delete(rows).where(untaken))).rowcount > 0

    @whole
    async def forget(self, request_id: str) -> None:
        async with self._database.write() as tx:
            await tx.connection.execute(delete(rows).where(rows.c.id == request_id))

    def _is_free(self) -> ColumnElement[bool]:
        now = self._now_ms()
        untaken = and_(rows.c.taken_until_ms.is_(None), rows.c.until_ms > now)
        # Its shell knows that a bot took it, and waits longer for the answer.
        left = and_(rows.c.taken_until_ms <= now, rows.c.until_ms > now - _ms(TAKEN_AGAIN))
        return and_(rows.c.deployment_id.is_(None), rows.c.refusal.is_(None), or_(untaken, left))


def _read(body: Mapping[str, Any]) -> ShellRequest:
    kind, actor = ShellRequestKind(body["kind"]), Actor(**body["actor"])
    return ShellRequest(**(dict(body) | {"kind": kind, "actor": actor}))


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
