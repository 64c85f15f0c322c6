"""Who may do what: people of the bot's own workspace, an app's deployers, its approvers."""

from collections.abc import Collection

from bot.deployments.model import Actor, AppPolicy, Approval, Deployment
from bot.deployments.ports import Groups
from bot.errors import Declined

SHELL = "cli"
"""The user of an `Actor` at a shell. Whoever can write to the database may do everything."""


class Access:
    """Each method raises Declined, with a sentence that says who may."""

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
        if not may_deploy(policy, actor, await self._groups_among(policy.deployers, actor)):
            who = mentions(policy.deployers)
            raise Declined(f"You aren't allowed to deploy {policy.app}. Those who are: {who}.")

    async def check_approver(
        self, policy: AppPolicy, deployment: Deployment, actor: Actor, *, reject: bool = False
    ) -> None:
        """Declined: the actor may not approve (or reject) this deployment."""
        if actor.user == SHELL:
            return
        self.check_workspace(actor)
        own = actor.user == deployment.requested_by.user
        if own and (reject or deployment.approval is not Approval.SECOND_PERSON):
            return
        listed = policy.approvers or policy.deployers
        who = mentions(listed - {deployment.requested_by.user}) or "everyone else here"
        if own:
            raise Declined(
                f"{deployment.app} needs a second person: you requested this deployment, so "
                f"somebody else has to approve it. Those who can: {who}."
            )
        if listed and not _is_among(listed, actor, await self._groups_among(listed, actor)):
            raise Declined(
                f"You aren't allowed to approve deployments of {deployment.app}. "
                f"Those who are: {who}."
            )

    async def _groups_among(self, listed: Collection[str], actor: Actor) -> frozenset[str]:
        groups = frozenset(one for one in listed if one.startswith("S"))
        return await self._groups.groups_of(actor.user, groups) if groups else frozenset()


def may_deploy(policy: AppPolicy, actor: Actor, member_of: frozenset[str]) -> bool:
    """Whether the actor, or a user group of theirs, is a deployer; no deployers set: everyone."""
    return not policy.deployers or _is_among(policy.deployers, actor, member_of)


def mentions(listed: Collection[str]) -> str:
    """Users and user groups, as Slack mentions them."""
    return ", ".join(
        f"<!subteam^{one}>" if one.startswith("S") else f"<@{one}>" for one in sorted(listed)
    )


def _is_among(listed: frozenset[str], actor: Actor, member_of: frozenset[str]) -> bool:
    return bool(listed & ({actor.user} | member_of))
