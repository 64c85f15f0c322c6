"""A deployment whose command runs in a one-off container on the server, and outlives the bot.

The container (`run:detached`) opens its own SSH connection to Dokku. The bot has no connection to
the command: it starts it, finds its build among the records, reads that build's output, and lets
records and containers prove the end. Recording: m9_detached_runner_app.
"""

import math
from dataclasses import replace

import structlog

from bot.clock import first_of
from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.execution.owned import OwnedDeployment, WorkerContext
from bot.deployments.execution.start import NotStarted, Ready, Start
from bot.deployments.execution.worker import Worker
from bot.deployments.model import Deployment, Failure, LogFacts
from bot.deployments.ports import DeployStream, Dokku
from bot.deployments.states import COMMAND_RUNS, FETCHED, RUNNING
from bot.deployments.verdict.collector import blind
from bot.deployments.verdict.decisions import Cause, Decision, Ended, LookAgain
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.rules import decide
from bot.deployments.verdict.run_proof import DetachedRun, is_run_alive, own_record
from bot.errors import CommandFailed, Declined, DokkuError

log = structlog.get_logger(__name__)

NEEDS_RECORDS = (
    "The server's setting `runner` needs Dokku 0.38 or newer, which keeps records of its builds. "
    "Nothing was started; upgrade Dokku, or remove the setting"
)


class DetachedStart(Start):
    """Sends the command to a container of the app that the server's setting `runner` names."""

    async def prepare(self) -> Ready:
        """As `Start`, and remember which app runs the command."""
        ready = await super().prepare()
        if ready.snapshot.builds is None:
            raise NotStarted(Failure.REFUSED, NEEDS_RECORDS)
        return replace(ready, snapshot=replace(ready.snapshot, runner=self._dokku.runner))

    async def _open(self, row: Deployment, repo: str) -> DeployStream | None:
        if row.before is None:
            raise ValueError("a deployment that claimed its app has a snapshot")
        runner = row.before.runner
        try:
            run = await self._dokku.run_detached(
                row.dokku_app, repo, row.pinned, runner=runner, may_send=self._owned.has_right
            )
        except CommandFailed as failed:
            if await self._may_run(row):
                return None
            raise Declined(
                f"Dokku started no container of {runner}, which the server's setting `runner` "
                f"names, so nothing was started: {failed}"
            ) from failed
        await self._owned.record(before=replace(row.before, run=run))
        return None

    async def _may_run(self, row: Deployment) -> bool:
        """Whether a start that Dokku reported as failed runs all the same, as far as is known."""
        proof = DetachedRun(self._dokku, clock=self._clock, timing=self._timing)
        try:
            return await proof.left_trace(row, self._timing.record_wait)
        except DokkuError as error:
            # It must not be sent again: what it began is looked for.
            log.warning("start_not_answered", deployment_id=row.id, why=str(error))
            return True


