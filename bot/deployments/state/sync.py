"""Keeps the cache true about deployments that this replica does not drive."""

from collections.abc import Collection, Mapping, Sequence

from bot.deployments.model import Deployment
from bot.deployments.ports import Urgency
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import ENDINGS


class CacheSync:
    """Others write to the same database: another replica, a command line, the service itself."""

    def __init__(self, deployments: DeploymentRepository) -> None:
        self._deployments = deployments

    async def look(self, driven: Collection[str]) -> Sequence[Deployment]:
        """All unfinished rows; the cache follows them. `driven` ones are left to their workers.

        A row that changed here while the database was asked is newer than the answer.
        """
        cache = self._deployments.cache
        before = {one.deployment.id: one.deployment for one in cache.active()}
        rows = await self._deployments.store.unfinished()
        for row in rows:
            known = cache.get(row.id)
            if known is None:
                cache.put(row)
            elif row.id not in driven and known.deployment is before.get(row.id):
                self._follow(known.deployment, row)
        await self._follow_ended(before, {row.id for row in rows} | set(driven))
        return rows

    async def _follow_ended(self, before: Mapping[str, Deployment], there: set[str]) -> None:
        for deployment_id, was in before.items():
            if deployment_id in there:
                continue
            row = await self._deployments.store.get(deployment_id)
            known = self._deployments.cache.get(deployment_id)
            if known is None or known.deployment is not was:
                continue
            if row is None:
                self._deployments.cache.forget(deployment_id)
            else:
                self._follow(was, row)

    def _follow(self, was: Deployment, row: Deployment) -> None:
        if row == was:
            return
        self._deployments.cache.put(row)
        if row.started_at is None:
            # From its start on its owner alone shows it: others know nothing of its log.
            urgency = Urgency.NOW if row.phase in ENDINGS else Urgency.PHASE
            self._deployments.announcer.changed(row.id, urgency)
