"""Finds where a roll back goes, and looks again before it does."""

import asyncio

from bot.deployments.live.compare import Standing
from bot.deployments.live.reader import StandingReader
from bot.deployments.live.rollback import Target, by_hand, check_commit, go_back, refuse_pointless
from bot.deployments.model import AppKey, Deployment
from bot.deployments.ports import Timing
from bot.deployments.store_port import Store
from bot.errors import Declined


class GoingBack:
    """Every answer was checked against what is live and under way at this moment."""

    def __init__(self, *, store: Store, standings: StandingReader, timing: Timing) -> None:
        self._store = store
        self._standings = standings
        self._timing = timing

    async def from_deployment(self, old: Deployment) -> Target:
        """The commit fixed when the deployment ended. Declined: none, live, or on its way."""
        if old.rollback_sha is None:
            raise Declined(
                f"No release of {old.app} proven live before that deployment is known. "
                f"Use `/deploy {old.app} SHA`."
            )
        standing = await self._standing(old.app, old.target)
        refuse_pointless(old.app, old.rollback_sha, standing)
        return Target(sha=old.rollback_sha, of=old)

    async def from_app(self, app: str, commit: str | None, server: str | None) -> Target:
        """The commit that was named, else the newest earlier one. Declined, as above."""
        given = None if commit is None else check_commit(app, commit)
        key = await self._standings.key_of(app, server)
        standing = await self._standing(app, key)
        if given is None:
            target = go_back(app, standing)
        else:
            found = await self._store.started(key, commit=given)
            target = by_hand(app, given, found, standing)
        refuse_pointless(app, target.sha, standing)
        return target

    async def _standing(self, app: str, key: AppKey) -> Standing:
        """A server that is slow delays no message: then the history alone must do."""
        reading = asyncio.ensure_future(self._standings.read(app, key))
        # Not cut off when it is late, which would cost the connection; its error is nobody's then.
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        done, _ = await asyncio.wait({reading}, timeout=self._timing.lookup_grace.total_seconds())
        seen = reading.result() if done else await self._standings.remember(app, key)
        return seen.standing
