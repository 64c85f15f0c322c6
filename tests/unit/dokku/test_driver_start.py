"""The start of a deploy: was the command sent?"""

import asyncio
from typing import Any, Protocol, cast

import asyncssh
import pytest

from bot.dokku.channel import Answer, Command
from bot.dokku.commands import Argv
from bot.dokku.driver import Driver
from bot.dokku.limits import SshLimits
from bot.errors import Unreachable
from bot.redaction import Redactor

REPO = "https://git.example/acme/web.git"


class Start(Protocol):
    def __call__(
        self, *, sends: bool, error: BaseException | None
    ) -> "tuple[Driver, FakeConnection]": ...


class FakeConnection:
    """A connection, its manager and its channel in one; it remembers that it was closed."""

    name = "production"
    aborted = False

    async def run(
        self, _argv: Argv, *, timeout_s: float, heavy: bool = False, **_more: object
    ) -> Answer:
        raise Unreachable(f"no answer within {timeout_s} s, heavy: {heavy}")

    async def log_in(self, _alive_count: int | None = None) -> "FakeConnection":
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
    """Make a driver and its connection; opening a channel fails in the chosen way, or hangs."""

    def start(*, sends: bool, error: BaseException | None) -> tuple[Driver, FakeConnection]:
        connection = FakeConnection()

        async def open_channel(command: Command, _ssh: object, *, merged: bool) -> None:
            assert merged
            if sends:
                command.channel = cast("Any", connection)
            if error is not None:
                raise error
            await asyncio.Event().wait()

        monkeypatch.setattr(Command, "open", open_channel)
        return Driver(
            cast("Any", connection), redactor=Redactor(), limits=SshLimits(start_s=0.05)
        ), connection

    return start


FAILURES = [asyncssh.ChannelOpenError(2, "open failed"), asyncssh.ConnectionLost("gone"), None]


@pytest.mark.parametrize("error", FAILURES)
async def test_unsent_command_starts_nothing(start: Start, error: BaseException | None) -> None:
    driver, connection = start(sends=False, error=error)
    with pytest.raises(Unreachable, match="Nothing was started"):
        await driver.deploy("web", REPO, "main")
    assert connection.aborted


@pytest.mark.parametrize("error", FAILURES)
async def test_sent_command_gives_a_stream_without_a_status(
    start: Start, error: BaseException | None
) -> None:
    driver, connection = start(sends=True, error=error)
    stream = await driver.deploy("web", REPO, "main")
    assert connection.aborted
    async with asyncio.timeout(10):
        assert [batch async for batch in stream.lines()] == []
    assert stream.exit_status is None
    await stream.close()


@pytest.mark.parametrize("sends", [False, True])
async def test_cancelled_start_closes_the_connection(start: Start, *, sends: bool) -> None:
    driver, connection = start(sends=sends, error=asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await driver.deploy("web", REPO, "main")
    assert connection.aborted
