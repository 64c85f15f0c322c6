"""Drives one deployment that this replica owns, from its start to its end."""

import asyncio
from datetime import timedelta

from bot.deployments.cancelling import Canceller
from bot.deployments.concluding import Conclusion, Outcome
from bot.deployments.ending import Ending, Parts
from bot.deployments.evidence import EvidenceReader
from bot.deployments.held import Held
from bot.deployments.log_buffer import LogBuffer
from bot.deployments.model import Deployment, Failure, Phase
from bot.deployments.ports import DeployStream, Dokku, Urgency
from bot.deployments.recorder import SHOWN_LINES, Recorder
from bot.deployments.starting import Blocked, Starting
from bot.deployments.states import COMMAND_RUNS, ENDINGS
from bot.errors import DokkuError, StaleState

FIRST_LOOK = timedelta(seconds=1)
"""The build record exists half a second after the start; its id must be kept at once."""
SILENT_INTERVALS = 5
"""No byte for so many poll intervals: the line is silent, which is no contact."""


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
        self._ending = Ending(held=self.held, dokku=dokku, buffer=self._buffer, parts=parts)
        self._starting = Starting(
            held=self.held, dokku=dokku, reader=self._reader, ending=self._ending, parts=parts
        )
        self._conclusion = Conclusion(
            held=self.held,
            reader=self._reader,
            ending=self._ending,
            buffer=self._buffer,
            parts=parts,
        )
        self._stream: DeployStream | None = None
        self._canceller: Canceller | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self._cap_reached_at: float | None = None
        self._ticked = asyncio.Event()
        self._errors = 0

    async def begin(self) -> None:
        """From the head of the queue to the end. Blocked, DokkuError: it keeps its place."""
        await self._run(await self._starting.start())

    async def take_over(self, idle: timedelta) -> None:
        """A deployment whose owner died: no stream, so the server must tell how it ended.

        `idle` is for how long nobody has owned it.
        """
        self._conclusion.lost_for = idle
        self._parts.polls.watch(self.held.id)
        await self._starting.note_usual()
        if self.held.row.started_at is None and await self._starting.never_began():
            return
        if await self._conclude() is Outcome.START_AGAIN:
            await self._run(await self._again())

    async def _run(self, stream: DeployStream | None) -> None:
        while stream is not None:
            self._stream = stream
            self._parts.polls.watch(self.held.id)
            self._parts.spawn(self._first_look())
            again = await self._follow(stream) is Outcome.START_AGAIN
            stream = await self._again() if again else None

    async def _again(self) -> DeployStream | None:
        """The second attempt; where it cannot be made, the first one's end is told."""
        self._stream = self._cancelling = self._canceller = None
        try:
            return await self._starting.start_again()
        except (Blocked, DokkuError):
            await self._conclusion.end_first_attempt()
            return None

    async def end_unreachable(self, error: DokkuError) -> None:
        """The questions before the start were not answered, often enough."""
        await self._ending.unstarted(Failure.SERVER_UNREACHABLE, str(error))

    async def _first_look(self) -> None:
        await self._clock.sleep(FIRST_LOOK)
        if self.held.row.phase in COMMAND_RUNS:
            await self.tick()

    async def _follow(self, stream: DeployStream) -> Outcome:
        await self.held.refresh_wish()
        if self.held.row.cancel is not None:
            self.wish()
        recorder = Recorder(held=self.held, stream=stream, buffer=self._buffer, clock=self._clock)
        await recorder.follow()
        if self._canceller is not None:
            self._canceller.ended.set()
        self._conclusion.facts = stream.facts
        if self.held.row.phase in ENDINGS:
            # It was called lost; what its own line says now may prove how it ended.
            await self._parts.late(self.held.row, stream.exit_status, stream.facts)
        if self.held.lost or self.held.row.phase in ENDINGS:
            return Outcome.DONE
        tail = self._buffer.tail(SHOWN_LINES)
        self.held.note(Urgency.NOW, reading_end=True, tail=tail, step=None)
        await self.held.record(exit_status=stream.exit_status)
        return await self._conclude()

    async def _conclude(self) -> Outcome:
        while True:
            outcome = await self._conclusion.conclude()
            if outcome is not Outcome.WATCH:
                return outcome
            self._ticked.clear()
            await self._ticked.wait()

    # --- the end that somebody asks for

    def wish(self) -> None:
        """Somebody asked for the end, or the cap was reached: act now. Returns at once."""
        if self._cancelling is None and self._stream is not None:
            self._cancelling = self._parts.spawn(self._cancel(self._stream))

    async def _cancel(self, stream: DeployStream) -> None:
        await self.held.refresh_wish()
        if not self.held.can_move(Phase.CANCELLING):
            return
        wish = self.held.row.cancel
        detail = {"asked_by": wish.by.user if wish else "the time cap"}
        try:
            await self.held.move(Phase.CANCELLING, "cancelling", detail=detail)
        except StaleState:
            return  # it came to its end meanwhile
        self._canceller = Canceller(
            held=self.held, dokku=self._dokku, reader=self._reader, stream=stream, clock=self._clock
        )
        if stream.exit_status is not None:
            self._canceller.ended.set()
        await self._canceller.run()

    # --- polls

    async def tick(self) -> None:
        """One poll: one cheap question; the answer is shown, an end is concluded."""
        await self.held.refresh_wish()
        if self.held.row.cancel is not None:
            self.wish()
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timing.poll_timeout.total_seconds()):
                await self._ask(self.held.row)
        except (DokkuError, TimeoutError):
            self._parts.books.observer.poll_failed()
            await self._not_answered()
        else:
            self._parts.books.observer.polled(self._clock.monotonic() - began)
            self._errors = 0
            self.held.note(checked_at=self._clock.now(), stale_since=None)
        self._mind_the_cap()
        self._ticked.set()

    async def _ask(self, row: Deployment) -> None:
        record = await self._reader.record(row)
        build_id, sha = row.build_id, row.sha
        if record is not None:
            build_id = record.id
        if sha is None and row.phase in {Phase.BUILDING, Phase.RELEASING}:
            sha = await self._dokku.fetched_sha(row.dokku_app)
        news = (build_id, sha) != (row.build_id, row.sha)
        if news and self.held.row.phase in COMMAND_RUNS:
            await self.held.record(build_id=build_id, sha=sha)

    async def _not_answered(self) -> None:
        self._errors += 1
        progress = self.held.books.progress(self.held.id)
        self.held.note(stale_since=progress.stale_since or self._clock.now())
        row, stream = self.held.row, self._stream
        silence = SILENT_INTERVALS * self._timing.poll_interval.total_seconds()
        silent = stream is None or self._clock.monotonic() - stream.last_byte_at >= silence
        running = row.phase in COMMAND_RUNS and row.exit_status is None
        if self._errors >= self._timing.max_poll_errors and silent and running:
            if stream is not None:
                self._conclusion.facts = stream.facts
            await self._conclusion.give_up()

    def _mind_the_cap(self) -> None:
        row, now = self.held.row, self._clock.monotonic()
        if row.started_at is None or row.phase not in COMMAND_RUNS:
            return
        if self._clock.now() - row.started_at < row.max_duration:
            return
        if self._cap_reached_at is None:
            self._cap_reached_at = now
            self._conclusion.cap_reached = True
            self.wish()
        elif now - self._cap_reached_at >= 2 * self._timing.poll_interval.total_seconds():
            # The cancel had the time to show.
            self._conclusion.last_word = True
