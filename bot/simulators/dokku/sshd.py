"""The SSH server of the simulated host: user `dokku`, one key, a forced command."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import asyncssh

from bot.simulators.dokku.commands.dispatch import run_command
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import KilledBySignal, PipeBroken
from bot.simulators.dokku.network import LOOPBACK, Network

USER = "dokku"
MAX_SESSIONS = 10
CIPHERS = ("aes128-gcm@openssh.com",)
"""A cipher that OpenSSL computes whole. The client's first choice takes Python 10 times as long."""


class Channel(asyncssh.SSHServerSession[bytes]):
    """One command over SSH. It ignores signals, and keeps running if its client disconnects."""

    def __init__(self, server: "DokkuServer") -> None:
        self._server = server
        self._host = server.host
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._line: str | None = None
        self._pty = server.forces_pty
        self.closed = False

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def pty_requested(
        self,
        _term_type: str,
        _term_size: tuple[int, int, int, int],
        _term_modes: Mapping[int, int],
    ) -> bool:
        self._pty = True
        return True

    def shell_requested(self) -> bool:
        self._line = ""
        return True

    def exec_requested(self, command: str) -> bool:
        self._line = command
        return not _starts_with(command, self._server.refused_command)

    def session_started(self) -> None:
        line = self._line or ""
        if _starts_with(line, self._server.lost_command):
            self._server.lost_lines.append(line)
            self._host.notify()
        else:
            self._host.spawn(self._run(line))

    def eof_received(self) -> bool:
        return True

    def signal_received(self, signal: str) -> None:
        """Ignore it, as sshd does for a forced command."""

    def break_received(self, _msec: int) -> bool:
        return False

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed = True
        self._writable.set()
        self._host.notify()

    async def write(self, stream: str, data: bytes) -> None:
        """Send output; wait while the client does not read. Raises PipeBroken."""
        await self._writable.wait()
        if self.closed or self._channel is None:
            raise PipeBroken
        if self._pty:
            stream, data = "out", data.replace(b"\n", b"\r\n")
        send = self._channel.write_stderr if stream == "err" else self._channel.write
        try:
            send(data)
        except BrokenPipeError as err:
            raise PipeBroken from err  # the client hung up just now

    async def _run(self, line: str) -> None:
        delays_s = self._host.answer_delays_s
        if delay_s := delays_s.get(line.partition(" ")[0], delays_s.get("", 0.0)):
            await asyncio.sleep(delay_s)
        try:
            if self._server.motd:
                await self.write("out", self._server.motd)
            status = await run_command(self._host, line, self)
        except PipeBroken:
            pass  # the client hung up before the greeting
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


def _starts_with(command: str, prefix: str | None) -> bool:
    return prefix is not None and command.startswith(prefix)


