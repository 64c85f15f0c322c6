"""Late verdicts: an end that could not be proven is looked at until it can be, or is replaced.

Nothing else ever changes an ended deployment, but to say that a release called live crashes
(`crashes.py`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from bot.clock import Clock
from bot.deployments.excerpt import around_error
from bot.deployments.execution.start import last_attempt
from bot.deployments.model import BOT, AuditEntry, Deployment, Event, Failure, Live, LogFacts
from bot.deployments.ports import Dokku, Servers, Timing
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import status_of
from bot.deployments.verdict import deploy_lock
from bot.deployments.verdict.collector import EvidenceReader
from bot.deployments.verdict.decisions import Ended, ReadAgain, StartAgain, WatchRelease
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.rules import decide
from bot.deployments.verdict.stability import Look
from bot.deployments.verdict.stability_watch import Stability, StabilityWatch
from bot.deployments.verdict.wording import describe, reason_of
from bot.errors import DokkuError, StaleState, StoreError

log = structlog.get_logger(__name__)

LONGEST_LOOK = timedelta(minutes=2)
"""One look at one deployment, the settle time of a release included."""
SENT_LIVES_ON = timedelta(minutes=16)
"""A command that a silent network swallowed may still arrive: TCP repeats it for 15 min."""
Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Run on, as a tracked task."""
REPLACED = "Replaced before it could be known."


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the stream of a deployment told after the deployment was called lost."""

    exit_status: int | None
    output: LogFacts


def _is_open(row: Deployment) -> bool:
    return row.live is Live.UNKNOWN and not row.late_over


class LateVerdicts:
    """Looks at unproven ends, one lease each; a dead server delays no other."""

    def __init__(
        self,
        *,
        replica: str,
        servers: Servers,
        deployments: DeploymentRepository,
        timing: Timing,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self._replica = f"{replica} late"
        self._servers = servers
        self._deployments = deployments
        self._store = deployments.store
        self._timing = timing
        self._clock = clock
        self._spawn = spawn
        self._busy: set[str] = set()
        self._heard: dict[str, Told] = {}
        """What streams told after their deployments were called lost; nobody tells it again."""

    async def look(self) -> None:
        """Begin to look at all unproven ends. Errors of one are logged, and tried again next time.

        Waits for none of them: a server that does not answer would keep others from the next look.
        """
        since = self._clock.now() - self._timing.late_duration
        try:
            rows = await self._store.unproven(since)
        except StoreError as error:
            log.warning("late_look_failed", why=str(error))
            return
        for gone in self._heard.keys() - {row.id for row in rows} - self._busy:
            del self._heard[gone]
        for row in rows:
            if row.id not in self._busy:
                self._spawn(self._look_at(row))

    async def stream_ended(
        self, row: Deployment, exit_status: int | None, output: LogFacts
    ) -> None:
        """The stream of a deployment that was called lost has told its end after all."""
        self._heard[row.id] = Told(exit_status=exit_status, output=output)
        await self._look_at(row)

    async def _look_at(self, row: Deployment) -> None:
        if row.id in self._busy:
            return  # whoever looks at it now looks again at what was heard meanwhile
        self._busy.add(row.id)
        try:
            while True:
                told = self._heard.get(row.id)
                await self._guarded(row, told)
                if self._heard.get(row.id) is told:
                    break
        finally:
            self._busy.discard(row.id)

    async def _guarded(self, row: Deployment, told: Told | None) -> None:
        try:
            # The lease outlives the look: no other replica looks at the same time.
            fence = await self._store.leases.claim(row.id, self._replica, 2 * LONGEST_LOOK)
            if fence is None:
                return
            try:
                async with asyncio.timeout(LONGEST_LOOK.total_seconds() + 30):
                    await self._look_once(row.id, fence, told)
            finally:
                await self._store.leases.release(row.id, fence)
        except (DokkuError, StaleState, StoreError, TimeoutError, KeyError) as error:
            log.info("late_look_unanswered", deployment_id=row.id, why=type(error).__name__)

    async def _look_once(self, deployment_id: str, fence: int, told: Told | None) -> None:
        fresh = await self._store.get(deployment_id)
        if fresh is None or not _is_open(fresh) or await self._is_replaced(fresh):
            return
        row = replace(fresh, fence=fence)
        if told is None:
            await self._check(row, None)
        else:
            await self._check(replace(row, exit_status=told.exit_status), told.output)

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
        dokku = self._servers.get(row.server)
        reader = EvidenceReader(dokku)
        record = await reader.record(row)
        lines = last_attempt(await self._store.logs.read(row.id))
        unheard = (output or LogFacts()) == LogFacts() and not any(lines)
        silent = unheard and record is None and row.build_id is None
        sent_before = self._clock.now() - SENT_LIVES_ON
        dead = silent and row.finished_at is not None and row.finished_at < sent_before
        # Its own line may still be open and silent: a free lock proves nothing of a fetch here.
        free = deploy_lock.tells(row) and await deploy_lock.was_free(
            dokku, row.dokku_app, self._clock, until=self._clock.monotonic()
        )
        began = self._clock.monotonic()
        read = await reader.read(
            row,
            output,
            record,
            kept=lines,
            cap_reached=row.failure is Failure.TIMED_OUT,
            last_word=False,
            lock_was_free=free,
            never_began=dead and await reader.never_began(row),
        )
        if read.log is not None:
            lines = read.log
            await self._store.logs.replace(row.id, lines, fence=row.fence)
        evidence = read.evidence
        look = Look(began=began, done=self._clock.monotonic(), containers=evidence.after)
        seen = await self._verdict(dokku, row, evidence, look)
        if seen is None or seen.ended.live is Live.UNKNOWN:
            return
        if await self._is_replaced(row):
            return  # while it was looked at: what was read may be the newer one's
        learnt = replace(
            row,
            build_id=read.build_id,
            sha=read.sha,
            url=evidence.output.url or row.url,
            after=seen.after,
        )
        tail = around_error(lines, evidence.output.error)
        await self._correct(learnt, replace(evidence, others=seen.others), seen.ended, tail)

    async def _verdict(
        self, dokku: Dokku, row: Deployment, evidence: Evidence, look: Look
    ) -> Stability | None:
        decision = decide(evidence)
        ended = decision.otherwise if isinstance(decision, StartAgain) else decision
        if isinstance(ended, Ended):
            return Stability(ended=ended, after=evidence.after, others=evidence.others)
        if not isinstance(decision, WatchRelease | ReadAgain):
            return None
        checker = StabilityWatch(
            dokku=dokku, clock=self._clock, settle=self._timing.settle, most=LONGEST_LOOK
        )
        return await checker.watch(row.dokku_app, evidence, look)

    async def _correct(
        self, row: Deployment, evidence: Evidence, ended: Ended, tail: Sequence[str]
    ) -> None:
        former = {
            "status": str(status_of(row.phase)),
            "failure": row.failure and str(row.failure),
            "live": row.live and str(row.live),
        }
        rollback = await self._store.proven_live(row.target, before=row, other_than=row.sha)
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
        event = Event(type="deployment.corrected", log_tail=tuple(tail), corrected_from=former)
        await self._deployments.correct(corrected, audit=audit, event=event)
