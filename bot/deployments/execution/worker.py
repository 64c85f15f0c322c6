"""Drives one deployment that this replica owns, from its start to its end."""

import asyncio
from datetime import timedelta

import structlog

from bot.aio import first_of
from bot.deployments.execution.cancel import Canceller
from bot.deployments.execution.finish import Conclusion, Outcome
from bot.deployments.execution.log_buffer import LogBuffer
from bot.deployments.execution.log_recorder import SHOWN_LINES, Recorder
from bot.deployments.execution.outcome import Ending, Parts
from bot.deployments.execution.owned import OwnedDeployment
from bot.deployments.execution.start import Blocked, Starting
from bot.deployments.model import Deployment, Phase
from bot.deployments.ports import DeployStream, Dokku, Urgency
from bot.deployments.states import COMMAND_RUNS, FETCHED, RUNNING
from bot.deployments.verdict import deploy_lock
from bot.deployments.verdict.collector import EvidenceReader, Polled
from bot.deployments.verdict.outside_changes import note_about
from bot.errors import DokkuError, StaleState, StoreError

log = structlog.get_logger(__name__)

FIRST_LOOK = timedelta(seconds=1)
"""The build record exists half a second after the start; its id must be kept at once."""
SILENT_INTERVALS = 5
"""No byte for so many poll intervals: the line is silent, which is no contact."""
LOOK_AGAIN = timedelta(seconds=2)
"""Between looks that only wait for the server to be readable, for processes to be replaced, or for
a command that was hung up on to die."""
CLOSELY_S = 60.0
"""So long after a cancel hung up, the command's death is looked for at that pace: a fetch that
prints nothing was seen to outlive its client by 11 s (recording l6)."""


