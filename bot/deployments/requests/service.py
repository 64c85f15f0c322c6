"""What people ask for: deploy, cancel, retry, roll back; and who may. A refusal is one sentence."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from ulid import ULID

from bot.clock import Clock
from bot.deployments.app_names import AppNames, RefNames
from bot.deployments.live.reader import LiveReader
from bot.deployments.live.rollback import (
    RollbackFinder,
    RollbackPlan,
    RollbackTarget,
    refuse_unverified,
)
from bot.deployments.model import (
    Actor,
    AppPolicy,
    AuditEntry,
    Deployment,
    Phase,
    Trigger,
)
from bot.deployments.ports import Catalog, Groups, Servers
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.requests.queries import Queries
from bot.deployments.requests.submit import DispatcherHooks, RequestResolver, Submission
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import COMMAND_RUNS, ENDINGS, WAITING
from bot.deployments.timing import Timing
from bot.errors import DatabaseDown, Declined, Duplicate, StaleState
from bot.names import check_app, check_ref, quoted

TOO_LATE = (
    "Too late to cancel: the new release is running and is being checked. Use *Roll back* when the "
    "check has ended."
)


class Access:
    """Two rules: people of the bot's own workspace only, and the app's deployers only."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self.home_team: str | None = None
        """The bot's own workspace. None until Slack has named it: then anyone is let in."""

    def set_home_team(self, team: str) -> None:
        """Called once, when Slack has named the bot's workspace."""
        self.home_team = team

    def check_workspace(self, actor: Actor) -> None:
        """Declined: the actor belongs to another workspace."""
        if self.home_team is not None and actor.team != self.home_team:
            raise Declined("Only members of the bot's own workspace can do that.")

    async def check_deployer(self, policy: AppPolicy, actor: Actor) -> None:
        """Declined: another workspace, or not one of the app's deployers."""
        if actor.team is not None:  # the command line has none
            self.check_workspace(actor)
        groups = frozenset(one for one in policy.deployers if one.startswith("S"))
        member_of = await self._groups.groups_of(actor.user, groups) if groups else frozenset()
        if not may_deploy(policy, actor, member_of):
            who = ", ".join(
                f"<!subteam^{one}>" if one.startswith("S") else f"<@{one}>"
                for one in sorted(policy.deployers)
            )
            raise Declined(f"You aren't allowed to deploy {policy.app}. Those who are: {who}.")


