"""Servers that are gone from the settings, while deployments still name them."""

from collections.abc import Sequence
from typing import NoReturn

from bot.deployments.dokku_facts import AppReport, BuildRecord, Containers
from bot.deployments.model import LogFacts
from bot.deployments.ports import DeployStream, Dokku, Servers
from bot.errors import Unreachable


class AbsentServer(Dokku):
    """Nothing can be asked, and trying again does not help."""

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

    async def fetched_sha(self, app: str) -> str | None:
        self._refuse(app)

    async def deploy_branch(self, app: str) -> str | None:
        self._refuse(app)

    async def build_output(self, app: str, build_id: str) -> tuple[Sequence[str], LogFacts]:
        self._refuse(app, build_id)

    def facts_of(self, app: str, lines: Sequence[str]) -> LogFacts:  # noqa: ARG002 - as the port
        return LogFacts()

    async def cancel_build(self, app: str) -> bool:
        self._refuse(app)

    async def deploy(self, app: str, repo: str, pinned: str) -> DeployStream:
        self._refuse(app, repo, pinned)

    def _refuse(self, *_asked: object) -> NoReturn:
        raise Unreachable(
            f"The server {self._name} is not in the bot's settings any more. Nothing was sent.",
            final=True,
        )


class NamedServers(Servers):
    """The configured servers; a name that is none of theirs is an absent one, never an error."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def names(self) -> Sequence[str]:
        return self._servers.names()

    def get(self, name: str) -> Dokku:
        try:
            return self._servers.get(name)
        except KeyError:
            return AbsentServer(name)
