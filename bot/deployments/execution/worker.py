"""Drives one deployment that this replica owns: start, follow the output, read, decide, end."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import assert_never

import structlog

from bot.clock import first_of
from bot.deployments.execution.attempt import SHOWN_LINES, Attempt, LogRecorder
from bot.deployments.execution.finish import Finish, PatientReader, ResultWriter
from bot.deployments.execution.owned import OwnedDeployment, WorkerContext
from bot.deployments.execution.server_cancel import carry_out_cancel, note_left_build
from bot.deployments.execution.start import Blocked, NotStarted, Ready, Start
from bot.deployments.execution.watchdog import Cap, Contact, Watchdog
from bot.deployments.lock import AppLocked
from bot.deployments.locks.rules import describe
from bot.deployments.model import Phase
from bot.deployments.ports import DeployStream, Dokku, Urgency
from bot.deployments.states import COMMAND_RUNS, RUNNING
from bot.deployments.verdict.collector import EvidenceCollector
from bot.deployments.verdict.decisions import (
    Decision,
    Ended,
    LookAgain,
    ReadAgain,
    Requeue,
    StartAgain,
    WatchRelease,
)
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.rules import decide
from bot.deployments.verdict.wording import not_again
from bot.errors import DokkuError, StoreError

log = structlog.get_logger(__name__)


class Worker:
    """One running deployment. `run` goes on until its result, or until the lease is lost.

    The stream is closed by a cancel, or when Dokku says that its command is over: hanging up on a
    living deploy kills it.
    """

    def __init__(self, owned: OwnedDeployment, *, dokku: Dokku, context: WorkerContext) -> None:
        self._context, self._dokku = context, dokku
        self._timing, self._clock = timing, clock = context.timing, context.clock
        self.owned = owned
        self._attempt = Attempt(clock.monotonic())
        self._collector = EvidenceCollector(dokku, clock=clock, look_again=timing.look_again)
        self._results = ResultWriter(self.owned, self._collector, self._attempt, context)
        self._start = Start(self.owned, dokku, self._collector, context)
        self._finish = Finish(dokku, self._collector, timing=timing, clock=clock)
        self._reader = PatientReader(
            self.owned, self._attempt, self._finish, self._results, context
        )
        self._watchdog = Watchdog(self.owned, dokku, context)
        self._recorder: LogRecorder | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self._polled = asyncio.Event()
        self._held_back = False
        self._start_begun = False

    # --- the story

    async def run(self, idle: timedelta) -> None:
        """Start it, or take over what another owner left; then follow it to its result.

        `idle` is how long nobody has owned it. Blocked, DokkuError: it keeps its position.
        """
        if self.owned.row.phase in RUNNING:
            stream = await self._take_over(idle)
        else:
            stream = await self._begin()
        await self._follow_to_the_end(stream)

    async def _begin(self) -> DeployStream | None:
        try:
            return await self._send(await self._start.prepare())
        except NotStarted as end:
            await self._results.before_start(end.failure, end.cause)
            return None

    async def _send(self, ready: Ready) -> DeployStream | None:
        if self._held_back:
            raise Blocked("the bot, which is being restarted")
        self._start_begun = True
        try:
            return await self._start.send(ready)
        except Blocked:
            self._start_begun = False
            raise

    async def _take_over(self, idle: timedelta) -> DeployStream | None:
        """Continue without the connection: the server's own records show how the command ended."""
        row = self.owned.row
        self._attempt.taken_over(
            self._clock.monotonic() - idle.total_seconds(),
            # Only the time limit cancels without a request.
            cap_reached=row.phase is Phase.CANCELLING and row.cancel is None,
        )
        self.owned.deployments.announcer.changed(self.owned.id, Urgency.PHASE)
        self._context.polls.watch(self.owned.id)
        self._context.read_commits(row)
        await self.owned.show_usual_duration()
        again = row.attempt > 1 and row.phase is Phase.STARTING and row.build_id is None
        if (again or row.started_at is None) and not await self._was_sent(idle):
            return None
        return await self._conclude()

    async def _follow_to_the_end(self, stream: DeployStream | None) -> None:
        while stream is not None:
            await self._follow(stream)
            stream = await self._after_stream(stream)

    async def _follow(self, stream: DeployStream) -> None:
        """Record the output until the command ends, or its connection is lost."""
        self._attempt.follow(stream)
        self._context.polls.watch(self.owned.id)
        self._context.spawn(self._first_poll())
        await self.owned.refresh_cancel_request()
        if self.owned.row.cancel is not None:
            self.begin_cancel()
        self._recorder = LogRecorder(self.owned, stream, self._attempt, self._context)
        try:
            await self._recorder.follow()
        finally:
            self._attempt.stream_ended.set()

    async def _after_stream(self, stream: DeployStream) -> DeployStream | None:
        """Find the result; the stream of the second attempt, if there is one."""
        self._attempt.connection_ended(stream, self._clock.monotonic())
        if not self.owned.is_over():
            has_status = stream.exit_status is not None
            tail = self._attempt.buffer.tail(SHOWN_LINES)
            self.owned.note(Urgency.NOW, reading_end=has_status, tail=tail, step=None)
            await self.owned.record(exit_status=stream.exit_status)
            return await self._conclude()
        if not self.owned.lost:
            # It was reported as lost; what the stream says now may prove how it ended.
            await self._context.stream_ended(self.owned.row, stream.exit_status, stream.facts)
        return None

    async def _conclude(self) -> DeployStream | None:
        """Read the evidence, decide, act; again, until there is a result or a second attempt.

        A deployment that Dokku refused is queued again: then it no longer runs.
        """
        stream = None
        while stream is None and not self.owned.is_over() and self.owned.row.phase in RUNNING:
            await self.owned.refresh_cancel_request()
            began = self._clock.monotonic()
            read = await self._reader.read()
            if self.owned.is_over():
                return None  # a poll gave it up meanwhile
            if read is None:
                await self._not_readable()
            else:
                stream = await self._act(decide(read.evidence), read.evidence, began)
        return stream

    async def _act(
        self, decision: Decision, evidence: Evidence, began: float
    ) -> DeployStream | None:
        """Do what was decided; the stream of the second attempt, if there is one."""
        match decision:
            case Ended():
                await self._results.by_evidence(evidence, decision)
            case WatchRelease():
                await self._watch_release(evidence, began)
            case ReadAgain():
                await self._keep_checking(evidence.output.url)
            case LookAgain():
                self.owned.note(reading_end=False, cut_off=True)
                await note_left_build(self.owned, self._attempt, evidence.record, self._context)
                await self._wait_for_next_look()
            case StartAgain():
                return await self._start_again(evidence, decision)
            case Requeue():
                await self._requeue()
            case _:
                assert_never(decision)
        return None

    # --- what the dispatcher may ask

    @property
    def runs(self) -> bool:
        """Whether its command was sent, or is being sent now."""
        return self._start_begun or self.owned.row.phase in RUNNING

    def is_running(self) -> bool:
        """Whether its command was sent, and it has not ended."""
        return self.runs and not self.owned.is_over()

    async def go_on(self) -> None:
        """After an unexpected error: go on where it stopped."""
        stream = self._attempt.stream
        if stream is None:
            await self.run(timedelta(0))
        elif self._attempt.open_stream is not None:
            await self._follow_to_the_end(stream)
        else:
            await self._follow_to_the_end(await self._after_stream(stream))

    async def end_by_own_fault(self) -> None:
        """An internal error keeps recurring: report that. The stream keeps being read."""
        await self._results.own_fault()
        await self._release_lease()
        stream = self._attempt.stream
        if stream is not None:
            async for _ in stream.lines():
                continue
            await self._context.stream_ended(self.owned.row, stream.exit_status, stream.facts)

    async def end_unanswered(self, error: DokkuError) -> None:
        """The questions before the start were not answered, or not as they should be."""
        await self._results.unanswered(error)

    def hold_back(self) -> None:
        """The replica stops: what has not sent its command yet keeps its position."""
        self._held_back = True

    async def flush(self) -> None:
        """Store what was read so far."""
        if self._recorder is not None:
            await self._recorder.flush()

    def begin_cancel(self, *, at_cap: bool = False) -> None:
        """Start to carry a cancel out. Returns at once."""
        if self._cancelling is None or self._cancelling.done():
            parts = self.owned, self._dokku, self._collector, self._attempt, self._context
            self._cancelling = self._context.spawn(carry_out_cancel(*parts, at_cap=at_cap))

    async def poll(self, *, read_request: bool = True) -> None:
        """One poll: show the answer, and act on what it says about contact and time limit."""
        try:
            if read_request:
                await self.owned.refresh_cancel_request()
            if self.owned.row.cancel is not None:
                self.begin_cancel()
            attempt = self._attempt
            contact = await self._watchdog.poll(attempt)
            if contact in {Contact.LOST, Contact.APP_GONE}:
                await self._lose_contact(app_gone=contact is Contact.APP_GONE)
            elif contact is Contact.DEAD and attempt.open_stream and self.owned.may_act:
                log.info("dead_connection_closed", deployment_id=self.owned.id)
                self._context.spawn(attempt.open_stream.close())
        finally:  # also while polls fail
            match self._watchdog.check_cap(is_cancelling=self._is_cancelling()):
                case Cap.REACHED:
                    self.begin_cancel(at_cap=True)
                case Cap.OVER:
                    self._attempt.stop_waiting()
                case Cap.NOT_REACHED:
                    pass
            self._polled.set()

    # --- acting on the decision

    async def _watch_release(self, evidence: Evidence, began: float) -> None:
        await self._enter_checking(evidence.output.url)
        row = self.owned.row
        watched = await self._finish.watch(row, evidence, began, most=row.max_duration)
        if watched.after is not None:
            self.owned.note(checked_at=self._clock.now())
        evidence = replace(evidence, others=watched.others, unanswered=watched.unanswered)
        await self._results.by_evidence(evidence, watched.ended, watched.after)

    async def _keep_checking(self, url: str | None) -> None:
        """A good end that cannot be proven yet: read again, for as long as a release may take."""
        attempt = self._attempt
        if attempt.checked_too_long:
            await self._report_lost_contact()
            return
        attempt.note_unwatchable(self._clock.monotonic(), self.owned.row.max_duration)
        await self._enter_checking(url)
        await self._wait_for_next_look(self._timing.look_again)

    async def _enter_checking(self, url: str | None) -> None:
        if self.owned.row.phase is not Phase.CHECKING:
            await self.owned.move(Phase.CHECKING, "checking", url=url or self.owned.row.url)
        self.owned.note(Urgency.PHASE, reading_end=False, step=None)

    async def _not_readable(self) -> None:
        """The server did not answer, several times in a row."""
        row = self.owned.row
        if row.exit_status == 0:
            await self._keep_checking(None)
        elif row.exit_status is None and not self._attempt.last_word:
            self.owned.note(reading_end=False, cut_off=True)
            await self._wait_for_next_look()  # enough failed polls end it
        else:
            await self._report_lost_contact()

    async def _start_again(self, evidence: Evidence, dead: StartAgain) -> DeployStream | None:
        """The second attempt. If it cannot be sent, the first one's result is reported."""
        try:
            if await self._start.may_send_again(self._attempt.last_contact):
                self.owned.note(reading_end=False, cut_off=False, tail=())
                self._attempt.begin_again()
                self._cancelling = None
                return await self._start.send_again()
            await self._end_dead(evidence, dead)
        except (Blocked, DokkuError):
            await self._end_dead(evidence, dead)
        except AppLocked as locked:
            await self._end_dead(evidence, dead.kept_from(not_again(describe(locked.lock))))
        except NotStarted as end:
            await self._results.before_start(end.failure, end.cause)
        return None

    async def _end_dead(self, evidence: Evidence, dead: StartAgain) -> None:
        ended = dead.otherwise
        if self.owned.row.cancel is not None:
            # The cancel came after the evidence was read; it is why nothing starts again.
            evidence = replace(evidence, cancel_asked=True)
            again = decide(evidence)
            ended = again if isinstance(again, Ended) else ended
        await self._results.by_evidence(evidence, ended)

    async def _requeue(self) -> None:
        self._context.polls.unwatch(self.owned.id)
        try:
            await self._start.requeue()
        except NotStarted as end:
            await self._results.before_start(end.failure, end.cause)

    # --- losing contact

    async def _lose_contact(self, *, app_gone: bool) -> None:
        """Polls fail and the connection is silent, or the app is gone: report what is known."""
        row, stream = self.owned.row, self._attempt.stream
        has_status = stream is not None and stream.exit_status is not None
        if row.phase not in COMMAND_RUNS or row.exit_status is not None or has_status:
            return
        if stream is not None:
            self._attempt.keep_facts_of(stream)
        # The former owner may have sent the command; late verdicts need its start time.
        await self.owned.record_start()
        await self._report_lost_contact(app_gone=app_gone)
        await self._release_lease()

    async def _report_lost_contact(self, *, app_gone: bool = False) -> None:
        attempt = self._attempt
        output = attempt.streamed
        if output is None:
            output = await self._dokku.facts_of(self.owned.row.dokku_app, attempt.kept or ())
        cap = attempt.cap_reached
        await self._results.lost_contact(output, cap_reached=cap, app_gone=app_gone)

    async def _release_lease(self) -> None:
        """Late verdicts need the lease, although the stream keeps being read."""
        try:
            await self.owned.deployments.store.leases.release(self.owned.id, self.owned.row.fence)
        except StoreError as error:
            # It goes back when the stream has ended.
            log.warning("lease_kept", deployment_id=self.owned.id, why=str(error))

    async def _was_sent(self, idle: timedelta) -> bool:
        while not self.owned.is_over():
            try:
                return await self._start.was_sent(idle)
            except DokkuError:
                await self._wait_for_next_look()  # enough failed polls end it
            except NotStarted as end:
                await self._results.before_start(end.failure, end.cause)
        return False

    # --- waiting and cancelling

    async def _first_poll(self) -> None:
        await self._clock.sleep(self._timing.first_poll)
        if self.owned.row.phase in COMMAND_RUNS and not self.owned.lost:
            await self.poll()

    async def _wait_for_next_look(self, pause: timedelta | None = None) -> None:
        """Wait for the next poll (or the pause), or for the loss of the lease."""
        self._polled.clear()
        if pause is None and self._is_dying():
            pause = self._timing.look_again
        next_ = self._polled.wait() if pause is None else self._clock.sleep(pause)
        await first_of(next_, self.owned.gone.wait())

    def _is_dying(self) -> bool:
        """Whether a cancelled command's connection ended a moment ago: people wait for the end."""
        since = self._clock.monotonic() - self._attempt.ended_at
        watched = since < self._timing.watch_death_for.total_seconds()
        return self.owned.row.phase is Phase.CANCELLING and watched

    def _is_cancelling(self) -> bool:
        """Whether a cancel is being carried out over the connection: the cap waits for that."""
        busy = self._cancelling is not None and not self._cancelling.done()
        return busy and self._attempt.open_stream is not None
