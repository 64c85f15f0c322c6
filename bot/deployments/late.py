"""Late verdicts: an end that could not be proven is looked at until it can be, or is replaced.

Nothing else ever changes an ended deployment, but to say that a release called live crashes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.deployments.books import Books
from bot.deployments.checking import Checker
from bot.deployments.evidence import EvidenceReader, describe
from bot.deployments.excerpt import around_error
from bot.deployments.model import (
    BOT,
    AuditEntry,
    Containers,
    Deployment,
    Event,
    Failure,
    Live,
    LogFacts,
)
from bot.deployments.ports import Dokku, Servers, Timing
from bot.deployments.settling import Look
from bot.deployments.starting import last_attempt
from bot.deployments.states import status_of
from bot.deployments.verdict import Evidence, Kind, Verdict, decide
from bot.errors import DokkuError, StaleState, StoreError

log = structlog.get_logger(__name__)

LONGEST_LOOK = timedelta(minutes=2)
"""One look at one deployment, the settle time of a release included."""
REPLACED = "Replaced before it could be known."


class LateVerdicts:
    """Looks at unproven ends, one lease each; a dead server delays no other."""

    def __init__(
        self,
        *,
        replica: str,
        servers: Servers,
        books: Books,
        timing: Timing,
        clock: Clock,
    ) -> None:
        self._replica = f"{replica} late"
        self._servers = servers
        self._books = books
        self._store = books.store
        self._timing = timing
        self._clock = clock
        self._busy: set[str] = set()

    async def look(self) -> None:
        """Look at all unproven ends once. Errors of one are logged and tried again next time."""
        since = self._clock.now() - self._timing.late_duration
        try:
            rows = await self._store.unproven(since)
        except StoreError as error:
            log.warning("late_look_failed", why=str(error))
            return
        await asyncio.gather(*(self._look_at(row) for row in rows))

    async def stream_ended(
        self, row: Deployment, exit_status: int | None, output: LogFacts
    ) -> None:
        """The stream of a deployment that was called lost has told its end after all."""
        fresh = await self._store.get(row.id)
        if fresh is None or fresh.live is not Live.UNKNOWN or fresh.late_over:
            return
        await self._guarded(replace(fresh, exit_status=exit_status), output)

    async def _look_at(self, row: Deployment) -> None:
        try:
            newer = await self._store.newer(row)
            if any(one.started_at is not None for one in newer):
                await self._leave(row)
                return
        except StoreError as error:
            log.info("late_look_failed", deployment_id=row.id, why=str(error))
            return
        await self._guarded(row, None)

    async def _guarded(self, row: Deployment, output: LogFacts | None) -> None:
        if row.id in self._busy:
            return
        self._busy.add(row.id)
        try:
            # The lease outlives the look: no other replica looks at the same time.
            fence = await self._store.claim(row.id, self._replica, 2 * LONGEST_LOOK)
            if fence is None:
                return
            try:
                async with asyncio.timeout(LONGEST_LOOK.total_seconds() + 30):
                    await self._check(replace(row, fence=fence), output)
            finally:
                await self._store.release(row.id, fence)
        except (DokkuError, StaleState, StoreError, TimeoutError, KeyError) as error:
            log.info("late_look_unanswered", deployment_id=row.id, why=type(error).__name__)
        finally:
            self._busy.discard(row.id)

    async def _check(self, row: Deployment, output: LogFacts | None) -> None:
        dokku = self._servers.get(row.server)
        reader = EvidenceReader(dokku)
        record = await reader.record(row)
        lines = last_attempt(await self._store.read_log(row.id))
        began = self._clock.monotonic()
        read = await reader.read(
            row,
            output,
            record,
            kept=lines,
            cap_reached=row.failure is Failure.TIMED_OUT,
            last_word=False,
        )
        if read.log is not None:
            lines = read.log
            await self._store.replace_log(row.id, lines, fence=row.fence)
        evidence = read.evidence
        look = Look(began=began, done=self._clock.monotonic(), containers=evidence.after)
        verdict, after = await self._verdict(dokku, row, evidence, look)
        if verdict is None or verdict.phase is None or verdict.live is Live.UNKNOWN:
            return
        learnt = replace(
            row,
            build_id=read.build_id,
            sha=read.sha,
            url=evidence.output.url or row.url,
            after=after,
        )
        tail = around_error(lines, evidence.output.error)
        await self._correct(learnt, evidence, verdict, tail)

    async def _verdict(
        self, dokku: Dokku, row: Deployment, evidence: Evidence, look: Look
    ) -> tuple[Verdict | None, Containers | None]:
        verdict = decide(evidence)
        if verdict.kind in {Kind.END, Kind.START_AGAIN}:
            return verdict, evidence.after
        if verdict.kind is not Kind.CHECK:
            return None, None
        checker = Checker(
            dokku=dokku, clock=self._clock, settle=self._timing.settle, most=LONGEST_LOOK
        )
        return await checker.watch(row.dokku_app, evidence, look)

    async def _correct(
        self, row: Deployment, evidence: Evidence, verdict: Verdict, tail: Sequence[str]
    ) -> None:
        former = {
            "status": str(status_of(row.phase)),
            "failure": row.failure and str(row.failure),
            "live": row.live and str(row.live),
        }
        phase = verdict.phase or row.phase
        rollback = await self._store.proven_live(row.target, before=row, other_than=row.sha)
        corrected = replace(
            row,
            phase=phase,
            failure=verdict.failure,
            live=verdict.live,
            reason=verdict.reason,
            evidence=describe(evidence, verdict.rule),
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
        await self._books.correct(corrected, audit=audit, event=event)

    async def _leave(self, row: Deployment) -> None:
        """A newer deployment of the app started: it stays as it is, and says so."""
        reason = f"{row.reason or ''} {REPLACED}".strip()
        audit = AuditEntry(actor=BOT, through="late", action="left_unproven")
        await self._books.correct(replace(row, late_over=True, reason=reason), audit=audit)


class CrashWatch:
    """One late look at releases that were called live: those that crash are told of, once."""

    def __init__(self, *, servers: Servers, books: Books, timing: Timing, clock: Clock) -> None:
        self._servers = servers
        self._books = books
        self._timing = timing
        self._clock = clock

    async def look(self) -> None:
        """Look at the newest success of each app that ended lately. Errors wait for next time."""
        since = self._clock.now() - self._timing.crash_looks
        try:
            rows = await self._books.store.lately_succeeded(since)
        except StoreError as error:
            log.warning("crash_look_failed", why=str(error))
            return
        await asyncio.gather(*(self._look_at(row) for row in rows))

    async def _look_at(self, row: Deployment) -> None:
        try:
            if row.after is None or await self._books.store.newer(row):
                return
            now = await self._servers.get(row.server).containers(row.dokku_app)
            if now is None:
                return
            known = {one.id: one for one in row.after.listed}
            down = sorted(
                one.process
                for one in now.listed
                if one.id in known
                and (one.restarts > known[one.id].restarts or one.state == "restarting")
            )
            if down:
                await self._tell(row, down)
        except (DokkuError, StoreError, TimeoutError, KeyError) as error:
            log.info("crash_look_unanswered", deployment_id=row.id, why=type(error).__name__)

    async def _tell(self, row: Deployment, down: Sequence[str]) -> None:
        names = ", ".join(down)
        text = (
            f"Since it was deployed, {names} of {row.app} has crashed and was restarted. "
            "The new release is what is deployed; look at `logs` of the app on the server, "
            "or roll back."
        )
        audit = AuditEntry(
            actor=BOT, through="late", action="crash_seen", detail={"processes": names}
        )
        await self._books.correct(
            replace(row, crash_told=True),
            audit=audit,
            event=Event(type="deployment.note", text=text),
        )
