"""Ends a deployment: one transaction, with what a result shows."""

import asyncio

from bot.deployments.dokku_facts import Containers
from bot.deployments.excerpt import around_error
from bot.deployments.execution.context import WorkerContext
from bot.deployments.execution.log_recorder import LogBuffer
from bot.deployments.execution.owned import OwnedDeployment
from bot.deployments.model import Event, Failure, Live, LogFacts, Phase
from bot.deployments.states import ENDINGS, WAITING
from bot.deployments.verdict.collector import EvidenceCollector, blind
from bot.deployments.verdict.decisions import Ended
from bot.deployments.verdict.evidence import Evidence, live_from
from bot.deployments.verdict.rules import before_start, decide, own_fault
from bot.deployments.verdict.wording import cause_of, describe, reason_of, sentence_of
from bot.errors import CommandFailed, DokkuError, OddReport

WEBHOOK_LINES = 10
"""Log lines that a webhook carries."""


class ResultWriter:
    """The one place that ends a deployment which this replica owns. A second end is ignored."""

    def __init__(
        self,
        owned: OwnedDeployment,
        collector: EvidenceCollector,
        buffer: LogBuffer,
        context: WorkerContext,
    ) -> None:
        self._owned = owned
        self._collector = collector
        self._buffer = buffer
        self._context = context
        self._once = asyncio.Lock()

    async def by_evidence(
        self, evidence: Evidence, ended: Ended, after: Containers | None = None
    ) -> None:
        """End a deployment whose command was started; `after` is the newest look, if any."""
        if ended.phase is Phase.SUCCEEDED and self._owned.row.phase is not Phase.CHECKING:
            await self._owned.move(Phase.CHECKING, "checking")  # nothing runs that could be watched
        if ended.phase is not Phase.SUCCEEDED:
            excerpt = around_error(self._buffer.recent(), evidence.output.error)
            self._owned.note(excerpt=excerpt)
        now = after or evidence.after
        await self._write(
            ended,
            describe(evidence, ended.rule),
            reason=reason_of(ended, evidence, now),
            after=now,
            url=evidence.output.url,
        )

    async def before_start(self, failure: Failure, cause: str) -> None:
        """End before Dokku's command was started."""
        containers = None
        if failure is not Failure.SERVER_UNREACHABLE:
            containers = await self._untouched()
        ended = before_start(cause, containers, failure=failure)
        await self._write(ended, f"before the start: {cause}", after=containers)

    async def cancelled_before_start(self) -> None:
        """End because a cancel was requested before Dokku's command was started."""
        containers = await self._untouched()
        ended = before_start(
            "Cancelled before Dokku was asked", containers, failure=None, phase=Phase.CANCELLED
        )
        await self._write(ended, "cancelled before the start", after=containers)

    async def unanswered(self, error: DokkuError) -> None:
        """End because questions before the start were not answered as they should be."""
        match error:
            case CommandFailed():
                await self.before_start(Failure.REFUSED, f"Dokku refused: {error}")
            case OddReport():
                await self.before_start(Failure.INTERNAL, str(error))
            case _:
                await self.before_start(Failure.SERVER_UNREACHABLE, str(error))

    async def lost_contact(self, output: LogFacts, *, cap_reached: bool) -> None:
        """The server answers no more: report what is known, and that the rest is not."""
        evidence = blind(
            self._owned.row,
            output,
            cap_reached=cap_reached,
            unanswered=self._owned.deployments.progress(self._owned.id).stale_why,
        )
        ended = decide(evidence)
        if not isinstance(ended, Ended):
            raise TypeError(f"{ended} although no more waiting is allowed")
        await self.by_evidence(evidence, ended)

    async def own_fault(self) -> None:
        """End because the bot itself failed to follow it: nothing else is known."""
        ended = own_fault()
        cause = cause_of(ended)
        if self._owned.row.started_at is None:
            await self.before_start(Failure.INTERNAL, cause)
            return
        await self._write(ended, f"own fault: {cause}", after=None)

    async def _untouched(self) -> Containers | None:
        """What runs now; None also if it is not what ran at the first look."""
        row = self._owned.row
        look, _ = await self._collector.look(row.dokku_app)
        if row.before is None or row.phase in WAITING:
            return look.containers
        live = live_from(look.containers, frozenset(), row.before.containers)
        return look.containers if live is not Live.UNKNOWN else None

    async def _write(
        self,
        ended: Ended,
        evidence: str,
        *,
        after: Containers | None,
        reason: str | None = None,
        url: str | None = None,
    ) -> None:
        async with self._once:
            row = self._owned.row
            if row.phase in ENDINGS:
                return
            rollback = await self._owned.ask(
                lambda store: store.proven_live(row.target, before=row, other_than=row.sha)
            )
            self._owned.note(reading_end=False, step=None, waits_for=None)
            self._owned.note(stale_since=None, stale_why=None)
            shown = self._owned.deployments.progress(row.id)
            await self._owned.move(
                ended.phase,
                "ended",
                detail={"failure": ended.failure or "", "evidence": evidence},
                event=Event(
                    type="deployment.finished",
                    log_tail=shown.excerpt or self._buffer.tail(WEBHOOK_LINES),
                ),
                failure=ended.failure,
                live=ended.live,
                reason=reason or sentence_of(ended),
                evidence=evidence,
                finished_at=self._context.clock.now(),
                rollback_sha=rollback,
                after=after,
                url=url or row.url,
            )
            self._context.polls.unwatch(row.id)
