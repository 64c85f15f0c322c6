"""One start of a deployment's command: its connection, its output and its limits.

`Attempt` is the record of it, with one owner; `LogRecorder` stores what the command prints.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta

import structlog

from bot.deployments.execution.owned import OwnedDeployment, WorkerContext
from bot.deployments.model import Deployment, LogFacts, Phase
from bot.deployments.ports import DeployStream, Urgency
from bot.deployments.states import FETCHED, ORDER
from bot.errors import DatabaseDown, LeaseLost, StaleState, StoreError

log = structlog.get_logger(__name__)

SECOND_ATTEMPT = "…… the connection was lost; started again ……"
NEXT_START = "…… another deploy held Dokku's lock; started when it was free ……"
"""Lines between two starts."""

OWN_LOG = "…… the end of the log of {process} ……"
"""Line before what a crashed process printed."""

SHOWN_LINES = 40
"""Last lines that are shown beside a running deployment."""
FLUSH_BYTES = 64_000
"""A batch is due at this size, or after `Timing.log_flush`."""
KEPT_LINES = 400
"""Kept in memory: enough to find the lines around an error."""
_SLICE = 1_000_000
"""Characters that are cut into lines between two turns of the event loop."""
MOST_PENDING_BYTES = 16_000_000
"""While the database does not answer, lines wait in memory, up to what the store keeps."""


class LogBuffer:
    """Lines on their way to the store, cleaned and redacted already: batches and a tail out.

    Never blocks: the stream must be read on.
    """

    def __init__(self) -> None:
        self._pending: deque[str] = deque()
        self._pending_bytes = 0
        self._dropped = 0
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self.lines = 0
        """How many lines came in all."""

    def add(self, lines: Sequence[str]) -> None:
        """Take lines from the stream."""
        self._last.extend(lines)
        self.lines += len(lines)
        self._pending.extend(lines)
        self._pending_bytes += _size(lines)
        self._trim()

    @property
    def full(self) -> bool:
        """Whether a batch is due by its size."""
        return self._pending_bytes >= FLUSH_BYTES

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be stored."""
        return not self._pending

    def take(self) -> Sequence[str]:
        """All that waits to be stored, with a line that says what was dropped."""
        lines = list(self._pending)
        if self._dropped:
            lines.insert(0, f"… {self._dropped} lines were dropped: the database did not answer …")
        self._pending.clear()
        self._pending_bytes = 0
        self._dropped = 0
        return lines

    def put_back(self, lines: Sequence[str]) -> None:
        """The store did not take these lines: they wait again, before anything newer."""
        self._pending.extendleft(reversed(lines))
        self._pending_bytes += _size(lines)
        self._trim()

    def tail(self, most: int) -> tuple[str, ...]:
        """The last lines that are not blank, oldest first."""
        found: list[str] = []
        for line in reversed(self._last):
            if line.strip():
                found.append(line)
                if len(found) == most:
                    break
        return tuple(reversed(found))

    def recent(self) -> Sequence[str]:
        """The last lines kept in memory (<= 400)."""
        return tuple(self._last)

    def forget(self) -> None:
        """Another start begins: what the last one printed explains nothing of it."""
        self._last.clear()

    def _trim(self) -> None:
        while self._pending_bytes > MOST_PENDING_BYTES:
            self._pending_bytes -= len(self._pending.popleft()) + 1
            self._dropped += 1


class Attempt:
    """The connection, the output, the time limit and the checks of the current start.

    Its worker makes it. Others read its fields; every change goes through a method.
    """

    def __init__(self, now: float) -> None:
        """`now` and all other instants are monotonic seconds."""
        self.last_contact = now
        """When the connection or the former owner was last heard of."""
        self.ended_at = now
        """When the connection ended, however long it had been silent."""
        self.stream: DeployStream | None = None
        self.stream_ended = asyncio.Event()
        self.building = asyncio.Event()
        """Set once the output shows that the build has begun."""
        self.streamed: LogFacts | None = None
        """What the output stated to this process; None: another process read it."""
        self.buffer = LogBuffer()
        """The lines of its output on their way to the store."""
        self.kept: Sequence[str] | None = None
        """The stored lines, once they were read."""
        self.cap_reached = False
        """The bot itself stopped it, because the longest duration was over."""
        self.last_word = False
        """Waiting longer is not allowed."""
        self.checked_too_long = False
        """A good end could not be watched for as long as a release may take."""
        self._checking_since: float | None = None

    @property
    def open_stream(self) -> DeployStream | None:
        """The connection to the command, while it is open."""
        return None if self.stream_ended.is_set() else self.stream

    def taken_over(self, since: float, *, cap_reached: bool) -> None:
        """Another owner started it, and was last heard of at `since`."""
        self.last_contact = self.ended_at = since
        self.cap_reached = cap_reached

    def follow(self, stream: DeployStream) -> None:
        """The command was sent."""
        self.stream = stream
        self.stream_ended.clear()

    def connection_ended(self, stream: DeployStream, now: float) -> None:
        """The stream has ended: with the command, or because the connection was lost."""
        self.keep_facts_of(stream)
        self.last_contact = stream.last_byte_at
        self.ended_at = now

    def keep_facts_of(self, stream: DeployStream) -> None:
        """Take what the stream stated so far."""
        self.streamed, self.kept = stream.facts, None

    def keep_lines(self, lines: Sequence[str]) -> None:
        """Remember the stored lines."""
        self.kept = lines

    def begin_again(self) -> None:
        """The first start is proven dead; the second one has no connection yet."""
        self.stream = None
        self.building.clear()
        self.buffer.forget()

    def stopped_at_cap(self) -> None:
        """The bot stops it because the longest duration is over."""
        self.cap_reached = True

    def stop_waiting(self) -> None:
        """A cancel at the time limit had time to show."""
        self.last_word = True

    def note_unwatchable(self, now: float, longest: timedelta) -> None:
        """A good end cannot be watched yet; that may go on for `longest`."""
        if self._checking_since is None:
            self._checking_since = now
        self.checked_too_long = now - self._checking_since >= longest.total_seconds()