class _Login(asyncssh.SSHServer):
    """One connection: checks the login and limits the channels."""

    def __init__(self, server: "DokkuServer") -> None:
        self._server = server
        self._connection: asyncssh.SSHServerConnection | None = None
        self._channels: list[Channel] = []

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        if self._server.banner:
            conn.send_auth_banner(self._server.banner)

    def begin_auth(self, _username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return (
            username == USER
            and not self._server.refuses_key
            and key.public_data == self._server.client_key.public_data
        )

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
        self.refused_command: str | None = None
        self.lost_command: str | None = None
        self.lost_lines: list[str] = []
        """The commands that were lost (`lose_command_for_test`)."""
        self.forces_pty = False
        self.motd = b""
        self.banner = ""
        self._network: Network | None = None
        self._acceptor: asyncssh.SSHAcceptor | None = None

    @property
    def network(self) -> Network:
        """The network in front of the server."""
        if self._network is None:
            raise RuntimeError("the server is not open")
        return self._network

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self.network.port

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return self.network.connections

    @property
    def client_key_pem(self) -> str:
        """The private key that may log in, as OpenSSH text."""
        return self.client_key.export_private_key().decode()

    @property
    def known_hosts(self) -> str:
        """The client's known_hosts line for this server."""
        public = self.host_key.export_public_key().decode().strip()
        return f"[{LOOPBACK}]:{self.port} {public}\n"

    async def drop_connections_for_test(self) -> None:
        """Cut all connections; the running commands die at their next line."""
        async with self._noticed():
            await self.network.drop()

    @asynccontextmanager
    async def _noticed(self) -> AsyncIterator[None]:
        """Wait until the commands that run now have lost their clients: no line comes before."""
        runs = [run for app in self.host.apps.values() for run in app.runs]
        cut = [run.output for run in runs if isinstance(run.output, Channel)]
        yield
        await self.host.until(lambda: all(one.closed for one in cut))

    async def refuse_connections_for_test(self) -> None:
        """Refuse new connections."""
        await self.network.refuse()

    async def accept_connections_for_test(self) -> None:
        """Answer new connections again, after refusing or swallowing them."""
        self.network.swallows = False
        await self.network.accept_again()

    def swallow_connections_for_test(self) -> None:
        """Accept new connections and never answer."""
        self.network.swallows = True

    def stall_for_test(self) -> None:
        """Let nothing pass, not even a reset or the end of a connection, until healed."""
        self.network.stall()

    def heal_for_test(self) -> None:
        """Let everything pass again."""
        self.network.heal()

    def refuse_key_for_test(self, *, refuse: bool = True) -> None:
        """Refuse the client's key at the next login."""
        self.refuses_key = refuse

    def change_host_key_for_test(self, key: asyncssh.SSHKey | None) -> None:
        """Show this host key to new connections; `known_hosts` still names the first one.

        None: show the first one again.
        """
        if self._acceptor is None:
            raise RuntimeError("the server is not open")
        self._acceptor.update(server_host_keys=[key or self.host_key])

    def drop_oldest_for_test(self) -> None:
        """Cut only the oldest connection."""
        self.network.drop_oldest()

    def drop_newest_for_test(self) -> None:
        """Cut only the newest connection."""
        self.network.drop_newest()

    async def forget_server_for_test(self) -> None:
        """Cut the server's side of all connections; clients do not notice."""
        async with self._noticed():
            self.network.forget_server()

    def forget_server_of_oldest_for_test(self) -> None:
        """Cut the server's side of only the oldest connection, which is then half open."""
        self.network.forget_server_of_oldest()

    def forget_clients_for_test(self) -> None:
        """Reset the clients' side of all connections; the server does not notice."""
        self.network.forget_clients()

    def slow_logins_for_test(self, seconds: float) -> None:
        """Serve new connections only after this many real seconds."""
        self.network.delay_s = seconds

    def turn_away_for_test(self, farewell: bytes | None) -> None:
        """Answer new connections with these bytes and close them; None: serve them again."""
        self.network.farewell = farewell

    def noise_for_test(self, noise: bytes) -> None:
        """Send these bytes to new clients before the SSH version string."""
        self.network.noise = noise

    def limit_sessions_for_test(self, most: int = MAX_SESSIONS) -> None:
        """Allow at most this many open channels per connection."""
        self.max_sessions = most

    def refuse_command_for_test(self, prefix: str | None) -> None:
        """Open channels, but refuse to run commands that start with `prefix`; None: run all."""
        self.refused_command = prefix

    def lose_command_for_test(self, prefix: str | None) -> None:
        """Accept commands that start with `prefix` and never run them; None: run all.

        It looks as if the server had died just before it ran the command.
        """
        self.lost_command = prefix

    def greet_for_test(
        self, *, banner: str = "", motd: bytes = b"", forces_pty: bool = False
    ) -> None:
        """Print greetings that a client does not expect.

        Args:
            banner: sent before the login, as an SSH banner message.
            motd: printed first by every command, as a start-up file does.
            forces_pty: give every command a terminal: one stream, and carriage returns.
        """
        self.banner, self.motd, self.forces_pty = banner, motd, forces_pty

    async def open(self, port: int) -> None:
        """Start to listen."""
        acceptor = await asyncssh.create_server(
            lambda: _Login(self),
            LOOPBACK,
            0,
            server_host_keys=[self.host_key],
            line_editor=False,
            allow_scp=False,
            agent_forwarding=False,
            encryption_algs=CIPHERS,
        )
        self._acceptor = acceptor
        self._network = Network(inner_port=acceptor.get_port(), changed=self.host.notify)
        await self._network.listen(port)

    async def aclose(self) -> None:
        """Close the network, the host and the server."""
        await self.network.aclose()
        await self.host.aclose()
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()


@asynccontextmanager
async def open_dokku(host: DokkuHost, *, port: int = 0) -> AsyncIterator[DokkuServer]:
    """Serve a simulated host over SSH on 127.0.0.1. Port 0: any free port."""
    server = DokkuServer(host)
    await server.open(port)
    try:
        yield server
    finally:
        await server.aclose()
