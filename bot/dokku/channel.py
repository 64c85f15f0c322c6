"""SSH connections for questions, and commands on their channels.

What decides about trying a command again is one fact: was it sent?
"""

import asyncio
import getpass
import math
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
from asyncssh.channel import SSHChannel

from bot.deployments.ports import MaySend
from bot.dokku.commands import Argv
from bot.dokku.limits import SshLimits
from bot.errors import OddReport, OutcomeUnknown, Unreachable, Withheld

CHUNK = 16_384
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command printed, and its exit status."""

    exit_status: int
    """-1: killed by a signal."""
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)

    @property
    def out(self) -> str:
        """Standard output as text; invalid UTF-8 becomes U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def err(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8", "replace")


class Patience:
    """How many times its usual time a question gets: grows with what the server needs."""

    def __init__(self, most: int) -> None:
        self.times = 1
        self._most = most

    def answered(self, took_s: float, usual_s: float) -> None:
        """Learn from an answer's time: the next gets twice that, at least half the last limit."""
        needed = min(self._most, math.ceil(2 * took_s / usual_s))
        self.times = max(1, needed, self.times // 2)

    def late(self) -> None:
        """The server took a question, and did not answer it in time."""
        self.times = min(2 * self.times, self._most)


class _Process(asyncssh.SSHClientProcess[bytes]):
    """What runs on the server, as asyncssh sees it."""

    def __init__(self, command: "Command") -> None:
        super().__init__()
        self._command = command

    def connection_made(self, chan: SSHChannel[bytes]) -> None:
        """The channel is open; the next packet is the command."""
        command = self._command
        if command.may_send is not None and not command.may_send():
            chan.close()
            raise Withheld(f"`{command.argv[0]}` was not sent: the lease is not certain.")
        command.channel = chan
        super().connection_made(chan)


class Command:
    """A command that is being opened, and, once opened, its process."""

    def __init__(
        self,
        argv: Argv,
        *,
        limits: SshLimits,
        follows: bool = False,
        may_send: MaySend | None = None,
    ) -> None:
        """`follows`: it may print on for ever. Its answer is what came until it was silent."""
        self.argv = argv
        self.follows = follows
        self.may_send = may_send
        self.channel: SSHChannel[bytes] | None = None
        self.process: asyncssh.SSHClientProcess[bytes] | None = None
        self.refused = False
        """The server answered that it will not run the command."""
        self._most_bytes = limits.answer_bytes
        self._quiet_s, self._followed_s = limits.quiet_s, limits.followed_s

    @property
    def sent(self) -> bool:
        """Whether the server may have begun to run the command."""
        return self.channel is not None

    async def open(self, ssh: asyncssh.SSHClientConnection, *, merged: bool) -> None:
        """Open a channel and run the command there. Raises what asyncssh raises.

        No terminal (a forced command may refuse one), nothing on standard input (a command that
        reads it would hang), bytes (one invalid character would close the whole connection).
        `merged`: standard error goes into standard output, in order.
        """
        process = _Process(self)
        try:
            await ssh.create_session(lambda: process, " ".join(self.argv), encoding=None)
        except asyncssh.ChannelOpenError as err:
            # A lost connection raises the same error, but is closed.
            if err.code == asyncssh.OPEN_REQUEST_SESSION_FAILED and not ssh.is_closed():
                self.channel = None
                self.refused = True
            raise
        await process.redirect(
            stdin=asyncssh.DEVNULL,
            stdout=asyncssh.PIPE,
            stderr=asyncssh.STDOUT if merged else asyncssh.PIPE,
        )
        self.process = process

    async def answer(self) -> Answer:
        """Read both outputs to their end. OutcomeUnknown: connection lost before the exit status.

        Both at once: they share one window, and one left unread would block the other.
        """
        process = self.process
        if process is None:
            raise OutcomeUnknown(f"`{self.argv[0]}` was sent, but no answer came back.")
        if self.follows:
            return await self._until_silent(process)
        try:
            stdout, stderr = await asyncio.gather(
                self._read(process.stdout), self._read(process.stderr)
            )
            await process.wait_closed()
        except (asyncssh.Error, OSError) as err:
            raise self.lost() from err
        status = process.exit_status
        # A lost connection raises nothing here: the exit status is missing.
        if status is None:
            raise self.lost()
        return Answer(exit_status=status, stdout=stdout, stderr=stderr)

    async def _until_silent(self, process: asyncssh.SSHClientProcess[bytes]) -> Answer:
        """Read what it prints until nothing more comes; then leave it."""
        parts: list[bytes] = []
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._followed_s
        try:
            with suppress(TimeoutError):
                while sum(map(len, parts)) < self._most_bytes:
                    # A slow server may take longer for the first byte than for the rest.
                    until = min(ends, loop.time() + self._quiet_s) if parts else ends
                    async with asyncio.timeout_at(until):
                        data = await process.stdout.read(CHUNK)
                    if not data:
                        break
                    parts.append(data)
        except (asyncssh.Error, OSError) as err:
            raise self.lost() from err
        self.close()
        return Answer(exit_status=process.exit_status or 0, stdout=b"".join(parts), stderr=b"")

    async def is_gone(self) -> bool:
        """Whether its channel is free again; one that was left gets a moment for that."""
        if not self.follows:
            return True
        try:
            async with asyncio.timeout(self._quiet_s):
                await self.closed()
        except TimeoutError:
            return False
        return True

    def lost(self) -> OutcomeUnknown:
        """Make the error for a connection that was lost after the command was sent."""
        return OutcomeUnknown(
            f"The connection was lost while `{self.argv[0]}` ran: how it ended is not known."
        )

    async def closed(self) -> None:
        """Wait until the server has closed the channel: until then it takes a place there."""
        if self.channel is not None:
            await self.channel.wait_closed()

    def close(self) -> None:
        """Close this channel."""
        if self.channel is not None:
            self.channel.close()

    async def _read(self, reader: asyncssh.SSHReader[bytes]) -> bytes:
        parts: list[bytes] = []
        total = 0
        while data := await reader.read(CHUNK):
            total += len(data)
            if total > self._most_bytes:
                self.close()
                raise OddReport(
                    f"Dokku's answer to `{self.argv[0]}` is longer than "
                    f"{self._most_bytes >> 20} MB."
                )
            parts.append(data)
        return b"".join(parts)


class SharedConnection:
    """One open SSH connection that questions share, and its channels."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, *, limits: SshLimits) -> None:
        self.ssh = ssh
        self.free_channels = asyncio.Semaphore(limits.channels)
        self.in_use = 0
        self.retired = False
        """No new question may use it; it is closed when the last channel is free."""
        self._fewer_channels_s = limits.fewer_channels_s

    @property
    def usable(self) -> bool:
        return not self.retired and not self.ssh.is_closed()

    def use_fewer_channels(self) -> bool:
        """Use only as many channels as the server gave, for a while.

        The server may only be short of channels because it frees one a little late. False: it
        gave none at all.
        """
        if self.in_use == 1:
            return False
        self.in_use -= 1
        asyncio.get_running_loop().call_later(self._fewer_channels_s, self.free_channels.release)
        return True

    def free_channel(self) -> None:
        self.in_use -= 1
        self.free_channels.release()
        if self.retired and not self.in_use:
            self.ssh.close()


class ConnectionEvents(asyncssh.SSHClient):
    """Reports when one SSH connection is opened and closed."""

    def __init__(
        self,
        opened: Callable[[asyncssh.SSHClientConnection], None],
        closed: Callable[[asyncssh.SSHClientConnection], None],
    ) -> None:
        self._opened = opened
        self._closed = closed
        self._ssh: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._ssh = conn
        self._opened(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._ssh is not None:
            self._closed(self._ssh)


async def open_alone(
    ssh: asyncssh.SSHClientConnection, command: Command, what: str, *, server: str, within_s: float
) -> None:
    """Send a command on a separate connection; errors call it `what`.

    Raises Unreachable if it was not sent. If it was sent but not confirmed, its output ends at
    once, and the caller reads the evidence.
    """
    try:
        async with asyncio.timeout(within_s):
            await command.open(ssh, merged=True)
    except (asyncssh.Error, OSError) as err:
        cut(ssh)
        if not command.sent:
            refusal = "would not run" if command.refused else "opened no channel for"
            raise Unreachable(f"{server} let the bot log in but {refusal} the {what}.") from err
    except BaseException:
        cut(ssh)
        raise


def cut(ssh: asyncssh.SSHClientConnection) -> None:
    """Close a connection so that nothing still on its way arrives.

    A plain close leaves undelivered data to the kernel, which goes on sending it: on a path that
    was dead for a while, a deploy that the bot gave up would still begin.
    """
    wire: socket.socket | None = ssh.get_extra_info("socket")
    if wire is not None:
        with suppress(OSError):  # it is closed already
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    ssh.abort()


def name_the_user(name: str) -> None:
    """Tell asyncssh a user and a home where a container's UID has neither.

    It asks for both before it looks at any option (asyncssh 2.24, `SSHClientConnectionOptions`),
    and raises if there is none. Nothing here reads a user's own files.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError since Python 3.13
        os.environ["LOGNAME"] = name
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"
