"""Keeps the cache true about deployments that this replica does not drive."""

from collections.abc import Collection, Mapping, Sequence

from bot.deployments.books import Books
from bot.deployments.model import Deployment
from bot.deployments.ports import Urgency
from bot.deployments.states import ENDINGS


class Sight:
    """Others write to the same database: another replica, a command line, the service itself."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def look(self, driven: Collection[str]) -> Sequence[Deployment]:
        """All unfinished rows; the cache follows them. `driven` ones are left to their drives.

        A row that changed here while the database was asked is newer than the answer.
        """
        tracker = self._books.tracker
        before = {one.deployment.id: one.deployment for one in tracker.active()}
        rows = await self._books.store.unfinished()
        for row in rows:
            known = tracker.get(row.id)
            if known is None:
                tracker.put(row)
            elif row.id not in driven and known.deployment is before.get(row.id):
                self._follow(known.deployment, row)
        await self._follow_ended(before, {row.id for row in rows} | set(driven))
        return rows

    async def _follow_ended(self, before: Mapping[str, Deployment], there: set[str]) -> None:
        for deployment_id, was in before.items():
            if deployment_id in there:
                continue
            row = await self._books.store.get(deployment_id)
            known = self._books.tracker.get(deployment_id)
            if known is None or known.deployment is not was:
                continue
            if row is None:
                self._books.tracker.forget(deployment_id)
            else:
                self._follow(was, row)

    def _follow(self, was: Deployment, row: Deployment) -> None:
        if row == was:
            return
        self._books.tracker.put(row)
        if row.started_at is None:
            # From its start on its owner alone shows it: others know nothing of its log.
            urgency = Urgency.NOW if row.phase in ENDINGS else Urgency.PHASE
            self._books.announcer.changed(row.id, urgency)
