import asyncio
from collections.abc import Sequence
from typing import Any, cast

import asyncssh
import pytest

from bot.deployments.model import LogMarker
from bot.dokku.channel import Command
from bot.dokku.limits import SshLimits
from bot.dokku.log_markers import LogReader
from bot.dokku.output import OutputReader
from bot.dokku.stream import Stream
from bot.redaction import Redactor

LIMITS = SshLimits()


class Process:
    """A process whose output and end are given; also its own connection and reader."""

    def __init__(self, chunks: Sequence[bytes | Exception], exit_status: int | None) -> None:
        self._chunks = list(chunks)
        self.exit_status = exit_status
        self.hung_up = 0
        self.stdout = self

    async def read(self, _most: int) -> bytes:
        await asyncio.sleep(0)
        chunk = self._chunks.pop(0) if self._chunks else b""
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        self.hung_up += 1

    def abort(self) -> None:
        self.hung_up += 1


def running(
    *chunks: bytes | Exception,
    exit_status: int | None = 0,
    clock: Sequence[float] = (),
    limits: SshLimits = LIMITS,
) -> Stream:
    process = Process(chunks, exit_status)
    command = Command(("git:sync",), limits=LIMITS)
    command.process = cast("Any", process)
    ticks = iter(clock)
    return Stream(
        cast("Any", process),
        command,
        output=OutputReader(Redactor()),
        log=LogReader("web"),
        limits=limits,
        monotonic=lambda: next(ticks, 9.0),
    )


async def collect(stream: Stream) -> list[str]:
    async with asyncio.timeout(10):
        return [line async for batch in stream.lines() for line in batch]


async def test_lines_facts_and_exit_status() -> None:
    stream = running(b"-----> Cloning web from x\nTOK", b"EN=abc\nend", exit_status=1)
    before = stream.exit_status
    assert await collect(stream) == ["-----> Cloning web from x", "TOKEN=[redacted]", "end"]
    assert (before, stream.exit_status) == (None, 1)
    assert stream.facts.markers == {LogMarker.FETCHING}
    assert await collect(stream) == []


@pytest.mark.parametrize("error", [asyncssh.ConnectionLost("gone"), ConnectionResetError()])
async def test_lost_connection_raises_nothing(error: Exception) -> None:
    stream = running(b"one\ntw", error)
    assert await collect(stream) == ["one", "tw"]
    assert stream.exit_status is None


async def test_bug_does_not_look_like_a_lost_connection() -> None:
    stream = running(b"one\n", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await collect(stream)


async def test_unanswered_command_ends_at_once() -> None:
    process = Process([], None)
    stream = Stream(
        cast("Any", process),
        Command(("git:sync",), limits=LIMITS),
        output=OutputReader(Redactor()),
        log=LogReader("web"),
        limits=LIMITS,
    )
    assert await collect(stream) == []
    assert stream.exit_status is None


async def test_time_of_the_last_byte_is_kept() -> None:
    stream = running(b"a\n", b"b\n", clock=(1.0, 2.0, 3.0))
    assert stream.last_byte_at == 1.0
    await collect(stream)
    assert stream.last_byte_at == 3.0


async def test_lines_that_are_not_taken_are_read_and_dropped_beyond_the_limit() -> None:
    lines_sent = [f"line {number:04}\n".encode() for number in range(1000)]
    stream = running(*lines_sent, limits=SshLimits(stream_chars=100))
    async with asyncio.timeout(10):
        await asyncio.wait({stream._pump})
    lines = await collect(stream)
    assert lines[0] == "[990 lines were not kept: they came too fast]"
    assert lines[1:] == [f"line {number:04}" for number in range(990, 1000)]
    assert stream.exit_status == 0


async def test_closing_twice_keeps_the_lines() -> None:
    stream = running(b"one\n")
    assert await collect(stream) == ["one"]
    await stream.close()
    await stream.close()
    assert stream.exit_status == 0
