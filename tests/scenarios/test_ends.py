"""Every end of this release, told from its evidence, with what is live at the end of each."""

from datetime import timedelta
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.simulators.environment import DemoApp
from tests.scenarios.conftest import World, open_world, shown

NEW_APP = (DemoApp(name="myapp", behaviour="ok", hint="", commits=("Only one",), live=False),)


async def the_end(world: World, headline: str) -> Deployment:
    await world.until_message(headline, "myapp")
    (row,) = await world.rows()
    assert isinstance(row, Deployment)
    return row


def verdict(row: Deployment) -> tuple[Phase, Failure | None, Live | None]:
    return row.phase, row.failure, row.live


async def test_a_redeploy_is_deployed_when_its_own_release_runs(world: World) -> None:
    before = world.stage.dokku.live("myapp")
    await world.deploy()
    row = await the_end(world, "Deployed")
    assert verdict(row) == (Phase.SUCCEEDED, None, Live.NEW)
    assert row.sha == world.stage.forge.sha("myapp")
    assert {one.sha for one in world.stage.dokku.live("myapp").values()} == {row.sha}
    assert {one.sha for one in before.values()} == {row.previous_sha}


async def test_a_first_deploy(tmp_path: Path) -> None:
    async with open_world(tmp_path, apps=NEW_APP) as world:
        await world.start_bot()
        await world.deploy()
        row = await the_end(world, "Deployed")
        assert verdict(row) == (Phase.SUCCEEDED, None, Live.NEW)
        assert row.previous_sha is None


async def test_a_failed_build_leaves_the_old_release_serving(world: World) -> None:
    world.now_behaves("build_fails")
    await world.deploy()
    row = await the_end(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS)
    assert "still serving" in shown(world.message)
    assert "failed to solve" in shown(world.message)


async def test_a_failed_first_build_leaves_nothing_serving(tmp_path: Path) -> None:
    async with open_world(tmp_path, apps=NEW_APP) as world:
        world.now_behaves("build_fails")
        await world.start_bot()
        await world.deploy()
        row = await the_end(world, "Failed")
        assert verdict(row) == (Phase.FAILED, Failure.BUILD_FAILED, Live.NONE)


async def test_a_failed_health_check_leaves_the_old_release_serving(world: World) -> None:
    world.now_behaves("checks_fail")
    await world.deploy()
    row = await the_end(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.HEALTHCHECK_FAILED, Live.PREVIOUS)


async def test_a_release_that_crashes_after_its_start_is_no_success(world: World) -> None:
    world.now_behaves("crash_1s")
    await world.deploy()
    row = await the_end(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.CRASHED, Live.NEW)


async def test_exit_status_0_without_a_new_release_is_no_success(world: World) -> None:
    world.now_behaves("skip_deploy")
    await world.deploy()
    row = await the_end(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.NOT_DEPLOYED, Live.PREVIOUS)


async def test_a_ref_that_dokku_cannot_find(world: World) -> None:
    world.now_behaves("ref_missing")
    await world.deploy("myapp " + "ab" * 20)
    row = await the_end(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.REF_NOT_FOUND, Live.PREVIOUS)


async def test_a_repository_that_dokku_cannot_reach(world: World) -> None:
    world.now_behaves("repo_unreachable")
    await world.deploy()
    row = await the_end(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.REPO_UNREACHABLE, Live.PREVIOUS)


async def test_a_ref_that_the_listing_lacks_is_said_to_the_asker_alone(world: World) -> None:
    result = await world.deploy("myapp no-such-branch")
    assert result.acked
    slack = world.stage.slack
    (note,) = await slack.until(lambda: slack.ephemerals(slack.user("ada")))
    assert "no-such-branch" in shown(note)
    assert world.messages == []
    assert await world.rows() == []


async def test_an_app_that_does_not_exist_is_said_to_the_asker_alone(world: World) -> None:
    await world.deploy("myap main")
    slack = world.stage.slack
    (note,) = await slack.until(lambda: slack.ephemerals(slack.user("ada")))
    assert "myapp" in shown(note)
    assert world.messages == []


async def test_a_server_that_cannot_be_reached_for_the_start(world: World) -> None:
    await world.stop_bot()
    await world.stage.server.refuse_connections_for_test()
    await world.start_bot(timing={"start_window": timedelta(milliseconds=300)})
    await world.deploy()
    row = await the_end(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.SERVER_UNREACHABLE, Live.UNKNOWN)
    assert row.started_at is None


async def test_a_server_that_falls_silent_is_lost_contact(world: World) -> None:
    await world.stop_bot()
    world.stage.dokku.hold_for_test("myapp", at="build step 4/")
    await world.start_bot(
        timing={
            "poll_interval": timedelta(milliseconds=100),
            "poll_timeout": timedelta(milliseconds=200),
        }
    )
    await world.deploy()
    await world.until_message("Building")
    world.stage.server.stall_for_test()
    row = await the_end(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.LOST_CONTACT, Live.UNKNOWN)
    world.stage.server.heal_for_test()


async def test_the_cap_stops_a_build_that_takes_too_long(world: World) -> None:
    await world.stop_bot()
    world.stage.dokku.hold_for_test("myapp", at="build step 4/")
    await world.start_bot(DEPLOYBOT_MAX_DURATION="2s")
    await world.deploy()
    row = await the_end(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)


@pytest.mark.parametrize("at", ["build step 4/", "Attempting pre-flight checks"])
async def test_a_cancel_stops_our_own_build(world: World, at: str) -> None:
    world.stage.dokku.hold_for_test("myapp", at=at)
    await world.deploy()
    await world.stage.dokku.until(lambda: world.stage.dokku.holding("myapp"))
    slack = world.stage.slack
    message = await world.until_message("Deploying", "Cancel")
    await slack.click(slack.user("ada"), message, action_id="deployment_cancel", confirm=True)
    row = await the_end(world, "Cancelled")
    assert verdict(row) == (Phase.CANCELLED, None, Live.PREVIOUS)
