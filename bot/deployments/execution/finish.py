"""From a command's end (or a lost connection) to the result: read the evidence, watch, write.

Workers and late verdicts both read and watch with `Finish`, which owns nothing and writes nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.deployments.dokku_facts import (
    BuildRecord,
    BuildStatus,
    Containers,
    Pace,
    says_no_such_app,
)
from bot.deployments.excerpt import around_error, container_spoke
from bot.deployments.execution.attempt import (
    KEPT_LINES,
    OWN_LOG,
    SHOWN_LINES,
    Attempt,
    last_attempt,
)
from bot.deployments.execution.owned import OwnedDeployment, WorkerContext
from bot.deployments.live.compare import may_return_to
from bot.deployments.model import Deployment, Event, Failure, Live, LogFacts, Phase
from bot.deployments.ports import Dokku, Store
from bot.deployments.states import ENDINGS, WAITING
from bot.deployments.timing import Timing
from bot.deployments.verdict.collector import (
    EvidenceCollector,
    Read,
    Stability,
    blind,
    silent_processes,
)
from bot.deployments.verdict.decisions import Cause, Ended
from bot.deployments.verdict.evidence import Evidence, live_from
from bot.deployments.verdict.rules import before_start, decide, own_fault
from bot.deployments.verdict.run_proof import proof_for
from bot.deployments.verdict.stability import Look
from bot.deployments.verdict.wording import cause_of, describe, reason_of, sentence_of
from bot.errors import CommandFailed, DokkuError, LeaseLost, OddReport, StoreError

log = structlog.get_logger(__name__)

WEBHOOK_LINES = 10
"""Log lines that a webhook carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is known of Dokku's command without asking the server."""

    streamed: LogFacts | None
    """What its output stated to this process; None: another process read it."""
    kept: Sequence[str]
    """The stored lines of its output."""
    ended_at: float | None
    """When its connection ended, in monotonic seconds; None: it may still be open."""
    cap_reached: bool = False
    last_word: bool = False
    """Waiting longer is not allowed."""
    trace_patience: timedelta | None = timedelta(0)
    """How long a command without output may take to leave a trace on the server, before it is said
    that it never began; None: that cannot be said."""


class Finish:
    """Reads the evidence about one command, and watches the release that it shows."""

    def __init__(
        self, dokku: Dokku, collector: EvidenceCollector, *, timing: Timing, clock: Clock
    ) -> None:
        self._dokku = dokku
        self._collector = collector
        self._timing = timing
        self._clock = clock

    @property
    def pace(self) -> Pace:
        """How quickly the server answers now."""
        return self._dokku.pace

    async def read(self, row: Deployment, command: Command) -> Read:
        """Everything that the rules need. Raises DokkuError."""
        proof = proof_for(row.before, self._dokku, clock=self._clock, timing=self._timing)
        lock = await proof.lock_evidence(row, command.ended_at)
        record = await self._ended_record(row)
        never_began = False
        if record is None and row.build_id is None:
            if row.exit_status is not None:
                record = await self._collector.record_with_output(row, command.kept)
            elif command.trace_patience is not None and await self._is_silent(row, command):
                never_began = await self._never_began(row, command.trace_patience)
                record = None if never_began else await self._collector.record(row)
        return await self._collector.read(
            row,
            command.streamed,
            record,
            kept=command.kept,
            cap_reached=command.cap_reached,
            last_word=command.last_word,
            never_began=never_began,
            lock=lock,
        )

    async def watch(
        self, row: Deployment, evidence: Evidence, began: float, *, most: timedelta
    ) -> Stability:
        """Watch the new release; `evidence` was read from `began` (monotonic seconds) to now."""
        first = Look(began=began, done=self._clock.monotonic(), containers=evidence.after)
        return await self._collector.watch(
            row.dokku_app, evidence, first, settle=self._timing.settle, most=most
        )

    async def _is_silent(self, row: Deployment, command: Command) -> bool:
        facts = command.streamed
        if facts is None:
            facts = await self._dokku.facts_of(row.dokku_app, command.kept)
        return facts == LogFacts()

    async def _ended_record(self, row: Deployment) -> BuildRecord | None:
        """The build record; after the command's end it may be shown running for a moment longer."""
        record = await self._collector.record(row)
        began = self._clock.monotonic()
        while (
            row.exit_status is not None
            and record is not None
            and record.status is BuildStatus.RUNNING
            and self._clock.monotonic() - began < self._timing.record_wait.total_seconds()
        ):
            await self._clock.sleep(self._timing.record_pause)
            record = await self._collector.record(row)
        return record

    async def _never_began(self, row: Deployment, patience: timedelta) -> bool:
        """Whether a connection that was lost before its first byte left no trace on the server.

        Dokku writes the record half a second after the start, before it prints anything.
        """
        began = self._clock.monotonic()
        while await self._collector.left_no_trace(row):
            if self._clock.monotonic() - began >= patience.total_seconds():
                return True
            await self._clock.sleep(self._timing.record_pause)
        return False


