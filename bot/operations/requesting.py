"""`deploybot deploy`, `retry` and `rollback`: ask the running bot, and wait for the result."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ulid import ULID

from bot.config.loading import Settings, load_settings
from bot.config.values import Wrong, read_channel
from bot.deployments.model import Deployment, Phase
from bot.deployments.requests.from_shell import ShellAnswer, ShellRequest, ShellRequestKind
from bot.deployments.states import ENDINGS, RUNNING
from bot.errors import ConfigError, Declined, StoreError
from bot.names import check_app, check_ref
from bot.operations import records
from bot.operations.database import open_records
from bot.store.inbox import SqlInbox
from bot.store.sql_store import SqlStore

Print = Callable[[str], None]

_LINK = re.compile(r"<(https?://[^|>\s]+)\|([^>]*)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a shell looks, and how long it waits."""

    look: timedelta = timedelta(milliseconds=500)
    taken: timedelta = timedelta(seconds=30)
    """For a bot to take the request; it looks every 5 s."""
    answered: timedelta = timedelta(seconds=90)
    """For its answer, once it has taken the request: Slack may be slow."""
    silent: timedelta = timedelta(minutes=2)
    """For a database that stopped answering meanwhile."""
    unowned: timedelta = timedelta(seconds=30)
    """How long a running deployment may have no owner before the shell says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """What the command line says."""

    kind: ShellRequestKind
    which: str
    """An app; of a retry: an id or an app."""
    ref: str | None = None
    server: str | None = None
    channel: str | None = None
    wait: bool = False


async def request(line: CommandLine, say: Print, patience: Patience | None = None) -> int:
    """Leave the request, and wait for the bot's answer; with `wait`, for the result.

    Returns the exit status. Declined: nothing was started; ConfigError.
    """
    settings = load_settings(complete=False)
    shell = _Shell(say=say, patience=patience or Patience())
    async with open_records(settings) as store:
        ask = await _ask(line, store, settings)
        with _interrupts(shell.stop):
            started = await shell.leave(ask, SqlInbox(store.database), store)
            if started is None:
                return 1
            say(records.one_line(started, records.now_utc()))
            if started.message is not None and started.message.permalink:
                say(f"Its message: {started.message.permalink}")
            if not line.wait:
                return 0
            return await shell.follow(started, store)


async def _ask(line: CommandLine, store: SqlStore, settings: Settings) -> ShellRequest:
    """ConfigError: no channel is known. Declined: a name that cannot be meant."""
    app, server, deployment_id, last = line.which, line.server, "", None
    if line.kind is ShellRequestKind.RETRY:
        last = await records.find(store, line.which)
        app, server, deployment_id = last.app, last.server, last.id
    check_app(app)
    if line.ref is not None:
        check_ref(line.ref)
    if line.kind is ShellRequestKind.ROLLBACK:
        newest = await store.recent(app=app, server=server, limit=1)
        last = newest[0] if newest else None
    return ShellRequest(
        id=str(ULID.from_datetime(datetime.now(UTC))),
        kind=line.kind,
        actor=records.operator(),
        channel=_channel(line, app, server, last, settings),
        app=app,
        server=server,
        ref=line.ref,
        deployment_id=deployment_id,
    )


def _channel(
    line: CommandLine, app: str, server: str | None, last: Deployment | None, settings: Settings
) -> str:
    """Where the message goes, unless the bot's settings name a channel of the app."""
    if line.channel is not None:
        try:
            return read_channel(line.channel)
        except Wrong as wrong:
            raise ConfigError("--channel", "command line", wrong.problem, wrong.fix) from wrong
    # A shell may have only the database: then the bot alone knows the app's rules.
    known = settings.catalog().policy(app, server).channel if settings.values.servers else None
    found = known or (last.channel if last is not None else None)
    if not found:
        raise settings.origin("apps", app, "channel").wrong(
            "missing, and --channel is not given: the message has no channel",
            "Set it to the channel's id (C…), or give --channel.",
        )
    return found


