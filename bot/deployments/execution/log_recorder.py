"""Stores what a deploy prints, and moves the phase and the message on while it prints."""

import asyncio

import structlog

from bot.deployments.execution.attempt import SHOWN_LINES, Attempt
from bot.deployments.execution.owned import OwnedDeployment, WorkerContext
from bot.deployments.model import Phase
from bot.deployments.ports import DeployStream, Urgency
from bot.deployments.states import FETCHED, ORDER
from bot.errors import DatabaseDown, LeaseLost, StaleState, StoreError

log = structlog.get_logger(__name__)


class LogRecorder:
    """Reads the stream on, whatever happens here: a full pipe would stall the deploy."""

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
