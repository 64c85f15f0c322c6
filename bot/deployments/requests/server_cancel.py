"""Cancel a build on the server: one that lives on without a connection, or blocks an app.

`builds:cancel` takes no id, so an approver decides, who was shown what is known; and what is known
is checked again when they have decided. The record and the containers show what came of it.
"""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import structlog

from bot.clock import Clock
from bot.deployments.app_names import no_longer_known
from bot.deployments.dokku_facts import BuildRecord
from bot.deployments.model import Actor, Deployment
from bot.deployments.ports import Catalog, Dokku, Servers
from bot.deployments.requests.access import Access
from bot.deployments.requests.submit import DispatcherHooks
from bot.deployments.state.lease import leased, queue_held
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import ENDINGS, RUNNING
from bot.deployments.timing import Timing
from bot.deployments.verdict.left_builds import NOTHING_SENT, only_running, refuse_again
from bot.deployments.verdict.outside_changes import UNRECORDED, describe_build
from bot.deployments.verdict.server_cancel import LogSeen, LogWatch, cancel_on_server
from bot.errors import Declined, DokkuError, OutcomeUnknown

log = structlog.get_logger(__name__)

BUSY = f"Another look at it is under way. {NOTHING_SENT} Try again in a few seconds."
FOLLOWED = (
    f"The bot still follows that build, so *Cancel* on its message ends it safely. {NOTHING_SENT}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBuild:
    """A build that may be cancelled on the server, and what is known of it."""

    app: str
    server: str
    record: BuildRecord
    of: Deployment | None
    """The deployment whose build it is, proven by its id; None: it is not this bot's."""
    log: LogSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a click is about."""

    row: Deployment
    """The deployment whose button was pressed."""
    of: Deployment | None
    build_id: str
    dokku: Dokku

    @property
    def subject(self) -> Deployment:
        """The deployment that the request is recorded with."""
        return self.of or self.row


class ServerCancels:
    """Checks state and person at each call. Declined: one sentence, and nothing was sent."""

    def __init__(
        self,
        *,
        replica: str,
        deployments: DeploymentRepository,
        catalog: Catalog,
        servers: Servers,
        access: Access,
        logs: LogWatch,
        hooks: DispatcherHooks,
        look_late: Callable[[], Coroutine[Any, Any, None]],
        timing: Timing,
        clock: Clock,
    ) -> None:
        """`look_late` looks into unproven results now."""
        self._replica = f"{replica} server cancel"
        self._deployments = deployments
        self._store = deployments.store
        self._catalog = catalog
        self._servers = servers
        self._access = access
        self._logs = logs
        self._hooks = hooks
        self._look_late = look_late
        self._timing = timing
        self._clock = clock

    async def look(self, deployment_id: str, build_id: str | None, actor: Actor) -> LeftBuild:
        """What is known of the build that the button on the deployment's message is about."""
        found = await self._find(deployment_id, build_id, actor)
        row = found.row
        try:
            record = await self._record(found)
            seen = await self._logs.look(found.dokku, row.dokku_app, found.build_id)
        except DokkuError as error:
            raise Declined(f"{error} {NOTHING_SENT}") from error
        return LeftBuild(app=row.app, server=row.server, record=record, of=found.of, log=seen)

    async def cancel(
        self, deployment_id: str, build_id: str | None, actor: Actor, through: str
    ) -> str:
        """Cancel it; returns the sentence to answer with."""
        found = await self._find(deployment_id, build_id, actor)
        try:
            record = await self._record(found)
            if found.of is not None and found.of.phase in RUNNING:
                await self._ask_owner(found, found.of, actor, through)
            else:
                await self._send(found, actor, through)
        except OutcomeUnknown as error:
            raise Declined(
                f"{error} Whether the build was cancelled is not known yet; its record will show "
                "it."
            ) from error
        except DokkuError as error:
            raise Declined(f"{error} {NOTHING_SENT}") from error
        what = f"Dokku build {record.id}" if found.of else describe_build(record)
        then = (
            "The deployment's message will show what its record and the containers say."
            if found.of
            else "What waits behind it starts once Dokku's record shows that it has ended."
        )
        return f"Cancelling {what} on the server. {then}"

    async def _find(self, deployment_id: str, build_id: str | None, actor: Actor) -> _Found:
        row = await self._store.get(deployment_id)
        if row is None or build_id is None:
            raise Declined(f"That deployment is no longer on record. {NOTHING_SENT}")
        rules = self._catalog.rules_of(row.target, row.app)
        if rules is None:
            gone = no_longer_known(self._catalog, row.app, row.server)
            raise Declined(
                f"{gone}. {NOTHING_SENT} An operator can cancel the build on the server."
            )
        await self._access.check_approver(rules, actor)
        of = await self._deployment_of(row, build_id)
        if of is not None and of.phase in RUNNING and of.left_build != build_id:
            raise Declined(FOLLOWED)
        return _Found(row=row, of=of, build_id=build_id, dokku=self._servers.get(row.server))

    async def _deployment_of(self, row: Deployment, build_id: str) -> Deployment | None:
        for one in (
            row,
            *await self._store.unfinished(row.target),
            *await self._store.recent(app=row.app, server=row.server),
        ):
            if one.build_id == build_id and one.target == row.target:
                return one
        return None

    async def _record(self, found: _Found) -> BuildRecord:
        """Its record, if it runs. Declined: someone asked to cancel it a moment ago."""
        if not await found.dokku.keeps_records():
            raise Declined(f"{NOTHING_SENT} {UNRECORDED.advice}")
        app = found.row.dokku_app
        record = only_running(await found.dokku.builds(app), found.build_id, app)
        await self._refuse_again(found)
        return record

    async def _refuse_again(self, found: _Found) -> None:
        trail = await self._store.audit_of(found.subject.id)
        refuse_again(trail, found.build_id, self._clock.now(), self._timing.server_cancel_pause)

    async def _ask_owner(
        self, found: _Found, running: Deployment, actor: Actor, through: str
    ) -> None:
        """Store the request; the replica that owns the deployment acts on it."""
        fresh = await self._store.ask_cancel(
            running.id, actor, self._clock.now(), through=through, build=found.build_id
        )
        cached = self._deployments.cache.get(running.id)
        if cached is not None:
            self._deployments.cache.put(replace(cached.deployment, cancel=fresh.cancel))
        self._hooks.cancel_requested(running.id)

    async def _send(self, found: _Found, actor: Actor, through: str) -> None:
        """Send it from here, as no worker owns the build. The app's queue is held until then."""
        row, timing, clock = found.row, self._timing, self._clock
        async with AsyncExitStack() as stack:
            if found.of is not None and found.of.phase in ENDINGS:
                lease = leased(self._store, found.of.id, self._replica, 2 * timing.lease)
                if await stack.enter_async_context(lease) is None:
                    raise Declined(BUSY)
            held = queue_held(self._store, row.target, self._replica, clock=clock, timing=timing)
            may_act = await stack.enter_async_context(held)
            if may_act is None:
                raise Declined(BUSY)
            await self._refuse_again(found)  # someone else's may just have been carried out
            fresh = await self._store.ask_cancel(
                found.subject.id, actor, clock.now(), through=through, build=found.build_id
            )
            if found.of is not None:
                self._deployments.cache.put(fresh)
            await cancel_on_server(
                found.dokku,
                row.dokku_app,
                found.build_id,
                may_act=may_act,
                clock=clock,
                timing=timing,
            )
        log.info(
            "server_cancel_sent",
            deployment_id=found.subject.id,
            build_id=found.build_id,
            why="approved",
        )
        self._hooks.look_for_work()
        if found.of is not None:
            self._hooks.spawn(self._look_late())
