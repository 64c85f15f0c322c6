"""Drives one deployment that this replica owns, from its start to its end."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import Any

from bot.clock import Clock
from bot.deployments.books import Books
from bot.deployments.cancelling import Canceller
from bot.deployments.checking import Checker
from bot.deployments.evidence import EvidenceReader, Read, blind, describe
from bot.deployments.excerpt import around_error
from bot.deployments.held import Held
from bot.deployments.log_buffer import LogBuffer
from bot.deployments.model import (
    BuildStatus,
    Deployment,
    Event,
    Failure,
    LogFacts,
    Phase,
    Snapshot,
)
from bot.deployments.ports import DeployStream, Dokku, Observer, Polls, Timing, Urgency
from bot.deployments.prepare import NotDeployable, Preparation, Prepared
from bot.deployments.queue import describe_foreign, foreign_build
from bot.deployments.recorder import SHOWN_LINES, Recorder
from bot.deployments.settling import Look
from bot.deployments.states import COMMAND_RUNS, ENDINGS
from bot.deployments.verdict import Evidence, Kind, Verdict, before_start, decide
from bot.errors import CommandFailed, DokkuError, StaleState, Unreachable

FIRST_LOOK = timedelta(seconds=1)
"""The build record exists half a second after the start; its id must be kept at once."""
RECORD_PAUSE = timedelta(milliseconds=300)
READ_PAUSE = timedelta(seconds=2)
SILENT_INTERVALS = 5
KNOWN_GOOD = 3
"""Good deployments needed before a usual duration is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every drive uses."""

    books: Books
    preparation: Preparation
    polls: Polls
    observer: Observer
    timing: Timing
    clock: Clock
    look_for_work: Callable[[], None]
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    """Run on, as a tracked task whose failure is logged."""


class Blocked(Exception):
    """It cannot start now; the phrase says what it waits for."""


class Drive:
    """One running deployment. `begin` or `take_over` runs until the end or the loss of the lease.

    The stream is closed by a cancel only: hanging up kills the deploy on the server.
    """

    def __init__(self, row: Deployment, *, dokku: Dokku, parts: Parts) -> None:
        self.held = Held(row, books=parts.books, clock=parts.clock)
        self._dokku = dokku
        self._parts = parts
        self._timing = parts.timing
        self._clock = parts.clock
        self._reader = EvidenceReader(dokku)
        self._buffer = LogBuffer()
        self._stream: DeployStream | None = None
        self._canceller: Canceller | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self._cap_reached_at: float | None = None
        self._ticked = asyncio.Event()
        self._errors = 0
        self._facts = LogFacts()
        self._ending = asyncio.Lock()

    # --- start

    async def begin(self) -> None:
        """From the head of the queue to the end. Blocked: it keeps its place."""
        row = await self._clear_to_start()
        if row.phase in ENDINGS:
            return
        started = await self._start_command()
        if started:
            await self._follow()

    async def take_over(self) -> None:
        """A deployment whose owner died: no stream, so the server must tell how it ended."""
        self._parts.polls.watch(self.held.id)
        await self._note_usual()
        while not await self._conclude():
            await self._next_tick()

    async def _clear_to_start(self) -> Deployment:
        row = self.held.row
        try:
            ready = row if row.ready else await self._look_up(row)
            if ready is None:
                return self.held.row
            records = await self._dokku.builds(row.dokku_app)
            foreign = foreign_build(records)
            if foreign is not None:
                raise Blocked(describe_foreign(foreign))
            snapshot = await self._reader.snapshot(row.dokku_app, records)
        except CommandFailed as failed:
            if failed.exit_status == 20:  # noqa: PLR2004 (Dokku's "no such app")
                await self._end_unstarted(Failure.APP_NOT_FOUND, f"{row.dokku_app} does not exist")
                return self.held.row
            raise
        if snapshot.report.locked and not await self._dokku.keeps_records():
            raise Blocked("another deploy outside this bot")
        return await self._enter(ready, snapshot)

    async def _look_up(self, row: Deployment) -> Deployment | None:
        found = await self._parts.preparation.look_up(row)
        if isinstance(found, NotDeployable):
            await self._end_unstarted(found.failure, found.sentence)
            return None
        return _prepared(row, found)

    async def _enter(self, row: Deployment, snapshot: Snapshot) -> Deployment:
        store = self._parts.books.store
        previous = await store.proven_live(row.target, before=row) or snapshot.report.sha
        entered = await self.held.move(
            Phase.STARTING,
            "starting",
            detail={"sha": row.sha or "", "ref": row.ref},
            ref=row.ref,
            repo=row.repo,
            sha=row.sha,
            ready=True,
            before=snapshot,
            previous_sha=previous,
            started_at=None,
            exit_status=None,
            build_id=None,
        )
        await self._note_usual()
        return entered

    async def _note_usual(self) -> None:
        durations = await self._parts.books.store.good_durations(self.held.row.target)
        usual = None
        if len(durations) >= KNOWN_GOOD:
            usual = timedelta(seconds=median(one.total_seconds() for one in durations))
        self.held.note(place=None, waits_for=None, usual=usual)

    async def _start_command(self) -> bool:
        row = self.held.row
        if row.repo is None:
            raise ValueError("a prepared deployment has a repository")
        tries = self._timing.start_tries
        for number in range(1, tries + 1):
            await self.held.refresh_wish()
            if self.held.row.cancel is not None:
                await self._end_cancelled_unstarted()
                return False
            try:
                self._stream = await self._dokku.deploy(row.dokku_app, row.repo, row.pinned)
            except Unreachable as error:
                if number == tries or error.final:
                    await self._end_unstarted(Failure.SERVER_UNREACHABLE, str(error))
                    return False
                self.held.note(Urgency.PHASE, waits_for=f"the server (try {number} of {tries})")
                await self._clock.sleep(self._timing.start_window / tries)
            else:
                break
        await self.held.record(started_at=self._clock.now(), event=Event(type="deployment.started"))
        self.held.note(waits_for=None)
        self._parts.polls.watch(row.id)
        self._parts.spawn(self._first_look())
        return True

    async def _first_look(self) -> None:
        await self._clock.sleep(FIRST_LOOK)
        if self.held.row.phase in COMMAND_RUNS:
            await self.tick()

    async def end_unreachable(self, error: DokkuError) -> None:
        """The questions before the start were not answered, often enough."""
        await self._end_unstarted(Failure.SERVER_UNREACHABLE, str(error))

    async def _end_unstarted(self, failure: Failure, cause: str) -> None:
        containers = None
        if failure is not Failure.SERVER_UNREACHABLE:
            containers = (await self._checker().look(self.held.row.dokku_app)).containers
        await self._end(before_start(failure, cause, containers), f"before the start: {cause}")

    async def _end_cancelled_unstarted(self) -> None:
        containers = (await self._checker().look(self.held.row.dokku_app)).containers
        verdict = before_start(Failure.REJECTED, "Cancelled before Dokku was asked", containers)
        verdict = replace(verdict, phase=Phase.CANCELLED, failure=None)
        await self._end(verdict, "cancelled before the start")

    # --- while it runs

    async def _follow(self) -> None:
        stream = self._stream
        if stream is None:
            raise ValueError("only a started command can be followed")
        await self.held.refresh_wish()
        if self.held.row.cancel is not None:
            self.wish()
        recorder = Recorder(held=self.held, stream=stream, buffer=self._buffer, clock=self._clock)
        await recorder.follow()
        if self._canceller is not None:
            self._canceller.ended.set()
        self._facts = stream.facts
        if self.held.lost or self.held.row.phase in ENDINGS:
            return
        self.held.note(
            Urgency.NOW, reading_end=True, tail=self._buffer.tail(SHOWN_LINES), step=None
        )
        await self.held.record(exit_status=stream.exit_status)
        while not await self._conclude():
            await self._next_tick()

    def wish(self) -> None:
        """Somebody asked for the end, or the cap was reached: act now. Returns at once."""
        if self._cancelling is None and self._stream is not None:
            self._cancelling = self._parts.spawn(self._cancel(self._stream))

    async def _cancel(self, stream: DeployStream) -> None:
        if not self.held.can_move(Phase.CANCELLING):
            return
        await self.held.refresh_wish()
        wish = self.held.row.cancel
        detail = {"asked_by": wish.by.user if wish else "the time cap"}
        try:
            await self.held.move(Phase.CANCELLING, "cancelling", detail=detail)
        except StaleState:
            return  # it came to its end meanwhile
        self._canceller = Canceller(
            held=self.held, dokku=self._dokku, reader=self._reader, stream=stream, clock=self._clock
        )
        await self._canceller.run()

    async def tick(self) -> None:
        """One poll. Asks one cheap question; the answer is shown, an end is concluded."""
        await self.held.refresh_wish()
        if self.held.row.cancel is not None:
            self.wish()
        row = self.held.row
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timing.poll_timeout.total_seconds()):
                await self._ask(row)
        except (DokkuError, TimeoutError):
            self._parts.observer.poll_failed()
            await self._not_answered()
        else:
            self._parts.observer.polled(self._clock.monotonic() - began)
            self._errors = 0
            self.held.note(checked_at=self._clock.now(), stale_since=None)
        self._mind_the_cap()
        self._ticked.set()

    async def _ask(self, row: Deployment) -> None:
        record = await self._reader.record(row)
        if row.phase not in COMMAND_RUNS:
            return
        changes: dict[str, str] = {}
        if record is not None and row.build_id is None:
            changes["build_id"] = record.id
        if row.sha is None and row.phase in {Phase.BUILDING, Phase.RELEASING}:
            sha = await self._dokku.fetched_sha(row.dokku_app)
            if sha is not None:
                changes["sha"] = sha
        if changes and self.held.row.phase in COMMAND_RUNS:
            await self.held.record(
                build_id=changes.get("build_id", self.held.row.build_id),
                sha=changes.get("sha", self.held.row.sha),
            )

    async def _not_answered(self) -> None:
        self._errors += 1
        progress = self.held.books.progress(self.held.id)
        self.held.note(stale_since=progress.stale_since or self._clock.now())
        stream = self._stream
        silence = SILENT_INTERVALS * self._timing.poll_interval.total_seconds()
        silent = stream is None or self._clock.monotonic() - stream.last_byte_at >= silence
        running = self.held.row.phase in COMMAND_RUNS and self.held.row.exit_status is None
        if self._errors >= self._timing.max_poll_errors and silent and running:
            await self._give_up()

    async def _give_up(self) -> None:
        facts = self._stream.facts if self._stream else self._facts
        evidence = blind(self.held.row, facts, cap_reached=self._cap_reached_at is not None)
        await self._end_by(evidence, decide(evidence))

    def _mind_the_cap(self) -> None:
        row = self.held.row
        if row.started_at is None or row.phase not in COMMAND_RUNS:
            return
        if self._clock.now() - row.started_at < row.max_duration:
            return
        if self._cap_reached_at is None:
            self._cap_reached_at = self._clock.monotonic()
            self.wish()

    @property
    def _last_word(self) -> bool:
        """The cap was reached, and the cancel had the time to show."""
        if self._cap_reached_at is None:
            return False
        waited = self._clock.monotonic() - self._cap_reached_at
        return waited >= 2 * self._timing.poll_interval.total_seconds()

    async def _next_tick(self) -> None:
        self._ticked.clear()
        await self._ticked.wait()

    # --- the end

    async def _conclude(self) -> bool:
        """Read the evidence and act on it. False: no verdict yet, look again at the next poll."""
        if self.held.lost or self.held.row.phase in ENDINGS:
            return True
        await self.held.refresh_wish()
        look_began = self._clock.monotonic()
        read = await self._read_evidence()
        if read is None:
            await self._give_up()
            return True
        await self._keep_what_was_learnt(read)
        verdict = decide(read.evidence)
        match verdict.kind:
            case Kind.WATCH:
                self.held.note(reading_end=False)
                return False
            case Kind.REQUEUE:
                await self._requeue()
                return True
            case Kind.END | Kind.START_AGAIN:
                await self._end_by(read.evidence, verdict)
                return True
            case Kind.CHECK:
                await self._check(read.evidence, look_began)
                return True

    async def _read_evidence(self) -> Read | None:
        """None: the server did not answer, often enough in a row."""
        for number in range(self._timing.max_poll_errors):
            if number:
                await self._clock.sleep(READ_PAUSE)
            try:
                async with asyncio.timeout(3 * self._timing.poll_timeout.total_seconds()):
                    return await self._read_once()
            except (DokkuError, TimeoutError):
                self.held.note(stale_since=self._clock.now())
        return None

    async def _read_once(self) -> Read:
        row = self.held.row
        record = await self._reader.record(row)
        waited = self._clock.monotonic()
        while (
            row.exit_status is not None
            and record is not None
            and record.status is BuildStatus.RUNNING
            and self._clock.monotonic() - waited < self._timing.record_wait.total_seconds()
        ):
            await self._clock.sleep(RECORD_PAUSE)
            record = await self._reader.record(row)
        if record is None and row.build_id is None and row.exit_status is not None:
            kept = await self._parts.books.store.read_log(row.id)
            record = await self._reader.same_text(row, kept.splitlines())
        return await self._reader.read(
            row,
            self._facts,
            record,
            cap_reached=self._cap_reached_at is not None,
            last_word=self._last_word,
        )

    async def _keep_what_was_learnt(self, read: Read) -> None:
        row = self.held.row
        if read.log is not None:
            self._facts = read.evidence.output
            kept = await self._parts.books.store.read_log(row.id)
            if len("\n".join(read.log)) > len(kept):
                await self._parts.books.store.replace_log(row.id, read.log, fence=row.fence)
            self._buffer.add(read.log)
            self.held.note(tail=self._buffer.tail(SHOWN_LINES))
        if read.build_id != row.build_id or read.sha != row.sha:
            await self.held.record(build_id=read.build_id, sha=read.sha)
        self.held.note(checked_at=self._clock.now(), stale_since=None)

    async def _check(self, evidence: Evidence, look_began: float) -> None:
        if self.held.row.phase is not Phase.CHECKING:
            await self.held.move(
                Phase.CHECKING, "checking", url=evidence.output.url or self.held.row.url
            )
        self.held.note(Urgency.PHASE, reading_end=False, step=None)
        first = Look(began=look_began, done=self._clock.monotonic(), containers=evidence.after)
        verdict = await self._checker().watch(self.held.row.dokku_app, evidence, first)
        await self._end_by(evidence, verdict)

    def _checker(self) -> Checker:
        return Checker(
            dokku=self._dokku,
            clock=self._clock,
            settle=self._timing.settle,
            most=self.held.row.max_duration,
        )

    async def _requeue(self) -> None:
        self._parts.polls.unwatch(self.held.id)
        self.held.note(reading_end=False, waits_for="another deploy outside this bot", tail=())
        await self.held.move(
            Phase.QUEUED, "refused_by_lock", exit_status=None, started_at=None, build_id=None
        )

    async def _end_by(self, evidence: Evidence, verdict: Verdict) -> None:
        if verdict.phase is not Phase.SUCCEEDED:
            excerpt = around_error(self._buffer.recent(), evidence.output.error)
            self.held.note(excerpt=excerpt)
        url = evidence.output.url or self.held.row.url
        await self._end(verdict, describe(evidence, verdict.rule), url=url)

    async def _end(self, verdict: Verdict, evidence: str, *, url: str | None = None) -> None:
        async with self._ending:
            await self._end_once(verdict, evidence, url=url)

    async def _end_once(self, verdict: Verdict, evidence: str, *, url: str | None) -> None:
        if self.held.row.phase in ENDINGS or verdict.phase is None:
            return
        row = self.held.row
        store = self._parts.books.store
        rollback = await store.proven_live(row.target, before=row, other_than=row.sha)
        self.held.note(reading_end=False, stale_since=None, step=None, waits_for=None)
        await self.held.move(
            verdict.phase,
            "ended",
            detail={"failure": verdict.failure or "", "evidence": evidence},
            event=Event(
                type="deployment.finished",
                log_tail=self.held.books.progress(row.id).excerpt or self._buffer.tail(10),
            ),
            failure=verdict.failure,
            live=verdict.live,
            reason=verdict.reason,
            evidence=evidence,
            finished_at=self._clock.now(),
            rollback_sha=rollback,
            url=url or row.url,
        )
        self._parts.polls.unwatch(row.id)
        self._parts.look_for_work()


def _prepared(row: Deployment, found: Prepared) -> Deployment:
    return replace(row, ref=found.ref, repo=found.repo, sha=found.sha, ready=True)