class DetachedWorker(Worker):
    """Follows a build that needs no connection of the bot.

    Closing the stream ends nothing on the server. While the build runs, it is followed again.
    """

    def __init__(self, owned: OwnedDeployment, *, dokku: Dokku, context: WorkerContext) -> None:
        super().__init__(owned, dokku=dokku, context=context)
        self._start = DetachedStart(owned, dokku, self._collector, context)
        self._sent_at: float | None = None
        self._followed_at: float | None = None
        self._unconfirmed_at: float | None = None
        self._looks_without_container = 0

    def is_running(self) -> bool:
        """Whether a shutdown should wait for it: once its container is there, it needs no bot."""
        before = self.owned.row.before
        return super().is_running() and not (before is not None and before.run)

    async def poll(self, *, read_request: bool = True) -> None:
        """As `Worker`. After the time limit, what still runs is not followed any longer."""
        try:
            await super().poll(read_request=read_request)
            await self._look_for_container()
        finally:
            stream = self._attempt.open_stream
            if self._attempt.last_word and stream is not None:
                self._context.spawn(stream.close())

    async def _look_for_container(self) -> None:
        """Store that the build goes on without its container, as after a lost connection.

        One that prints dies with its client. Two looks: an answer may come between two states.
        """
        row, stream = self.owned.row, self._attempt.open_stream
        if row.phase not in COMMAND_RUNS or row.before is None or self.owned.lost:
            return
        if row.build_id is None or row.build_id == row.left_build:
            return
        quiet_s = self._clock.monotonic() - stream.last_byte_at if stream else math.inf
        if quiet_s < self._timing.poll_interval.total_seconds():
            return
        try:
            alive = await is_run_alive(row, row.before, self._dokku)
            record = own_record(row, await self._dokku.builds(row.dokku_app))
        except DokkuError as error:
            log.info("container_not_looked_for", deployment_id=row.id, why=str(error))
            return
        runs = record is not None and record.status is BuildStatus.RUNNING
        self._looks_without_container = (
            self._looks_without_container + 1 if runs and not alive else 0
        )
        if self._looks_without_container > 1:
            await self.owned.record(left_build=row.build_id)

    async def _send(self, ready: Ready) -> DeployStream | None:
        await super()._send(ready)
        self._sent_at = self._clock.monotonic()
        self._context.polls.watch(self.owned.id)
        return await self._follow_build() or await self._conclude()

    async def _conclude(self) -> DeployStream | None:
        await self._find_build()
        return await super()._conclude()

    async def _act(
        self, decision: Decision, evidence: Evidence, began: float
    ) -> DeployStream | None:
        if isinstance(decision, LookAgain):
            self.owned.note(reading_end=False)
            return await self._follow_build()
        if self._is_early(decision):
            await self._wait_for_next_look(self._timing.trace_pause)
            return None
        return await super()._act(decision, evidence, began)

    def _is_early(self, decision: Decision) -> bool:
        """Whether the record says success, and Dokku may not have written the source yet.

        It does so a moment later, and then ends the command (recordings b, m9).
        """
        if not isinstance(decision, Ended) or decision.cause is not Cause.COMMIT_NOT_CONFIRMED:
            return False
        now = self._clock.monotonic()
        if self._unconfirmed_at is None:
            self._unconfirmed_at = now
        return now - self._unconfirmed_at < self._timing.record_wait.total_seconds()

    async def _follow_build(self) -> DeployStream | None:
        """The output of its build from where it was read last. None: nothing to follow now."""
        if not await self._find_build():
            return None
        row = self.owned.row
        pause = self._timing.look_again
        if self._followed_at is not None:
            since = self._clock.monotonic() - self._followed_at
            if since < pause.total_seconds():
                await self._wait_for_next_look(pause)
        self._followed_at = self._clock.monotonic()
        seen = await self._reader.kept_lines()
        known = await self._dokku.facts_of(row.dokku_app, seen)
        if known.phase in FETCHED or row.phase in FETCHED:
            self._attempt.building.set()
        try:
            stream = await self._dokku.follow(row.dokku_app, row.build_id or "", seen)
        except DokkuError as error:
            log.info("build_not_followed", deployment_id=self.owned.id, why=str(error))
            await self._wait_for_next_look()  # enough failed polls end it
            return None
        self.owned.note(cut_off=False)
        return stream

    async def _find_build(self) -> bool:
        """Wait until its build record is known. False: the evidence decides without one.

        Its container has ended without a build; or it was reported that no build is certain.
        """
        sent_at = self._attempt.ended_at if self._sent_at is None else self._sent_at
        while not self.owned.is_over() and self.owned.row.phase in RUNNING:
            row = self.owned.row
            if row.build_id is not None:
                return True
            waited = self._clock.monotonic() - sent_at
            try:
                record = await self._collector.record(row)
                if record is not None:
                    await self.owned.record(build_id=record.id)
                    return True
                # A start that was not answered may take as long as it likes.
                named = row.before is not None and row.before.run
                patience = self._timing.record_wait if named else self._timing.run_wait
                late = waited >= patience.total_seconds()
                if late and await self._collector.left_no_trace(row):
                    return False
                if waited >= self._timing.run_wait.total_seconds():
                    await self._report_unseen(row)
                    return False
            except DokkuError as error:
                log.info("build_not_found", deployment_id=self.owned.id, why=str(error))
            await first_of(self._clock.sleep(self._timing.trace_pause), self.owned.gone.wait())
        return False

    async def _report_unseen(self, row: Deployment) -> None:
        """Something may still begin: a late verdict goes on looking."""
        evidence = replace(blind(row, LogFacts(), cap_reached=False), run_unseen=True)
        ended = decide(evidence)
        if not isinstance(ended, Ended):
            raise TypeError(f"{ended} although no more waiting is allowed")
        await self._results.by_evidence(evidence, ended)
        await self._release_lease()
