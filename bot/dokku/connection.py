"""The way to one server: one shared connection for questions, one of its own for each deploy.

Measured against OpenSSH: a login costs 40 ms, a command on an open connection 3 ms; ten channels
are allowed on a connection and a few logins at once; a command that timed out keeps its channel
until it ends; a lost connection raises nothing, the exit status is merely missing.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass

import asyncssh
import stamina

from bot.config.keys import SshTarget
from bot.dokku.channel import Answer, Command
from bot.dokku.commands import Argv
from bot.dokku.failures import explain
from bot.dokku.keys import load_known_hosts, load_private_key
from bot.dokku.lines import Client, Line
from bot.errors import OutcomeUnknown, Unreachable

HEAVY = 2
"""Questions that cost a server much (`ps:inspect`): more at once only fight for its CPU."""
SILENCE_S = 2.0
"""Who waited so long for an answer, and waits no more, met a server that does not answer."""
_TRIES = 3
_CHANNEL_TRIES = 8
_COOL_DOWN_S = 1.0
_LONGEST_COOL_DOWN_S = 30.0
_RETIRED_S = 120.0

ConnectionsHook = Callable[[str, int], None]
"""Told the server's name and how many connections to it are open, at each change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the parts of a connection wait, in seconds."""

    connect_s: float = 10.0
    """A login, from the name's look-up to the accepted key."""
    question_alive_s: float = 15.0
    deploy_alive_s: float = 30.0
    """Dokku survives a blackout that we wait out, and kills the deploy when we give up first."""
    question_alive_count: int = 3
    deploy_alive_count: int = 20


class _NotSent(Exception):
    """Nothing was sent: the connection had died, or the server had no channel free."""


