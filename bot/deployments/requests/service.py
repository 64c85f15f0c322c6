"""What people ask for: request, cancel, retry, roll back. One sentence per no."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from ulid import ULID

from bot.clock import Clock
from bot.deployments.live.going_back import GoingBack
from bot.deployments.live.rollback import Target
from bot.deployments.model import (
    Actor,
    AppPolicy,
    AuditEntry,
    Deployment,
    Phase,
    Trigger,
)
from bot.deployments.ports import Catalog, Groups, Servers, Timing
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.requests.queries import Queries
from bot.deployments.requests.resolve import AppNames, RequestResolver
from bot.deployments.requests.submit import Hooks, Submission
from bot.deployments.requests.validate import may_deploy
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import COMMAND_RUNS, ENDINGS, WAITING
from bot.errors import DatabaseDown, Declined, Duplicate, StaleState
from bot.names import check_app, check_ref, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asked for."""

    app: str
    ref: str | None = None
    server: str | None = None
    actor: Actor
    trigger: Trigger
    request_key: str
    channel: str
    retry_of: str | None = None
    rollback_of: str | None = None


class Service(Queries):
    """The one door for people's wishes, whatever they came through."""

    def __init__(
        self,
        *,
        deployments: DeploymentRepository,
        catalog: Catalog,
        servers: Servers,
        groups: Groups,
        resolver: RequestResolver,
        names: AppNames,
        timing: Timing,
        clock: Clock,
        hooks: Hooks,
    ) -> None:
        super().__init__(
            deployments=deployments, catalog=catalog, servers=servers, names=names, timing=timing
        )
        self.home_team: str | None = None
        """The bot's own workspace; people of others may do nothing."""
        self._groups = groups
        self._resolver = resolver
        self._clock = clock
        self._hooks = hooks
        self.removal = QueueRemoval(
            deployments=deployments, servers=servers, timing=timing, clock=clock
        )
        """How what waits is ended."""
        self._going_back = GoingBack(
            store=deployments.store, standings=self._standings, timing=timing
        )
        self._submission = Submission(
            deployments=deployments,
            resolver=resolver,
            timing=timing,
            clock=clock,
            hooks=hooks,
            end_waiting=self.removal.fail,
        )

    @property
    def posting(self) -> Collection[str]:
        """Rows whose message this process is posting, or whose withdrawal is under way."""
        return self._submission.posting

    async def request(self, ask: Request) -> Deployment | None:
        """Row, then message, then work. None: the same request was delivered before.

        Raises: Declined and SlackError, with one sentence for the asker; nothing was started.
        """
        policy = self._catalog.policy(check_app(ask.app), ask.server)
        ref = check_ref(ask.ref) if ask.ref else (policy.default_ref or "")
        await self._allow(policy, ask.actor)
        now = self._clock.now()
        deployment = Deployment(
            id=str(ULID.from_datetime(now)),
            server=policy.server,
            app=policy.app,
            dokku_app=policy.dokku_app,
            repo=self._catalog.repo_for(policy),
            ref=ref,
            requested_by=ask.actor,
            trigger=ask.trigger,
            request_key=ask.request_key,
            channel=ask.channel,
            created_at=now,
            queued_at=now,
            retry_of=ask.retry_of,
            rollback_of=ask.rollback_of,
            max_duration=policy.max_duration,
        )
        audit = AuditEntry(
            actor=ask.actor,
            through=ask.trigger,
            action="requested",
            detail={"app": policy.app, "server": policy.server, "ref": ref},
        )
        try:
            await self._store.create(deployment, audit)
        except Duplicate:
            return None
        except DatabaseDown as error:
            # Perhaps it was written: what an error was told of must not start.
            await self._submission.withdraw(deployment, ask.actor, error)
            raise
        return await self._submission.place(deployment, ask.actor)

    async def cancel(self, deployment_id: str, *, actor: Actor, through: str) -> str:
        """Ask for the end of a deployment; the sentence to answer. Declined: and why."""
        for _ in range(3):
            deployment = await self._existing(deployment_id)
            await self._allow(self._policy_of(deployment), actor)
            if deployment.phase in ENDINGS:
                raise Declined(
                    f"{deployment.app} `{quoted(deployment.ref)}` has already ended: "
                    f"{deployment.phase}. Nothing was cancelled."
                )
            if deployment.phase is Phase.CHECKING:
                raise Declined(
                    "Nothing is left to cancel: the new release is out and is being watched. "
                    "Use *Roll back* when it has ended."
                )
            try:
                return await self._cancel_now(deployment, actor, through)
            except StaleState:
                continue
        raise Declined("It is changing at this moment. Look at its message and try again.")

    async def _cancel_now(self, deployment: Deployment, actor: Actor, through: str) -> str:
        name = f"{deployment.app} `{quoted(deployment.ref)}`"
        if deployment.phase not in WAITING:
            if deployment.cancel is not None:
                return f"{name} is already being cancelled; its message tells the end."
            fresh = await self._store.ask_cancel(
                deployment.id, actor, self._clock.now(), through=through
            )
            if fresh.phase not in COMMAND_RUNS:
                raise StaleState(f"deployment {deployment.id} is {fresh.phase} by now")
            known = self._deployments.cache.get(deployment.id)
            if known is not None:
                # The wish alone: its owner may have written more by now.
                self._deployments.cache.put(replace(known.deployment, cancel=fresh.cancel))
            self._hooks.wish(deployment.id)
            return f"Cancelling {name}; its message tells what is live at the end."
        await self.removal.cancel(deployment, actor, through)
        self._hooks.look_for_work()
        return f"{name} was waiting and is cancelled. Nothing was sent to Dokku."

    async def retry(
        self, deployment_id: str, *, actor: Actor, trigger: Trigger, request_key: str, channel: str
    ) -> Deployment | None:
        """Deploy the same ref again, resolved anew. Like `request`."""
        old = await self._existing(deployment_id)
        if old.phase not in ENDINGS:
            raise Declined(f"{old.app} `{quoted(old.ref)}` has not ended yet.")
        if old.phase is Phase.SUCCEEDED:
            raise Declined(
                f"That deployment succeeded. `/deploy {old.app} {quoted(old.ref)}` deploys again."
            )
        ask = Request(
            app=old.app,
            ref=old.ref or None,
            server=old.server,
            actor=actor,
            trigger=trigger,
            request_key=request_key,
            channel=channel,
            retry_of=old.id,
        )
        return await self.request(ask)

    async def rollback(
        self, deployment_id: str, *, actor: Actor, trigger: Trigger, request_key: str, channel: str
    ) -> Deployment | None:
        """Deploy the commit that was proven live before that deployment. Like `request`."""
        target = await self._going_back.from_deployment(await self._existing(deployment_id))
        return await self._go_back(target, actor, trigger, request_key, channel)

    async def rollback_app(
        self,
        app: str,
        commit: str | None,
        *,
        server: str | None,
        actor: Actor,
        trigger: Trigger,
        request_key: str,
        channel: str,
    ) -> Deployment | None:
        """Deploy a commit that this bot proved live, the newest earlier one by default.

        Like `request`.
        """
        target = await self._going_back.from_app(check_app(app), commit, server)
        return await self._go_back(target, actor, trigger, request_key, channel)

    async def _go_back(
        self, target: Target, actor: Actor, trigger: Trigger, request_key: str, channel: str
    ) -> Deployment | None:
        ask = Request(
            app=target.of.app,
            ref=target.sha,
            server=target.of.server,
            actor=actor,
            trigger=trigger,
            request_key=request_key,
            channel=channel,
            rollback_of=target.of.id,
        )
        return await self.request(ask)

    async def _existing(self, deployment_id: str) -> Deployment:
        deployment = await self._store.get(deployment_id)
        if deployment is None:
            raise Declined("That deployment is not known any more.")
        return deployment

    def _policy_of(self, deployment: Deployment) -> AppPolicy:
        try:
            return self._catalog.policy(deployment.app, deployment.server)
        except Declined:
            # Its table is gone from the settings; what runs must still be stoppable.
            return AppPolicy(
                server=deployment.server, app=deployment.app, dokku_app=deployment.dokku_app
            )

    async def _allow(self, policy: AppPolicy, actor: Actor) -> None:
        if actor.team is not None and self.home_team is not None and actor.team != self.home_team:
            raise Declined("Only people of this bot's own workspace may do that.")
        groups = frozenset(one for one in policy.deployers if one.startswith("S"))
        holds = await self._groups.groups_of(actor.user, groups) if groups else frozenset()
        if not may_deploy(policy, actor, holds):
            who = ", ".join(
                f"<!subteam^{one}>" if one.startswith("S") else f"<@{one}>"
                for one in sorted(policy.deployers)
            )
            raise Declined(f"You may not deploy {policy.app}. Those who may: {who}.")
