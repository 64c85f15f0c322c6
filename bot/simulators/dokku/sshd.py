"""The SSH server of the simulated host: user `dokku`, one key, a forced command."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import asyncssh

from bot.simulators.dokku.commands.table import run_command
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import PipeBroken
from bot.simulators.dokku.overriding import override
from bot.simulators.dokku.runs import KilledBySignal
from bot.simulators.dokku.wire import LOOPBACK, Wire

USER = "dokku"
MAX_SESSIONS = 10


class Channel(asyncssh.SSHServerSession[bytes]):
    """One command over SSH. It ignores signals, and lives on when its client is gone."""

    def __init__(self, server: "DokkuServer") -> None:
        self._server = server
        self._host = server.host
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._line: str | None = None
        self._pty = server.forces_pty
        self.closed = False

    @override
    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    @override
    def pty_requested(
        self,
        _term_type: str,
        _term_size: tuple[int, int, int, int],
        _term_modes: Mapping[int, int],
    ) -> bool:
        self._pty = True
        return True

    @override
    def shell_requested(self) -> bool:
        self._line = ""
        return True

    @override
    def exec_requested(self, command: str) -> bool:
        self._line = command
        refused = self._server.refuses
        return refused is None or not command.startswith(refused)

    @override
    def session_started(self) -> None:
        line = self._line or ""
        lost = self._server.loses
        if lost is not None and line.startswith(lost):
            self._server.lost.append(line)
            self._host.notify()
        else:
            self._host.spawn(self._run(line))

    @override
    def eof_received(self) -> bool:
        return True

    @override
    def signal_received(self, signal: str) -> None:
        """Ignore it, as sshd does for a forced command."""

    @override
    def break_received(self, _msec: int) -> bool:
        return False

    @override
    def pause_writing(self) -> None:
        self._writable.clear()

    @override
    def resume_writing(self) -> None:
        self._writable.set()

    @override
    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed = True
        self._writable.set()
        self._host.notify()

    async def write(self, stream: str, data: bytes) -> None:
        """Send output; waits while the client does not read. Raises PipeBroken."""
        await self._writable.wait()
        if self.closed or self._channel is None:
            raise PipeBroken
        if self._pty:
            stream, data = "out", data.replace(b"\n", b"\r\n")
        send = self._channel.write_stderr if stream == "err" else self._channel.write
        try:
            send(data)
        except BrokenPipeError as err:
            raise PipeBroken from err  # the client hung up in this very moment

    async def _run(self, line: str) -> None:
        if self._host.answer_delay_s:
            await asyncio.sleep(self._host.answer_delay_s)
        try:
            if self._server.motd:
                await self.write("out", self._server.motd)
            status = await run_command(self._host, line, self)
        except PipeBroken:
            pass  # the client did not wait for the greeting
        except KilledBySignal:
            self._end(lambda channel: channel.exit_with_signal("KILL"))
        except Exception:
            self._end(lambda channel: channel.abort())
            raise
        else:
            self._end(lambda channel: channel.exit(status))

    def _end(self, end: Callable[[asyncssh.SSHServerChannel[bytes]], None]) -> None:
        if self._channel is not None and not self.closed:
            end(self._channel)


class _Login(asyncssh.SSHServer):
    """One connection: who may log in, and how many channels it may have."""

    def __init__(self, server: "DokkuServer") -> None:
        self._server = server
        self._connection: asyncssh.SSHServerConnection | None = None
        self._channels: list[Channel] = []

    @override
    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        if self._server.banner:
            conn.send_auth_banner(self._server.banner)

    @override
    def begin_auth(self, _username: str) -> bool:
        return True

    @override
    def public_key_auth_supported(self) -> bool:
        return True

    @override
    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return (
            username == USER
            and not self._server.refuses_key
            and key.public_data == self._server.client_key.public_data
        )

    @override
    def session_requested(
        self,
    ) -> tuple[asyncssh.SSHServerChannel[bytes], asyncssh.SSHServerSession[bytes]]:
        self._channels = [one for one in self._channels if not one.closed]
        if len(self._channels) >= self._server.max_sessions or self._connection is None:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")
        channel = Channel(self._server)
        self._channels.append(channel)
        return self._connection.create_server_channel(encoding=None), channel


class DokkuServer:
    """A running SSH server on 127.0.0.1. Test-only switches end in `_for_test`."""

    def __init__(self, host: DokkuHost) -> None:
        self.host = host
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.max_sessions = MAX_SESSIONS
        self.refuses_key = False
        self.refuses: str | None = None
        """Commands that begin so are not run on the channel that was opened for them."""
        self.loses: str | None = None
        """Commands that begin so are accepted, and never run: the server dies before."""
        self.lost: list[str] = []
        """Those commands."""
        self.forces_pty = False
        """Every command has a terminal: one stream, and carriage returns."""
        self.motd = b""
        """What every command prints first, as a greeting in a start-up file does."""
        self.banner = ""
        """Sent before the login, as an SSH banner message."""
        self._wire: Wire | None = None
        self._acceptor: asyncssh.SSHAcceptor | None = None

    @property
    def wire(self) -> Wire:
        """Give the network in front of the server."""
        if self._wire is None:
            raise RuntimeError("the server is not open")
        return self._wire

    @property
    def port(self) -> int:
        """Give the port to connect to."""
        return self.wire.port

    @property
    def connections(self) -> int:
        """Count the connections that are open now."""
        return self.wire.connections

    @property
    def client_key_pem(self) -> str:
        """Give the private key that may log in, as OpenSSH text."""
        return self.client_key.export_private_key().decode()

    @property
    def known_hosts(self) -> str:
        """Give the client's known_hosts line for this server."""
        public = self.host_key.export_public_key().decode().strip()
        return f"[{LOOPBACK}]:{self.port} {public}\n"

    async def drop_connections_for_test(self) -> None:
        """Cut all connections; the running commands die at their next line."""
        await self.wire.drop()

    async def refuse_connections_for_test(self) -> None:
        """Refuse new connections."""
        await self.wire.refuse()

    async def accept_connections_for_test(self) -> None:
        """Answer new connections again, after refusing or swallowing them."""
        self.wire.swallows = False
        await self.wire.accept_again()

    def swallow_connections_for_test(self) -> None:
        """Accept new connections and never answer: a black hole."""
        self.wire.swallows = True

    def stall_for_test(self) -> None:
        """Let nothing pass, silently: no reset, no end, until healed."""
        self.wire.stall()

    def heal_for_test(self) -> None:
        """Let everything pass again."""
        self.wire.heal()

    def refuse_key_for_test(self, *, refuse: bool = True) -> None:
        """Refuse the client's key at the next login."""
        self.refuses_key = refuse

    def change_host_key_for_test(self, key: asyncssh.SSHKey | None) -> None:
        """Show this host key to new connections; `known_hosts` goes on naming the first one.

        None: show the first one again.
        """
        if self._acceptor is None:
            raise RuntimeError("the server is not open")
        self._acceptor.update(server_host_keys=[key or self.host_key])

    def drop_oldest_for_test(self) -> None:
        """Cut the connection that was opened first, and no other."""
        self.wire.drop_oldest()

    def drop_newest_for_test(self) -> None:
        """Cut the connection that was opened last, and no other."""
        self.wire.drop_newest()

    def forget_server_for_test(self) -> None:
        """Switch the server's side of all connections off: clients hear nothing of it."""
        self.wire.forget_server()

    def forget_server_of_oldest_for_test(self) -> None:
        """Do so for the connection that was opened first, and for no other: it is half open."""
        self.wire.forget_server_of_oldest()

    def forget_clients_for_test(self) -> None:
        """Reset the clients' side of all connections: the server hears nothing of it."""
        self.wire.forget_clients()

    def slow_logins_for_test(self, seconds: float) -> None:
        """Serve new connections only after so many real seconds."""
        self.wire.delay_s = seconds

    def turn_away_for_test(self, farewell: bytes | None) -> None:
        """Answer new connections with these bytes and the end; None: let them in again."""
        self.wire.farewell = farewell

    def noise_for_test(self, noise: bytes) -> None:
        """Send these bytes to new clients before the SSH version line."""
        self.wire.noise = noise

    async def open(self, port: int) -> None:
        """Begin to listen."""
        acceptor = await asyncssh.create_server(
            lambda: _Login(self),
            LOOPBACK,
            0,
            server_host_keys=[self.host_key],
            line_editor=False,
            allow_scp=False,
            agent_forwarding=False,
        )
        self._acceptor = acceptor
        self._wire = Wire(inner_port=acceptor.get_port(), changed=self.host.notify)
        await self._wire.listen(port)

    async def aclose(self) -> None:
        """Close the network, the host and the server."""
        await self.wire.aclose()
        await self.host.aclose()
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()


@asynccontextmanager
async def open_dokku(host: DokkuHost, *, port: int = 0) -> AsyncIterator[DokkuServer]:
    """Serve a simulated host over SSH on 127.0.0.1, on this port or on any free one (0)."""
    server = DokkuServer(host)
    await server.open(port)
    try:
        yield server
    finally:
        await server.aclose()
