"""One Dokku server as the domain sees it: questions, the deploy command, the cancel command."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import asyncssh

from bot.clock import seconds
from bot.deployments.dokku_facts import (
    NO_SUCH_APP,
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
    LogEnd,
    Pace,
)
from bot.deployments.model import LogFacts
from bot.deployments.ports import DeployStream, Dokku, MaySend
from bot.dokku import commands, reports
from bot.dokku.app_secrets import AppSecrets
from bot.dokku.channel import CHUNK, Answer, Command, open_alone
from bot.dokku.commands import Argv, Capabilities, capabilities
from bot.dokku.connection import Connection
from bot.dokku.followed import FollowedBuild
from bot.dokku.limits import SshLimits
from bot.dokku.log_markers import Line, LogReader
from bot.dokku.reports import Mask
from bot.dokku.stream import OutputReader, Stream
from bot.errors import CommandFailed, Declined, DokkuError, OtherScheduler
from bot.names import Repositories, is_app_name
from bot.redaction import Redactor

_QUOTED_CHARS = 2_000
_LINES_AT_ONCE = 2_000
"""Of a stored log, read between two turns of the event loop."""
_LINES_HASHED = 20_000
_CONTAINER_READS = 2
"""A release may be switched between two questions; then the containers are read once more."""


class _ChangedMeanwhile(Exception):
    """What Dokku lists changed between a question and the one that explains its answer."""


class Driver(Dokku):
    """Implements the port. Every text that it returns or puts into an error is redacted."""

    def __init__(
        self,
        connection: Connection,
        *,
        redactor: Redactor,
        repositories: Repositories | None = None,
        runner: str = "",
        limits: SshLimits | None = None,
        monotonic: Callable[[], float] = seconds,
    ) -> None:
        """`runner`: as in the port. `limits`: other ones than the connection's."""
        self._connection = connection
        self._runner = runner
        self._limits = limits or connection.limits
        self._secrets = AppSecrets(
            connection.name,
            redactor=redactor,
            ask=connection.run,
            timeout_s=self._limits.secrets_s,
            patience_s=self._limits.late_secrets_s,
        )
        self._repositories = repositories or Repositories()
        self._monotonic = monotonic
        self._detecting = asyncio.Lock()
        self._detected: tuple[int, Capabilities] | None = None
        self._kept_facts: dict[str, tuple[int, LogFacts]] = {}
        """The facts of each app's stored lines that were read last, by their hash."""

    async def aclose(self) -> None:
        """Ask nothing more in the background. The connection stays open."""
        await self._secrets.aclose()

    @property
    def health(self) -> str | None:
        """None if the last question was answered, else the sentence why it was not."""
        return self._connection.health

    @property
    def pace(self) -> Pace:
        """How quickly the server answers now."""
        return self._connection.pace

    @property
    def runner(self) -> str:
        return self._runner

    async def capabilities(self) -> Capabilities:
        """What this Dokku can do; asked again after each login, for it may have been upgraded."""
        async with self._detecting:
            detected = self._detected
            if detected is None or detected[0] != self._connection.generation:
                answer = await self._ask(commands.version())
                detected = (self._connection.generation, capabilities(answer.out))
                self._detected = detected
            return detected[1]

    async def keeps_records(self) -> bool:
        return (await self.capabilities()).records

    async def apps(self) -> Sequence[str]:
        return reports.read_apps((await self._ask(commands.apps_list())).out)

    async def builds(self, app: str) -> Sequence[BuildRecord]:
        if not await self.keeps_records():
            return []
        answer = await self._ask(commands.builds_list(app))
        return reports.read_builds(answer.out, self._mask(app))

    async def report(self, app: str) -> AppReport:
        as_json = (await self.capabilities()).json_reports
        answer = await self._ask(commands.apps_report(app, as_json=as_json))

        def bare(address: str) -> str:
            return self._repositories.learn(address, server=self._connection.name, app=app)

        return reports.read_app_report(answer.out, self._mask(app), bare)

    async def containers(self, app: str) -> Containers | None:
        for _ in range(_CONTAINER_READS):
            with suppress(_ChangedMeanwhile):
                return await self._containers(app)
        return None

    async def _containers(self, app: str) -> Containers | None:
        """Read them once. _ChangedMeanwhile: two answers describe two different states."""
        argv = commands.ps_inspect(app)
        answer = await self._run(argv, heavy=True)
        if answer.exit_status == 0 and not answer.out.strip():
            raise await self._without_containers(app)
        if answer.exit_status == 0:
            return await self._with_stop(app, reports.read_containers(answer.out, self._mask(app)))
        if answer.exit_status == NO_SUCH_APP:
            # Its text says nothing of containers, so it may be shown.
            raise self._failed(argv, answer)
        if gone := reports.read_gone(answer.err):
            there = reports.read_containers(answer.out, self._mask(app))
            return await self._with_gone(app, there, gone)
        return await self._why_none(app)

    async def app_log(self, app: str, process: str) -> Sequence[str]:
        await self._secrets.learn(app)
        argv = commands.logs(app, process.rpartition(".")[0])
        answer = self._checked(argv, await self._run(argv))
        output = OutputReader(self._secrets.redactor(app))
        lines = [*output.feed(answer.stdout), *output.finish()]
        return reports.read_app_log([line.shown for line in lines], process)

    async def fetched_sha(self, app: str) -> str | None:
        return reports.read_sha((await self._ask(commands.git_sha(app))).out)

    async def deploy_branch(self, app: str) -> str | None:
        if await self.keeps_records():
            # `master` is also what it computes where no branch is set.
            if (computed := await self._branch(app, "computed-")) != "master":
                return computed
            return await self._branch(app) or await self._branch(app, "global-")
        # Before, each names `master` where it is not set.
        own = await self._branch(app)
        if own not in {None, "master"}:
            return own
        return await self._branch(app, "global-") or own

    async def _branch(self, app: str, which: str = "") -> str | None:
        return reports.read_branch((await self._ask(commands.git_deploy_branch(app, which))).out)

    async def build_output(self, app: str, build_id: str) -> tuple[Sequence[str], LogFacts]:
        argv = commands.builds_output(app, build_id)
        # First: after a restart, nothing of the app is known yet.
        await self._secrets.learn(app)
        answer = await self._connection.run(argv, timeout_s=self._limits.output_s)
        text = self._checked(argv, answer).stdout
        output, log = OutputReader(self._secrets.redactor(app)), LogReader(app)
        shown: list[str] = []
        for at in range(0, len(text), CHUNK):
            lines = output.feed(text[at : at + CHUNK])
            log.feed(lines)
            shown += [line.shown for line in lines]
            await asyncio.sleep(0)  # megabytes of text must not block the event loop
        lines = output.finish()
        log.feed(lines)
        shown += [line.shown for line in lines]
        return shown, log.facts

    async def log_end(self, app: str, build_id: str) -> LogEnd:
        argv = commands.builds_output(app, build_id)
        answer = self._checked(argv, await self._run(argv, follows=True))
        # The last line may have come in part.
        return LogEnd(lines=tuple(map(hash, answer.stdout.split(b"\n")[:-1])))

    async def facts_of(self, app: str, lines: Sequence[str]) -> LogFacts:
        # Each poll after a restart asks for the same lines. A hash keeps none of them in memory.
        key = 0
        for at in range(0, len(lines), _LINES_HASHED):
            key = hash((key, *lines[at : at + _LINES_HASHED]))
            await asyncio.sleep(0)
        if (known := self._kept_facts.get(app)) is not None and known[0] == key:
            return known[1]
        log = LogReader(app)
        for at in range(0, len(lines), _LINES_AT_ONCE):
            log.feed(Line(text=line, shown=line) for line in lines[at : at + _LINES_AT_ONCE])
            await asyncio.sleep(0)
        self._kept_facts[app] = key, log.facts
        return log.facts

    async def cancel_build(self, app: str, *, may_send: MaySend | None = None) -> bool:
        if not await self.keeps_records():
            return False
        answer = await self._ask(commands.builds_cancel(app), may_send=may_send)
        return reports.killed_a_deploy(answer.out)

    async def deploy(
        self, app: str, repo: str, pinned: str, *, may_send: MaySend | None = None
    ) -> DeployStream:
        commands.git_sync(app, repo, pinned)  # what Dokku cannot be given asks it nothing
        full = await self._full(app, repo)
        argv = commands.git_sync(app, full, pinned)
        command = Command(argv, limits=self._limits, may_send=may_send)
        ssh = await self._log_in(app)
        await self._send(ssh, command, "deploy. Nothing was started")
        return Stream(
            ssh,
            command,
            output=self._output(app),
            log=LogReader(app),
            limits=self._limits,
            monotonic=self._monotonic,
        )

    async def run_detached(
        self, app: str, repo: str, pinned: str, *, runner: str, may_send: MaySend | None = None
    ) -> str:
        sync = commands.git_sync(app, await self._full(app, repo), pinned)
        argv = commands.run_detached(runner, sync)
        run_s = self._limits.run_s
        answer = await self._connection.run(argv, timeout_s=run_s, may_send=may_send)
        if answer.exit_status == NO_SUCH_APP:
            raise Declined(
                f"The server has no app {runner}, which its setting `runner` names, so nothing was "
                "started. Create the app, or correct the setting."
            )
        return reports.read_run(self._checked(argv, answer).out, runner)

    async def one_offs(self, runner: str) -> Mapping[str, str]:
        argv = commands.run_list(runner)
        answer = await self._run(argv)
        if answer.exit_status == NO_SUCH_APP:
            return {}
        return reports.read_runs(self._checked(argv, answer).out, self._mask(runner))

    async def build_head(self, app: str, build_id: str) -> str | None:
        stream = await self.follow(app, build_id, ())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.head_s):
                    async for _ in stream.lines():
                        return reports.read_build_head(stream.head or "")
            return None
        finally:
            await stream.close()

    async def follow(self, app: str, build_id: str, seen: Sequence[str]) -> FollowedBuild:
        async def is_over() -> bool:
            own = [one for one in await self.builds(app) if one.id == build_id]
            return all(one.status is not BuildStatus.RUNNING for one in own)

        command = Command(commands.builds_output(app, build_id), limits=self._limits)
        ssh = await self._log_in(app, self._limits.follow_alive_count)
        await self._send(ssh, command, "output of a build")
        return FollowedBuild(
            ssh,
            command,
            output=self._output(app),
            log=LogReader(app),
            limits=self._limits,
            monotonic=self._monotonic,
            seen=seen,
            is_over=is_over,
        )

    async def _send(self, ssh: asyncssh.SSHClientConnection, command: Command, what: str) -> None:
        limits = self._limits
        await open_alone(ssh, command, what, server=self._connection.name, within_s=limits.start_s)

    def _output(self, app: str) -> OutputReader:
        redactor = partial(self._secrets.redactor, app)
        return OutputReader(redactor(), newest=redactor)

    async def _full(self, app: str, repo: str) -> str:
        """The address with the userinfo that the settings have, or that Dokku recorded."""
        server = self._connection.name
        if self._repositories.full(repo) == repo and not self._repositories.knows(server, app):
            # Another process of the bot read the report. Without it, Dokku may know a way itself.
            with suppress(DokkuError):
                await self.report(app)
        return self._repositories.full(repo, server=server, app=app)

    async def _log_in(
        self, app: str, alive_count: int | None = None
    ) -> asyncssh.SSHClientConnection:
        """Log in for a deploy, and learn meanwhile what its log must not show."""
        learning = asyncio.create_task(self._secrets.learn(app))
        try:
            ssh = await self._connection.log_in(alive_count)
            try:
                await learning
            except BaseException:
                ssh.abort()
                raise
        finally:
            learning.cancel()
            await asyncio.wait({learning})
        return ssh

    async def _without_containers(self, app: str) -> DokkuError:
        """Why `ps:inspect` shows nothing, not even an empty list: another scheduler than Docker."""
        answer = await self._run(commands.scheduler(app))
        name = answer.out.strip() if answer.exit_status == 0 else ""
        if name == "docker-local":
            return reports.odd("ps:inspect", "", self._mask(app))
        known = is_app_name(name)
        return OtherScheduler(app, f"the scheduler {name}" if known else "another scheduler")

    async def _with_stop(self, app: str, found: Containers) -> Containers:
        """Whether someone stopped the app: containers that have exited look like ended ones."""
        exited = any(one.state == "exited" for one in found.listed)
        if not exited or any(one.is_up for one in found.listed):
            return found
        restore = (await self._processes(app)).restore
        return Containers(listed=found.listed, stopped=restore is False)

    async def _with_gone(self, app: str, there: Containers, gone: frozenset[str]) -> Containers:
        """Add the listed containers that Docker does not have: they are down."""
        short_ids = (await self._processes(app)).short_ids
        missing = [
            Container(id=full, process=process, image="", state="missing")
            for process, short in short_ids.items()
            for full in gone
            if short and full.startswith(short)
        ]
        if {one.id for one in missing} != gone:
            raise _ChangedMeanwhile
        every = sorted((*there.listed, *missing), key=lambda one: (one.process, one.id))
        return Containers(listed=tuple(every))

    async def _processes(self, app: str) -> reports.ProcessReport:
        as_json = (await self.capabilities()).json_reports
        argv = commands.ps_report(app, as_json=as_json)
        answer = self._checked(argv, await self._run(argv, heavy=True))
        return reports.read_process_report(answer.out, self._mask(app))

    async def _why_none(self, app: str) -> Containers | None:
        """Explain a failed `ps:inspect`: nothing to inspect, or unknown (None)."""
        report = await self._processes(app)
        if "running" in report.states.values():
            raise _ChangedMeanwhile
        nothing = report.deployed is False or report.processes == 0
        return Containers() if nothing and not report.states else None

    async def _ask(self, argv: Argv, *, may_send: MaySend | None = None) -> Answer:
        """Ask a question whose non-zero exit status is an error. CommandFailed."""
        return self._checked(argv, await self._run(argv, may_send=may_send))

    async def _run(
        self,
        argv: Argv,
        *,
        heavy: bool = False,
        follows: bool = False,
        may_send: MaySend | None = None,
    ) -> Answer:
        usual_s = self._limits.question_s * (self._limits.heavy_times if heavy else 1)
        run = self._connection.run
        return await run(argv, timeout_s=usual_s, heavy=heavy, follows=follows, may_send=may_send)

    def _mask(self, app: str) -> Mask:
        return self._secrets.redactor(app).text

    def _checked(self, argv: Argv, answer: Answer) -> Answer:
        if answer.exit_status != 0:
            raise self._failed(argv, answer)
        return answer

    def _failed(self, argv: Argv, answer: Answer) -> CommandFailed:
        mask = self._secrets.redactor_of(argv).text
        out, err = (mask(text)[:_QUOTED_CHARS] for text in (answer.out, answer.err))
        return CommandFailed(mask(" ".join(argv)), answer.exit_status, out, err)
