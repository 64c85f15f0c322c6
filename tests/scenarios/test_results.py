"""Results of deployments, derived from their evidence, each with its live state."""

from datetime import timedelta
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.simulators.environment import DemoApp
from tests.scenarios.conftest import World, open_world, shown

NEW_APP = (DemoApp(name="myapp", behaviour="ok", hint="", commits=("Only one",), live=False),)


async def result_of(world: World, headline: str) -> Deployment:
    await world.until_message(headline, "myapp")
    (row,) = await world.rows()
    assert isinstance(row, Deployment)
    return row


def verdict(row: Deployment) -> tuple[Phase, Failure | None, Live | None]:
    return row.phase, row.failure, row.live


async def test_redeploy_succeeds_once_its_release_runs(world: World) -> None:
    before = world.simulators.dokku.live("myapp")
    await world.deploy()
    row = await result_of(world, "Deployed")
    assert verdict(row) == (Phase.SUCCEEDED, None, Live.NEW)
    assert row.sha == world.simulators.forge.sha("myapp")
    assert {one.sha for one in world.simulators.dokku.live("myapp").values()} == {row.sha}
    assert {one.sha for one in before.values()} == {row.previous_sha}


async def test_first_deploy(tmp_path: Path) -> None:
    async with open_world(tmp_path, apps=NEW_APP) as world:
        await world.start_bot()
        await world.deploy()
        row = await result_of(world, "Deployed")
        assert verdict(row) == (Phase.SUCCEEDED, None, Live.NEW)
        assert row.previous_sha is None


async def test_failed_build_leaves_the_previous_release_serving(world: World) -> None:
    world.now_behaves("build_fails")
    await world.deploy()
    row = await result_of(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS)
    assert "live now: the previous release" in shown(world.message)
    assert "failed to solve" in shown(world.message)


async def test_failed_first_build_leaves_nothing_serving(tmp_path: Path) -> None:
    async with open_world(tmp_path, apps=NEW_APP) as world:
        world.now_behaves("build_fails")
        await world.start_bot()
        await world.deploy()
        row = await result_of(world, "Failed")
        assert verdict(row) == (Phase.FAILED, Failure.BUILD_FAILED, Live.NONE)


async def test_failed_health_check_leaves_the_previous_release_serving(world: World) -> None:
    world.now_behaves("checks_fail")
    await world.deploy()
    row = await result_of(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.HEALTHCHECK_FAILED, Live.PREVIOUS)


async def test_release_that_crashes_after_its_start_is_a_failure(world: World) -> None:
    world.now_behaves("crash_1s")
    await world.deploy()
    row = await result_of(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.CRASHED, Live.NEW)
    assert world.bot is not None
    log = await world.bot.service.queries.store.logs.read(row.id)
    own = log.partition("…… the end of the log of web.1 ……\n")[2]
    assert own.startswith("labweb web starting version=2 rev=")
    # Docker has started it again by then, perhaps far enough for another line.
    assert "\nlistening on 5000\nlabweb: simulated crash\n" in own


async def test_exit_status_0_without_a_new_release_is_a_failure(world: World) -> None:
    world.now_behaves("skip_deploy")
    await world.deploy()
    row = await result_of(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.NOT_DEPLOYED, Live.PREVIOUS)


async def test_ref_unknown_to_dokku_fails(world: World) -> None:
    world.now_behaves("ref_missing")
    await world.deploy("myapp " + "ab" * 20)
    row = await result_of(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.REF_NOT_FOUND, Live.PREVIOUS)


async def test_repository_unreachable_for_dokku_fails(world: World) -> None:
    world.now_behaves("repo_unreachable")
    await world.deploy()
    row = await result_of(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.REPO_UNREACHABLE, Live.PREVIOUS)


async def test_only_the_requester_sees_that_a_ref_is_missing(world: World) -> None:
    result = await world.deploy("myapp no-such-branch")
    assert result.acked
    slack = world.simulators.slack
    (note,) = await slack.until(lambda: slack.ephemerals(slack.user("ada")))
    assert "no-such-branch" in shown(note)
    assert world.messages == []
    assert await world.rows() == []


async def test_only_the_requester_sees_that_an_app_is_missing(world: World) -> None:
    await world.deploy("myap main")
    slack = world.simulators.slack
    (note,) = await slack.until(lambda: slack.ephemerals(slack.user("ada")))
    assert "myapp" in shown(note)
    assert world.messages == []


async def test_unreachable_server_fails_the_start(world: World) -> None:
    await world.stop_bot()
    await world.simulators.server.refuse_connections_for_test()
    await world.start_bot(timing={"start_window": timedelta(milliseconds=300)})
    await world.deploy()
    row = await result_of(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.SERVER_UNREACHABLE, Live.UNKNOWN)
    assert row.started_at is None


async def test_silent_server_is_lost_contact(world: World) -> None:
    await world.stop_bot()
    world.simulators.dokku.hold_for_test("myapp", at="build step 4/")
    await world.start_bot(
        timing={
            "poll_interval": timedelta(milliseconds=100),
            "poll_timeout": timedelta(milliseconds=200),
        }
    )
    await world.deploy()
    await world.until_message("Building")
    world.simulators.server.stall_for_test()
    row = await result_of(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.LOST_CONTACT, Live.UNKNOWN)
    world.simulators.server.heal_for_test()


async def test_build_longer_than_the_cap_is_stopped(world: World) -> None:
    await world.stop_bot()
    world.simulators.dokku.hold_for_test("myapp", at="build step 4/")
    await world.start_bot(DEPLOYBOT_MAX_DURATION="2s")
    await world.deploy()
    row = await result_of(world, "Failed")
    assert verdict(row) == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)


@pytest.mark.parametrize("at", ["build step 4/", "Attempting pre-flight checks"])
async def test_cancel_stops_the_build(world: World, at: str) -> None:
    world.simulators.dokku.hold_for_test("myapp", at=at)
    await world.deploy()
    await world.simulators.dokku.until(lambda: world.simulators.dokku.holding("myapp"))
    slack = world.simulators.slack
    message = await world.until_message("Deploying", "Cancel")
    await slack.click(slack.user("ada"), message, action_id="deployment_cancel", confirm=True)
    row = await result_of(world, "Cancelled")
    assert verdict(row) == (Phase.CANCELLED, None, Live.PREVIOUS)