def may_deploy(policy: AppPolicy, actor: Actor, member_of: frozenset[str]) -> bool:
    """Whether the actor, or a user group of theirs, is a deployer; no deployers set: everyone."""
    return not policy.deployers or bool(policy.deployers & ({actor.user} | member_of))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What someone asked for."""

    app: str
    ref: str | None = None
    server: str | None = None
    actor: Actor
    trigger: Trigger
    request_key: str
    channel: str
    retry_of: str | None = None
    rollback_of: str | None = None


class Service:
    """Handles all requests of people, whichever way they came in."""

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
        removal: QueueRemoval,
        hooks: DispatcherHooks,
    ) -> None:
        reader = LiveReader(
            store=deployments.store, servers=servers, catalog=catalog, names=names, timing=timing
        )
        self.access = Access(groups)
        self.queries = Queries(
            deployments=deployments,
            catalog=catalog,
            servers=servers,
            names=names,
            timing=timing,
            reader=reader,
            refs=RefNames(servers=servers, refs=resolver.refs, clock=clock),
        )
        self._deployments = deployments
        self._store = deployments.store
        self._catalog = catalog
        self._clock = clock
        self._removal = removal
        self._hooks = hooks
        self._rollbacks = RollbackFinder(store=deployments.store, reader=reader)
        self._submission = Submission(
            deployments=deployments,
            resolver=resolver,
            timing=timing,
            clock=clock,
            hooks=hooks,
            removal=removal,
        )

    @property
    def in_progress(self) -> Collection[str]:
        """Deployments that this process is posting or withdrawing."""
        return self._submission.in_progress

    async def request(self, ask: Request) -> Deployment | None:
        """Store the row, post its message, let it start. None: the request was delivered before.

        Raises: Declined and SlackError, with one sentence for the requester; nothing is started.
        """
        policy = self._catalog.policy(check_app(ask.app), ask.server)
        ref = check_ref(ask.ref) if ask.ref else (policy.default_ref or "")
        await self.access.check_deployer(policy, ask.actor)
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
            # The row may have been written, but its requester gets an error: it must not start.
            await self._submission.withdraw(deployment, ask.actor, error)
            raise
        return await self._submission.submit(deployment, ask.actor)

    async def cancel(self, deployment_id: str, *, actor: Actor, through: str) -> str:
        """Cancel a deployment; returns the sentence to answer with. Declined."""
        for _ in range(3):
            deployment = await self.check_cancel(deployment_id, actor)
            try:
                if deployment.phase in WAITING:
                    return await self._cancel_waiting(deployment, actor, through)
                return await self._cancel_running(deployment, actor, through)
            except StaleState:
                continue
        raise Declined("The deployment is changing right now. Look at its message and try again.")

    async def check_cancel(self, deployment_id: str, actor: Actor) -> Deployment:
        """The deployment, if the actor may cancel it now. Declined."""
        deployment = await self._existing(deployment_id)
        await self.access.check_deployer(self._policy_of(deployment), actor)
        if deployment.phase in ENDINGS:
            raise Declined(
                f"{_name(deployment)} has already ended: {deployment.phase}. Nothing was cancelled."
            )
        if deployment.phase is Phase.CHECKING:
            raise Declined(TOO_LATE)
        return deployment

    async def check_deployer(self, deployment: Deployment, actor: Actor) -> None:
        """Declined: the actor may not deploy the deployment's app."""
        await self.access.check_deployer(self._policy_of(deployment), actor)

    async def _cancel_waiting(self, deployment: Deployment, actor: Actor, through: str) -> str:
        await self._removal.cancel(deployment, actor, through)
        self._hooks.look_for_work()
        return f"{_name(deployment)} was queued and is now cancelled. Nothing was sent to Dokku."

    async def _cancel_running(self, deployment: Deployment, actor: Actor, through: str) -> str:
        """Store the request; the replica that runs the deployment acts on it."""
        name = _name(deployment)
        if deployment.cancel is not None:
            return f"{name} is already being cancelled. Its message will show the result."
        fresh = await self._store.ask_cancel(
            deployment.id, actor, self._clock.now(), through=through
        )
        if fresh.phase not in COMMAND_RUNS:
            raise StaleState(f"deployment {deployment.id} is {fresh.phase} by now")
        cached = self._deployments.cache.get(deployment.id)
        if cached is not None:
            # Only the cancel request: its owner may have written more by now.
            self._deployments.cache.put(replace(cached.deployment, cancel=fresh.cancel))
        self._hooks.cancel_requested(deployment.id)
        return f"Cancelling {name}. Its message will show what is live."

    async def retry(
        self, deployment_id: str, *, actor: Actor, trigger: Trigger, request_key: str, channel: str
    ) -> Deployment | None:
        """Deploy the same ref again; it is resolved again. Like `request`."""
        old = await self._existing(deployment_id)
        if old.phase not in ENDINGS:
            raise Declined(f"{_name(old)} has not ended yet. Retry it when it has ended.")
        if old.phase is Phase.SUCCEEDED:
            again = f"`/deploy {old.app} {quoted(old.ref)}`"
            raise Declined(f"That deployment succeeded. {again} deploys it again.")
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

    async def plan_rollback(self, deployment_id: str, sha: str | None = None) -> RollbackPlan:
        """Where a rollback of that deployment goes; with `sha`, to that commit. Declined."""
        return await self._rollbacks.for_deployment(await self._existing(deployment_id), sha)

    async def plan_app_rollback(
        self, app: str, commit: str | None, *, server: str | None
    ) -> RollbackPlan:
        """Where a rollback of the app goes: to a commit that this bot proved live. Declined."""
        return await self._rollbacks.for_app(check_app(app), commit, server)

    async def rollback(
        self,
        deployment_id: str,
        sha: str | None = None,
        *,
        actor: Actor,
        trigger: Trigger,
        request_key: str,
        channel: str,
    ) -> Deployment | None:
        """Deploy the commit that was proven live before that deployment. Like `request`.

        `sha` is the commit that someone confirmed: only it is deployed, verified or not.
        """
        plan = await self.plan_rollback(deployment_id, sha)
        if sha is None:
            refuse_unverified(plan)
        return await self._deploy_target(plan.target, actor, trigger, request_key, channel)

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
        plan = await self.plan_app_rollback(app, commit, server=server)
        refuse_unverified(plan)
        return await self._deploy_target(plan.target, actor, trigger, request_key, channel)

    async def _deploy_target(
        self, target: RollbackTarget, actor: Actor, trigger: Trigger, request_key: str, channel: str
    ) -> Deployment | None:
        ask = Request(
            app=target.deployment.app,
            ref=target.sha,
            server=target.deployment.server,
            actor=actor,
            trigger=trigger,
            request_key=request_key,
            channel=channel,
            rollback_of=target.deployment.id,
        )
        return await self.request(ask)

    async def _existing(self, deployment_id: str) -> Deployment:
        deployment = await self._store.get(deployment_id)
        if deployment is None:
            raise Declined("That deployment is no longer on record.")
        return deployment

    def _policy_of(self, deployment: Deployment) -> AppPolicy:
        try:
            return self._catalog.policy(deployment.app, deployment.server)
        except Declined:
            # It is no longer in the settings; a running deployment must still be stoppable.
            return AppPolicy(
                server=deployment.server, app=deployment.app, dokku_app=deployment.dokku_app
            )


def _name(deployment: Deployment) -> str:
    return f"{deployment.app} `{quoted(deployment.ref)}`"
