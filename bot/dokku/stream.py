"""A running deploy command: its output as clean, redacted lines, its facts and its exit status."""

import asyncio
import codecs
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import asyncssh
from wcwidth import strip_sequences

from bot.clock import seconds
from bot.deployments.model import LogFacts
from bot.deployments.ports import DeployStream
from bot.dokku.channel import CHUNK, Command
from bot.dokku.limits import SshLimits
from bot.dokku.log_markers import Line, LogReader
from bot.redaction import Redactor

PIECE = 4_000
"""A very long line is passed on in pieces of about this many characters."""
_BLOCK = 16_384

# 8-bit forms that strip_sequences leaves: CSI, and strings with their terminator. The character
# classes exclude whatever may begin another one, so that hostile text is read only once.
_EIGHT_BIT = re.compile(
    "\x9b[0-?]*[ -/]*[@-~]|[\x90\x98\x9d-\x9f][^\x07\x1b\x90\x98\x9b-\x9f]*(?:\x07|\x9c|\x1b\\\\)"
)
_INTRODUCERS = re.compile("[\x1b\x90\x98\x9b\x9d-\x9f]")
_DROPPED: dict[int, str | None] = {
    **dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)]),  # C0 and C1 controls
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]),
    0x2028: " ",
    0x2029: " ",
    0x09: "\t",
}
_BLANK = re.compile(r"\s")
# The prefix of Docker and Dokku before the text of a build step or a container. It must survive a
# carriage return in that text, or the text could pass for a line of Dokku itself.
_MARGIN = re.compile(r"#\d+ (?:\d+\.\d+ )?| {7}|\d+\.\d+ ")


class OutputReader:
    """Cuts the output of one command into lines. The same bytes give the same lines.

    Invalid UTF-8 becomes U+FFFD. Of text that is overwritten after carriage returns, the last
    version is kept. Text is redacted before it is cut, so no secret is split.
    """

    def __init__(self, redactor: Redactor, *, newest: Callable[[], Redactor] | None = None) -> None:
        """`newest`: the redactor from now on, where it may learn more while the command runs."""
        self._redactor = redactor
        self._newest = newest
        self._stream = redactor.stream()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw = ""
        self._line = ""
        self._margin = ""
        self._began = False
        self._returned = False
        self._partial = False
        self._swallow = False
        self._whole: list[str] = []
        """Complete lines that are not masked yet."""

    def feed(self, data: bytes) -> list[Line]:
        """Lines that are complete now."""
        return self._take(self._decoder.decode(data))

    def finish(self) -> list[Line]:
        """The remaining lines when the output has ended."""
        lines = self._take(self._decoder.decode(b"", final=True))
        if self._raw or self._line or self._partial:
            self._append(self._raw)
            self._raw = ""
            lines += self._end_line()
        return lines + self._masked(to_the_end=True)

    def _take(self, text: str) -> list[Line]:
        if self._newest is not None:
            self._redactor = self._stream.redactor = self._newest()
        raw = self._raw + text
        lines: list[Line] = []
        at, ended = 0, False
        while True:
            end = raw.find("\n", at, at + _BLOCK)
            if end >= 0:
                self._append(raw[at:end])
                lines += self._end_line()
                at, ended = end + 1, True
            elif len(raw) - at >= _BLOCK:
                cut = at + _safe_cut(raw[at : at + _BLOCK])
                self._append(raw[at:cut])
                lines += self._pieces(self._redactor.hold + PIECE)
                at = cut
            else:
                break
        self._raw = raw[at:]
        # A line that waits for the next one goes on waiting while that is incomplete.
        return lines + self._masked() if ended else lines

    def _append(self, raw: str) -> None:
        """Add raw text to the line that is being read."""
        if raw.isprintable() and not self._began and not self._line:
            # Nearly every line: complete, and without any control character.
            self._began = bool(raw)
            margin = _MARGIN.match(raw)
            self._margin = margin[0] if margin else ""
            self._line = raw
            return
        text = _EIGHT_BIT.sub("", strip_sequences(raw))
        body = text.rstrip("\r")
        if body and not self._began:
            self._began = True
            margin = _MARGIN.match(body)
            self._margin = margin[0] if margin else ""
        if body:
            kept = body.rpartition("\r")[2]
            if self._returned or len(kept) < len(body):
                same = not self._margin or _MARGIN.match(kept)
                self._line = "" if same else self._margin
            self._line += kept.translate(_DROPPED)
        self._returned = len(body) < len(text) or (self._returned and not body)
        if self._swallow:
            self._drop_swallowed()

    def _end_line(self) -> list[Line]:
        lines = self._pieces(PIECE + 1)
        rest, self._line = self._line, ""
        if not self._partial:
            self._whole.append(rest)
        elif rest:
            lines.append(Line(text=rest, shown=self._redactor.text(rest), starts=False))
            self._stream.saw(rest)
        self._margin = ""
        self._began = self._returned = self._partial = self._swallow = False
        return lines

    def _pieces(self, enough: int) -> list[Line]:
        """Cut pieces off the line while it has `enough` characters; earlier lines come first."""
        if len(self._line) < enough:
            return []
        lines = self._masked(to_the_end=True)
        while len(self._line) >= enough:
            shown, used, goes_on = self._redactor.head(self._line, PIECE)
            lines.append(Line(text=self._line[:used], shown=shown, starts=not self._partial))
            self._line = self._line[used:]
            self._partial = True
            if goes_on:
                self._swallow = True
                self._drop_swallowed()
        return lines

    def _masked(self, *, to_the_end: bool = False) -> list[Line]:
        """Mask the complete lines together: nearly all hold no secret, which one check shows.

        A line in whose end a known value may begin waits for the next one, unless `to_the_end`.
        """
        if not self._whole:
            return []
        kept = 0 if to_the_end else self._stream.unfinished(self._whole)
        ready = len(self._whole) - kept
        whole, self._whole = self._whole[:ready], self._whole[ready:]
        shown = self._stream.lines(whole)
        return [Line(text=text, shown=mask) for text, mask in zip(whole, shown, strict=True)]

    def _drop_swallowed(self) -> None:
        """Drop the rest of a secret that is longer than what the redactor holds back."""
        blank = _BLANK.search(self._line)
        self._line = self._line[blank.start() :] if blank else ""
        self._swallow = blank is None


def _safe_cut(block: str) -> int:
    """Find a place in a block where a cut splits no escape sequence (of sensible length)."""
    near = [match.start() for match in _INTRODUCERS.finditer(block, len(block) - 1024)]
    return near[-1] if near else len(block)


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
        monotonic: Callable[[], float] = seconds,
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
        self._keep(lines)

    def _keep(self, lines: Sequence[Line]) -> None:
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
