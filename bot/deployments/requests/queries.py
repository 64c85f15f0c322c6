"""What people may ask of deployments and apps. Changes nothing."""

import asyncio
import contextlib
from collections.abc import Sequence

from bot.deployments.live.reader import Seen, StandingReader
from bot.deployments.model import AppPolicy, Deployment, Progress
from bot.deployments.ports import Catalog, Servers, Timing
from bot.deployments.requests.resolve import AppNames
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import WAITING
from bot.errors import Declined
from bot.names import check_app, quoted

SHORTEST_ID = 6


class Queries:
    """Answered from the store, the settings and, where it says so, from the servers of now."""

    def __init__(
        self,
        *,
        deployments: DeploymentRepository,
        catalog: Catalog,
        servers: Servers,
        names: AppNames,
        timing: Timing,
    ) -> None:
        self._deployments = deployments
        self._store = deployments.store
        self._catalog = catalog
        self._servers = servers
        self._names = names
        self._timing = timing
        self._standings = StandingReader(
            store=deployments.store, servers=servers, catalog=catalog, names=names, timing=timing
        )

    async def standing(self, app: str, *, server: str | None = None) -> Sequence[Seen]:
        """What is live now, on the server or on each that it is known of. Declined: on none."""
        return await self._standings.all_of(check_app(app), server)

    async def find_by_id(self, word: str) -> Deployment | None:
        """By its id, or a beginning or an end of it that no other one has; None: it is no id."""
        if len(word) < SHORTEST_ID or not word.isalnum():
            return None
        return await self._by_id(word.upper())

    async def find(self, word: str, *, server: str | None = None) -> Deployment:
        """By id (or a unique beginning of one) or by app: running, else waiting, else newest."""
        known = await self.find_by_id(word)
        if known is not None:
            return known
        app = check_app(word.lower())
        unfinished = [
            one
            for one in await self._store.unfinished()
            if one.app == app and server in {None, one.server}
        ]
        running = [one for one in unfinished if one.phase not in WAITING]
        if running or unfinished:
            return (running or unfinished)[0]
        newest = await self._store.recent(app=app, server=server, limit=1)
        if not newest:
            raise Declined(
                f"No deployment of `{quoted(app)}` is known. `/deploy {app}` starts one."
            )
        return newest[0]

    async def _by_id(self, word: str) -> Deployment | None:
        exact = await self._store.get(word)
        if exact is not None:
            return exact
        near = [one for one in await self._store.recent(limit=200) if one.id.startswith(word)]
        near = near or [one for one in await self._store.recent(limit=200) if one.id.endswith(word)]
        return near[0] if len(near) == 1 else None

    async def get(self, deployment_id: str) -> Deployment | None:
        """The newest row."""
        return await self._store.get(deployment_id)

    async def at_message(self, channel: str, ts: str) -> Deployment | None:
        """By the place of its live message."""
        return await self._store.by_message(channel, ts)

    async def history(
        self, app: str, *, server: str | None = None, limit: int = 10
    ) -> Sequence[Deployment]:
        """Newest first."""
        return await self._store.recent(app=check_app(app), server=server, limit=limit)

    async def unfinished(self) -> Sequence[Deployment]:
        """All running and waiting, oldest first."""
        return await self._store.unfinished()

    async def known_apps(self) -> Sequence[AppPolicy]:
        """Tables of the settings and the servers' own apps, by name; slow servers are left out."""
        asked = [asyncio.ensure_future(self._names.names(one)) for one in self._servers.names()]
        for task in asked:
            # An unreachable server only leaves its apps out, even when it says so much later.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        if asked:
            await asyncio.wait(asked, timeout=self._timing.lookup_grace.total_seconds())
        known = {(one.server, one.dokku_app): one for one in self._catalog.listed()}
        for server in self._servers.names():
            for name in self._names.cached(server):
                with contextlib.suppress(Declined):
                    policy = self._catalog.policy(name, server)
                    known.setdefault((server, name), policy)
        return sorted(known.values(), key=lambda one: (one.app, one.server))

    def policy(self, app: str, server: str | None = None) -> AppPolicy:
        """What the settings say of an app. Declined."""
        return self._catalog.policy(app, server)

    def server_names(self) -> Sequence[str]:
        """Configured servers."""
        return self._servers.names()

    async def log(self, deployment_id: str) -> str:
        """The whole log kept so far, cleaned and redacted."""
        return await self._store.read_log(deployment_id)

    def snapshot(self, deployment: Deployment) -> tuple[Deployment, Progress]:
        """The newest row and progress known in this process, else what was given."""
        tracked = self._deployments.cache.get(deployment.id)
        return (tracked.deployment, tracked.progress) if tracked else (deployment, Progress())
