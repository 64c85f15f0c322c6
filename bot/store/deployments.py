"""Writes to deployments: each one transaction, each guarded by the table of moves."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.deployments.model import (
    Actor,
    AuditEntry,
    CancelRequest,
    Deployment,
    Event,
    MessagePlace,
    Phase,
)
from bot.deployments.states import ENDINGS, RUNNING, WAITING, Who, may_move
from bot.errors import Duplicate, ServerFull, StaleState
from bot.store.audit import write_audit
from bot.store.database import Clash, Transaction, whole
from bot.store.leases import hold
from bot.store.outbox import put
from bot.store.part import Part
from bot.store.rows import fact_values, place_values, read_deployment, wish_values
from bot.store.tables import deployments, leases


class DeploymentWrites(Part):
    """Everything that changes a deployment's row."""

    @whole
    async def create(self, deployment: Deployment, audit: AuditEntry) -> None:
        values = fact_values(deployment)
        values |= place_values(deployment.message) | wish_values(deployment.cancel)
        try:
            async with self._database.write() as tx:
                await tx.connection.execute(insert(deployments).values(values))
                await tx.connection.execute(
                    insert(leases).values(deployment_id=deployment.id, fence=0, until_ms=0)
                )
                await write_audit(tx.connection, deployment.id, audit, at=self._clock.now())
                _tell_of(tx, deployment)
        except Clash as err:
            first = await self._id_of_request(deployment.request_key)
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
    ) -> Deployment:
        moves = was is not deployment.phase
        if moves and audit is None:
            raise ValueError(f"a move needs an audit entry: {was} to {deployment.phase}")
        _check_move(deployment, was=was, by=by)
        values = fact_values(deployment)
        if by is not Who.OWNER:
            # Who writes without a lease says nothing about leases.
            del values["fence"]
        try:
            async with self._database.write() as tx:
                if by is Who.OWNER:
                    await hold(tx.connection, deployment.id, deployment.fence)
                if deployment.phase in RUNNING and was not in RUNNING:
                    await self._find_place(tx.connection, deployment)
                fresh = await _update(tx.connection, deployment.id, values, was=was)
                if audit is not None:
                    await write_audit(tx.connection, fresh.id, audit, at=self._clock.now())
                if event is not None:
                    await put(tx, self._planner(fresh, event), now=self._clock.now())
                _tell_of(tx, fresh)
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
        del values["fence"]
        async with self._database.write() as tx:
            fresh = await _update(tx.connection, deployment.id, values, was=None)
            await write_audit(tx.connection, fresh.id, audit, at=self._clock.now())
            if event is not None:
                await put(tx, self._planner(fresh, event), now=self._clock.now())
        return fresh

    @whole
    async def place_message(self, deployment_id: str, place: MessagePlace) -> None:
        async with self._database.write() as tx:
            placed = await tx.connection.execute(
                update(deployments)
                .where(deployments.c.id == deployment_id)
                .values(place_values(place))
            )
            if placed.rowcount == 0:
                raise StaleState(f"deployment {deployment_id} is not there any more")

    @whole
    async def withdraw(self, deployment_id: str, audit: AuditEntry) -> None:
        async with self._database.write() as tx:
            # The lease first: an owner locks in this order, too.
            await tx.connection.execute(
                select(leases.c.fence)
                .where(leases.c.deployment_id == deployment_id)
                .with_for_update()
            )
            gone = await tx.connection.execute(
                delete(deployments)
                .where(deployments.c.id == deployment_id, deployments.c.started_at.is_(None))
                .where(deployments.c.phase.in_([phase.value for phase in WAITING]))
            )
            if gone.rowcount == 0:
                raise await _stale(tx.connection, deployment_id, "waiting and never started")
            await write_audit(tx.connection, deployment_id, audit, at=self._clock.now())
            tx.tell("queued", deployment_id)

    @whole
    async def ask_cancel(
        self, deployment_id: str, actor: Actor, at: datetime, *, through: str = "service"
    ) -> Deployment:
        async with self._database.write() as tx:
            wished = await tx.connection.execute(
                update(deployments)
                .where(deployments.c.id == deployment_id, deployments.c.cancel_at.is_(None))
                .where(deployments.c.phase.not_in([phase.value for phase in ENDINGS]))
                .values(wish_values(CancelRequest(by=actor, at=at)))
            )
            if wished.rowcount:
                entry = AuditEntry(actor=actor, through=through, action="cancel_asked")
                await write_audit(tx.connection, deployment_id, entry, at=self._clock.now())
            tx.tell("wish", deployment_id)
            found = await tx.connection.execute(
                select(deployments).where(deployments.c.id == deployment_id)
            )
            row = found.mappings().one_or_none()
            if row is None:
                raise StaleState(f"deployment {deployment_id} is not there any more")
            return read_deployment(row)

    async def _id_of_request(self, request_key: str) -> str | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                select(deployments.c.id).where(deployments.c.request_key == request_key)
            )
            return found.scalar_one_or_none()

    async def _find_place(self, connection: AsyncConnection, deployment: Deployment) -> None:
        """ServerFull: no more may run on its server. Until the commit nobody else may begin there.

        SQLite needs no lock for that, it has one writer at a time.
        """
        most = self._max_running.get(deployment.server, 0)
        if not most:
            return
        if connection.dialect.name == "postgresql":
            # A count alone would let two replicas through that begin at the same time.
            name = func.hashtextextended(f"deploybot server {deployment.server}", 0)
            await connection.execute(select(func.pg_advisory_xact_lock(name)))
        found = await connection.execute(
            select(func.count())
            .select_from(deployments)
            .where(deployments.c.server == deployment.server)
            .where(deployments.c.phase.in_([phase.value for phase in RUNNING]))
        )
        running = found.scalar_one()
        if running >= most:
            raise ServerFull(deployment.server, running, most)

    async def _refuse_second(self, deployment: Deployment, err: Clash) -> None:
        async with self._database.read() as connection:
            found = await connection.execute(
                select(deployments.c.id)
                .where(deployments.c.server == deployment.server)
                .where(deployments.c.dokku_app == deployment.dokku_app)
                .where(deployments.c.phase.in_([phase.value for phase in RUNNING]))
                .where(deployments.c.id != deployment.id)
            )
            other = found.scalar_one_or_none()
        if other is not None:
            raise StaleState(
                f"another deployment of {deployment.dokku_app} is running"
                f" on {deployment.server}: {other}"
            ) from err


