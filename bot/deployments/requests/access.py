"""Decides who may use the bot and who may deploy an app."""

from bot.deployments.model import Actor, AppPolicy
from bot.deployments.ports import Groups
from bot.errors import Declined


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
            raise Declined("Only members of this bot's own workspace may do that.")

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
            raise Declined(f"You may not deploy {policy.app}. Ask one of its deployers: {who}.")


def may_deploy(policy: AppPolicy, actor: Actor, member_of: frozenset[str]) -> bool:
    """Whether the actor, or a user group of theirs, is a deployer; no deployers set: everyone."""
    return not policy.deployers or bool(policy.deployers & ({actor.user} | member_of))
