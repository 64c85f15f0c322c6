"""The instant of a deploy's start: was the command sent, or was it not?"""

import asyncio
from typing import Any, Protocol, cast

import asyncssh
import pytest

from bot.dokku.channel import Answer, Command
from bot.dokku.commands import Argv
from bot.dokku.driver import Driver
from bot.errors import Unreachable
from bot.redaction import Redactor

REPO = "https://git.example/acme/web.git"


class Start(Protocol):
    def __call__(self, *, sends: bool, error: BaseException | None) -> "tuple[Driver, Line]": ...


class Line:
    """A connection, its manager and its channel in one; it remembers that it was dropped."""

    name = "production"
    aborted = False

    async def run(self, _argv: Argv, *, timeout_s: float, heavy: bool = False) -> Answer:
        raise Unreachable(f"nobody answers within {timeout_s} s, heavy: {heavy}")

    async def log_in(self) -> "Line":
        return self

    def get_extra_info(self, _name: str) -> None:
        return None

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Make a driver and its line; opening a channel fails in the chosen way, or hangs."""

    def start(*, sends: bool, error: BaseException | None) -> tuple[Driver, Line]:
        line = Line()

        async def open_channel(command: Command, _ssh: object, *, merged: bool) -> None:
            assert merged
            if sends:
                command.channel = cast("Any", line)
            if error is not None:
                raise error
            await asyncio.Event().wait()

        monkeypatch.setattr(Command, "open", open_channel)
        return Driver(cast("Any", line), redactor=Redactor(), start_s=0.05), line

    return start


FAILURES = [asyncssh.ChannelOpenError(2, "open failed"), asyncssh.ConnectionLost("gone"), None]


@pytest.mark.parametrize("error", FAILURES)
async def test_what_was_not_sent_started_nothing(start: Start, error: BaseException | None) -> None:
    driver, line = start(sends=False, error=error)
    with pytest.raises(Unreachable, match="Nothing was started"):
        await driver.deploy("web", REPO, "main")
    assert line.aborted


@pytest.mark.parametrize("error", FAILURES)
async def test_what_was_sent_may_run_so_the_caller_has_to_look(
    start: Start, error: BaseException | None
) -> None:
    driver, line = start(sends=True, error=error)
    stream = await driver.deploy("web", REPO, "main")
    assert line.aborted
    async with asyncio.timeout(10):
        assert [batch async for batch in stream.lines()] == []
    assert stream.exit_status is None
    await stream.close()


@pytest.mark.parametrize("sends", [False, True])
async def test_a_cancelled_start_hangs_up(start: Start, *, sends: bool) -> None:
    driver, line = start(sends=sends, error=asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await driver.deploy("web", REPO, "main")
    assert line.aborted
