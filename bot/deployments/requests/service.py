"""What people ask for: deploy, cancel, retry, roll back; and who may. A refusal is one sentence."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from ulid import ULID

from bot.clock import Clock, Kept
from bot.deployments.app_names import AppNames
from bot.deployments.live.reader import LiveReader
from bot.deployments.live.rollback import RollbackFinder, RollbackTarget
from bot.deployments.lock import AppLocked
from bot.deployments.locks.service import LockService, locked
from bot.deployments.model import (
    Actor,
    AppPolicy,
    AuditEntry,
    Deployment,
    Person,
    Phase,
    Trigger,
)
from bot.deployments.ports import Catalog, People, Servers
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.queue.rules import refuse_too_many
from bot.deployments.requests.queries import Queries
from bot.deployments.requests.submit import (
    DispatcherHooks,
    RequestResolver,
    ShippedCommits,
    Submission,
)
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import COMMAND_RUNS, ENDINGS, WAITING
from bot.deployments.timing import Timing
from bot.errors import DatabaseDown, Declined, Duplicate, NotKnown, SlackError, StaleState
from bot.names import check_app, check_ref, quoted

STRANGER = "Only members of the bot's own workspace can do that."
GUEST = (
    "Guests of the workspace can't do that. An operator can list you among an app's `deployers`."
)
PERSON_FRESH = timedelta(minutes=5)
PERSON_USABLE = timedelta(hours=1)
"""Who became a guest is refused after the first; a Slack that fails stops nobody for the second."""
GROUP_FRESH = timedelta(minutes=1)
"""`usergroups.users.list` is a tier 2 method."""


class Access:
    """Who may do what: people of the bot's own workspace or its enterprise, and deployers.

    Guests of the workspace only where they are listed. What Slack does not say is refused.
    """

    def __init__(self, *, people: People, catalog: Catalog, clock: Clock) -> None:
        self._people = people
        self._catalog = catalog
        self._clock = clock
        self._persons = Kept[Person | None](clock, fresh=PERSON_FRESH, usable=PERSON_USABLE)
        self._groups = Kept[frozenset[str]](clock, fresh=GROUP_FRESH, usable=GROUP_FRESH)
        self.home_team: str | None = None
        """The bot's own workspace. None until Slack has named it: then anyone is let in."""
        self._enterprise: str | None = None

    def set_home(self, team: str, enterprise: str | None = None) -> None:
        """Called once, when Slack has named the bot's workspace, and its enterprise if any."""
        self.home_team, self._enterprise = team, enterprise

    async def admit(self, actor: Actor) -> Actor:
        """The person, as one of the bot's workspace whichever of its enterprise Slack named.

        Declined: another organization, or a guest whom no app lists.
        """
        person = await self._check_home(actor)
        if person.guest:
            listed = frozenset[str]().union(*(one.deployers for one in self._catalog.listed()))
            if not await self._is_listed(actor, listed):
                raise Declined(GUEST)
        return replace(actor, team=self.home_team or actor.team)

    async def check_deployer(self, policy: AppPolicy, actor: Actor) -> None:
        """Declined: another organization, a guest, or not one of the app's deployers."""
        if actor.team is None:
            return  # the command line: whoever may write to the database
        person = await self._check_home(actor)
        if await self._is_listed(actor, policy.deployers):
            return
        if policy.deployers:
            who = mentions(policy.deployers)
            raise Declined(f"You aren't allowed to deploy {policy.app}. Those who are: {who}.")
        if person.guest:
            raise Declined(GUEST)

    async def check_start(self, deployment: Deployment) -> None:
        """A waiting one is about to start: Declined if its requester may no longer deploy it.

        NotKnown: Slack does not say now.
        """
        policy = self._catalog.rules_of(deployment)
        name = deployment.requested_by.name or "its requester"
        if policy is None:
            raise Declined(
                f"The settings no longer know {deployment.app} on {deployment.server}, so it was "
                "not started"
            )
        try:
            await self.check_deployer(policy, deployment.requested_by)
        except NotKnown:
            raise NotKnown(f"Slack to say whether {name} may deploy it") from None
        except Declined:
            raise Declined(
                f"While it waited, {name} lost the right to deploy {deployment.app}, so it was "
                "not started. Someone who may can deploy it"
            ) from None

    async def _check_home(self, actor: Actor) -> Person:
        """Whoever the request says it is from, Slack has the last word on where they belong."""
        if self._enterprise is None and self.home_team not in {None, actor.team}:
            raise Declined(STRANGER)
        try:
            person = await self._persons.get(actor.user, self._people.person)
        except SlackError as error:
            raise NotKnown(_not_known("whether you are a guest of the workspace", error)) from error
        if person is None or person.outsider:
            raise Declined(STRANGER)
        same = self._enterprise is not None and person.enterprise == self._enterprise
        if not same and self.home_team is not None and self.home_team not in person.teams:
            raise Declined(STRANGER)
        return person

    async def _is_listed(self, actor: Actor, deployers: Collection[str]) -> bool:
        """By id or by user group. NotKnown: only a group that cannot be read could tell."""
        if actor.user in deployers:
            return True
        unread: SlackError | None = None
        for group in sorted(one for one in deployers if one.startswith("S")):
            try:
                if actor.user in await self._groups.get(group, self._people.group_members):
                    return True
            except SlackError as error:
                unread = error
        if unread is not None:
            raise NotKnown(_not_known("who is in the app's user groups", unread)) from unread
        return False

    async def check_approver(self, policy: AppPolicy, actor: Actor) -> None:
        """Declined: not one of the app's approvers; where none are set, of its deployers."""
        if not policy.approvers or actor.team is None:
            await self.check_deployer(policy, actor)
            return
        await self._check_home(actor)
        if not await self._is_listed(actor, policy.approvers):
            who = mentions(policy.approvers)
            raise Declined(f"Only approvers of {policy.app} can do that: {who}.")