class Worker:
    """One running deployment. `run` goes on until the end or the loss of the lease.

    The stream is closed by a cancel, or when Dokku says that its command is over: hanging up on a
    living deploy kills it.
    """

    def __init__(self, row: Deployment, *, dokku: Dokku, parts: Parts) -> None:
        self.held = OwnedDeployment(row, deployments=parts.deployments, clock=parts.clock)
        self._dokku = dokku
        self._parts = parts
        self._timing = parts.timing
        self._clock = parts.clock
        self._reader = EvidenceReader(dokku)
        self._buffer = LogBuffer()
        self._ending = Ending(held=self.held, dokku=dokku, buffer=self._buffer, parts=parts)
        self._starting = Starting(
            held=self.held, dokku=dokku, reader=self._reader, ending=self._ending, parts=parts
        )
        self._conclusion = Conclusion(
            held=self.held,
            dokku=dokku,
            reader=self._reader,
            ending=self._ending,
            buffer=self._buffer,
            parts=parts,
        )
        self._stream: DeployStream | None = None
        self._builds = asyncio.Event()
        """Set once the output of this attempt tells of its build."""
        self._stream_ended = asyncio.Event()
        self._recorder: Recorder | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self._cap_reached_at: float | None = None
        self._silence_s = SILENT_INTERVALS * parts.timing.poll_interval.total_seconds()
        self._over_since: float | None = None
        """When a poll found first that the command is over, while its line was open."""
        self._ticked = asyncio.Event()
        self._errors = 0

    @property
    def runs(self) -> bool:
        """Its command was sent, or is being sent at this moment."""
        return self._starting.entered or self.held.row.phase in RUNNING

    async def run(self, idle: timedelta) -> None:
        """Begin, or take over what another owner left. Blocked, DokkuError: it keeps its place.

        `idle` is for how long nobody has owned it.
        """
        if self.held.row.phase in RUNNING:
            await self._take_over(idle)
        else:
            await self._follow_all(await self._starting.start())

    async def go_on(self) -> None:
        """After an error that nobody expected: the stream that is there is followed further."""
        stream = self._stream
        if stream is None:
            await self.run(timedelta(0))
        elif not self._stream_ended.is_set():
            await self._follow_all(stream)
        elif await self._after(stream) is Outcome.START_AGAIN:
            await self._follow_all(await self._again())

    async def end_by_own_fault(self) -> None:
        """The bot itself cannot follow it: say so. The stream is read on all the same."""
        await self._ending.by_own_fault()
        await self._let_go()
        if self._stream is not None:
            async for _ in self._stream.lines():
                continue
            await self._parts.late(self.held.row, self._stream.exit_status, self._stream.facts)

    def hold_back(self) -> None:
        """The replica stops: what has not sent its command yet keeps its place in the queue."""
        self._starting.held_back = True

    async def flush(self) -> None:
        """Store what was read so far."""
        if self._recorder is not None:
            await self._recorder.flush()

    def lose(self) -> None:
        """Another replica owns it now."""
        self.held.lose()

    async def end_unreachable(self, error: DokkuError) -> None:
        """The questions before the start were not answered well, often enough."""
        await self._ending.unanswered(error)

    async def _take_over(self, idle: timedelta) -> None:
        """No stream: the server must tell how it ended."""
        row = self.held.row
        self._conclusion.lost_at = self._clock.monotonic() - idle.total_seconds()
        self._conclusion.line_ended_at = self._conclusion.lost_at
        if row.phase is Phase.CANCELLING and row.cancel is None:
            # Only the cap cancels without a wish.
            self._conclusion.cap_reached = True
        self.held.deployments.announcer.changed(self.held.id, Urgency.PHASE)
        self._parts.polls.watch(self.held.id)
        await self._starting.note_usual()
        again = row.attempt > 1 and row.phase is Phase.STARTING and row.build_id is None
        if (again or row.started_at is None) and await self._never_began(idle):
            return
        if await self._conclude() is Outcome.START_AGAIN:
            await self._follow_all(await self._again())

    async def _never_began(self, idle: timedelta) -> bool:
        while not self.held.is_over():
            try:
                return await self._starting.never_began(idle)
            except DokkuError:
                await self._next_look(None)  # the polls count, and give up in the end
        return True

    async def _follow_all(self, stream: DeployStream | None) -> None:
        while stream is not None:
            self._stream = stream
            self._stream_ended.clear()
            self._parts.polls.watch(self.held.id)
            self._parts.spawn(self._first_look())
            await self._read(stream)
            again = await self._after(stream) is Outcome.START_AGAIN
            stream = await self._again() if again else None

    async def _again(self) -> DeployStream | None:
        """The second attempt; where it cannot be made, the first one's end is told."""
        self._stream = self._cancelling = None
        self._builds.clear()
        try:
            return await self._starting.start_again()
        except (Blocked, DokkuError):
            await self._conclusion.end_first_attempt()
            return None

    async def _first_look(self) -> None:
        await self._clock.sleep(FIRST_LOOK)
        if self.held.row.phase in COMMAND_RUNS and not self.held.lost:
            await self.tick()

    async def _read(self, stream: DeployStream) -> None:
        await self.held.refresh_cancel_request()
        if self.held.row.cancel is not None:
            self.wish()
        self._recorder = Recorder(
            held=self.held,
            stream=stream,
            buffer=self._buffer,
            builds=self._builds,
            clock=self._clock,
        )
        try:
            await self._recorder.follow()
        finally:
            self._stream_ended.set()

    async def _after(self, stream: DeployStream) -> Outcome:
        """The stream has ended: by the command's end, or because the line was lost."""
        self._conclusion.hear(stream.facts)
        self._conclusion.lost_at = stream.last_byte_at
        self._conclusion.line_ended_at = self._clock.monotonic()
        if not self.held.is_over():
            told = stream.exit_status is not None
            tail = self._buffer.tail(SHOWN_LINES)
            self.held.note(Urgency.NOW, reading_end=told, tail=tail, step=None)
            await self.held.record(exit_status=stream.exit_status)
            return await self._conclude()
        if not self.held.lost:
            # It was called lost; what its own line says now may prove how it ended.
            await self._parts.late(self.held.row, stream.exit_status, stream.facts)
        return Outcome.DONE

    async def _conclude(self) -> Outcome:
        while True:
            outcome = await self._conclusion.conclude()
            if outcome not in {Outcome.WATCH, Outcome.LOOK_AGAIN}:
                return outcome
            closely = outcome is Outcome.LOOK_AGAIN or self._is_dying()
            await self._next_look(LOOK_AGAIN if closely else None)

    def _is_dying(self) -> bool:
        """Somebody waits to hear that it was cancelled, and its line ended a moment ago."""
        since = self._clock.monotonic() - self._conclusion.line_ended_at
        return self.held.row.phase is Phase.CANCELLING and since < CLOSELY_S

    async def _next_look(self, pause: timedelta | None) -> None:
        """Wait for the next poll (or the pause), or for the loss of the lease."""
        self._ticked.clear()
        next_ = self._ticked.wait() if pause is None else self._clock.sleep(pause)
        await first_of(next_, self.held.gone.wait())

    # --- the end that somebody asks for

    def wish(self) -> None:
        """Somebody asked for the end, or the cap was reached: act now. Returns at once."""
        if self._stream is None or self._stream_ended.is_set() or self._is_cancelling():
            return
        self._cancelling = self._parts.spawn(self._cancel(self._stream))

    def _is_cancelling(self) -> bool:
        return self._cancelling is not None and not self._cancelling.done()

    async def _cancel(self, stream: DeployStream) -> None:
        await self.held.refresh_cancel_request()
        if self._stream_ended.is_set():
            return  # it ended by itself
        wish = self.held.row.cancel
        detail = {"asked_by": wish.by.user if wish else "the time cap"}
        if self.held.row.phase is not Phase.CANCELLING:
            if not self.held.can_move(Phase.CANCELLING):
                return
            try:
                await self.held.move(Phase.CANCELLING, "cancelling", detail=detail)
            except StaleState:
                return  # it came to its end meanwhile
        canceller = Canceller(
            held=self.held,
            dokku=self._dokku,
            reader=self._reader,
            stream=stream,
            builds=self._builds,
            ended=self._stream_ended,
            clock=self._clock,
            acts=self._stops_it,
        )
        await canceller.run()

    def _stops_it(self) -> None:
        if self.held.row.cancel is None:
            # Only the cap cancels without a wish.
            self._conclusion.cap_reached = True

    # --- polls

    async def tick(self) -> None:
        """One poll: one cheap question; the answer is shown, an end is concluded."""
        try:
            await self._poll()
        finally:
            self._mind_the_cap()
            self._ticked.set()

    async def _poll(self) -> None:
        await self.held.refresh_cancel_request()
        if self.held.row.cancel is not None:
            self.wish()
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timing.poll_timeout.total_seconds()):
                asked = self.held.row
                polled, sha = await self._ask(asked)
        except (DokkuError, TimeoutError) as error:
            self._parts.deployments.observer.poll_failed()
            self.held.note_silence(error, self._timing.poll_timeout)
            await self._not_answered()
            return
        self._parts.deployments.observer.polled(self._clock.monotonic() - began)
        self._errors = 0
        self.held.note_answer()
        row = self.held.row
        if row.before != asked.before:
            return  # it was started again meanwhile: the answer is about the former start
        build_id = polled.record.id if polled.record is not None else row.build_id
        if (build_id, sha) != (row.build_id, row.sha) and row.phase in COMMAND_RUNS:
            await self.held.record(build_id=build_id, sha=sha)
        self._mind_a_dead_line(polled)

    async def _ask(self, row: Deployment) -> tuple[Polled, str | None]:
        """Our record (or the lock) and the commit, as far as they can be known now."""
        polled = await self._reader.poll(row)
        self.held.note(others=note_about(polled.others))
        sha = row.sha
        if sha is None and row.phase in FETCHED:
            sha = await self._dokku.fetched_sha(row.dokku_app)
        return polled, sha

    def _mind_a_dead_line(self, polled: Polled) -> None:
        """Dokku's command is over, and its line does not say so: give up the line, not the deploy.

        Its server was switched off, or a firewall forgot it. The line's own patience is longer
        than a deployment should wait for that.
        """
        stream, now = self._stream, self._clock.monotonic()
        if stream is None or self._stream_ended.is_set() or not polled.is_over(stream.facts):
            self._over_since = None
            return
        if self._over_since is None:
            self._over_since = now
        if now - self._over_since >= self._silence_s and self._is_silent():
            log.info("dead_line_given_up", deployment_id=self.held.id)
            self._parts.spawn(stream.close())

    async def _not_answered(self) -> None:
        self._errors += 1
        if self._errors < self._timing.max_poll_errors or not self._is_silent():
            return
        row, stream = self.held.row, self._stream
        told = stream is not None and stream.exit_status is not None
        if row.phase in COMMAND_RUNS and row.exit_status is None and not told:
            if stream is not None:
                self._conclusion.hear(stream.facts)
            # Taken over on its way to the command, it may have been sent: late looks must learn it.
            await self._starting.note_started()
            await self._conclusion.give_up()
            await self._let_go()

    async def _let_go(self) -> None:
        """The lease goes back although the stream is read on: late looks need it."""
        try:
            await self.held.deployments.store.leases.release(self.held.id, self.held.row.fence)
        except StoreError as error:
            # It goes back when the stream has ended.
            log.warning("lease_kept", deployment_id=self.held.id, why=str(error))

    def _is_silent(self) -> bool:
        last = self._stream.last_byte_at if self._stream is not None else None
        return last is None or self._clock.monotonic() - last >= self._silence_s

    def _mind_the_cap(self) -> None:
        row, now = self.held.row, self._clock.monotonic()
        if row.started_at is None or row.phase not in COMMAND_RUNS:
            return
        if self._clock.now() - row.started_at < row.max_duration:
            return
        if self._cap_reached_at is None or self._is_cancelling():
            # The time that a cancel has to show begins when it was carried out.
            self._cap_reached_at = now
        patience = 2 * self._timing.poll_interval
        if deploy_lock.keeps_no_records(row):
            patience += deploy_lock.FETCH_LIVES_ON
        if now - self._cap_reached_at < patience.total_seconds():
            self.wish()
        else:
            # The cancel had the time to show.
            self._conclusion.last_word = True
