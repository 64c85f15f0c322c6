"""Reads of deployments."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, or_, select

from bot.deployments.model import AppKey, AuditEntry, Deployment, Live, Phase
from bot.deployments.states import ENDINGS
from bot.store.audit import read_audit
from bot.store.database import whole
from bot.store.part import Part
from bot.store.rows import read_deployment
from bot.store.tables import deployments


class DeploymentReads(Part):
    """Everything that only looks."""

    @whole
    async def get(self, deployment_id: str) -> Deployment | None:
        return await self._one(select(deployments).where(deployments.c.id == deployment_id))

    @whole
    async def by_prefix(self, prefix: str, *, limit: int = 2) -> Sequence[Deployment]:
        """Those whose id begins so (any case), newest first: two mean it is ambiguous."""
        return await self._all(
            select(deployments)
            .where(deployments.c.id.startswith(prefix.upper(), autoescape=True))
            .order_by(deployments.c.id.desc())
            .limit(limit)
        )

    @whole
    async def unfinished(self) -> Sequence[Deployment]:
        return await self._all(
            select(deployments)
            .where(deployments.c.phase.in_([p.value for p in Phase if p not in ENDINGS]))
            .order_by(deployments.c.created_at, deployments.c.id)
        )

    @whole
    async def unproven(self, since: datetime) -> Sequence[Deployment]:
        query = (
            select(deployments)
            .where(deployments.c.finished_at >= since)
            .where(deployments.c.started_at.is_not(None))
            .where(deployments.c.phase.in_([phase.value for phase in ENDINGS]))
            .where(deployments.c.late_over.is_(False))
            .where(deployments.c.live == Live.UNKNOWN.value)
        )
        return await self._all(query.order_by(deployments.c.finished_at, deployments.c.id))

    @whole
    async def lately_succeeded(self, since: datetime) -> Sequence[Deployment]:
        query = (
            select(deployments)
            .where(deployments.c.finished_at >= since)
            .where(deployments.c.phase == Phase.SUCCEEDED.value)
            .where(deployments.c.live == Live.NEW.value)
            .where(deployments.c.crash_told.is_(False))
        )
        return await self._all(query.order_by(deployments.c.finished_at, deployments.c.id))

    @whole
    async def newer(self, deployment: Deployment) -> Sequence[Deployment]:
        query = _of(deployment.target).where(
            or_(
                deployments.c.created_at > deployment.created_at,
                and_(
                    deployments.c.created_at == deployment.created_at,
                    deployments.c.id > deployment.id,
                ),
            )
        )
        return await self._all(query.order_by(deployments.c.created_at, deployments.c.id))

    @whole
    async def started(
        self, key: AppKey, *, commit: str = "", limit: int = 50
    ) -> Sequence[Deployment]:
        query = _of(key).where(deployments.c.started_at.is_not(None))
        if commit:
            query = query.where(deployments.c.sha.startswith(commit, autoescape=True))
        newest = query.order_by(deployments.c.started_at.desc(), deployments.c.id.desc())
        return await self._all(newest.limit(limit))

    @whole
    async def recent(
        self, *, app: str | None = None, server: str | None = None, limit: int = 20
    ) -> Sequence[Deployment]:
        query = select(deployments).limit(limit)
        if app is not None:
            query = query.where(deployments.c.app == app)
        if server is not None:
            query = query.where(deployments.c.server == server)
        return await self._all(
            query.order_by(deployments.c.created_at.desc(), deployments.c.id.desc())
        )

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
            earlier = deployments.c.created_at < before.created_at
            same = deployments.c.created_at == before.created_at
            query = query.where(or_(earlier, and_(same, deployments.c.id < before.id)))
        if other_than is not None:
            query = query.where(deployments.c.sha != other_than)
        newest = await self._one(query.limit(1))
        return newest.sha if newest else None

    @whole
    async def good_durations(self, key: AppKey, limit: int = 20) -> Sequence[timedelta]:
        good = await self._all(
            _proven(key)
            .where(deployments.c.started_at.is_not(None), deployments.c.finished_at.is_not(None))
            .limit(limit)
        )
        return [
            deployment.finished_at - deployment.started_at
            for deployment in good
            if deployment.finished_at and deployment.started_at
        ]

    @whole
    async def audit_of(self, deployment_id: str) -> Sequence[tuple[datetime, AuditEntry]]:
        async with self._database.read() as connection:
            return await read_audit(connection, deployment_id)

    async def _one(self, query: Select[*tuple[object, ...]]) -> Deployment | None:
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else read_deployment(row)

    async def _all(self, query: Select[*tuple[object, ...]]) -> Sequence[Deployment]:
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [read_deployment(row) for row in rows]


def _of(key: AppKey) -> Select[*tuple[object, ...]]:
    return select(deployments).where(
        deployments.c.server == key.server, deployments.c.dokku_app == key.dokku_app
    )


def _proven(key: AppKey) -> Select[*tuple[object, ...]]:
    """Good ends of an app, the release that came last first."""
    return (
        _of(key)
        .where(deployments.c.phase == Phase.SUCCEEDED.value, deployments.c.live == Live.NEW.value)
        .order_by(deployments.c.finished_at.desc(), deployments.c.id.desc())
    )
