"""What can be named: the apps of a server, also when mistyped, and the refs of a repository."""

import asyncio
import difflib
from collections.abc import Iterable, Sequence

import structlog

from bot.clock import Clock
from bot.deployments.model import AppPolicy
from bot.deployments.ports import Catalog, Servers
from bot.deployments.refs import NotThere, RefName, Refs
from bot.errors import BotError, DokkuError
from bot.names import slash

log = structlog.get_logger(__name__)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean …?` with the closest names, else how to list the apps."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    if near:
        return " Did you mean " + " or ".join(f"`{one}`" for one in near) + "?"
    return lists_apps()


def lists_apps() -> str:
    """How to see the names, as a further sentence."""
    return f" {slash('apps')} lists the apps."


def no_longer_known(catalog: Catalog, app: str, server: str) -> str:
    """That the settings no longer know an app, without the full stop; names no only server."""
    where = "" if list(catalog.servers()) == [server] else f" on {server}"
    return f"The settings no longer know {app}{where}"


class AppNames:
    """The names of each server's apps, cached for a minute."""

    def __init__(self, *, servers: Servers, clock: Clock, keep_s: float = 60.0) -> None:
        self._servers = servers
        self._clock = clock
        self._keep_s = keep_s
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}

    async def names(self, server: str) -> Sequence[str]:
        """From the cache, else from the server. Raises DokkuError."""
        known = self._known.get(server)
        now = self._clock.monotonic()
        if known is not None and now - known[0] < self._keep_s:
            return known[1]
        names = tuple(await self._servers.get(server).apps())
        self._known[server] = (now, names)
        return names

    async def suggest(self, name: str, servers: Iterable[str]) -> str:
        """Like `did_you_mean`, among the apps of these servers; cached names during an outage."""
        known: list[str] = []
        for server in servers:
            try:
                known += await self.names(server)
            except DokkuError:
                known += self.cached(server)
        return did_you_mean(name, known)

    def on(self, server: str) -> str:
        """` on production`; empty if there is only one server."""
        return f" on {server}" if len(self._servers.names()) > 1 else ""

    def no_app(self, app: str, server: str) -> str:
        """That a server has no such app, without the full stop."""
        return f"There is no app {app}{self.on(server)}"

    def cached(self, server: str) -> Sequence[str]:
        """The names read last, however old; empty when none were read."""
        known = self._known.get(server)
        return known[1] if known else ()


class RefNames:
    """Lists repositories for the form. Two questions about one repository share one answer."""

    def __init__(self, *, servers: Servers, refs: Refs, clock: Clock, keep_s: float = 60.0) -> None:
        self._servers = servers
        self._refs = refs
        self._clock = clock
        self._keep_s = keep_s
        self._asked: dict[AppPolicy, tuple[float, asyncio.Task[Sequence[RefName]]]] = {}

    def ask(self, policy: AppPolicy, repo: str | None) -> asyncio.Task[Sequence[RefName]]:
        """Newest first; empty where the repository cannot be listed. The task raises nothing."""
        now = self._clock.monotonic()
        asked = {
            key: (since, task)
            for key, (since, task) in self._asked.items()
            if now - since < self._keep_s and not task.cancelled()
        }
        if policy not in asked:
            task = asyncio.create_task(self._list(policy, repo), name="ref-names")
            asked[policy] = (now, task)
        self._asked = asked
        return asked[policy][1]

    async def is_missing(self, policy: AppPolicy, repo: str | None, ref: str) -> bool:
        """Whether the repository can be listed, and has no such ref now."""
        found = repo or await self._repo(policy)
        return found is not None and isinstance(await self._refs.resolve(found, ref), NotThere)

    async def _repo(self, policy: AppPolicy) -> str | None:
        return (await self._servers.get(policy.server).report(policy.dokku_app)).repo

    async def _list(self, policy: AppPolicy, repo: str | None) -> Sequence[RefName]:
        try:
            found = repo or await self._repo(policy)
            return () if found is None else await self._refs.names(found)
        except BotError as error:
            log.info("refs_not_listed", app=policy.app, error=type(error).__name__)
            return ()
