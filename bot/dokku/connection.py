"""The SSH connections to one server: a shared one for questions, a separate one for each deploy.

Measured against OpenSSH: a login costs 40 ms, a command on an open connection 3 ms; ten channels
are allowed on a connection and a few logins at once; a command that timed out keeps its channel
until it ends; a lost connection raises nothing, only the exit status is missing.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import asyncssh
import stamina
import structlog

from bot.clock import seconds
from bot.deployments.dokku_facts import Pace
from bot.deployments.ports import MaySend
from bot.dokku.channel import (
    Answer,
    Command,
    ConnectionEvents,
    Patience,
    SharedConnection,
    name_the_user,
)
from bot.dokku.commands import Argv
from bot.dokku.limits import SshLimits
from bot.dokku.login_failures import explain
from bot.errors import OutcomeUnknown, Slow, Unreachable
from bot.ssh_target import SshTarget

log = structlog.get_logger(__name__)

ConnectionsHook = Callable[[str, int], None]
"""Called at each change with the server's name and the number of open connections to it."""


class _NotSent(Exception):
    """Nothing was sent: the connection was dead, or the server had no channel free."""


class Connection:
    """All SSH traffic to one server. Opened on first use; `warm_up` opens it early."""

    def __init__(
        self,
        name: str,
        target: SshTarget,
        *,
        limits: SshLimits | None = None,
        on_connections: ConnectionsHook | None = None,
        monotonic: Callable[[], float] = seconds,
    ) -> None:
        self.name = name
        self.limits = limits or SshLimits()
        self._target = target
        self._on_connections = on_connections
        self._monotonic = monotonic
        self._login = asyncio.Lock()
        self._heavy = asyncio.Semaphore(self.limits.heavy)
        self._patience = {heavy: Patience(self.limits.most_patience) for heavy in (False, True)}
        """Of cheap and of heavy questions."""
        self._slow = False
        self._answers = 0
        self._shared: SharedConnection | None = None
        self._open: set[asyncssh.SSHClientConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: Unreachable | None = None
        self._cool_until = 0.0
        self._failures = 0
        self._health: str | None = None
        self.generation = 0
        """Number of logins for questions: after another login it may be another Dokku."""

    @property
    def health(self) -> str | None:
        """None if the last question was answered, else the sentence why it was not."""
        return self._health

    @property
    def pace(self) -> Pace:
        """How quickly the server answers now."""
        return Pace(
            patience=self._patience[False].times,
            heavy_patience=self._patience[True].times,
            slow=self._slow,
            answers=self._answers,
        )

    async def warm_up(self) -> None:
        """Log in now, so that the first question need not. Unreachable."""
        try:
            await self._usable()
        except Unreachable as err:
            self._health = str(err)
            raise
        self._health = None

    async def run(
        self,
        argv: Argv,
        *,
        timeout_s: float,
        heavy: bool = False,
        follows: bool = False,
        may_send: MaySend | None = None,
    ) -> Answer:
        """Ask a question. Any exit status is an answer.

        A slow server gets more time than `timeout_s`. `heavy`: one at a time; waiting for the
        turn does not count. `follows`: it may print on for ever, and is read until it is silent.

        Raises: Unreachable, when nothing was sent (within the time it was tried again); Slow or
        another OutcomeUnknown, when it was sent and no exit status came back in time; OddReport,
        for an endless answer.
        """
        command = Command(argv, limits=self.limits, follows=follows, may_send=may_send)
        if not heavy:
            return await self._run(command, timeout_s, self._patience[False])
        await self._take_turn(command, timeout_s)
        try:
            answer = await self._run(command, timeout_s, self._patience[True])
        except BaseException:
            self._spawn(self._end_turn(command))
            raise
        self._heavy.release()
        return answer

    async def _run(self, command: Command, usual_s: float, patience: Patience) -> Answer:
        began, timeout_s = self._monotonic(), usual_s * patience.times
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._ask(command)
        except TimeoutError:
            raise self._note_late(command, timeout_s, patience) from None
        except asyncio.CancelledError:
            # A poll has its own time-out, and proves the server's silence just as well.
            waited_s = self._monotonic() - began
            if waited_s >= min(self.limits.silence_s, usual_s):
                self._note_late(command, round(waited_s, 1), patience)
            raise
        except (Unreachable, OutcomeUnknown) as err:
            self._health, self._slow = str(err), False
            raise
        self._health, self._slow = None, False
        self._answers += 1
        patience.answered(self._monotonic() - began, usual_s)
        return answer

    async def _take_turn(self, command: Command, usual_s: float) -> None:
        """Wait until no other heavy question runs on the server. Slow."""
        timeout_s = usual_s * self._patience[True].times
        try:
            async with asyncio.timeout(timeout_s):
                await self._heavy.acquire()
        except TimeoutError:
            self._slow = True
            self._health = (
                f"{self._target.address} is slow: `{command.argv[0]}` waited {timeout_s:g} s for "
                "an earlier question that costs it much, and was not sent."
            )
            raise Slow(self._health) from None

    async def _end_turn(self, command: Command) -> None:
        """Let the next heavy question in when the server has ended one without an answer."""
        try:
            async with asyncio.timeout(self.limits.abandoned_s):
                await command.closed()
        except TimeoutError:
            log.info("question_never_ended", server=self.name, command=command.argv[0])
        finally:
            self._heavy.release()

    async def log_in(self, alive_count: int | None = None) -> asyncssh.SSHClientConnection:
        """Open a separate connection, which the caller closes. Tries once. Raises Unreachable."""
        limits, began = self.limits, self._monotonic()
        count = alive_count or limits.deploy_alive_count  # a deploy survives long blackouts
        try:
            # One login at a time: a hanging one must not hold this one up for ever.
            async with asyncio.timeout(2 * limits.connect_s), self._login:
                return await self._log_in(limits.deploy_alive_s, count, tries=1)
        except TimeoutError as err:
            raise self._failed(err, began) from None

    async def aclose(self) -> None:
        """Close all connections, those of deploys too, without waiting for running commands."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        still_open = list(self._open)
        for ssh in still_open:
            ssh.abort()
        # An aborted connection is closed on the next turns of the loop.
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.gather(*(ssh.wait_closed() for ssh in still_open))

    async def _ask(self, command: Command) -> Answer:
        try:
            shared = await self._start(command)
        except _NotSent as err:
            shared = await self._start_again(command, err)
        try:
            answer = await command.answer()
            gone = await command.is_gone()
        except BaseException:
            command.close()
            self._keep_channel(shared, command, retire=False)
            raise
        if gone:
            shared.free_channel()
        else:
            self._keep_channel(shared, command, retire=True)
        return answer

    async def _start_again(self, command: Command, first: _NotSent) -> SharedConnection:
        """After a first try that sent nothing: a retry context costs as much as a question."""
        try:
            async for attempt in stamina.retry_context(
                on=_NotSent, attempts=self.limits.channel_tries, wait_max=1, wait_jitter=0.1
            ):
                with attempt:
                    if attempt.num == 1:
                        raise first
                    shared = await self._start(command)
        except _NotSent as err:
            raise Unreachable(str(err)) from err
        return shared

    async def _start(self, command: Command) -> SharedConnection:
        """Send the command on the shared connection."""
        shared = await self._usable()
        await shared.free_channels.acquire()
        shared.in_use += 1
        if not shared.usable:
            shared.free_channel()
            raise _NotSent(f"{self._target.address} hung up before anything was sent.")
        try:
            await command.open(shared.ssh, merged=False)
        except (asyncssh.Error, OSError) as err:
            if command.sent:
                self._keep_channel(shared, command, retire=False)
                raise command.lost() from err
            # A dead connection and a lack of channels raise the same error.
            lacks = shared.usable and not command.refused
            if lacks and shared.use_fewer_channels():
                return await self._start(command)  # waits until the bot frees a channel
            shared.free_channel()
            where = self._target.address
            if command.refused:
                raise Unreachable(f"{where} would not run `{command.argv[0]}`.") from err
            why = "had no channel free" if lacks else "hung up"
            raise _NotSent(f"{where} {why} before anything was sent.") from err
        except BaseException:
            # A server that opened the channel since it was asked is slow, not gone. A path that
            # dies later keeps the next channel from being opened.
            command.close()
            self._keep_channel(shared, command, retire=not command.sent)
            raise
        return shared

    def _keep_channel(self, shared: SharedConnection, command: Command, *, retire: bool) -> None:
        """Free the command's channel only when the server has closed it.

        `retire`: no caller waits for the answer any more. The path may be dead (a firewall forgot
        it) or the server stuck, so the next question gets a new connection; what still runs on
        this one (a cancel, perhaps) may go on for a while.
        """

        async def wait() -> None:
            try:
                async with asyncio.timeout(self.limits.abandoned_s if retire else None):
                    await command.closed()
            except TimeoutError:
                shared.ssh.abort()
            finally:
                shared.free_channel()

        if retire:
            shared.retired = True
        self._spawn(wait())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _usable(self) -> SharedConnection:
        """Return the shared connection, after a new login where it is needed. Unreachable."""
        if (shared := self._shared) is not None and shared.usable:
            return shared
        async with self._login:
            if (shared := self._shared) is not None and shared.usable:
                return shared
            if self._failure is not None and self._monotonic() < self._cool_until:
                raise Unreachable(str(self._failure), final=self._failure.final)
            limits = self.limits
            ssh = await self._log_in(
                limits.question_alive_s, limits.question_alive_count, tries=limits.login_tries
            )
            self._shared = shared = SharedConnection(ssh, limits=limits)
            self.generation += 1
            return shared

    async def _log_in(
        self, alive_s: float, alive_count: int, *, tries: int
    ) -> asyncssh.SSHClientConnection:
        """Log in; the caller holds the lock. A failure starts a cool-down for questions."""
        began = self._monotonic()
        try:
            async with asyncio.timeout(self.limits.connect_s):
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
        except Exception as err:
            # The library raises ValueError, RuntimeError and others about the machine it runs on.
            log.exception("ssh_login_broke", server=self.name)
            raise self._failed(err, began) from err
        except asyncio.CancelledError:
            # The question's time was over before the login's.
            self._failed(TimeoutError(), began)
            raise
        self._failure, self._failures = None, 0
        return ssh

    async def _connect(self, alive_s: float, alive_count: int) -> asyncssh.SSHClientConnection:
        name_the_user(self._target.user)
        return await asyncssh.connect(
            self._target.host,
            self._target.port,
            username=self._target.user,
            client_factory=lambda: ConnectionEvents(self._note_open, self._note_closed),
            client_keys=[self._target.key],
            known_hosts=self._target.known_hosts,
            preferred_auth="publickey",
            config=None,
            agent_path=None,
            x509_trusted_certs=None,
            x509_trusted_cert_paths=[],
            keepalive_interval=alive_s,
            keepalive_count_max=alive_count,
        )

    def _failed(self, error: Exception, began: float) -> Unreachable:
        """Remember why the login failed, and start the cool-down."""
        target, limits = self._target, self.limits
        failure = explain(
            error,
            host=target.host,
            port=target.port,
            user=target.user,
            waited_s=max(0.1, round(self._monotonic() - began, 1)),
        )
        self._failure = failure
        pause = min(limits.cool_down_s * 2**self._failures, limits.longest_cool_down_s)
        self._failures = min(self._failures + 1, 10)
        self._cool_until = self._monotonic() + pause
        return failure

    def _note_late(
        self, command: Command, timeout_s: float, patience: Patience
    ) -> Unreachable | Slow:
        """Make the error for a question that was not answered in time, and remember why."""
        where = self._target.address
        self._slow = command.sent
        if command.sent:
            patience.late()
            self._health = (
                f"{where} is slow: it did not answer `{command.argv[0]}` within {timeout_s:g} s; "
                "it may still run there."
            )
            return Slow(self._health)
        self._health = (
            f"{where} did not answer within {timeout_s:g} s: it is down or very busy, or "
            "a firewall drops the packets. Nothing was sent."
        )
        return Unreachable(self._health)

    def _note_open(self, ssh: asyncssh.SSHClientConnection) -> None:
        self._open.add(ssh)
        self._report_count()

    def _note_closed(self, ssh: asyncssh.SSHClientConnection) -> None:
        self._open.discard(ssh)
        self._report_count()

    def _report_count(self) -> None:
        if self._on_connections:
            self._on_connections(self.name, len(self._open))
