"""What a result says besides what its row of docs/verdicts.md does: commits, logs, no start.

The rows themselves: test_replayed_results.py and test_model_rows.py.
"""

from datetime import timedelta
from pathlib import Path

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.simulators.environment import DemoApp
from tests.scenarios.conftest import World, open_world

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
