"""Carries what a deploy prints to the log store, the phase and the message while it runs."""

import asyncio
from datetime import timedelta

from bot.clock import Clock
from bot.deployments.held import Held
from bot.deployments.log_buffer import LogBuffer
from bot.deployments.model import Phase
from bot.deployments.ports import DeployStream, Urgency
from bot.deployments.states import ORDER
from bot.errors import LeaseLost, StaleState, StoreError

SHOWN_LINES = 40
PAUSE = timedelta(milliseconds=250)
"""Between looks at the buffer: lines come in bursts, and each look may write."""
FLUSH_EVERY_S = 1.0
LAST_TRIES = 5


class Recorder:
    """The stream is read on whatever happens here: a full pipe would stall the deploy."""

    def __init__(
        self, *, held: Held, stream: DeployStream, buffer: LogBuffer, clock: Clock
    ) -> None:
        self._held = held
        self._stream = stream
        self._buffer = buffer
        self._clock = clock
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._flushed_at = clock.monotonic()
        self._shown = 0

    async def follow(self) -> None:
        """Read the stream to its end; returns when everything is recorded."""
        recording = asyncio.create_task(self._record(), name=f"record {self._held.id}")
        try:
            async for lines in self._stream.lines():
                self._buffer.add(lines)
                self._news.set()
        finally:
            self._ended.set()
            self._news.set()
            await recording

    async def _record(self) -> None:
        while not self._ended.is_set():
            await self._news.wait()
            self._news.clear()
            await self._look()
            if not self._ended.is_set():
                await self._clock.sleep(PAUSE)
                if not self._buffer.empty:
                    self._news.set()
        for _ in range(LAST_TRIES):
            await self._look()
            await self._flush()
            if self._buffer.empty or self._held.lost:
                return
            await self._clock.sleep(PAUSE)

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
        due = self._clock.monotonic() - self._flushed_at >= FLUSH_EVERY_S
        if due or self._buffer.full:
            await self._flush()

    async def _follow_phase(self) -> None:
        target = self._stream.facts.phase
        now = self._held.row.phase
        if target is None or now not in ORDER or now is Phase.CHECKING:
            return
        if ORDER[target] > ORDER[now]:
            await self._held.move(target, "moved_on", detail={"from": now, "to": target})

    async def _flush(self) -> None:
        if self._buffer.empty:
            return
        self._flushed_at = self._clock.monotonic()
        lines = self._buffer.take()
        try:
            await self._held.append_log(lines)
        except LeaseLost:
            return  # the log belongs to the new owner now
        except StoreError:
            self._buffer.put_back(lines)