def mentions(listed: Collection[str]) -> str:
    """Users and user groups, as Slack mentions them."""
    return ", ".join(
        f"<!subteam^{one}>" if one.startswith("S") else f"<@{one}>" for one in sorted(listed)
    )


def _not_known(what: str, error: SlackError) -> str:
    return f"Slack did not say {what}, so nothing was done: {error} Try again in a minute."


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
        access: Access,
        resolver: RequestResolver,
        names: AppNames,
        timing: Timing,
        clock: Clock,
        removal: QueueRemoval,
        hooks: DispatcherHooks,
        commits: ShippedCommits,
    ) -> None:
        reader = LiveReader(
            store=deployments.store, servers=servers, catalog=catalog, names=names, timing=timing
        )
        self.access = access
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
        )
        self._deployments = deployments
        self._store = deployments.store
        self._catalog = catalog
        self._clock, self._timing = clock, timing
        self._counting = asyncio.Lock()
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
            commits=commits,
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
            async with self._counting:  # two at once must not both take the last place
                refuse_too_many(await self._store.unfinished(), deployment, self._timing)
                await self._store.create(deployment, audit)
        except Duplicate:
            return None
        except AppLocked as stopped:
            raise locked(
                stopped.lock, deployment.target, policy.app, effect="Nothing was started."
            ) from stopped
        except DatabaseDown as error:
            # The row may have been written, but its requester gets an error: it must not start.
            await self._submission.withdraw(deployment, ask.actor, error)
            raise
        return await self._submission.submit(deployment, ask.actor)

    async def cancel(self, deployment_id: str, *, actor: Actor, through: str) -> str:
        """Cancel a deployment; returns the sentence to answer with. Declined."""
        for _ in range(3):
            deployment = await self._existing(deployment_id)
            await self._check_cancel(deployment, actor)
            if deployment.phase in ENDINGS:
                raise Declined(
                    f"{_name(deployment)} has already ended: {deployment.phase}. "
                    "Nothing was cancelled."
                )
            if deployment.phase is Phase.CHECKING:
                raise Declined(
                    "Too late to cancel: the new release is running and is being checked. "
                    "Use *Roll back* when the check has ended."
                )
            try:
                if deployment.phase in WAITING:
                    return await self._cancel_waiting(deployment, actor, through)
                return await self._cancel_running(deployment, actor, through)
            except StaleState:
                continue
        raise Declined("The deployment is changing right now. Look at its message and try again.")

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
        )
        return await self.request(ask)

    async def rollback(
        self, deployment_id: str, *, actor: Actor, trigger: Trigger, request_key: str, channel: str
    ) -> Deployment | None:
        """Deploy the commit that was proven live before that deployment. Like `request`."""
        target = await self._rollbacks.for_deployment(await self._existing(deployment_id))
        return await self._deploy_target(target, actor, trigger, request_key, channel)

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
        target = await self._rollbacks.for_app(check_app(app), commit, server)
        return await self._deploy_target(target, actor, trigger, request_key, channel)

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
        )
        return await self.request(ask)

    async def _existing(self, deployment_id: str) -> Deployment:
        deployment = await self._store.get(deployment_id)
        if deployment is None:
            raise Declined("That deployment is no longer on record.")
        return deployment

    async def _check_cancel(self, deployment: Deployment, actor: Actor) -> None:
        """Declined: not a deployer of the app; or not the requester, if nothing knows the app."""
        rules = self._catalog.rules_of(deployment)
        if rules is not None:
            await self.access.check_deployer(rules, actor)
        elif actor.team is not None and actor.user != deployment.requested_by.user:
            raise Declined(
                f"The settings no longer know {deployment.app} on {deployment.server}. Only its "
                "requester may cancel this, or an operator with `deploybot cancel`."
            )

    def _rules_to_repeat(self, old: Deployment) -> AppPolicy:
        """Of the app that the old one deployed. Declined: nothing knows it any more."""
        rules = self._catalog.rules_of(old)
        if rules is None:
            raise Declined(
                f"The settings no longer know {old.app} on {old.server}, so nothing was started. "
                "`/deploy apps` lists what can be deployed."
            )
        return rules


def _name(deployment: Deployment) -> str:
    return f"{deployment.app} `{quoted(deployment.ref)}`"
