"""All Dokku servers by name: those of the settings, opened once, and those no longer there."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

import structlog

from bot.deployments.dokku_facts import AppReport, BuildRecord, Containers, LogEnd
from bot.deployments.model import LogFacts
from bot.deployments.ports import DeployStream, Dokku, MaySend, Servers
from bot.dokku.connection import Connection, ConnectionsHook
from bot.dokku.driver import Driver
from bot.dokku.limits import SshLimits
from bot.errors import Refused, Unreachable
from bot.names import Repositories
from bot.redaction import Redactor
from bot.ssh_target import SshTarget

log = structlog.get_logger(__name__)

ServerHealth = Mapping[str, str | None]
"""Server name -> None when its last question was answered, else the sentence why not."""


class DokkuServers(Servers):
    """Implements the port."""

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        first_logins: Mapping[str, asyncio.Task[Refused | None]],
    ) -> None:
        self._drivers = dict(drivers)
        self._first_logins = dict(first_logins)

    def names(self) -> Sequence[str]:
        return list(self._drivers)

    def get(self, name: str) -> Dokku:
        return self._drivers.get(name) or UnknownServer(name)

    def health(self) -> ServerHealth:
        """Of each server: None if its last question was answered, else the sentence why not."""
        return {name: driver.health for name, driver in self._drivers.items()}

    async def refused(self, within_s: float | None = None) -> tuple[str, Refused] | None:
        """Return a server that refused the bot's first login, with its name.

        None: no server did, among those that answered within this time (None: wait for all).
        """
        logins = self._first_logins.values()
        if logins:
            await asyncio.wait(logins, timeout=within_s)
        for name, login in self._first_logins.items():
            if login.done() and (refusal := login.result()) is not None:
                return name, refusal
        return None


@asynccontextmanager
async def open_servers(
    targets: Mapping[str, SshTarget],
    redactor: Redactor,
    *,
    repositories: Repositories | None = None,
    limits: SshLimits | None = None,
    on_connections: ConnectionsHook | None = None,
) -> AsyncIterator[DokkuServers]:
    """Log in everywhere, in the background: a server that is down delays nothing."""
    # Its INFO lines quote every command.
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    connections = [
        Connection(name, target, limits=limits, on_connections=on_connections)
        for name, target in targets.items()
    ]
    first_logins = {each.name: asyncio.create_task(_warm_up(each)) for each in connections}
    retries = [asyncio.create_task(_log_in_again(c, first_logins[c.name])) for c in connections]
    tasks = [*first_logins.values(), *retries]
    drivers = {
        each.name: Driver(
            each,
            redactor=redactor,
            repositories=repositories,
            runner=targets[each.name].runner,
        )
        for each in connections
    }
    try:
        yield DokkuServers(drivers, first_logins)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(driver.aclose() for driver in drivers.values()))
        await asyncio.gather(*(connection.aclose() for connection in connections))


async def _warm_up(connection: Connection) -> Refused | None:
    try:
        await connection.warm_up()
    except Refused as refusal:
        return refusal
    except Unreachable as err:
        log.warning("server_unreachable", server=connection.name, why=str(err))
    return None


async def _log_in_again(connection: Connection, first: asyncio.Task[Refused | None]) -> None:
    """Keep `/readyz` up to date for a server that is down while no question is asked of it."""
    if await first is not None:
        return
    while True:
        await asyncio.sleep(connection.limits.login_again_s)
        if connection.health is not None:
            # `/readyz` reads the sentence from the connection.
            with suppress(Unreachable):
                await connection.warm_up()


class UnknownServer(Dokku):
    """A server that is not in the settings any more, while deployments still name it.

    Every question raises Unreachable, and trying again does not help.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    async def keeps_records(self) -> bool:
        self._refuse()

    async def apps(self) -> Sequence[str]:
        self._refuse()

    async def builds(self, app: str) -> Sequence[BuildRecord]:
        self._refuse(app)

    async def report(self, app: str) -> AppReport:
        self._refuse(app)

    async def containers(self, app: str) -> Containers | None:
        self._refuse(app)

    async def app_log(self, app: str, process: str) -> Sequence[str]:
        self._refuse(app, process)

    async def fetched_sha(self, app: str) -> str | None:
        self._refuse(app)

    async def deploy_branch(self, app: str) -> str | None:
        self._refuse(app)

    async def build_output(self, app: str, build_id: str) -> tuple[Sequence[str], LogFacts]:
        self._refuse(app, build_id)

    async def log_end(self, app: str, build_id: str) -> LogEnd:
        self._refuse(app, build_id)

    async def facts_of(self, app: str, lines: Sequence[str]) -> LogFacts:  # noqa: ARG002 - as the port
        return LogFacts()

    async def cancel_build(self, app: str, *, may_send: MaySend | None = None) -> bool:
        self._refuse(app, may_send)

    async def deploy(
        self, app: str, repo: str, pinned: str, *, may_send: MaySend | None = None
    ) -> DeployStream:
        self._refuse(app, repo, pinned, may_send)

    async def run_detached(
        self, app: str, repo: str, pinned: str, *, runner: str, may_send: MaySend | None = None
    ) -> str:
        self._refuse(app, repo, pinned, runner, may_send)

    async def one_offs(self, runner: str) -> Mapping[str, str]:
        self._refuse(runner)

    async def build_head(self, app: str, build_id: str) -> str | None:
        self._refuse(app, build_id)

    async def follow(self, app: str, build_id: str, seen: Sequence[str]) -> DeployStream:
        self._refuse(app, build_id, seen)

    def _refuse(self, *_asked: object) -> NoReturn:
        raise Unreachable(
            f"The server {self._name} is not in the bot's settings any more. Nothing was sent.",
            final=True,
        )
