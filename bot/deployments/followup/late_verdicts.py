"""Late verdicts: a result that could not be proven is looked into until it can be.

Or until a newer deployment of the app starts. Nothing else ever changes an ended deployment, but
the note that a release reported as live crashes (`crash_watch.py`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from bot.clock import Ages, Clock
from bot.deployments.excerpt import around_error
from bot.deployments.execution.attempt import last_attempt
from bot.deployments.execution.finish import Command, Finish, rollback_commit
from bot.deployments.model import BOT, AuditEntry, Deployment, Event, Failure, Live, LogFacts
from bot.deployments.ports import Servers
from bot.deployments.state.lease import leased, queue_held
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import status_of
from bot.deployments.timing import Timing
from bot.deployments.verdict.collector import EvidenceCollector, Read, Stability
from bot.deployments.verdict.decisions import Ended, ReadAgain, StartAgain, WatchRelease
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.left_builds import BUILD, SENT
from bot.deployments.verdict.rules import decide
from bot.deployments.verdict.server_cancel import LogWatch, cancel_on_server
from bot.deployments.verdict.wording import describe, reason_of
from bot.errors import Declined, DokkuError, StaleState, StoreError

log = structlog.get_logger(__name__)

SPARE = timedelta(seconds=30)
"""What a look may take beyond `Timing.late_look`, before it is cut off."""
REPLACED = "Replaced before it could be known."


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnd:
    """What a stream said after its deployment was reported as lost."""

    exit_status: int | None
    output: LogFacts


class LateVerdicts:
    """Looks into unproven results, one lease each; a dead server delays no other."""

    def __init__(
        self,
        *,
        replica: str,
        servers: Servers,
        deployments: DeploymentRepository,
        logs: LogWatch,
        timing: Timing,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._replica = f"{replica} late"
        self._servers = servers
        self._deployments = deployments
        self._store = deployments.store
        self._logs = logs
        self._timing = timing
        self._clock = clock
        self._spawn = spawn
        self._busy: set[str] = set()
        self._ages = Ages(clock)
        self._stream_ends: dict[str, StreamEnd] = {}
        """By deployment id; kept here, because nothing says it a second time."""

    async def look(self) -> None:
        """Begin to look into all unproven results. Errors are logged, and tried again next time.

        Waits for none of them: a server that does not answer would keep others from the next look.
        """
        since = self._clock.now() - self._timing.late_duration
        try:
            rows = await self._store.unproven(since)
        except StoreError as error:
            log.warning("late_look_failed", why=str(error))
            return
        self._ages.keep({row.id for row in rows} | self._busy)
        for gone in self._stream_ends.keys() - {row.id for row in rows} - self._busy:
            del self._stream_ends[gone]
        for row in rows:
            if row.id not in self._busy:
                self._spawn(self._look_into(row))

    async def stream_ended(
        self, row: Deployment, exit_status: int | None, output: LogFacts
    ) -> None:
        """The stream of a deployment that was reported as lost has ended after all."""
        self._stream_ends[row.id] = StreamEnd(exit_status=exit_status, output=output)
        await self._look_into(row)

    async def _look_into(self, row: Deployment) -> None:
        if row.id in self._busy:
            return  # the look under way looks again at what came meanwhile
        self._busy.add(row.id)
        try:
            await self._look_until_answered(row)
        finally:
            self._busy.discard(row.id)

    async def _look_until_answered(self, row: Deployment) -> None:
        """Look once; again for a stream that ended meanwhile, or whose look was not answered.

        The connection for questions may still be down when a stream's own has come back.
        """
        tries_left = self._timing.max_poll_errors
        while True:
            stream_end = self._stream_ends.get(row.id)
            answered = await self._look_leased(row, stream_end)
            if self._stream_ends.get(row.id) is not stream_end:
                continue
            tries_left -= 1
            if answered or stream_end is None or not tries_left:
                return
            await self._clock.sleep(self._timing.look_again)

    async def _look_leased(self, row: Deployment, stream_end: StreamEnd | None) -> bool:
        """Whether the look was answered, or is another replica's."""
        longest = self._timing.late_look
        try:
            # The lease outlives the look: no other replica looks at the same time.
            async with leased(self._store, row.id, self._replica, 2 * longest) as fence:
                if fence is None:
                    return True
                async with asyncio.timeout((longest + SPARE).total_seconds()):
                    await self._look_once(row.id, fence, stream_end)
        except (DokkuError, StaleState, StoreError, TimeoutError, KeyError) as error:
            log.info("late_look_unanswered", deployment_id=row.id, why=type(error).__name__)
            return False
        return True

    async def _look_once(
        self, deployment_id: str, fence: int, stream_end: StreamEnd | None
    ) -> None:
        fresh = await self._store.get(deployment_id)
        if fresh is None or fresh.live is not Live.UNKNOWN or fresh.late_over:
            return
        row = replace(fresh, fence=fence)
        if await self._is_replaced(row):
            return
        if stream_end is not None:
            row = replace(row, exit_status=stream_end.exit_status)
        await self._check(row, stream_end.output if stream_end else None)

    async def _is_replaced(self, row: Deployment) -> bool:
        """Whether a newer one was started: then it stays as it is, and says so."""
        newer = await self._store.newer(row)
        if not any(one.started_at is not None for one in newer):
            return False
        reason = f"{row.reason or ''} {REPLACED}".strip()
        audit = AuditEntry(actor=BOT, through="late", action="left_unproven")
        await self._deployments.correct(replace(row, late_over=True, reason=reason), audit=audit)
        return True

    async def _check(self, row: Deployment, output: LogFacts | None) -> None:
        finish = self._finish(row)
        lines = await last_attempt(await self._store.logs.read(row.id))
        began = self._clock.monotonic()
        read = await finish.read(row, self._command(row, output, lines))
        if read.log is not None:
            lines = read.log
            await self._store.logs.replace(row.id, lines, fence=row.fence)
        result = await self._result(finish, row, read.evidence, began)
        if result is None and await self._cancel_left_build(row):
            await self._clock.sleep(self._timing.look_again)
            read = await finish.read(row, self._command(row, output, lines))
            result = await self._result(finish, row, read.evidence, began)
        if result is None or result.ended.live is Live.UNKNOWN:
            return
        if await self._is_replaced(row):
            return  # while it was looked into: what was read may be the newer one's
        evidence = replace(read.evidence, others=result.others)
        await self._correct(_with_what_was_learnt(row, read, result), evidence, result.ended, lines)

    async def _cancel_left_build(self, row: Deployment) -> bool:
        """Cancel its build on the server, if that was intended and it provably lives.

        Intended: someone asked to cancel it, or its time was over. Whether anything was sent.
        """
        build_id, app = row.build_id, row.dokku_app
        if build_id is None or (row.cancel is None and row.failure is not Failure.TIMED_OUT):
            return False
        dokku = self._servers.get(row.server)
        if not (await self._logs.look(dokku, app, build_id)).grew:
            return False
        sent = AuditEntry(
            actor=BOT, through="late", action=SENT, detail={BUILD: build_id, "why": "its log grows"}
        )
        async with queue_held(
            self._store, row.target, self._replica, clock=self._clock, timing=self._timing
        ) as may_act:
            if may_act is None:
                return False
            # Proves the lease to the database, too.
            await self._deployments.correct(row, audit=sent)
            try:
                await cancel_on_server(
                    dokku,
                    app,
                    build_id,
                    may_act=may_act,
                    clock=self._clock,
                    timing=self._timing,
                )
            except Declined as declined:
                log.info("server_cancel_not_sent", deployment_id=row.id, why=str(declined))
                return False
        log.info("server_cancel_sent", deployment_id=row.id, build_id=build_id)
        return True

    def _finish(self, row: Deployment) -> Finish:
        dokku = self._servers.get(row.server)
        collector = EvidenceCollector(dokku, clock=self._clock, look_again=self._timing.look_again)
        return Finish(dokku, collector, timing=self._timing, clock=self._clock)

    def _command(self, row: Deployment, output: LogFacts | None, lines: Sequence[str]) -> Command:
        silent = (output or LogFacts()) == LogFacts() and not any(lines)
        ended = row.finished_at
        age = timedelta(0) if ended is None else self._ages.of(row.id, ended)
        arrived_never = silent and age > self._timing.sent_lives_on
        return Command(
            streamed=output,
            kept=lines,
            # Its own connection may still be open and silent.
            ended_at=None,
            cap_reached=row.failure is Failure.TIMED_OUT,
            trace_patience=timedelta(0) if arrived_never else None,
        )

    async def _result(
        self, finish: Finish, row: Deployment, evidence: Evidence, began: float
    ) -> Stability | None:
        """The result that the evidence proves, after watching a new release; None: none yet."""
        match decide(evidence):
            case Ended() as ended:
                return Stability(ended=ended, after=evidence.after, others=evidence.others)
            case StartAgain(otherwise=ended):
                return Stability(ended=ended, after=evidence.after, others=evidence.others)
            case WatchRelease() | ReadAgain():
                return await finish.watch(row, evidence, began, most=self._timing.late_look)
            case _:
                return None

    async def _correct(
        self, row: Deployment, evidence: Evidence, ended: Ended, lines: Sequence[str]
    ) -> None:
        former = {
            "status": str(status_of(row.phase)),
            "failure": row.failure and str(row.failure),
            "live": row.live and str(row.live),
        }
        rollback = await rollback_commit(self._store, row)
        corrected = replace(
            row,
            phase=ended.phase,
            failure=ended.failure,
            live=ended.live,
            reason=reason_of(ended, evidence, row.after),
            evidence=describe(evidence, ended.rule),
            corrected_from=former,
            rollback_sha=rollback,
        )
        audit = AuditEntry(
            actor=BOT,
            through="late",
            action="corrected",
            detail={"from": str(former), "evidence": corrected.evidence or ""},
        )
        tail = around_error(lines, evidence.output.error)
        event = Event(type="deployment.corrected", log_tail=tail, corrected_from=former)
        await self._deployments.correct(corrected, audit=audit, event=event)


def _with_what_was_learnt(row: Deployment, read: Read, result: Stability) -> Deployment:
    # Without a web process nothing answers at the app's address.
    serves = result.after is None or result.after.has_web
    return replace(
        row,
        build_id=read.build_id,
        sha=read.sha,
        url=(read.evidence.output.url or row.url) if serves else None,
        after=result.after,
    )
