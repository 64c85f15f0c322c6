"""Reads what `standing` rests on: the bot's history and the server, as of one moment."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bot.deployments.dokku_facts import NO_SUCH_APP, AppReport, BuildRecord, Containers
from bot.deployments.live.compare import Facts, Standing, stand
from bot.deployments.model import AppKey, Deployment
from bot.deployments.ports import Catalog, Dokku, Servers, Timing
from bot.deployments.requests.resolve import AppNames
from bot.deployments.requests.validate import closest
from bot.deployments.store_port import Store
from bot.errors import CommandFailed, Declined, DokkuError

READS = 2
"""While deployments end between the questions, everything is read anew, so often at most."""
LOOK_BACK = 100
"""Deployments of an app that are searched for the servers it is on."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is live, and why the rest of it is not known."""

    server: str
    app: str
    standing: Standing
    keeps_records: bool | None = None
    """None: it could not be asked."""
    why: str | None = None
    """Why the containers could not be read: one sentence."""
    missing: bool = False
    """The server has no such app."""


@dataclass(frozen=True, slots=True)
class _Answers:
    containers: Containers | None = None
    records: Sequence[BuildRecord] | None = None
    report: AppReport | None = None
    keeps_records: bool | None = None
    why: str | None = None
    missing: bool = False


class StandingReader:
    """A server that does not answer costs one poll's time-out, and the history is told alone."""

    def __init__(
        self,
        *,
        store: Store,
        servers: Servers,
        catalog: Catalog,
        names: AppNames,
        timing: Timing,
    ) -> None:
        self._store = store
        self._servers = servers
        self._catalog = catalog
        self._names = names
        self._timing = timing

    async def all_of(self, app: str, server: str | None) -> Sequence[Seen]:
        """On the server, or on each that the app is known of. Declined: there is no such app."""
        keys = await self._keys_of(app, server)
        found = await asyncio.gather(*(self.read(app, key) for key in keys))
        known = [one for one in found if not one.missing or one.standing.newest is not None]
        if not known:
            raise Declined(
                f"There is no app {app} on {keys[0].server}.{await self._near(app, keys)}"
            )
        return known

    async def _near(self, app: str, keys: Sequence[AppKey]) -> str:
        names: list[str] = []
        for key in keys:
            try:
                names += await self._names.names(key.server)
            except DokkuError:
                names += self._names.cached(key.server)
        return closest(app, names)

    async def key_of(self, app: str, server: str | None) -> AppKey:
        """The one that is meant. Declined: on several servers, or not known."""
        keys = await self._keys_of(app, server)
        if len(keys) > 1:
            raise Declined(f"Where? Say `{app} on SERVER`: {', '.join(k.server for k in keys)}.")
        return keys[0]

    async def _keys_of(self, app: str, server: str | None) -> Sequence[AppKey]:
        """Where the settings and the history know it; never empty. Declined."""
        try:
            policy = self._catalog.policy(app, server)
        except Declined:
            keys = await self._past_keys(app, server)
            if not keys:
                raise
            return keys
        meant = AppKey(server=policy.server, dokku_app=policy.dokku_app)
        if server is not None:
            return [meant]
        return list(dict.fromkeys([meant, *await self._past_keys(policy.app, None)]))

    async def _past_keys(self, app: str, server: str | None) -> Sequence[AppKey]:
        rows = await self._store.recent(app=app, server=server, limit=LOOK_BACK)
        return list(dict.fromkeys(one.target for one in rows))

    async def remember(self, app: str, key: AppKey) -> Seen:
        """What the history alone tells. StoreError."""
        return await self._seen(app, key, await self._store.started(key), _Answers())

    async def read(self, app: str, key: AppKey) -> Seen:
        """What is live now. StoreError: not even the history can be read."""
        started = await self._store.started(key)
        for _ in range(READS):
            answers = await self._ask(self._servers.get(key.server), key.dokku_app)
            before, started = started, await self._store.started(key)
            # A deployment that ended meanwhile may have changed what was just read.
            if answers.containers is None or _ends(before) == _ends(started):
                break
        else:
            answers = _Answers(why="Deployments end while it is being read; ask again.")
        return await self._seen(app, key, started, answers)

    async def _seen(
        self, app: str, key: AppKey, started: Sequence[Deployment], answers: _Answers
    ) -> Seen:
        unfinished = [one for one in await self._store.unfinished() if one.target == key]
        facts = Facts(
            started=started,
            unfinished=unfinished,
            containers=answers.containers,
            records=answers.records if answers.keeps_records else None,
            report=answers.report,
        )
        return Seen(
            server=key.server,
            app=app,
            standing=stand(facts),
            keeps_records=answers.keeps_records,
            why=answers.why,
            missing=answers.missing,
        )

    async def _ask(self, dokku: Dokku, app: str) -> _Answers:
        containers, records, report, keeps = await asyncio.gather(
            self._answer(dokku.containers(app)),
            self._answer(dokku.builds(app)),
            self._answer(dokku.report(app)),
            self._answer(dokku.keeps_records()),
        )
        if isinstance(containers, Exception):
            gone = isinstance(containers, CommandFailed) and containers.exit_status == NO_SUCH_APP
            return _Answers(why=_sentence(containers), missing=gone)
        why = None
        if containers is None:
            why = "Dokku lists containers that Docker did not show: look at Docker on the server."
        return _Answers(
            containers=containers,
            records=None if isinstance(records, Exception) else records,
            report=None if isinstance(report, Exception) else report,
            keeps_records=None if isinstance(keeps, Exception) else keeps,
            why=why,
        )

    async def _answer(self, question: Coroutine[Any, Any, T]) -> T | DokkuError | TimeoutError:
        try:
            async with asyncio.timeout(self._timing.poll_timeout.total_seconds()):
                return await question
        except (DokkuError, TimeoutError) as error:
            return error


def _ends(started: Sequence[Deployment]) -> Sequence[tuple[str, str]]:
    return [(one.id, one.phase) for one in started]


def _sentence(error: Exception) -> str:
    return str(error) or "The server did not answer in time."
