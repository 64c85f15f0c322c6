"""Which app a mistyped name means."""

from bot.deployments.app_names import did_you_mean


def test_closest_names_are_suggested() -> None:
    assert did_you_mean("mapp", ["myapp", "web"]) == " Did you mean `myapp`?"
    assert did_you_mean("zzz", ["myapp"]) == " `/deploy apps` lists the apps."