class LogRecorder:
    """Stores what a deploy prints, and moves the phase and the message on while it prints.

    Reads the stream on, whatever happens here: a full pipe would stall the deploy.
    """

    def __init__(
        self,
        owned: OwnedDeployment,
        stream: DeployStream,
        attempt: Attempt,
        context: WorkerContext,
    ) -> None:
        self._owned = owned
        self._stream = stream
        self._buffer = attempt.buffer
        self._building = attempt.building
        self._clock = context.clock
        self._timing = context.timing
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._one_flush = asyncio.Lock()
        self._flushed_at = self._clock.monotonic()
        self._refused = False
        self._shown = 0

    async def follow(self) -> None:
        """Read the stream to its end; returns when everything is recorded."""
        recording = asyncio.create_task(self._record(), name=f"record {self._owned.id}")
        try:
            async for lines in self._stream.lines():
                self._buffer.add(lines)
                self._news.set()
                if self._stream.facts.phase in FETCHED:
                    self._building.set()
        finally:
            self._ended.set()
            self._news.set()
            await recording

    async def flush(self) -> None:
        """Store what was read so far. What the store refuses waits for the next time."""
        async with self._one_flush:
            if self._buffer.empty:
                return
            self._flushed_at = self._clock.monotonic()
            lines = self._buffer.take()
            try:
                await self._owned.append_log(lines)
            except LeaseLost as lost:
                # The log belongs to the new owner.
                log.info("log_lines_lost", deployment_id=self._owned.id, why=str(lost))
            except StoreError as error:
                self._buffer.put_back(lines)
                self._refused = not isinstance(error, DatabaseDown)
                log.warning("log_lines_wait", deployment_id=self._owned.id, why=str(error))
            else:
                self._refused = False

    async def _record(self) -> None:
        while not self._ended.is_set():
            await self._news.wait()
            self._news.clear()
            await self._look_safely()
            if not self._ended.is_set():
                await self._clock.sleep(self._timing.log_look)
                if not self._buffer.empty:
                    self._news.set()
        await self._look_safely()
        refusals = 0
        while refusals < self._timing.log_last_tries and not self._owned.lost:
            await self.flush()
            if self._buffer.empty:
                return
            refusals += self._refused
            await self._clock.sleep(self._timing.store_retry)

    async def _look_safely(self) -> None:
        try:
            await self._look()
        except Exception:
            # More lines come, and what follows from them is looked at again.
            log.exception("log_record_failed", deployment_id=self._owned.id)

    async def _look(self) -> None:
        try:
            # The phase first: no message shows a line beside the phase before it.
            await self._follow_phase()
        except (LeaseLost, StaleState):
            self._show_lines()
            return
        self._show_lines()
        due = self._flushed_at + self._timing.log_flush.total_seconds()
        if self._clock.monotonic() >= due or self._buffer.full:
            await self.flush()

    def _show_lines(self) -> None:
        if self._buffer.lines == self._shown:
            return
        first, self._shown = self._shown == 0, self._buffer.lines
        self._owned.note(
            Urgency.PHASE if first else Urgency.ROUTINE,
            tail=self._buffer.tail(SHOWN_LINES),
            step=self._stream.facts.step,
        )

    async def _follow_phase(self) -> None:
        target = self._stream.facts.phase
        now = self._owned.row.phase
        if target is None or now not in ORDER or now is Phase.CHECKING:
            return
        if ORDER[target] > ORDER[now]:
            await self._owned.move(target, "moved_on", detail={"from": now, "to": target})


async def last_attempt(text: str) -> Sequence[str]:
    """The lines of a stored log that belong to the last start."""
    if not text:
        return []
    # A search in the text first, then slices: 16 MB must not block the event loop.
    text = "\n" + text.removesuffix("\n") + "\n"
    start = max(text.rfind(f"\n{mark}\n") for mark in (SECOND_ATTEMPT, NEXT_START))
    lines: list[str] = []
    at, end = max(start, 0) + 1, len(text) - 1
    while (stop := text.find("\n", at + _SLICE, end)) >= 0:
        lines += text[at:stop].split("\n")
        at = stop + 1
        await asyncio.sleep(0)
    lines += text[at:end].split("\n")
    return lines[2:] if start >= 0 else lines


def may_start_again(
    row: Deployment,
    *,
    lost_for: timedelta,
    within: timedelta,
    newer: bool,
    cap_reached: bool,
) -> bool:
    """Whether a deployment that died before its release is started once more by the bot.

    Only the first attempt, of a known commit, without a cancel request, lost lately, with nothing
    newer of the app deployed or queued. A lock of someone else is looked up last.
    """
    return (
        row.attempt == 1
        and row.sha is not None
        and row.cancel is None
        and row.phase in {Phase.STARTING, Phase.FETCHING, Phase.BUILDING}
        and lost_for <= within
        and not newer
        and not cap_reached
    )


def _size(lines: Sequence[str]) -> int:
    return sum(len(line) + 1 for line in lines)
