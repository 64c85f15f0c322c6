"""Who may do what: people of the bot's own workspace, an app's deployers, its approvers."""

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from bot.clock import Clock, Kept
from bot.deployments.app_names import no_longer_known
from bot.deployments.model import Actor, AppPolicy, Approval, Deployment, Person
from bot.deployments.ports import Catalog, People
from bot.errors import Declined, NotKnown, SlackError

NOBODY = "nobody"
"""In a list of deployers or approvers: only the shell may."""
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
        if person.guest and not await self._is_listed(actor, self._catalog.named()):
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
        policy = self._catalog.rules_of(deployment.target, deployment.app)
        name = deployment.requested_by.name or "its requester"
        if policy is None:
            gone = no_longer_known(self._catalog, deployment.app, deployment.server)
            raise Declined(f"{gone}, so it was not started")
        try:
            await self.check_deployer(policy, deployment.requested_by)
        except NotKnown:
            if not policy.deployers or deployment.requested_by.user in policy.deployers:
                # No group decides, and they were admitted when they asked: the queue goes on while
                # Slack is away.
                return
            raise NotKnown(f"Slack to say whether {name} may deploy it") from None
        except Declined:
            raise Declined(
                f"While it waited, {name} lost the right to deploy {deployment.app}, so it was "
                "not started. Someone who may can deploy it"
            ) from None

    async def check_decision(
        self, policy: AppPolicy | None, deployment: Deployment, actor: Actor, *, reject: bool
    ) -> None:
        """Declined: the actor may not approve, or reject, this deployment."""
        if actor.team is None:
            return  # the command line
        person = await self._check_home(actor)
        own = actor.user == deployment.requested_by.user
        if own and (reject or deployment.approval is not Approval.SECOND_PERSON):
            return
        if policy is None:
            gone = no_longer_known(self._catalog, deployment.app, deployment.server)
            raise Declined(
                f"{gone}. Its requester may cancel this, and an operator may decide at the shell."
            )
        listed = policy.approvers or policy.deployers
        who = mentions(listed - {deployment.requested_by.user}) or "everyone else here"
        if own:
            raise Declined(
                f"{deployment.app} needs a second person: you requested this deployment, so "
                f"someone else has to approve it. Those who can: {who}."
            )
        if await self._is_listed(actor, listed):
            return
        if listed:
            raise Declined(
                f"You aren't allowed to approve deployments of {deployment.app}. "
                f"Those who are: {who}."
            )
        if person.guest:
            raise Declined(GUEST)

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

    async def check_cancel(self, policy: AppPolicy, deployment: Deployment, actor: Actor) -> None:
        """Declined: deployers cancel what they requested; approvers, where there are any, all."""
        if actor.user == deployment.requested_by.user or not policy.approvers:
            await self.check_deployer(policy, actor)
        else:
            await self.check_approver(policy, actor)

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
    return ", ".join(map(_mention, sorted(listed)))


def _mention(one: str) -> str:
    if one == NOBODY:
        return NOBODY
    return f"<!subteam^{one}>" if one.startswith("S") else f"<@{one}>"


def _not_known(what: str, error: SlackError) -> str:
    return f"Slack did not say {what}, so nothing was done: {error} Try again in a minute."