def _check_move(deployment: Deployment, *, was: Phase, by: Who) -> None:
    if was in ENDINGS:
        raise StaleState(f"deployment {deployment.id} ended {was}: an end never changes")
    if was is deployment.phase:
        if by is Who.SERVICE and was in RUNNING:
            raise StaleState(f"deployment {deployment.id} is {was}: its owner alone writes to it")
    elif not may_move(was, deployment.phase, by):
        raise StaleState(
            f"deployment {deployment.id} may not go from {was} to {deployment.phase} by the {by}"
        )


async def _update(
    connection: AsyncConnection, deployment_id: str, values: Mapping[str, Any], *, was: Phase | None
) -> Deployment:
    """Write a row that is in the phase `was` (None: ended) at this moment."""
    believed = [phase.value for phase in ENDINGS] if was is None else [was.value]
    written = await connection.execute(
        update(deployments)
        .where(deployments.c.id == deployment_id, deployments.c.phase.in_(believed))
        .values(values)
        .returning(deployments)
    )
    row = written.mappings().one_or_none()
    if row is None:
        raise await _stale(connection, deployment_id, was.value if was else "ended")
    return read_deployment(row)


async def _stale(connection: AsyncConnection, deployment_id: str, believed: str) -> StaleState:
    found = await connection.execute(
        select(deployments.c.phase).where(deployments.c.id == deployment_id)
    )
    phase = found.scalar_one_or_none()
    if phase is None:
        return StaleState(f"deployment {deployment_id} is not there any more")
    return StaleState(f"deployment {deployment_id} is {phase} by now, not {believed}")


def _tell_of(tx: Transaction, deployment: Deployment) -> None:
    if deployment.phase is Phase.QUEUED:
        tx.tell("queued", deployment.id)
    elif deployment.phase in ENDINGS:
        tx.tell("ended", deployment.id)