class PatientReader:
    """Reads the evidence for a worker, again while the server does not answer, and stores it."""

    def __init__(
        self,
        owned: OwnedDeployment,
        attempt: Attempt,
        finish: Finish,
        results: "ResultWriter",
        context: WorkerContext,
    ) -> None:
        self._owned = owned
        self._attempt = attempt
        self._buffer = attempt.buffer
        self._finish = finish
        self._results = results
        self._timing = context.timing
        self._clock = context.clock

    async def read(self) -> Read | None:
        """The evidence; None: the server did not answer, several times in a row.

        None also if the app is gone; then the deployment has ended.
        """
        # First, so that waiting for the database does not count as silence of the server.
        kept = await self.kept_lines()
        for number in range(self._timing.max_poll_errors):
            if number:
                await self._clock.sleep(self._timing.read_pause)
            longest = 3 * self._timing.poll_timeout * self._finish.pace.heavy_patience
            try:
                async with asyncio.timeout(longest.total_seconds()):
                    read = await self._finish.read(self._owned.row, self._command(kept))
            except (DokkuError, TimeoutError) as error:
                if says_no_such_app(error):
                    # The result does not depend on what was printed.
                    output, cap = self._attempt.streamed or LogFacts(), self._attempt.cap_reached
                    await self._results.lost_contact(output, cap_reached=cap, app_gone=True)
                    return None
                self._owned.note_silence(error, longest, self._finish.pace)
            else:
                if not self._owned.is_over():
                    await self._store(read)
                return read
        return None

    def _command(self, kept: Sequence[str]) -> Command:
        row, attempt = self._owned.row, self._attempt
        ended_well = row.exit_status == 0 or row.phase is Phase.CHECKING
        return Command(
            streamed=attempt.streamed,
            kept=kept,
            ended_at=attempt.ended_at,
            cap_reached=attempt.cap_reached,
            last_word=attempt.checked_too_long if ended_well else attempt.last_word,
            trace_patience=self._timing.record_wait,
        )

    async def kept_lines(self) -> Sequence[str]:
        """The stored lines of this attempt. Nobody adds to them while a result is read."""
        if self._attempt.kept is not None:
            return self._attempt.kept
        text = await self._owned.ask(lambda store: store.logs.read(self._owned.id))
        lines = await last_attempt(text)
        self._attempt.keep_lines(lines)
        if self._buffer.lines == 0:
            self._fill_buffer(lines)
        return lines

    def _fill_buffer(self, lines: Sequence[str]) -> None:
        self._buffer.add(lines[-KEPT_LINES:])
        self._buffer.take()  # they are stored already
        self._owned.note(tail=self._buffer.tail(SHOWN_LINES))

    async def _store(self, read: Read) -> None:
        row = self._owned.row
        if read.log is not None:
            lines = read.log
            await self._owned.ask(lambda store: store.logs.replace(row.id, lines, fence=row.fence))
            self._attempt.keep_lines(lines)
            self._fill_buffer(lines)
        if read.build_id != row.build_id or read.sha != row.sha:
            await self._owned.record(build_id=read.build_id, sha=read.sha)
        self._owned.note_answer()


