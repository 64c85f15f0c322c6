"""What people ask for: deploy, cancel, retry, roll back; and who may. A refusal is one sentence."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace

from ulid import ULID

from bot.clock import Clock
from bot.deployments.app_names import AppNames, RefNames, no_longer_known
from bot.deployments.live.reader import LiveReader
from bot.deployments.live.rollback import (
    RollbackFinder,
    RollbackPlan,
    RollbackTarget,
    refuse_unverified,
)
from bot.deployments.lock import AppLocked
from bot.deployments.locks.service import LockService, locked
from bot.deployments.model import (
    Actor,
    AppPolicy,
    Approval,
    AuditEntry,
    Deployment,
    Event,
    Phase,
    Trigger,
)
from bot.deployments.ports import Catalog, Servers
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.queue.rules import refuse_too_many
from bot.deployments.requests.access import Access
from bot.deployments.requests.approvals import Approvals
from bot.deployments.requests.queries import Queries
from bot.deployments.requests.server_cancel import ServerCancels
from bot.deployments.requests.submit import (
    DispatcherHooks,
    RequestResolver,
    ShippedCommits,
    Submission,
)
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import COMMAND_RUNS, ENDINGS, WAITING
from bot.deployments.timing import Timing
from bot.errors import DatabaseDown, Declined, Duplicate, StaleState
from bot.names import check_app, check_ref, quoted, slash

TOO_LATE = (
    "Too late to cancel: the new release is running and is being checked. Use *Roll back* when the "
    "check has ended."
)


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
    came_from: str | None = None
    """The name of the ref, where `ref` is a commit that was deployed from it."""


class Service:
    """Handles all requests of people, whichever way they came in."""

    def __init__(
        self,
        *,
        deployments: DeploymentRepository,
        catalog: Catalog,
        servers: Servers,
        access: Access,
        resolver: RequestResolver,
        names: AppNames,
        timing: Timing,
        clock: Clock,
        removal: QueueRemoval,
        hooks: DispatcherHooks,
        commits: ShippedCommits,
        server_cancels: ServerCancels,
    ) -> None:
        reader = LiveReader(
            store=deployments.store, servers=servers, catalog=catalog, names=names, timing=timing
        )
        self.access, self.server_cancels = access, server_cancels
        self.locks = LockService(
            store=deployments.store,
            catalog=catalog,
            guard=self.access,
            clock=clock,
            names=names,
            patience=timing.lookup_grace,
        )
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
        self._clock, self._timing = clock, timing
        self._counting = asyncio.Lock()
        self._removal = removal
        self._hooks = hooks
        self.approvals = Approvals(
            deployments=deployments,
            look_up=resolver.look_up,
            removal=removal,
            clock=clock,
            look_for_work=hooks.look_for_work,
            read_commits=commits.read,
            check=self._check_decision,
        )
        self._rollbacks = RollbackFinder(store=deployments.store, reader=reader)
        self._submission = Submission(
            deployments=deployments,
            resolver=resolver,
            timing=timing,
            clock=clock,
            hooks=hooks,
            removal=removal,
            commits=commits,
        )

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
        if policy.channels and ask.actor.team is not None and ask.channel not in policy.channels:
            raise _elsewhere(policy)
        now = self._clock.now()
        # A rollback is urgent, and goes to a commit that was live: it is audited, not approved.
        approval = Approval.NONE if ask.rollback_of else policy.approval
        asks = approval is not Approval.NONE
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
            channel=policy.channel or ask.channel,
            created_at=now,
            queued_at=None if asks else now,
            phase=Phase.AWAITING_APPROVAL if asks else Phase.QUEUED,
            approval=approval,
            retry_of=ask.retry_of,
            rollback_of=ask.rollback_of,
            came_from=ask.came_from,
            max_duration=policy.max_duration,
        )
        audit = AuditEntry(
            actor=ask.actor,
            through=ask.trigger,
            action="requested",
            detail={"app": policy.app, "server": policy.server, "ref": ref},
        )
        try:
            called = _call_for_approval(policy, deployment)
            async with self._counting:  # two at once must not both take the last place
                refuse_too_many(await self._store.unfinished(), deployment, self._timing)
                await self._store.create(deployment, audit, called)
        except Duplicate as known:
            first = await self._store.get(known.deployment_id)
            if first is not None and first.request_key != ask.request_key:
                raise _already(first) from known
            return None
        except AppLocked as stopped:
            raise locked(
                stopped.lock, deployment.target, policy.app, effect="Nothing was started."
            ) from stopped
        except DatabaseDown as error:
            if not error.nothing_written:
                # Its requester gets an error: it must not start, if it was written after all.
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
        await self._check_cancel(deployment, actor)
        if deployment.phase in ENDINGS:
            raise Declined(
                f"{_name(deployment)} has already ended: {deployment.phase}. Nothing was cancelled."
            )
        if deployment.phase is Phase.CHECKING:
            raise Declined(TOO_LATE)
        return deployment

    async def check_deployer(self, deployment: Deployment, actor: Actor) -> None:
        """Declined: the actor may not deploy the deployment's app."""
        await self.access.check_deployer(self._rules_to_repeat(deployment), actor)

    async def _cancel_waiting(self, deployment: Deployment, actor: Actor, through: str) -> str:
        await self._removal.cancel(deployment, actor, through)
        self._hooks.look_for_work()
        queued = deployment.phase is Phase.QUEUED
        was = "was queued" if queued else "was waiting for its approval"
        return f"{_name(deployment)} {was} and is now cancelled. Nothing was sent to Dokku."

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
            again = slash(f"{old.app} {quoted(old.ref)}")
            raise Declined(f"That deployment succeeded. {again} deploys it again.")
        rules = self._rules_to_repeat(old)
        ask = Request(
            app=rules.app,
            ref=old.ref or None,
            server=rules.server,
            actor=actor,
            trigger=trigger,
            request_key=request_key,
            channel=channel,
            retry_of=old.id,
            came_from=old.came_from,
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
        rules = self._rules_to_repeat(target.deployment)
        ask = Request(
            app=rules.app,
            ref=target.sha,
            server=rules.server,
            actor=actor,
            trigger=trigger,
            request_key=request_key,
            channel=channel,
            rollback_of=target.deployment.id,
            came_from=target.came_from,
        )
        return await self.request(ask)

    async def _existing(self, deployment_id: str) -> Deployment:
        if (deployment := await self._store.get(deployment_id)) is None:
            raise Declined("That deployment is no longer on record.")
        return deployment

    async def _check_decision(self, deployment: Deployment, actor: Actor, reject: bool) -> None:
        rules = self._catalog.rules_of(deployment.target, deployment.app)
        await self.access.check_decision(rules, deployment, actor, reject=reject)

    async def _check_cancel(self, deployment: Deployment, actor: Actor) -> None:
        """Declined: neither the requester nor one who may cancel what others requested."""
        rules = self._catalog.rules_of(deployment.target, deployment.app)
        if rules is not None:
            await self.access.check_cancel(rules, deployment, actor)
        elif actor.team is not None and actor.user != deployment.requested_by.user:
            gone = no_longer_known(self._catalog, deployment.app, deployment.server)
            raise Declined(
                f"{gone}. Only its requester may cancel this, or an operator with `deploybot "
                "cancel`."
            )

    def _rules_to_repeat(self, old: Deployment) -> AppPolicy:
        """Of the app that the old one deployed. Declined: nothing knows it any more."""
        rules = self._catalog.rules_of(old.target, old.app)
        if rules is None:
            gone = no_longer_known(self._catalog, old.app, old.server)
            raise Declined(
                f"{gone}, so nothing was started. {slash('apps')} lists what can be deployed."
            )
        return rules


def _call_for_approval(policy: AppPolicy, deployment: Deployment) -> Event | None:
    """Mentions the app's approvers, once. A requester who confirms sees the buttons anyway."""
    others = policy.approvers - {deployment.requested_by.user}
    if deployment.approval is not Approval.SECOND_PERSON or not others:
        return None
    return Event(type="deployment.approval", mentions=tuple(sorted(others)))


def _already(first: Deployment) -> Declined:
    what = "That retry" if first.retry_of else "That rollback"
    by = quoted(first.requested_by.name or first.requested_by.user)
    return Declined(f"{what} has already been started by {by}: {first.id}. Nothing was added.")


def _elsewhere(policy: AppPolicy) -> Declined:
    where = ", ".join(f"<#{one}>" for one in sorted(policy.channels))
    return Declined(
        f"{policy.app} can only be deployed from {where}. Nothing was started: ask there."
    )


def _name(deployment: Deployment) -> str:
    return f"{deployment.app} `{quoted(deployment.ref)}`"
