"""A running deploy command: its lines, facts and exit status. Implements `DeployStream`."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import asyncssh

from bot.deployments.model import LogFacts
from bot.deployments.ports import DeployStream
from bot.dokku.channel import CHUNK, Command
from bot.dokku.limits import SshLimits
from bot.dokku.log_markers import LogReader
from bot.dokku.output import Line, OutputReader


class Stream(DeployStream):
    """Reads to the command's end, whether or not the lines are taken.

    A client that stops reading stalls the deploy, so lines that are not taken are kept here, up to
    a limit; beyond it the oldest lines are dropped, and a line says so.
    """

    def __init__(
        self,
        ssh: asyncssh.SSHClientConnection,
        command: Command,
        *,
        output: OutputReader,
        log: LogReader,
        limits: SshLimits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ssh = ssh
        self._command = command
        self._output = output
        self._log = log
        self._limits = limits
        self._monotonic = monotonic
        self._last_byte_at = monotonic()
        self._exit_status: int | None = None
        self._waiting: deque[str] = deque()
        self._chars = 0
        self._dropped = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._pump = asyncio.create_task(self._read())

    @property
    def facts(self) -> LogFacts:
        return self._log.facts

    @property
    def exit_status(self) -> int | None:
        return self._exit_status

    @property
    def last_byte_at(self) -> float:
        return self._last_byte_at

    async def lines(self) -> AsyncIterator[Sequence[str]]:
        while True:
            if batch := self._take():
                yield batch
            elif self._ended:
                break
            else:
                self._changed.clear()
                await self._changed.wait()
        await asyncio.wait({self._pump})
        if not self._pump.cancelled():
            self._pump.result()  # a bug must not look like a lost connection

    async def close(self) -> None:
        self._command.close()
        self._ssh.close()
        # On a dead connection the closing packet never leaves; Dokku does not need it.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.hang_up_s):
                await self._ssh.wait_closed()
        self._ssh.abort()
        self._pump.cancel()
        await asyncio.wait({self._pump})

    async def _read(self) -> None:
        try:
            # After a lost connection only Dokku's build record can say how the command ended.
            with suppress(asyncssh.Error, OSError):
                await self._read_to_end()
        finally:
            self._note(self._output.finish())
            self._ended = True
            self._changed.set()
            self._ssh.close()

    async def _read_to_end(self) -> None:
        process = self._command.process
        if process is None:
            return
        while data := await process.stdout.read(CHUNK):
            self._last_byte_at = self._monotonic()
            self._note(self._output.feed(data))
            # Data that is there already is read without a pause: let other tasks run.
            await asyncio.sleep(0)
        await process.wait_closed()
        self._exit_status = process.exit_status

    def _note(self, lines: Sequence[Line]) -> None:
        if not lines:
            return
        self._log.feed(lines)
        self._waiting.extend(line.shown for line in lines)
        self._chars += sum(len(line.shown) + 1 for line in lines)
        while self._chars > self._limits.stream_chars:
            self._chars -= len(self._waiting.popleft()) + 1
            self._dropped += 1
        self._changed.set()

    def _take(self) -> Sequence[str]:
        batch = list(self._waiting)
        if self._dropped:
            batch.insert(0, f"[{self._dropped} lines were not kept: they came too fast]")
        self._waiting.clear()
        self._chars = self._dropped = 0
        return batch