class Connection:
    """Everything that goes to one server. Opened on first use; open it early with `warm_up`."""

    def __init__(
        self,
        name: str,
        target: SshTarget,
        *,
        patience: Patience | None = None,
        on_connections: ConnectionsHook | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load the keys. ValueError: one of them cannot be used."""
        self.name = name
        self._target = target
        self._key = load_private_key(target.key, target.passphrase)
        self._known_hosts = load_known_hosts(target.known_hosts)
        self._patience = patience or Patience()
        self._on_connections = on_connections
        self._monotonic = monotonic
        self._login = asyncio.Lock()
        self._heavy = asyncio.Semaphore(HEAVY)
        self._line: Line | None = None
        self._open: set[asyncssh.SSHClientConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: Unreachable | None = None
        self._cool_until = 0.0
        self._failures = 0
        self._health: str | None = None
        self.generation = 0
        """Counts the logins for questions: another number may be another Dokku."""

    @property
    def health(self) -> str | None:
        """None when the last question was answered, else the sentence why it was not."""
        return self._health

    async def warm_up(self) -> None:
        """Log in now, so that the first question need not. Unreachable."""
        try:
            await self._usable_line()
        except Unreachable as err:
            self._health = str(err)
            raise
        self._health = None

    async def run(self, argv: Argv, *, timeout_s: float, heavy: bool = False) -> Answer:
        """Ask a question. Any exit status is an answer.

        Raises: Unreachable, when nothing was sent (it was tried again before, in time);
        OutcomeUnknown, when it was sent and no exit status came back in time; OddReport, for an
        endless answer.
        """
        command, began = Command(argv), self._monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                async with self._heavy if heavy else nullcontext():
                    answer = await self._ask(command)
        except TimeoutError:
            error = self._late(command, timeout_s)
            self._health = str(error)
            raise error from None
        except asyncio.CancelledError:
            # A poll has a time-out of its own, and is as good a witness of the silence.
            waited_s = self._monotonic() - began
            if waited_s >= SILENCE_S:
                self._health = str(self._late(command, round(waited_s, 1)))
            raise
        except (Unreachable, OutcomeUnknown) as err:
            self._health = str(err)
            raise
        self._health = None
        return answer

    async def log_in(self) -> asyncssh.SSHClientConnection:
        """A new connection for one deploy, patient with blackouts. Not tried again. Unreachable.

        Whoever gets it closes it.
        """
        patience, began = self._patience, self._monotonic()
        try:
            # One login at a time: others that hang must not hold this one for ever.
            async with asyncio.timeout(2 * patience.connect_s), self._login:
                return await self._log_in(
                    patience.deploy_alive_s, patience.deploy_alive_count, tries=1
                )
        except TimeoutError as err:
            raise self._failed(err, began) from None

    async def aclose(self) -> None:
        """Hang up everything, deploys too. Waits for nobody."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        lines = list(self._open)
        for ssh in lines:
            ssh.abort()
        # An aborted connection is closed on the next turns of the loop.
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.gather(*(ssh.wait_closed() for ssh in lines))

    async def _ask(self, command: Command) -> Answer:
        try:
            async for attempt in stamina.retry_context(
                on=_NotSent, attempts=_CHANNEL_TRIES, wait_initial=0.1, wait_max=1, wait_jitter=0.1
            ):
                with attempt:
                    line = await self._start(command)
        except _NotSent as err:
            raise Unreachable(str(err)) from err
        try:
            answer = await command.answer()
        except BaseException as err:
            self._keep_place(line, command, retire=isinstance(err, asyncio.CancelledError))
            raise
        line.free()
        return answer

    async def _start(self, command: Command) -> Line:
        """Send the command on the shared connection."""
        line = await self._usable_line()
        await line.places.acquire()
        line.in_use += 1
        if not line.usable:
            line.free()
            raise _NotSent(f"{self._where} hung up before anything was sent.")
        try:
            await command.open(line.ssh, merged=False)
        except (asyncssh.Error, OSError) as err:
            if command.sent:
                self._keep_place(line, command, retire=False)
                raise command.lost() from err
            # A dead connection and a lack of channels raise the same error.
            lacks = line.usable and not command.refused
            if lacks and line.fewer():
                return await self._start(command)  # waits for a place of ours
            line.free()
            if command.refused:
                raise Unreachable(f"{self._where} would not run `{command.argv[0]}`.") from err
            why = "had no channel free" if lacks else "hung up"
            raise _NotSent(f"{self._where} {why} before anything was sent.") from err
        except BaseException:
            self._keep_place(line, command, retire=True)
            raise
        return line

    def _keep_place(self, line: Line, command: Command, *, retire: bool) -> None:
        """Free the command's place only when the server has closed its channel.

        `retire`: nobody waits for the answer any more. The path may be dead (a firewall forgot
        it) or the server stuck, so the next question gets a new connection; what still runs on
        this one (a cancel, perhaps) is left alone for a while.
        """

        async def wait() -> None:
            try:
                async with asyncio.timeout(_RETIRED_S if retire else None):
                    await command.closed()
            except TimeoutError:
                line.ssh.abort()
            finally:
                line.free()

        if retire:
            line.retired = True
        task = asyncio.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _usable_line(self) -> Line:
        line = self._line
        if line is not None and line.usable:
            return line
        async with self._login:
            line = self._line
            if line is not None and line.usable:
                return line
            if self._failure is not None and self._monotonic() < self._cool_until:
                raise Unreachable(str(self._failure), final=self._failure.final)
            patience = self._patience
            ssh = await self._log_in(
                patience.question_alive_s, patience.question_alive_count, tries=_TRIES
            )
            self._line = line = Line(ssh)
            self.generation += 1
            return line

    async def _log_in(
        self, alive_s: float, alive_count: int, *, tries: int
    ) -> asyncssh.SSHClientConnection:
        """Log in; the caller holds the lock. A failure begins a cool-down for questions."""
        began = self._monotonic()
        try:
            async with asyncio.timeout(self._patience.connect_s):
                # OpenSSH drops logins that come too fast (MaxStartups).
                async for attempt in stamina.retry_context(
                    on=(asyncssh.ConnectionLost, ConnectionResetError),
                    attempts=tries,
                    wait_initial=0.2,
                    wait_max=1.0,
                    wait_jitter=0.2,
                ):
                    with attempt:
                        ssh = await self._connect(alive_s, alive_count)
        except (asyncssh.Error, OSError) as err:
            raise self._failed(err, began) from err
        except asyncio.CancelledError:
            # The question's own time was over before the login's.
            self._failed(TimeoutError(), began)
            raise
        self._failure, self._failures = None, 0
        return ssh

    async def _connect(self, alive_s: float, alive_count: int) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            self._target.host,
            self._target.port,
            username=self._target.user,
            client_factory=lambda: Client(self._note_open, self._note_closed),
            client_keys=[self._key],
            known_hosts=self._known_hosts,
            preferred_auth="publickey",
            config=None,
            agent_path=None,
            keepalive_interval=alive_s,
            keepalive_count_max=alive_count,
        )

    def _failed(self, error: asyncssh.Error | OSError, began: float) -> Unreachable:
        target = self._target
        failure = explain(
            error,
            host=target.host,
            port=target.port,
            user=target.user,
            waited_s=max(0.1, round(self._monotonic() - began, 1)),
        )
        self._failure = failure
        pause = min(_COOL_DOWN_S * 2**self._failures, _LONGEST_COOL_DOWN_S)
        self._failures = min(self._failures + 1, 10)
        self._cool_until = self._monotonic() + pause
        return failure

    def _late(self, command: Command, timeout_s: float) -> Unreachable | OutcomeUnknown:
        if command.sent:
            return OutcomeUnknown(
                f"{self._where} did not answer `{command.argv[0]}` within {timeout_s:g} s; "
                "it may still run there."
            )
        return Unreachable(
            f"{self._where} did not answer within {timeout_s:g} s: it is down or very busy, or "
            "a firewall drops the packets. Nothing was sent."
        )

    def _note_open(self, ssh: asyncssh.SSHClientConnection) -> None:
        self._open.add(ssh)
        self._tell()

    def _note_closed(self, ssh: asyncssh.SSHClientConnection) -> None:
        self._open.discard(ssh)
        self._tell()

    def _tell(self) -> None:
        if self._on_connections is not None:
            self._on_connections(self.name, len(self._open))

    @property
    def _where(self) -> str:
        return f"{self._target.host}:{self._target.port}"
