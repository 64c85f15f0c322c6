"""Which branches and tags an app's repository has, cached for a minute."""

import asyncio
from collections.abc import Sequence

import structlog

from bot.clock import Clock
from bot.deployments.model import AppPolicy
from bot.deployments.ports import Servers
from bot.deployments.refs import NotThere, RefName, Refs
from bot.errors import BotError

log = structlog.get_logger(__name__)


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