class ResultWriter:
    """The one place that ends a deployment which this replica owns. A second end is ignored."""

    def __init__(
        self,
        owned: OwnedDeployment,
        collector: EvidenceCollector,
        attempt: Attempt,
        context: WorkerContext,
    ) -> None:
        self._owned = owned
        self._collector = collector
        self._buffer = attempt.buffer
        self._context = context
        self._once = asyncio.Lock()

    async def by_evidence(
        self, evidence: Evidence, ended: Ended, after: Containers | None = None
    ) -> None:
        """End a deployment whose command was started; `after` is the newest look, if any."""
        if ended.phase is Phase.SUCCEEDED and self._owned.row.phase is not Phase.CHECKING:
            await self._owned.move(Phase.CHECKING, "checking")  # nothing runs that could be watched
        if ended.phase is not Phase.SUCCEEDED:
            own = await self._add_own_log(evidence, ended)
            excerpt = around_error(self._buffer.recent(), None if own else evidence.output.error)
            self._owned.note(excerpt=excerpt)
        now = after or evidence.after
        await self._write(
            ended,
            describe(evidence, ended.rule),
            reason=reason_of(ended, evidence, now),
            after=now,
            url=evidence.output.url,
        )

    async def _add_own_log(self, evidence: Evidence, ended: Ended) -> bool:
        """Add what a process that does not stay up printed. Whether there is anything."""
        silent = silent_processes(evidence, ended)
        if not ended.down and silent and container_spoke(self._buffer.recent()):
            return False
        words = await self._collector.last_words(self._owned.row.dokku_app, silent)
        if words is None:
            return False
        process, said = words
        lines = ["", OWN_LOG.format(process=process), *said]
        try:
            await self._owned.append_log(lines)
        except LeaseLost:
            raise
        except StoreError as error:
            log.warning("own_log_not_stored", deployment_id=self._owned.id, why=str(error))
        self._buffer.add(lines)
        self._buffer.take()  # they are stored already
        return True

    async def before_start(self, failure: Failure | None, cause: str) -> None:
        """End before Dokku's command was started; `failure` None: it was cancelled."""
        containers = None
        if failure is not Failure.SERVER_UNREACHABLE:
            containers = await self._untouched()
        phase = Phase.CANCELLED if failure is None else Phase.FAILED
        evidence = f"before the start: {cause}" if failure else "cancelled before the start"
        ended = before_start(cause, containers, failure=failure, phase=phase)
        await self._write(ended, evidence, after=containers)

    async def unanswered(self, error: DokkuError) -> None:
        """End because questions before the start were not answered as they should be."""
        match error:
            case CommandFailed():
                await self.before_start(Failure.REFUSED, f"Dokku refused: {error}")
            case OddReport():
                await self.before_start(Failure.INTERNAL, str(error))
            case _:
                await self.before_start(Failure.SERVER_UNREACHABLE, str(error))

    async def lost_contact(
        self, output: LogFacts, *, cap_reached: bool, app_gone: bool = False
    ) -> None:
        """The server has stopped answering: report what is known, and call the rest unknown.

        `app_gone`: it answers that the app does not exist. Then nothing else can be read either.
        """
        stale_why = self._owned.deployments.progress(self._owned.id).stale_why
        evidence = blind(
            self._owned.row,
            output,
            cap_reached=cap_reached,
            unanswered=None if app_gone else stale_why,
            app_gone=app_gone,
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
            rollback = await self._owned.ask(lambda store: rollback_commit(store, row))
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
                # Without a web process nothing answers there.
                url=(url or row.url) if after is None or after.has_web else None,
                late_over=ended.cause is Cause.APP_GONE,
            )
            self._context.polls.unwatch(row.id)


async def rollback_commit(store: Store, row: Deployment) -> str | None:
    """Where a rollback of it goes: what served before it, else the newest good commit."""
    previous = row.before.proven if row.before else None
    if previous is not None and previous != row.sha:
        known = await store.started(row.target, commit=previous)
        if any(may_return_to(one) for one in known):
            return previous
    return await store.proven_live(row.target, before=row, other_than=row.sha)
