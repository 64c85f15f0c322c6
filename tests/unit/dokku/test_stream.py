import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import asyncssh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.deployments.model import LogMarker
from bot.dokku.channel import Command
from bot.dokku.limits import SshLimits
from bot.dokku.log_markers import Line, LogReader
from bot.dokku.stream import PIECE, OutputReader, Stream
from bot.redaction import Redactor
from bot.redaction_rules import MASK
from tests.unit.dokku.recordings import VERSIONS, Recording, deploys

SECRET = "hunter2-is-secret"


def read(data: bytes, *, cuts: list[int] | None = None, known: str = SECRET) -> list[Line]:
    reader = OutputReader(Redactor([known]))
    lines: list[Line] = []
    edges = [0, *sorted(cuts or []), len(data)]
    for begin, end in pairwise(edges):
        lines += reader.feed(data[begin:end])
    return lines + reader.finish()


def shown(data: bytes) -> list[str]:
    return [line.shown for line in read(data)]


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"10%\r20%\r100%\n", ["100%"]),
        (b"10%\r20%\r\r\n", ["20%"]),
        (b"\x1b[1m\x1b[31m !     \x1b[0m\x1b[0mFailure\n", [" !     Failure"]),
        (b"\x1b[1G-----> Cleaning up...\n", ["-----> Cleaning up..."]),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", ["link"]),
        (b"\x1b]0;title\x07text\n", ["text"]),
        ("\x9b31mred\x9b0m \x9d0;t\x9cx\n".encode(), ["red x"]),
        (b"a\x00b\x08c\x07\tTab\x7f\n", ["abc\tTab"]),
        ("a\u202egnp.exe\u2066\u2028b\n".encode(), ["agnp.exe b"]),
        (b"\xff\xfe caf\xc3\n", ["\ufffd\ufffd caf\ufffd"]),
        ("né 🎉\n".encode(), ["né 🎉"]),
        (b"TOKEN=abc\n", [f"TOKEN={MASK}"]),
        (b"hunter2\x1b[31m-is-secret\n", [MASK]),
        (b"", []),
        (b"\n", [""]),
    ],
)
def test_lines_come_out_clean(raw: bytes, lines: list[str]) -> None:
    assert shown(raw) == lines


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"#8 0.1 x\r=====> Application deployed:\n", "#8 0.1 =====> Application deployed:"),
        (b"       x\r=====> Application deployed:\n", "       =====> Application deployed:"),
        (b"5.18 x\r !     App build failed\n", "5.18  !     App build failed"),
        (b"#8 0.1 10%\r#8 0.2 20%\n", "#8 0.2 20%"),
    ],
)
def test_carriage_return_keeps_the_margin_of_a_build_line(raw: bytes, line: str) -> None:
    assert shown(raw) == [line]


def test_a_private_key_in_the_output_is_masked_line_by_line() -> None:
    body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAA"
    raw = (
        "#8 0.1 -----BEGIN RSA PRIVATE KEY-----\n"
        f"#8 0.1 {body}\n#8 0.2 {body}\n#8 0.2 abcd==\n"
        "#8 0.2 -----END RSA PRIVATE KEY-----\n#8 DONE 0.2s\n"
    )
    lines = shown(raw.encode())
    assert body[:20] not in "".join(lines)
    assert lines[-1] == "#8 DONE 0.2s"


def test_very_long_line_comes_in_pieces() -> None:
    reader = OutputReader(Redactor())
    lines = [line for _ in range(100) for line in reader.feed(b"x" * 1000)]
    assert lines, "nothing may wait for a line end that never comes"
    lines += reader.finish()
    assert "".join(line.shown for line in lines) == "x" * 100_000
    assert [line.starts for line in lines] == [True] + [False] * (len(lines) - 1)
    assert all(len(line.shown) <= PIECE for line in lines)


def test_progress_without_line_ends_does_not_grow() -> None:
    reader = OutputReader(Redactor())
    lines = [line for part in range(3000) for line in reader.feed(f"\rpart {part:06}".encode())]
    assert [line.shown for line in lines + reader.finish()] == ["part 002999"]


@pytest.mark.parametrize("at", [0, 1, PIECE - 40, PIECE - 5, PIECE, 3 * PIECE, 16_380, 20_479])
@pytest.mark.parametrize(
    "secret", [SECRET, "TOKEN=" + SECRET, f"https://u:{SECRET}@host/", "x" * 9_000 + SECRET]
)
def test_cut_between_pieces_reveals_no_secret(at: int, secret: str) -> None:
    raw = ("." * at + " " + secret + " " + "." * 30_000).encode()
    out = "".join(shown(raw))
    assert SECRET not in out
    assert "is-secret" not in out


def test_secret_longer_than_the_hold_is_dropped() -> None:
    raw = ("PASSWORD=" + "s3cr3t" * 20_000 + " after\nnext\n").encode()
    out = shown(raw)
    assert "s3cr3t" not in "".join(out)
    assert "".join(out[:-1]).endswith(" after")
    assert out[-1] == "next"


PARTS = st.sampled_from(
    [
        *("\n", "\r", "\r\n", "\x1b[31m", "\x1b[", "\x1b]0;t\x07", "\x1b", "\x9b1m", "né🎉", " "),
        *("x" * 5_000, "#8 0.1 ", "       ", SECRET, SECRET[:9], "TOKEN=", "://u:", "@host"),
        *("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "TU9SRVRIQU4yMENIQVJTMTIz"),
    ]
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(PARTS, st.text(max_size=20)), max_size=40), st.data())
def test_chunking_does_not_change_the_lines(parts: list[str], data: st.DataObject) -> None:
    raw = "".join(parts).encode("utf-8", "surrogatepass")
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=20))
    assert read(raw, cuts=cuts) == read(raw)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(PARTS, st.text(max_size=20)), max_size=40))
def test_a_planted_secret_never_comes_out(parts: list[str]) -> None:
    raw = "".join(parts).encode("utf-8", "surrogatepass")
    assert all(SECRET not in line.shown for line in read(raw))
    assert SECRET not in "".join(line.shown for line in read(raw.replace(b"\n", b" ")))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_harmless_lines(raw: bytes) -> None:
    for line in read(raw):
        assert line.shown == "".join(line.shown.splitlines())
        assert all(char == "\t" or ord(char) >= 0x20 for char in line.shown)
        assert not any(0x7F <= ord(char) < 0xA0 or char in "\u202e\u2066" for char in line.shown)


@pytest.mark.parametrize(
    "recording",
    [recording for version in VERSIONS for recording in deploys(version)],
    ids=str,
)
def test_recordings_read_alike_byte_by_byte(recording: Recording) -> None:
    raw = recording.both
    assert read(raw, cuts=list(range(len(raw)))) == read(raw)
    assert all("\x1b" not in line.shown for line in read(raw))


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", ["x", "\r", "\x1b]", "\x1b[", "\x9b", "\x90", "\x9d", "\n", "TOKEN=", "\x1b", "é"]
)
def test_hostile_output_takes_linear_time(unit: str) -> None:
    raw = (unit * 500_000)[:500_000].encode()
    begin = time.thread_time()
    read(raw)
    # Of the processor alone, whatever else it does. Quadratic behaviour would take minutes.
    assert time.thread_time() - begin < 60


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
