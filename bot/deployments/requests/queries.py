"""Answers questions about deployments and apps. Changes nothing."""

import asyncio
import contextlib
from collections.abc import Sequence

from bot.deployments.app_names import AppNames, RefNames
from bot.deployments.live.reader import LiveReader, LiveReport
from bot.deployments.model import AppKey, AppPolicy, Deployment, Phase
from bot.deployments.ports import Catalog, Servers, Store
from bot.deployments.progress import Progress
from bot.deployments.refs import RefName
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import ENDINGS, WAITING
from bot.deployments.timing import Timing
from bot.errors import Declined
from bot.names import check_app, quoted, slash

SHORTEST_ID = 6
"""Fewer characters of an id are taken for the name of an app."""


async def find_by_id(store: Store, word: str) -> Deployment | None:
    """The deployment with this id, or the only one whose id starts or ends with it.

    None: no id is like that. Raises Declined if several are.
    """
    if len(word) < SHORTEST_ID or not word.isalnum():
        return None
    found = await store.by_id_part(word)
    if len(found) > 1:
        raise Declined(
            f"More than one deployment has an id that starts or ends with {word}. Use more of it."
        )
    return found[0] if found else None


class Queries:
    """Reads the store, the settings and the servers. Plain questions go to these three directly."""

    def __init__(
        self,
        *,
        deployments: DeploymentRepository,
        catalog: Catalog,
        servers: Servers,
        names: AppNames,
        timing: Timing,
        reader: LiveReader,
        refs: RefNames,
    ) -> None:
        self.store = deployments.store
        self.catalog = catalog
        self.servers = servers
        self._cache = deployments.cache
        self._names = names
        self._timing = timing
        self._reader = reader
        self._refs = refs

    async def live_state(self, app: str, *, server: str | None = None) -> Sequence[LiveReport]:
        """What is live now, on `server` or on each server that has the app. Declined: none has."""
        return await self._reader.read_all(check_app(app), server)

    async def live_soon(self, app: str, key: AppKey) -> LiveReport:
        """What is live now; where the server takes longer than a moment, what the history says."""
        return await self._reader.read_within_grace(app, key)

    async def find(self, word: str, *, server: str | None = None) -> Deployment:
        """By id (or a unique part of one) or by app: running, else waiting, else the newest."""
        known = await self.find_by_id(word)
        if known is not None:
            return known
        app = check_app(word.lower())
        unfinished = [
            one
            for one in await self.store.unfinished()
            if one.app == app and server in {None, one.server}
        ]
        running = [one for one in unfinished if one.phase not in WAITING]
        if running or unfinished:
            return (running or unfinished)[0]
        newest = await self.store.recent(app=app, server=server, limit=1)
        if not newest:
            raise Declined(f"No deployment of `{quoted(app)}` was found. {slash(app)} starts one.")
        return newest[0]

    async def find_awaiting(self, word: str | None, *, server: str | None = None) -> Deployment:
        """The deployment to approve or reject: by id, or the only one of an app that waits for it.

        Declined: there is none, or several.
        """
        if word is None:
            raise Declined(f"Which app or deployment? Name it: {slash('approve APP')}.")
        known = await self.find_by_id(word)
        if known is not None:
            return known
        app = check_app(word.lower())
        waiting = [
            one
            for one in await self.store.unfinished()
            if one.phase is Phase.AWAITING_APPROVAL
            and one.app == app
            and server in {None, one.server}
        ]
        if not waiting:
            raise Declined(f"No deployment of `{quoted(app)}` is waiting for an approval.")
        if len(waiting) > 1:
            ids = ", ".join(f"`{one.id}`" for one in waiting)
            raise Declined(
                f"{len(waiting)} deployments of `{quoted(app)}` wait for an approval. Use the "
                f"buttons in their messages, or name one: {ids}."
            )
        return waiting[0]

    async def find_by_id(self, word: str) -> Deployment | None:
        """By id or a unique part of one. Raises as the function `find_by_id`."""
        return await find_by_id(self.store, word)

    async def history(
        self, app: str, *, server: str | None = None, limit: int = 10
    ) -> Sequence[Deployment]:
        """Deployments of an app, newest first."""
        return await self.store.recent(app=check_app(app), server=server, limit=limit)

    def snapshot(self, deployment: Deployment) -> tuple[Deployment, Progress]:
        """A row that was read just now, with the progress that this process knows beside it.

        The cache may be seconds behind another replica. Only an end that was written here since
        the row was read is newer.
        """
        cached = self._cache.get(deployment.id)
        if cached is None:
            return deployment, Progress()
        ended_since = cached.deployment.phase in ENDINGS and deployment.phase not in ENDINGS
        return cached.deployment if ended_since else deployment, cached.progress

    async def ref_names(self, app: str, server: str | None = None) -> Sequence[RefName]:
        """Branches and tags of the app's repository; empty: it cannot be listed. Declined."""
        return await asyncio.shield(self._listing(app, server))

    def warm_refs(self, app: str, server: str | None = None) -> None:
        """List them in the background, because they will be asked for soon."""
        with contextlib.suppress(Declined):  # an unknown app has none
            self._listing(app, server)

    async def is_missing(self, ref: str, app: str, server: str | None = None) -> bool:
        """Whether the app's repository has no such ref now. False: not known. Raises BotError."""
        policy = self.catalog.policy(check_app(app), server)
        return await self._refs.is_missing(policy, self.catalog.repo_for(policy), ref)

    def _listing(self, app: str, server: str | None) -> asyncio.Task[Sequence[RefName]]:
        policy = self.catalog.policy(check_app(app.lower()), server)
        return self._refs.ask(policy, self.catalog.repo_for(policy))

    async def known_apps(self) -> Sequence[AppPolicy]:
        """Apps of the settings and of the servers, by name; slow servers are left out."""
        asked = [asyncio.ensure_future(self._names.names(one)) for one in self.servers.names()]
        for task in asked:
            # An unreachable server only leaves its apps out, even if its error comes much later.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        if asked:
            await asyncio.wait(asked, timeout=self._timing.lookup_grace.total_seconds())
        known = {(one.server, one.dokku_app): one for one in self.catalog.listed()}
        for server in self.servers.names():
            for name in self._names.cached(server):
                with contextlib.suppress(Declined):
                    policy = self.catalog.policy(name, server)
                    known.setdefault((server, name), policy)
        return sorted(known.values(), key=lambda one: (one.app, one.server))
