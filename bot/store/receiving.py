"""Which replicas Slack's requests reach: one that stops leaves them to the others."""

from datetime import timedelta

from sqlalchemy import select, update

from bot.store.database import Database, DatabaseClock, NowMs, whole
from bot.store.shared_tables import replicas

SEEN_WITHIN = timedelta(seconds=12)
"""Two heartbeats of 5 seconds, and some time for the database."""


@whole
async def stop_listening(
    database: Database, *, replica: str, now_ms: DatabaseClock = NowMs
) -> bool:
    """Note that a replica takes no more requests; whether another one does. StoreError.

    Of two that stop at the same instant, the second one sees that the first has stopped.
    `SqlLeases.beat` says again every few seconds who listens.
    """
    mine = replicas.c.replica == replica
    fresh = replicas.c.seen_ms >= now_ms() - SEEN_WITHIN // timedelta(milliseconds=1)
    async with database.write() as tx:
        await tx.wait_for("listening")
        await tx.connection.execute(update(replicas).where(mine).values(listens=False))
        others = select(replicas.c.replica).where(~mine, fresh, replicas.c.listens.is_(True))
        return (await tx.connection.execute(others.limit(1))).first() is not None
