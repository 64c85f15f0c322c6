"""Who caused what, through what: rows that are only ever added."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.deployments.model import AuditEntry
from bot.store.rows import actor_values, read_actor
from bot.store.tables import audit


async def write_audit(
    connection: AsyncConnection, deployment_id: str, entry: AuditEntry, *, at: datetime
) -> None:
    """Add one row in the caller's transaction."""
    await connection.execute(
        insert(audit).values(
            deployment_id=deployment_id,
            at=at,
            actor=actor_values(entry.actor),
            through=entry.through,
            action=entry.action,
            detail=dict(entry.detail),
        )
    )


async def read_audit(
    connection: AsyncConnection, deployment_id: str
) -> Sequence[tuple[datetime, AuditEntry]]:
    """All rows of a deployment, oldest first."""
    rows = await connection.execute(
        select(audit).where(audit.c.deployment_id == deployment_id).order_by(audit.c.seq)
    )
    return [
        (
            row["at"],
            AuditEntry(
                actor=read_actor(row["actor"]),
                through=row["through"],
                action=row["action"],
                detail=row["detail"],
            ),
        )
        for row in rows.mappings()
    ]
