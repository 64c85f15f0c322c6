"""The Home tab between both simulators: it follows what happens, and its buttons work."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from bot.deployments.model import Phase
from bot.simulators.slack.model import View
from bot.slack.limits import HomeLimits
from tests.scenarios.conftest import QUICK_EDITS, QuickClock, World, open_world

OFTEN = replace(
    QUICK_EDITS,
    home=HomeLimits(
        look=timedelta(milliseconds=50), spacing=timedelta(milliseconds=50), per_minute=100_000
    ),
)


async def home_shows(world: World, *words: str, without: str = "") -> View:
    """Wait until ada's Home tab shows all the words, and not the other."""

    def seen() -> View | None:
        view = world.slack.home(world.ada)
        if view is None or (without and without in view.plain):
            return None
        return view if all(word in view.plain for word in words) else None

    view = await world.slack.until(seen)
    assert view is not None
    return view


async def test_home_follows_a_deployment_and_its_buttons_cancel_retry_and_unlock(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path, slack_limits=OFTEN) as world:
        await world.start_bot(clock=QuickClock())
        await world.slack.open_home(world.ada)
        await home_shows(world, "Nothing was deployed yet.")
        world.hold()
        await world.deploy("myapp main", user="grace")
        await world.held()
        await world.deploy("myapp v1.0", user="grace")
        await world.posted(2)  # the tab shows it sooner; one cancelled by then gets no message
        await home_shows(world, "Building", "1st in line", "by @\u2060grace")
        waiting, running = await world.rows()
        view = await home_shows(world, "Cancel", "Full log")
        await world.slack.click(world.ada, view, action_id="deployment_cancel", of=waiting.id)
        view = await home_shows(world, "Cancelled:", without="1st in line")
        await world.slack.click(world.ada, view, action_id="deployment_log", of=running.id)
        await world.viewed("build step 4")
        world.let_go()
        await home_shows(world, "Deployed myapp", without="Building")

        view = await home_shows(world, "Retry")
        await world.slack.click(world.ada, view, action_id="deployment_retry", of=waiting.id)
        await world.posted(3)
        await world.until_message("Deployed myapp", "@\u2060ada")
        assert {one.phase for one in await world.rows()} == {Phase.SUCCEEDED, Phase.CANCELLED}

        await world.deploy("lock myapp audit", user="grace")
        view = await home_shows(world, "🔒", "is locked by @\u2060grace (audit)")
        assert world.bot is not None
        (lock,) = await world.bot.service.locks.held()
        await world.slack.click(world.ada, view, action_id="lock_release", of=lock.id)
        await world.until_message("unlocked by @\u2060ada")
        await home_shows(world, "Nothing runs or waits, and no app is locked.")


async def test_form_from_home_deploys_where_the_app_was_deployed_last(tmp_path: Path) -> None:
    async with open_world(tmp_path, slack_limits=OFTEN) as world:
        await world.start_bot(clock=QuickClock())
        await world.deploy("myapp main")
        await world.until_message("Deployed myapp")
        await world.slack.open_home(world.ada)
        view = await home_shows(world, "Deployed myapp")
        await world.slack.click(world.ada, view, action_id="home_deploy")
        form = await world.viewed("where the app was deployed last")
        await world.slack.submit(world.ada, form, {"app": "myapp", "ref": "v1.0"})
        await world.posted(2)
        await world.until_message("Deployed myapp", "v1.0")


async def test_slack_that_refuses_the_tab_hurts_no_deployment(tmp_path: Path) -> None:
    async with open_world(tmp_path, slack_limits=OFTEN) as world:
        await world.start_bot(clock=QuickClock())
        world.slack.rate_limit_for_test("views.publish", retry_after_s=3_600, times=100)
        await world.slack.open_home(world.ada)
        await world.deploy("myapp main")
        await world.until_message("Deployed myapp")
        assert world.slack.home(world.ada) is None
