"""Who may use the bot and deploy an app."""

from bot.deployments.model import Actor, AppPolicy
from bot.deployments.requests.access import may_deploy


def test_only_deployers_and_their_groups_may_deploy() -> None:
    open_to_all = AppPolicy(server="s", app="web", dokku_app="web")
    closed = AppPolicy(server="s", app="web", dokku_app="web", deployers=frozenset({"U1", "S1"}))
    assert may_deploy(open_to_all, Actor(user="U9"), frozenset())
    assert may_deploy(closed, Actor(user="U1"), frozenset())
    assert may_deploy(closed, Actor(user="U9"), frozenset({"S1"}))
    assert not may_deploy(closed, Actor(user="U9"), frozenset({"S2"}))
