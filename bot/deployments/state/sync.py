"""Keeps the cache in step with the database: at the start, and while other processes write to it.

Another replica, the command line and the service itself write to the same database. A process that
was killed leaves messages that are missing or outdated: they are posted and updated here.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.deployments.excerpt import around_error
from bot.deployments.model import Deployment, Phase, Progress
from bot.deployments.ports import Urgency
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import ENDINGS, WAITING
from bot.deployments.timing import Timing
from bot.errors import StoreError

log = structlog.get_logger(__name__)

DATABASE_PAUSE = timedelta(seconds=2)
"""Between attempts while no database answers."""
RECENT = timedelta(hours=1)
MAX_RECENT = 20
"""How many results that a killed process may have written without showing them are shown again."""


class CacheSync:
    """Follows the deployments that this replica does not run."""

    def __init__(self, deployments: DeploymentRepository) -> None:
        self._deployments = deployments

    async def refresh(self, owned: Collection[str]) -> Sequence[Deployment]:
        """Read all unfinished rows and update the cache. `owned` ones are left to their workers.

        A row that changed here while the database was read is newer than the answer.
        """
        cache = self._deployments.cache
        before = {one.deployment.id: one.deployment for one in cache.active()}
        rows = await self._deployments.store.unfinished()
        for row in rows:
            known = cache.get(row.id)
            if known is None:
                cache.put(row)
            elif row.id not in owned and known.deployment is before.get(row.id):
                self._follow(known.deployment, row)
        await self._follow_ended(before, {row.id for row in rows} | set(owned))
        return rows

    async def _follow_ended(self, before: Mapping[str, Deployment], skip: set[str]) -> None:
        for deployment_id, was in before.items():
            if deployment_id in skip:
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
            # Once it has started, only its owner shows it: other replicas do not have its log.
            urgency = Urgency.NOW if row.phase in ENDINGS else Urgency.PHASE
            self._deployments.announcer.changed(row.id, urgency)


async def load_unfinished(deployments: DeploymentRepository) -> Sequence[Deployment]:
    """Fill the cache after a start. Returns the waiting rows, whose messages must be updated now.

    Running ones are not returned: the replica that takes them over shows them.
    """
    unfinished = await deployments.store.unfinished()
    for row in unfinished:
        deployments.cache.put(row)
    return [row for row in unfinished if row.phase in WAITING and row.message is not None]


async def load_recently_ended(
    deployments: DeploymentRepository, clock: Clock
) -> Sequence[Deployment]:
    """Recent results, with their excerpts: a killed process may not have shown them."""
    newest = await deployments.store.recent(limit=MAX_RECENT)
    since = clock.now() - RECENT
    ended = [
        row
        for row in newest
        if row.phase in ENDINGS and row.finished_at and row.finished_at >= since
    ]
    for row in ended:
        log = await deployments.store.logs.read(row.id)
        deployments.cache.put(row)
        deployments.cache.note(row.id, _progress_from_log(row, log))
    return [row for row in ended if row.message]


def _progress_from_log(row: Deployment, log: str) -> Progress:
    """Rebuild the excerpt from the log: it is not stored."""
    lines = log.splitlines()
    if row.phase is Phase.SUCCEEDED:
        return Progress(tail=around_error(lines, None))
    reason = row.reason or ""
    error = next(
        (line for line in reversed(lines) if line.strip() and line.strip() in reason), None
    )
    return Progress(excerpt=around_error(lines, error))


def find_unposted(
    deployments: DeploymentRepository,
    clock: Clock,
    in_progress: Collection[str],
    timing: Timing,
) -> Sequence[Deployment]:
    """Cached rows whose message was never stored and that nobody is posting.

    Ended ones too: someone may cancel before the message of a killed process is found.
    """
    before = clock.now() - timing.posting
    rows = [one.deployment for one in deployments.cache.known()]
    return [
        row
        for row in rows
        if row.message is None and row.channel and row.created_at < before
        if row.id not in in_progress
    ]


class MessageRecovery:
    """Brings messages up to date that an earlier process left missing or outdated.

    `resume` posts or updates the messages of deployments, and retries by itself.
    """

    def __init__(
        self,
        deployments: DeploymentRepository,
        *,
        resume: Callable[[Sequence[Deployment]], Awaitable[None]],
        in_progress: Callable[[], Collection[str]],
        clock: Clock,
        timing: Timing,
    ) -> None:
        self._deployments = deployments
        self._resume = resume
        self._in_progress = in_progress
        self._clock = clock
        self._timing = timing
        self._seen: set[str] = set()

    async def load(self) -> None:
        """Fill the cache as soon as the database answers, and update the messages in the queue."""
        while True:
            try:
                rows = await load_unfinished(self._deployments)
            except StoreError as error:
                log.warning("database_unreachable", why=str(error))
                await self._clock.sleep(DATABASE_PAUSE)
            else:
                return await self._resume(rows)

    async def show_recent_results(self) -> None:
        """Show results that a killed process may have stored without showing them."""
        try:
            await self._resume(await load_recently_ended(self._deployments, self._clock))
        except StoreError as error:
            log.warning("recent_results_not_loaded", why=str(error))

    async def post_missing(self) -> None:
        """Post the message of each deployment that has none, once."""
        in_progress = self._in_progress()
        unposted = find_unposted(self._deployments, self._clock, in_progress, self._timing)
        rows = [row for row in unposted if row.id not in self._seen]
        cached = (one.deployment.id for one in self._deployments.cache.known())
        self._seen.intersection_update(cached)
        self._seen.update(row.id for row in rows)
        await self._resume(rows)
