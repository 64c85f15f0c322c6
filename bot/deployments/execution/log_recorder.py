"""Carries what a deploy prints to the log store, the phase and the message while it runs."""

import asyncio
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.deployments.execution.log_buffer import LogBuffer
from bot.deployments.execution.owned import RETRY, OwnedDeployment
from bot.deployments.model import Phase
from bot.deployments.ports import DeployStream, Urgency
from bot.deployments.states import FETCHED, ORDER
from bot.errors import DatabaseDown, LeaseLost, StaleState, StoreError

log = structlog.get_logger(__name__)

SHOWN_LINES = 40
PAUSE = timedelta(milliseconds=250)
"""Between looks at the buffer: lines come in bursts, and each look may write."""
FLUSH_EVERY_S = 1.0
LAST_TRIES = 5
"""At the end, a store that refuses the lines is asked so often; one that is away is waited for."""


class Recorder:
    """The stream is read on whatever happens here: a full pipe would stall the deploy."""

    def __init__(
        self,
        *,
        held: OwnedDeployment,
        stream: DeployStream,
        buffer: LogBuffer,
        builds: asyncio.Event,
        clock: Clock,
    ) -> None:
        """`builds` is set at once when the output tells of the build."""
        self._held = held
        self._stream = stream
        self._buffer = buffer
        self._builds = builds
        self._clock = clock
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._one_flush = asyncio.Lock()
        self._flushed_at = clock.monotonic()
        self._refused = False
        self._shown = 0

    async def follow(self) -> None:
        """Read the stream to its end; returns when everything is recorded."""
        recording = asyncio.create_task(self._record(), name=f"record {self._held.id}")
        try:
            async for lines in self._stream.lines():
                self._buffer.add(lines)
                self._news.set()
                if self._stream.facts.phase in FETCHED:
                    self._builds.set()
        finally:
            self._ended.set()
            self._news.set()
            await recording

    async def flush(self) -> None:
        """Store what was read so far. What the store does not take waits for the next time."""
        async with self._one_flush:
            if self._buffer.empty:
                return
            self._flushed_at = self._clock.monotonic()
            lines = self._buffer.take()
            try:
                await self._held.append_log(lines)
            except LeaseLost as lost:
                # The log belongs to the new owner now.
                log.info("lines_not_kept", deployment_id=self._held.id, why=str(lost))
            except StoreError as error:
                self._buffer.put_back(lines)
                self._refused = not isinstance(error, DatabaseDown)
                log.warning("lines_wait", deployment_id=self._held.id, why=str(error))
            else:
                self._refused = False

    async def _record(self) -> None:
        while not self._ended.is_set():
            await self._news.wait()
            self._news.clear()
            await self._look_safely()
            if not self._ended.is_set():
                await self._clock.sleep(PAUSE)
                if not self._buffer.empty:
                    self._news.set()
        await self._look_safely()
        refusals = 0
        while refusals < LAST_TRIES and not self._held.lost:
            await self.flush()
            if self._buffer.empty:
                return
            refusals += self._refused
            await self._clock.sleep(RETRY)

    async def _look_safely(self) -> None:
        try:
            await self._look()
        except Exception:
            # The lines go on coming; what follows from them is looked at again.
            log.exception("record_failed", deployment_id=self._held.id)

    async def _look(self) -> None:
        first = self._shown == 0 and self._buffer.lines > 0
        if self._buffer.lines != self._shown:
            self._shown = self._buffer.lines
            self._held.note(
                Urgency.PHASE if first else Urgency.ROUTINE,
                tail=self._buffer.tail(SHOWN_LINES),
                step=self._stream.facts.step,
            )
        try:
            await self._follow_phase()
        except (LeaseLost, StaleState):
            return
        if self._clock.monotonic() - self._flushed_at >= FLUSH_EVERY_S or self._buffer.full:
            await self.flush()

    async def _follow_phase(self) -> None:
        target = self._stream.facts.phase
        now = self._held.row.phase
        if target is None or now not in ORDER or now is Phase.CHECKING:
            return
        if ORDER[target] > ORDER[now]:
            await self._held.move(target, "moved_on", detail={"from": now, "to": target})
