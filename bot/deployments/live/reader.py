"""Reads what is live now: the bot's history and the server, as close together as possible."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bot.deployments.app_names import AppNames
from bot.deployments.dokku_facts import AppReport, BuildRecord, Containers, says_no_such_app
from bot.deployments.live.compare import LiveEvidence, LiveState, compare_live
from bot.deployments.model import AppKey, Deployment
from bot.deployments.ports import Catalog, Dokku, Servers, Store
from bot.deployments.timing import Timing
from bot.errors import Declined, DokkuError

READS = 2
"""How often everything is read again, at most, because a deployment ended between the reads."""
LOOK_BACK = 100
"""How many of the app's deployments are searched for the servers it is on."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReport:
    """What is live for an app on one server, and why the rest is not known."""

    server: str
    app: str
    dokku_app: str
    """The name on the server, for commands of Dokku."""
    state: LiveState
    keeps_records: bool | None = None
    """Whether this Dokku keeps build records. None: it did not answer."""
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


class LiveReader:
    """Reports the history only where a server does not answer within one poll timeout."""

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

    async def read_all(self, app: str, server: str | None) -> Sequence[LiveReport]:
        """Report on `server`, else on each server that the app is on. Declined: no such app."""
        keys = await self._find_keys(app, server)
        found = await asyncio.gather(*(self.read(app, key) for key in keys))
        known = [one for one in found if not one.missing or one.state.newest is not None]
        if not known:
            suggestion = await self._names.suggest(app, [key.server for key in keys])
            raise Declined(f"{self._names.no_app(app, keys[0].server)}.{suggestion}")
        return known

    async def read(self, app: str, key: AppKey) -> LiveReport:
        """Read history and server. StoreError: not even the history can be read."""
        started = await self._store.started(key)
        for _ in range(READS):
            answers = await self._ask(self._servers.get(key.server), key.dokku_app)
            before, started = started, await self._store.started(key)
            # A deployment that ended in between may have changed what was just read.
            if answers.containers is None or _results(before) == _results(started):
                break
        else:
            answers = _Answers(why="Deployments ended while the server was being read. Ask again.")
        return await self._report(app, key, started, answers)

    async def read_within_grace(self, app: str, key: AppKey) -> LiveReport:
        """Read, but report the history only when the server takes longer than `lookup_grace`."""
        reading = asyncio.ensure_future(self.read(app, key))
        # A late read is not cancelled, which would cost the connection. Its error is ignored then.
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        done, _ = await asyncio.wait({reading}, timeout=self._timing.lookup_grace.total_seconds())
        return reading.result() if done else await self.read_history(app, key)

    async def read_history(self, app: str, key: AppKey) -> LiveReport:
        """Report what the history says, without asking the server. StoreError."""
        return await self._report(app, key, await self._store.started(key), _Answers())

    async def find_key(self, app: str, server: str | None) -> AppKey:
        """The one server that has the app. Declined: several have it, or the app is unknown."""
        keys = await self._find_keys(app, server)
        if len(keys) > 1:
            servers = ", ".join(one.server for one in keys)
            raise Declined(f"{app} is on several servers: {servers}. Say `{app} on SERVER`.")
        return keys[0]

    async def _find_keys(self, app: str, server: str | None) -> Sequence[AppKey]:
        """Where the settings and the history have the app; never empty. Declined."""
        try:
            policy = self._catalog.policy(app, server)
        except Declined:
            keys = await self._keys_in_history(app, server)
            if not keys:
                raise
            return keys
        key = AppKey(server=policy.server, dokku_app=policy.dokku_app)
        if server is not None:
            return [key]
        return list(dict.fromkeys([key, *await self._keys_in_history(policy.app, None)]))

    async def _keys_in_history(self, app: str, server: str | None) -> Sequence[AppKey]:
        rows = await self._store.recent(app=app, server=server, limit=LOOK_BACK)
        return list(dict.fromkeys(one.target for one in rows))

    async def _report(
        self, app: str, key: AppKey, started: Sequence[Deployment], answers: _Answers
    ) -> LiveReport:
        unfinished = await self._store.unfinished(key)
        evidence = LiveEvidence(
            started=started,
            unfinished=unfinished,
            containers=answers.containers,
            records=answers.records if answers.keeps_records else None,
            report=answers.report,
        )
        return LiveReport(
            server=key.server,
            app=app,
            dokku_app=key.dokku_app,
            state=compare_live(evidence),
            keeps_records=answers.keeps_records,
            why=answers.why,
            missing=answers.missing,
        )

    async def _ask(self, dokku: Dokku, app: str) -> _Answers:
        containers, records, report, keeps = await asyncio.gather(
            self._answer(dokku.containers(app), dokku.pace.heavy_patience),
            self._answer(dokku.builds(app), dokku.pace.patience),
            self._answer(dokku.report(app), dokku.pace.patience),
            self._answer(dokku.keeps_records(), dokku.pace.patience),
        )
        if isinstance(containers, Exception):
            return _Answers(why=_sentence(containers), missing=says_no_such_app(containers))
        why = None
        if containers is None:
            why = "Docker did not show containers that Dokku lists. Look at Docker on the server."
        return _Answers(
            containers=containers,
            records=None if isinstance(records, Exception) else records,
            report=None if isinstance(report, Exception) else report,
            keeps_records=None if isinstance(keeps, Exception) else keeps,
            why=why,
        )

    async def _answer(
        self, question: Coroutine[Any, Any, T], patience: int
    ) -> T | DokkuError | TimeoutError:
        try:
            async with asyncio.timeout((self._timing.poll_timeout * patience).total_seconds()):
                return await question
        except (DokkuError, TimeoutError) as error:
            return error


def _results(started: Sequence[Deployment]) -> Sequence[tuple[str, str]]:
    return [(one.id, one.phase) for one in started]


def _sentence(error: Exception) -> str:
    return str(error) or "The server did not answer in time."
