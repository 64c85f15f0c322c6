"""Ends waiting deployments: cancelled, expired, or impossible to start."""

import asyncio
from dataclasses import replace

from bot.clock import Clock
from bot.deployments.dokku_facts import Containers
from bot.deployments.model import BOT, Actor, AuditEntry, Deployment, Event, Failure, Phase, Who
from bot.deployments.ports import Servers
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.timing import Timing
from bot.deployments.verdict.rules import before_start
from bot.deployments.verdict.wording import sentence_of
from bot.errors import DokkuError


class QueueRemoval:
    """Queued deployments have no owner; the store's guard settles races (StaleState)."""

    def __init__(
        self, *, deployments: DeploymentRepository, servers: Servers, timing: Timing, clock: Clock
    ) -> None:
        self._deployments = deployments
        self._servers = servers
        self._timing = timing
        self._clock = clock

    async def fail(
        self,
        deployment: Deployment,
        failure: Failure,
        cause: str,
        *,
        by: Actor = BOT,
        through: str = "service",
    ) -> None:
        """End a deployment that has not started, after one read of what is live. StaleState."""
        detail = {"failure": failure.value, "why": cause}
        audit = AuditEntry(actor=by, through=through, action="ended", detail=detail)
        await self._end(deployment, cause, audit, failure=failure)

    async def cancel(self, deployment: Deployment, actor: Actor, through: str) -> None:
        """End it because someone asked for that. Nothing is sent to Dokku. StaleState."""
        queued = deployment.phase is Phase.QUEUED
        cause = "Cancelled while queued" if queued else "Cancelled before it was approved"
        audit = AuditEntry(actor=actor, through=through, action="cancelled")
        await self._end(deployment, cause, audit)

    async def supersede(self, deployment: Deployment, newer: Deployment) -> None:
        """End it because a newer request of the app replaces it. StaleState."""
        ref = f" {newer.ref}" if newer.ref else ""
        by = f" by {newer.requested_by.name}" if newer.requested_by.name else ""
        cause = f"Superseded by a newer request: {newer.app}{ref}{by} ({newer.id})"
        detail = {"by": newer.id}
        audit = AuditEntry(actor=BOT, through="dispatcher", action="superseded", detail=detail)
        await self._end(deployment, cause, audit)

    async def _end(
        self,
        deployment: Deployment,
        cause: str,
        audit: AuditEntry,
        *,
        failure: Failure | None = None,
    ) -> None:
        """As failed, or without a failure as cancelled."""
        phase = Phase.FAILED if failure else Phase.CANCELLED
        live = await self._read_live(deployment)
        result = before_start(cause, live, failure=failure, phase=phase)
        evidence = f"rule {result.rule}" if failure else f"{audit.action} before the start"
        ended = replace(
            deployment,
            phase=phase,
            failure=failure,
            live=result.live,
            reason=sentence_of(result),
            evidence=evidence,
            finished_at=self._clock.now(),
        )
        await self._deployments.save(
            ended,
            was=deployment.phase,
            by=Who.SERVICE,
            audit=audit,
            event=Event(type="deployment.finished"),
        )

    async def _read_live(self, deployment: Deployment) -> Containers | None:
        try:
            async with asyncio.timeout(self._timing.poll_timeout.total_seconds() / 2):
                return await self._servers.get(deployment.server).containers(deployment.dokku_app)
        except (DokkuError, TimeoutError):
            return None