@dataclass(slots=True, kw_only=True)
class _Shell:
    """One waiting shell."""

    say: Print
    patience: Patience
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by Ctrl-C, and by the signals that end a CI job."""

    async def leave(self, ask: ShellRequest, inbox: SqlInbox, store: SqlStore) -> Deployment | None:
        """The deployment that came of it; None: interrupted. Declined: nothing was started."""
        await inbox.put(ask, within=self.patience.taken)
        self.say(f"Waiting for the bot to take the request: {ask.kind} {ask.app}.")
        async for _ in self._looks(self.patience.taken):
            answer = await inbox.answered(ask.id)
            if answer is not None:
                return await self._read(ask, answer, inbox, store)
        if await inbox.withdraw(ask.id):
            if self.stop.is_set():
                self.say("Interrupted: the request was withdrawn, and nothing was started.")
                return None
            raise Declined(
                f"No running bot took the request within {self.patience.taken.total_seconds():g} "
                "s, so it was withdrawn and nothing was started. Check that `deploybot run` of "
                "this release runs with the same DATABASE_URL."
            )
        # A bot has it: what comes of it is known when it answers.
        async for _ in self._looks(self.patience.answered, stops=False):
            answer = await inbox.answered(ask.id)
            if answer is not None:
                return await self._read(ask, answer, inbox, store)
        raise Declined(
            "A bot took the request and has not answered yet: it may still start. "
            f"`deploybot status {ask.app}` shows what came of it."
        )

    async def _read(
        self, ask: ShellRequest, answer: ShellAnswer, inbox: SqlInbox, store: SqlStore
    ) -> Deployment:
        await inbox.forget(ask.id)
        if answer.deployment_id is None:
            raise Declined(_plain(answer.refusal or ""))
        started = await store.get(answer.deployment_id)
        if started is None:
            raise Declined(await _why_withdrawn(store, answer.deployment_id))
        return started

    async def follow(self, started: Deployment, store: SqlStore) -> int:
        """Say each new phase until the end. 0 only if it succeeded."""
        said: Phase | None = started.phase
        row, warned = started, False
        async for _ in self._looks(None):
            found = await self._newest(row.id, store)
            if self.stop.is_set():
                break
            if found is None:
                raise Declined(await _why_withdrawn(store, row.id))
            row = found
            if row.phase in ENDINGS:
                return self._end(row)
            if row.phase is not said:
                said = row.phase
                self.say(records.one_line(row, records.now_utc()))
            if not warned and await self._is_unowned(row, store):
                warned = True
                self.say(
                    "No running bot drives it now; one that starts takes it over. Still waiting."
                )
        self.say(
            f"Interrupted: the deployment goes on without this shell. See it with `deploybot "
            f"status {row.id}`; end it with `deploybot cancel {row.id}`."
        )
        return 1

    def _end(self, row: Deployment) -> int:
        self.say(records.one_line(row, records.now_utc()))
        if row.reason:
            self.say(f"  {row.reason}")
        if row.phase is Phase.SUCCEEDED:
            if row.url:
                self.say(f"  {row.url}")
            return 0
        if row.started_at is not None:
            self.say(f"  The log: deploybot logs {row.id}")
        return 1

    async def _newest(self, deployment_id: str, store: SqlStore) -> Deployment | None:
        """Through a pause of the database. StoreError: it was too long."""
        began = asyncio.get_running_loop().time()
        while True:
            try:
                return await store.get(deployment_id)
            except StoreError as error:
                silent = asyncio.get_running_loop().time() - began
                if silent > self.patience.silent.total_seconds() or self.stop.is_set():
                    raise StoreError(
                        f"{error}. The deployment {deployment_id} goes on, and its result is "
                        "not known here: see its message in Slack."
                    ) from error
            await self._pause()

    async def _is_unowned(self, row: Deployment, store: SqlStore) -> bool:
        if row.phase not in RUNNING:
            return False
        free = await store.leases.free()
        return free.get(row.id, timedelta(0)) > self.patience.unowned

    async def _looks(self, within: timedelta | None, *, stops: bool = True) -> AsyncIterator[None]:
        """Look at once and then at intervals, until time is over or the shell is interrupted."""
        loop = asyncio.get_running_loop()
        until = None if within is None else loop.time() + within.total_seconds()
        while True:
            yield
            if until is not None and loop.time() >= until:
                return
            if stops and self.stop.is_set():
                return
            await self._pause(stops=stops)

    async def _pause(self, *, stops: bool = True) -> None:
        if not stops:
            await asyncio.sleep(self.patience.look.total_seconds())
            return
        try:
            async with asyncio.timeout(self.patience.look.total_seconds()):
                await self.stop.wait()
        except TimeoutError:
            return


async def _why_withdrawn(store: SqlStore, deployment_id: str) -> str:
    trail = await store.audit_of(deployment_id)
    why = next(
        (one.detail.get("why") for _, one in reversed(trail) if one.action == "withdrawn"), ""
    )
    return _plain(f"Nothing was started: {why}" if why else "Nothing was started.")


def _plain(sentence: str) -> str:
    """Slack's links as a shell shows them."""
    return _LINK.sub(r"\2 (\1)", sentence)


@contextmanager
def _interrupts(stop: asyncio.Event) -> Iterator[None]:
    """However often someone presses Ctrl-C, the shell says once what goes on."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
            if stop.is_set():
                # The command is about to end, with its own status and not with that of a Ctrl-C.
                signal.signal(number, signal.SIG_IGN)
