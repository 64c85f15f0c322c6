"""Ends a deployment: one transaction, with what an end shows."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from bot.clock import Clock
from bot.deployments.dokku_facts import Containers
from bot.deployments.excerpt import around_error
from bot.deployments.execution.log_buffer import LogBuffer
from bot.deployments.execution.owned import OwnedDeployment
from bot.deployments.model import Deployment, Event, Failure, Live, LogFacts, Phase
from bot.deployments.ports import Dokku, Polls, Timing
from bot.deployments.requests.resolve import RequestResolver
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import ENDINGS, WAITING
from bot.deployments.verdict.decisions import Ended
from bot.deployments.verdict.evidence import Evidence, live_from
from bot.deployments.verdict.rules import before_start, own_fault
from bot.deployments.verdict.stability_watch import StabilityWatch
from bot.deployments.verdict.wording import cause_of, describe, reason_of, sentence_of
from bot.errors import CommandFailed, DokkuError, OddReport

TOLD_LINES = 10
"""Log lines that a webhook carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every worker uses."""

    deployments: DeploymentRepository
    resolver: RequestResolver
    polls: Polls
    timing: Timing
    clock: Clock
    late: Callable[[Deployment, int | None, LogFacts], Coroutine[Any, Any, None]]
    """The stream of a deployment that was called lost has ended after all."""
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    """Run on, as a tracked task whose failure is logged."""


class Ending:
    """The one place that ends a deployment which this replica owns. A second end is ignored."""

    def __init__(
        self, *, held: OwnedDeployment, dokku: Dokku, buffer: LogBuffer, parts: Parts
    ) -> None:
        self._held = held
        self._dokku = dokku
        self._buffer = buffer
        self._parts = parts
        self._once = asyncio.Lock()

    def checker(self) -> StabilityWatch:
        """Looks at the app's containers."""
        return StabilityWatch(
            dokku=self._dokku,
            clock=self._parts.clock,
            settle=self._parts.timing.settle,
            most=self._held.row.max_duration,
        )

    async def by_evidence(
        self, evidence: Evidence, ended: Ended, after: Containers | None = None
    ) -> None:
        """End with a verdict on a command that was started; `after` is the newest look, if any."""
        if ended.phase is Phase.SUCCEEDED and self._held.row.phase is not Phase.CHECKING:
            await self._held.move(Phase.CHECKING, "checking")  # nothing runs that could be watched
        if ended.phase is not Phase.SUCCEEDED:
            excerpt = around_error(self._buffer.recent(), evidence.output.error)
            self._held.note(excerpt=excerpt)
        now = after or evidence.after
        await self._end(
            ended,
            describe(evidence, ended.rule),
            reason=reason_of(ended, evidence, now),
            after=now,
            url=evidence.output.url,
        )

    async def unstarted(self, failure: Failure, cause: str) -> None:
        """End before Dokku's command was started."""
        containers = None
        if failure is not Failure.SERVER_UNREACHABLE:
            containers = await self._untouched()
        ended = before_start(cause, containers, failure=failure)
        await self._end(ended, f"before the start: {cause}", after=containers)

    async def unanswered(self, error: DokkuError) -> None:
        """End because questions before the start were not answered, or not as they should be."""
        match error:
            case CommandFailed():
                await self.unstarted(Failure.REFUSED, f"Dokku refused: {error}")
            case OddReport():
                await self.unstarted(Failure.INTERNAL, str(error))
            case _:
                await self.unstarted(Failure.SERVER_UNREACHABLE, str(error))

    async def by_own_fault(self) -> None:
        """End what the bot itself failed to follow: nothing more than that is known."""
        ended = own_fault()
        cause = cause_of(ended)
        if self._held.row.started_at is None:
            await self.unstarted(Failure.INTERNAL, cause)
            return
        await self._end(ended, f"own fault: {cause}", after=None)

    async def cancelled_unstarted(self) -> None:
        """Somebody asked for the end before Dokku's command was started."""
        containers = await self._untouched()
        ended = before_start(
            "Cancelled before Dokku was asked", containers, failure=None, phase=Phase.CANCELLED
        )
        await self._end(ended, "cancelled before the start", after=containers)

    async def _untouched(self) -> Containers | None:
        """What runs now; None also where it is not what ran when we looked first."""
        row = self._held.row
        now = (await self.checker().look(row.dokku_app)).containers
        if row.before is None or row.phase in WAITING:
            return now
        known = live_from(now, frozenset(), row.before.containers) is not Live.UNKNOWN
        return now if known else None

    async def _end(
        self,
        ended: Ended,
        evidence: str,
        *,
        reason: str | None = None,
        after: Containers | None,
        url: str | None = None,
    ) -> None:
        async with self._once:
            row = self._held.row
            if row.phase in ENDINGS:
                return
            rollback = await self._held.ask(
                lambda store: store.proven_live(row.target, before=row, other_than=row.sha)
            )
            self._held.note(reading_end=False, step=None, waits_for=None)
            self._held.note(stale_since=None, stale_why=None)
            shown = self._held.deployments.progress(row.id)
            await self._held.move(
                ended.phase,
                "ended",
                detail={"failure": ended.failure or "", "evidence": evidence},
                event=Event(
                    type="deployment.finished",
                    log_tail=shown.excerpt or self._buffer.tail(TOLD_LINES),
                ),
                failure=ended.failure,
                live=ended.live,
                reason=reason or sentence_of(ended),
                evidence=evidence,
                finished_at=self._parts.clock.now(),
                rollback_sha=rollback,
                after=after,
                url=url or row.url,
            )
            self._parts.polls.unwatch(row.id)
