"""The one way to change a deployment: store, cache, message; and how the cache follows the store.

The store is the source of truth; a restart empties the cache. Progress is only cached, because
nobody needs it after a restart.

Another replica, the command line and the service itself write to the same database. A process that
was killed leaves messages that are missing or outdated: they are posted and updated here.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.deployments.excerpt import around_error
from bot.deployments.model import AuditEntry, Deployment, Event, Phase, Who
from bot.deployments.observer import Observer
from bot.deployments.ports import Announcer, Store, Urgency
from bot.deployments.progress import Blocker, Progress, moved_words
from bot.deployments.refs import Commits
from bot.deployments.states import ENDINGS, RUNNING, WAITING
from bot.deployments.timing import Timing
from bot.errors import StoreError

log = structlog.get_logger(__name__)

COMMIT_CHANGED = "commit_changed"
"""The audit action of a ref that moved before its approval."""
DATABASE_PAUSE = timedelta(seconds=2)
"""Between attempts while no database answers."""
_END_PAGES = 24
"""Pages of a log from whose end the excerpt is rebuilt: a log may have 16 MB."""
RECENT = timedelta(hours=1)
MISSED, MOST_MISSED = timedelta(days=1), 200
"""How far back a channel is brought up to date when the bot comes back to it."""
MAX_RECENT = 20
"""How many results that a killed process may have written without showing them are shown again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedDeployment:
    """One deployment as this process knows it."""

    deployment: Deployment
    progress: Progress
    ended_at: float | None = None
    """Monotonic seconds when the cache first had it as ended."""


class DeploymentCache:
    """Look-ups by id without the database. Bounded: ended deployments are dropped after `ttl`."""

    def __init__(self, *, clock: Clock, ttl: timedelta, max_size: int = 10_000) -> None:
        self._clock = clock
        self._ttl = ttl
        self._max_size = max_size
        self._all: dict[str, CachedDeployment] = {}
        # Kept apart: with 1,000 running, `get` is called some 100 times a second, and a walk over
        # all deployments each time would be too slow.
        self._ended: dict[str, float] = {}
        """Ended deployments and their `ended_at`, oldest first."""
        self._running: set[str] = set()

    def put(self, deployment: Deployment) -> None:
        """Store the newest row of a deployment; its progress is kept."""
        known = self._all.get(deployment.id)
        ended_at = None
        if deployment.phase in ENDINGS:
            ended_at = self._ended.setdefault(deployment.id, self._clock.monotonic())
        else:
            self._ended.pop(deployment.id, None)
        if deployment.phase in RUNNING:
            self._running.add(deployment.id)
        else:
            self._running.discard(deployment.id)
        progress = known.progress if known else Progress()
        if known and known.deployment.phase is Phase.AWAITING_APPROVAL is not deployment.phase:
            progress = replace(progress, notes=())  # they were for who decides
        self._all[deployment.id] = CachedDeployment(
            deployment=deployment, progress=progress, ended_at=ended_at
        )
        self._sweep()

    def note(self, deployment_id: str, progress: Progress) -> None:
        """Replace the progress of a cached deployment; unknown ids are ignored."""
        known = self._all.get(deployment_id)
        if known is not None:
            self._all[deployment_id] = replace(known, progress=progress)

    def progress(self, deployment_id: str) -> Progress:
        """The progress so far; an empty one for an unknown id."""
        known = self._all.get(deployment_id)
        return known.progress if known else Progress()

    def get(self, deployment_id: str) -> CachedDeployment | None:
        """None: not cached; ask the store."""
        self._sweep()
        return self._all.get(deployment_id)

    def forget(self, deployment_id: str) -> None:
        """Drop a deployment: withdrawn, deleted or too old."""
        self._all.pop(deployment_id, None)
        self._ended.pop(deployment_id, None)
        self._running.discard(deployment_id)

    def count_running(self) -> int:
        """How many deployments run."""
        return len(self._running)

    def active(self) -> Sequence[CachedDeployment]:
        """All deployments that have not ended."""
        return [known for known in self._all.values() if known.ended_at is None]

    def known(self) -> Sequence[CachedDeployment]:
        """All cached deployments, recently ended ones too."""
        self._sweep()
        return list(self._all.values())

    def _sweep(self) -> None:
        limit = self._clock.monotonic() - self._ttl.total_seconds()
        while self._ended:
            oldest = next(iter(self._ended))
            if self._ended[oldest] >= limit and len(self._all) <= self._max_size:
                return
            self.forget(oldest)


