"""An open SSH connection: how many channels of it are in use, and when it begins and ends."""

import asyncio
from collections.abc import Callable

import asyncssh

CHANNELS = 8
"""OpenSSH allows 10 by default; a place is given back a little late."""
_FEWER_S = 60.0
"""A server may be short of channels only because one was given back late."""


class Line:
    """One open connection for questions, and its channels."""

    def __init__(self, ssh: asyncssh.SSHClientConnection) -> None:
        self.ssh = ssh
        self.places = asyncio.Semaphore(CHANNELS)
        self.in_use = 0
        self.retired = False

    @property
    def usable(self) -> bool:
        return not self.retired and not self.ssh.is_closed()

    def fewer(self) -> bool:
        """The server refused a channel: take as many as it gave for all, for a while.

        False: it gave none at all.
        """
        if self.in_use == 1:
            return False
        self.in_use -= 1
        asyncio.get_running_loop().call_later(_FEWER_S, self.places.release)
        return True

    def free(self) -> None:
        self.in_use -= 1
        self.places.release()
        if self.retired and not self.in_use:
            self.ssh.close()


class Client(asyncssh.SSHClient):
    """Reports the beginning and the end of one connection."""

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
