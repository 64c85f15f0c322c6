"""Cancels a running deployment's build on the server, where the connection to it is lost.

Without an approver's request only if its log grows, or the runner's container that began it still
runs: then its record names a living process, the build itself. And only after a cancel request, or
at the time limit.
"""

import structlog

from bot.deployments.dokku_facts import BuildRecord, BuildStatus
from bot.deployments.execution.attempt import Attempt
from bot.deployments.execution.cancel import Canceller
from bot.deployments.execution.owned import OwnedDeployment, WorkerContext
from bot.deployments.model import BOT, AuditEntry, Deployment, Phase
from bot.deployments.ports import Dokku
from bot.deployments.states import COMMAND_RUNS
from bot.deployments.verdict.collector import EvidenceCollector
from bot.deployments.verdict.left_builds import BUILD, SENT, is_approved, only_running
from bot.deployments.verdict.run_proof import is_run_alive
from bot.deployments.verdict.server_cancel import cancel_on_server
from bot.errors import Declined, DokkuError, LeaseLost, StaleState, Withheld

log = structlog.get_logger(__name__)


async def carry_out_cancel(
    owned: OwnedDeployment,
    dokku: Dokku,
    collector: EvidenceCollector,
    attempt: Attempt,
    context: WorkerContext,
    *,
    at_cap: bool,
) -> None:
    """Cancel over the connection to the command while that is open, else on the server."""
    row, stream = owned.row, attempt.open_stream
    # A runner's container may have died without its build, whose output is still read.
    is_left = row.left_build is not None and row.left_build == row.build_id
    if stream is not None and not is_left:
        await Canceller(owned, dokku, collector, attempt, stream, context).run()
    else:
        await ServerCanceller(owned, dokku, attempt, context).run(at_cap=at_cap)


async def note_left_build(
    owned: OwnedDeployment, attempt: Attempt, record: BuildRecord | None, context: WorkerContext
) -> None:
    """Store that the build goes on, once the connection has been lost for a poll interval.

    A build that prints dies within 2 s of the loss (recordings m1, m2).
    """
    lost_for = context.clock.monotonic() - attempt.ended_at
    if record is None or record.status is not BuildStatus.RUNNING:
        return
    if lost_for < context.timing.poll_interval.total_seconds():
        return
    if record.id == owned.row.build_id != owned.row.left_build:
        await owned.record(left_build=record.id)


class ServerCanceller:
    """One try. The next poll tries again, as long as the record is shown running."""

    def __init__(
        self, owned: OwnedDeployment, dokku: Dokku, attempt: Attempt, context: WorkerContext
    ) -> None:
        self._owned = owned
        self._dokku = dokku
        self._attempt = attempt
        self._context = context

    async def run(self, *, at_cap: bool) -> None:
        """Cancel the build, if it is this deployment's and that is approved or proven safe."""
        await self._owned.refresh_cancel_request()
        row = self._owned.row
        if row.phase not in COMMAND_RUNS or row.build_id is None:
            return
        is_detached = row.before is not None and row.before.runner
        if row.left_build != row.build_id and not is_detached:
            return
        try:
            why = await self._why(row, row.build_id, at_cap=at_cap)
            if why is not None:
                await self._cancel(row, row.build_id, why)
        except (Declined, Withheld, DokkuError, LeaseLost, StaleState) as error:
            log.info("server_cancel_not_sent", deployment_id=row.id, why=str(error))

    async def _why(self, row: Deployment, build_id: str, *, at_cap: bool) -> str | None:
        trail = await self._owned.ask(lambda store: store.audit_of(row.id))
        if is_approved(trail, build_id):
            return "approved"
        if row.cancel is None and not at_cap:
            return None
        before = row.before
        if before is not None and before.runner and await is_run_alive(row, before, self._dokku):
            return "its container runs"
        seen = await self._context.logs.look(self._dokku, row.dokku_app, build_id)
        return "its log grows" if seen.grew else None

    async def _cancel(self, row: Deployment, build_id: str, why: str) -> None:
        only_running(await self._dokku.builds(row.dokku_app), build_id, row.dokku_app)
        if self._owned.can_move(Phase.CANCELLING):
            await self._owned.move(Phase.CANCELLING, "cancelling", detail={"why": why})
        else:
            await self._owned.confirm()
        if self._owned.row.cancel is None:
            self._attempt.stopped_at_cap()
        await cancel_on_server(
            self._dokku,
            row.dokku_app,
            build_id,
            may_act=self._owned.has_right,
            clock=self._context.clock,
            timing=self._context.timing,
        )
        log.info("server_cancel_sent", deployment_id=row.id, build_id=build_id, why=why)
        # Last: a bot that dies before, or gets no answer, leaves the approval as it was.
        audit = AuditEntry(
            actor=BOT, through="runner", action=SENT, detail={BUILD: build_id, "why": why}
        )
        await self._owned.record(audit=audit)