class DeploymentRepository:
    """Writes to the store first; only what was committed is cached and announced."""

    def __init__(
        self, *, store: Store, cache: DeploymentCache, announcer: Announcer, observer: Observer
    ) -> None:
        self.store = store
        self.cache = cache
        self.announcer = announcer
        self.observer = observer

    async def save(
        self,
        deployment: Deployment,
        *,
        was: Phase,
        by: Who,
        audit: AuditEntry | None = None,
        event: Event | None = None,
    ) -> Deployment:
        """Write, cache, announce; return the fresh row. Raises what `Store.save` raises."""
        fresh = await self.store.save(deployment, was=was, by=by, audit=audit, event=event)
        return self.adopt(fresh, was=was)

    def adopt(self, fresh: Deployment, *, was: Phase) -> Deployment:
        """Cache and announce a row that is already stored; `was` is the phase known before."""
        self.cache.put(fresh)
        if fresh.phase in ENDINGS:
            self.observer.ended(fresh)
            self.announcer.changed(fresh.id, Urgency.NOW)
        elif fresh.phase is not was:
            self.announcer.changed(fresh.id, Urgency.PHASE)
        else:
            self.announcer.changed(fresh.id, Urgency.ROUTINE)
        return fresh

    async def correct(
        self, deployment: Deployment, *, audit: AuditEntry, event: Event | None = None
    ) -> Deployment:
        """Change an ended deployment. Raises what `Store.correct` raises."""
        fresh = await self.store.correct(deployment, audit=audit, event=event)
        self.cache.put(fresh)
        self.announcer.changed(fresh.id, Urgency.NOW)
        return fresh

    async def place_commits(self, deployment_id: str, commits: Commits) -> None:
        """Store and show what a deployment ships. Raises what `Store.place_commits` raises."""
        await self.store.place_commits(deployment_id, commits)
        known = self.cache.get(deployment_id)
        if known is not None:
            self.cache.put(replace(known.deployment, commits=commits))
        self.announcer.changed(deployment_id, Urgency.PHASE)

    def note(
        self, deployment_id: str, progress: Progress, urgency: Urgency = Urgency.ROUTINE
    ) -> None:
        """Replace the progress shown with the row; nothing is stored."""
        if self.cache.progress(deployment_id) != progress:
            self.cache.note(deployment_id, progress)
            self.announcer.changed(deployment_id, urgency)

    def progress(self, deployment_id: str) -> Progress:
        """The progress shown with the row."""
        return self.cache.progress(deployment_id)

    def note_waiting(
        self,
        deployment_id: str,
        *,
        position: int | None,
        waits_for: str | None,
        blocker: Blocker | None = None,
    ) -> None:
        """Show the position of a waiting deployment and what it waits for."""
        progress = replace(
            self.progress(deployment_id), place=position, waits_for=waits_for, blocker=blocker
        )
        self.note(deployment_id, progress, Urgency.PHASE)


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
                await recall_move(self._deployments, row)
            elif row.id not in owned and known.deployment is before.get(row.id):
                if known.deployment.sha != row.sha:
                    await recall_move(self._deployments, row)
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


async def recall_move(deployments: DeploymentRepository, row: Deployment) -> None:
    """Note again, after a restart or on another replica, that the ref of an approval has moved."""
    if row.phase is not Phase.AWAITING_APPROVAL:
        return
    trail = [one for _, one in await deployments.store.audit_of(row.id)]
    moves = [one.detail for one in trail if one.action == COMMIT_CHANGED and one.detail.get("from")]
    if moves:
        words = moved_words(row.ref, moves[-1]["from"], moves[-1]["to"])
        progress = deployments.progress(row.id)
        deployments.cache.note(row.id, replace(progress, notes=(f"{words}.",)))


async def load_unfinished(deployments: DeploymentRepository) -> Sequence[Deployment]:
    """Fill the cache after a start. Returns the waiting rows, whose messages must be updated now.

    Running ones are not returned: the replica that takes them over shows them.
    """
    unfinished = await deployments.store.unfinished()
    for row in unfinished:
        deployments.cache.put(row)
        await recall_move(deployments, row)
    return [row for row in unfinished if row.phase in WAITING and row.message is not None]


async def load_recently_ended(
    deployments: DeploymentRepository, clock: Clock, channel: str | None = None
) -> Sequence[Deployment]:
    """Recent results: a killed process may not have shown them. Failures with their excerpts.

    Of a channel that the bot has come back to, all that it may have missed there.
    """
    newest = await deployments.store.recent(limit=MAX_RECENT if channel is None else MOST_MISSED)
    since = clock.now() - (RECENT if channel is None else MISSED)
    ended = [
        row
        for row in newest
        if row.phase in ENDINGS and row.finished_at and row.finished_at >= since
        if channel is None or (row.message and row.message.channel == channel)
    ][:MAX_RECENT]
    for row in ended:
        deployments.cache.put(row)
        if row.phase is Phase.FAILED:
            # An excerpt is not stored.
            end = await deployments.store.logs.pages(row.id, None, _END_PAGES)
            excerpt = around_error("".join(end.texts).splitlines(), row.reason)
            deployments.cache.note(row.id, Progress(excerpt=excerpt))
    return [row for row in ended if row.message]


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

    `resume` posts or updates the messages of deployments, and retries by itself. `in_progress`:
    what any replica is posting now.
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

    async def show_recent_results(self, channel: str | None = None) -> None:
        """Show results that a killed process, or a bot out of that channel, did not show."""
        try:
            await self._resume(await load_recently_ended(self._deployments, self._clock, channel))
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
