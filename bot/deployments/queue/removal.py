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
        result = before_start(cause, await self._read_live(deployment), failure=failure)
        ended = replace(
            deployment,
            phase=Phase.FAILED,
            failure=failure,
            live=result.live,
            reason=sentence_of(result),
            evidence=f"rule {result.rule}",
            finished_at=self._clock.now(),
        )
        audit = AuditEntry(
            actor=by,
            through=through,
            action="ended",
            detail={"failure": failure, "why": cause},
        )
        await self._save(ended, deployment.phase, audit)

    async def cancel(self, deployment: Deployment, actor: Actor, through: str) -> None:
        """End it because someone asked for that. Nothing is sent to Dokku. StaleState."""
        live = await self._read_live(deployment)
        queued = deployment.phase is Phase.QUEUED
        cause = "Cancelled while queued" if queued else "Cancelled before it was approved"
        result = before_start(cause, live, failure=None, phase=Phase.CANCELLED)
        ended = replace(
            deployment,
            phase=Phase.CANCELLED,
            live=result.live,
            reason=sentence_of(result),
            evidence="cancelled before the start",
            finished_at=self._clock.now(),
        )
        audit = AuditEntry(actor=actor, through=through, action="cancelled")
        await self._save(ended, deployment.phase, audit)

    async def supersede(self, deployment: Deployment, newer: Deployment) -> None:
        """End it because a newer request of the app replaces it. StaleState."""
        ref = f" {newer.ref}" if newer.ref else ""
        by = newer.requested_by.name
        cause = f"Superseded by a newer request: {newer.app}{ref}{f' by {by}' if by else ''}"
        live = await self._read_live(deployment)
        result = before_start(f"{cause} ({newer.id})", live, failure=None, phase=Phase.CANCELLED)
        ended = replace(
            deployment,
            phase=Phase.CANCELLED,
            live=result.live,
            reason=sentence_of(result),
            evidence="superseded before the start",
            finished_at=self._clock.now(),
        )
        detail = {"by": newer.id}
        audit = AuditEntry(actor=BOT, through="dispatcher", action="superseded", detail=detail)
        await self._save(ended, deployment.phase, audit)

    async def _save(self, ended: Deployment, was: Phase, audit: AuditEntry) -> None:
        event = Event(type="deployment.finished")
        await self._deployments.save(ended, was=was, by=Who.SERVICE, audit=audit, event=event)

    async def _read_live(self, deployment: Deployment) -> Containers | None:
        try:
            async with asyncio.timeout(self._timing.poll_timeout.total_seconds() / 2):
                return await self._servers.get(deployment.server).containers(deployment.dokku_app)
        except (DokkuError, TimeoutError):
            return None
