"""Who may deploy, and which app a mistyped name means."""

from bot.deployments.model import Actor, AppPolicy
from bot.deployments.requests.validate import closest, may_deploy


def test_the_closest_names_are_offered() -> None:
    assert closest("mapp", ["myapp", "web"]) == " Did you mean `myapp`?"
    assert closest("zzz", ["myapp"]) == " `/deploy apps` lists the apps."


def test_who_may_deploy() -> None:
    open_to_all = AppPolicy(server="s", app="web", dokku_app="web")
    closed = AppPolicy(server="s", app="web", dokku_app="web", deployers=frozenset({"U1", "S1"}))
    assert may_deploy(open_to_all, Actor(user="U9"), frozenset())
    assert may_deploy(closed, Actor(user="U1"), frozenset())
    assert may_deploy(closed, Actor(user="U9"), frozenset({"S1"}))
    assert not may_deploy(closed, Actor(user="U9"), frozenset({"S2"}))
