"""From a row that was just written to its message: looked up, posted, or withdrawn again."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from bot.clock import Clock
from bot.deployments.live.compare import believed_commit
from bot.deployments.model import Actor, AuditEntry, Deployment, Failure
from bot.deployments.ports import Timing, Urgency
from bot.deployments.requests.resolve import NotDeployable, RequestResolver, Resolved
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import Who
from bot.deployments.verdict.wording import as_sentence
from bot.errors import Declined, DokkuError, StaleState, StoreError

log = structlog.get_logger(__name__)

STORE_PAUSE = timedelta(seconds=1)
"""Between tries while the database is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the service sets in motion. Each returns at once."""

    look_for_work: Callable[[], None]
    wish: Callable[[str], None]
    """Somebody asked to cancel a running deployment."""
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    """Run on, as a tracked task."""


class Submission:
    """What an error was told of never starts; what has a message is never forgotten."""

    def __init__(
        self,
        *,
        deployments: DeploymentRepository,
        resolver: RequestResolver,
        timing: Timing,
        clock: Clock,
        hooks: Hooks,
        end_waiting: Callable[[Deployment, Failure, str], Awaitable[None]],
    ) -> None:
        self.posting: set[str] = set()
        """Rows whose message this process is posting, or whose withdrawal is under way."""
        self._deployments = deployments
        self._store = deployments.store
        self._resolver = resolver
        self._timing = timing
        self._clock = clock
        self._hooks = hooks
        self._end_waiting = end_waiting

    async def place(self, deployment: Deployment, actor: Actor) -> Deployment:
        """Post the message of a row that was just written; then it may start.

        Raises: Declined and SlackError, with one sentence for the asker; the row is withdrawn.
        """
        looking = asyncio.ensure_future(self._resolver.look_up(deployment))
        self.posting.add(deployment.id)
        try:
            deployment = await self._look_and_post(deployment, looking)
        except asyncio.CancelledError:
            # The process stops. The next one finds the message, or posts it.
            looking.cancel()
            self.posting.discard(deployment.id)
            raise
        except Exception as error:
            looking.cancel()
            self._deployments.cache.forget(deployment.id)
            await self.withdraw(deployment, actor, error)
            raise
        await self._keep_place(deployment)
        if deployment.ready:
            self._hooks.look_for_work()
        else:
            self._deployments.note_waiting(
                deployment.id, place=None, waits_for="looking up the commit"
            )
            self._hooks.spawn(self._finish_look_up(deployment, looking))
        return deployment

    async def _look_and_post(
        self, deployment: Deployment, looking: asyncio.Future[Resolved | NotDeployable]
    ) -> Deployment:
        grace = self._timing.lookup_grace.total_seconds()
        done, _ = await asyncio.wait({looking}, timeout=grace)
        found = looking.result() if done and not looking.exception() else None
        if isinstance(found, NotDeployable):
            raise Declined(as_sentence(found.sentence))
        if isinstance(found, Resolved):
            deployment = await self._ready(deployment, found)
        if deployment.channel:
            live = await self._live_already(deployment)
            self._deployments.cache.put(deployment)
            self._note_live(deployment.id, live)
            place = await self._deployments.announcer.post(deployment)
            deployment = replace(deployment, message=place)
        self._deployments.cache.put(deployment)
        return deployment

    async def _keep_place(self, deployment: Deployment) -> None:
        """Store where the message stands; until that is done, nothing is started."""
        try:
            if deployment.message is not None:
                await self._store.place_message(deployment.id, deployment.message)
        except StaleState as gone:
            log.warning("place_not_stored", deployment_id=deployment.id, why=str(gone))
        except StoreError as error:
            log.warning("place_not_stored", deployment_id=deployment.id, why=str(error))
            self._hooks.spawn(self._keep_place_behind(deployment))
            return
        self.posting.discard(deployment.id)

    async def _keep_place_behind(self, deployment: Deployment) -> None:
        await self._clock.sleep(STORE_PAUSE)
        await self._keep_place(deployment)
        self._hooks.look_for_work()

    async def withdraw(self, deployment: Deployment, actor: Actor, error: Exception) -> None:
        """Nothing may come of it, however long the database is away."""
        self.posting.add(deployment.id)
        audit = AuditEntry(
            actor=actor, through="service", action="withdrawn", detail={"why": str(error)}
        )
        if not await self._is_withdrawn(deployment.id, audit):
            self._hooks.spawn(self._withdraw_behind(deployment.id, audit))

    async def _withdraw_behind(self, deployment_id: str, audit: AuditEntry) -> None:
        await self._clock.sleep(STORE_PAUSE)
        while not await self._is_withdrawn(deployment_id, audit):
            await self._clock.sleep(STORE_PAUSE)

    async def _is_withdrawn(self, deployment_id: str, audit: AuditEntry) -> bool:
        try:
            await self._store.withdraw(deployment_id, audit)
        except StaleState as gone:
            log.info("nothing_to_withdraw", deployment_id=deployment_id, why=str(gone))
        except StoreError as error:
            log.warning("not_withdrawn", deployment_id=deployment_id, why=str(error))
            return False
        # A look at the unfinished rows may have found it again meanwhile.
        self._deployments.cache.forget(deployment_id)
        self.posting.discard(deployment_id)
        return True

    async def _ready(self, deployment: Deployment, found: Resolved) -> Deployment:
        changed = replace(deployment, ref=found.ref, repo=found.repo, sha=found.sha, ready=True)
        return await self._store.save(changed, was=deployment.phase, by=Who.SERVICE)

    async def _live_already(self, deployment: Deployment) -> str | None:
        """Its commit, if that is live by the history and nothing under way may change it."""
        if deployment.sha is None:
            return None
        try:
            live = believed_commit(await self._store.started(deployment.target))
            unfinished = await self._store.unfinished() if live == deployment.sha else ()
        except StoreError as error:
            log.info("live_not_noted", deployment_id=deployment.id, why=str(error))
            return None
        others = [one for one in unfinished if one.id != deployment.id]
        free = all(one.target != deployment.target for one in others)
        return live if live == deployment.sha and free else None

    def _note_live(self, deployment_id: str, live: str | None) -> None:
        progress = replace(self._deployments.progress(deployment_id), live_sha=live)
        self._deployments.cache.note(deployment_id, progress)

    async def _finish_look_up(
        self, deployment: Deployment, looking: asyncio.Future[Resolved | NotDeployable]
    ) -> None:
        try:
            found = await looking
            if isinstance(found, NotDeployable):
                await self._end_waiting(deployment, found.failure, found.sentence)
                return
            fresh = await self._ready(deployment, found)
            self._deployments.cache.put(fresh)
            self._deployments.note_waiting(deployment.id, place=None, waits_for=None)
            self._note_live(fresh.id, await self._live_already(fresh))
            self._deployments.announcer.changed(fresh.id, Urgency.PHASE)
        except (DokkuError, StoreError) as error:
            # Cancelled or started meanwhile, or nobody could tell now: the owner of the start
            # looks again, with its own tries and its own end.
            log.info("look_up_left", deployment_id=deployment.id, why=str(error))
        finally:
            self._hooks.look_for_work()
