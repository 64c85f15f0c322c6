"""What counts towards the maximum duration, and what does not."""

from datetime import timedelta

from bot.deployments.model import Deployment, Failure, Live, Phase
from tests.scenarios.conftest import QuickClock, World

BUILDING = "build step 4/"
OTHER = "ab" * 20
MORE_THAN_THE_CAP = timedelta(minutes=31)


async def result_of(world: World, headline: str) -> Deployment:
    await world.until_message(headline)
    (row,) = await world.rows()
    assert isinstance(row, Deployment)
    return row


async def quick_bot(world: World, **settings: str) -> QuickClock:
    await world.stop_bot()
    clock = QuickClock()
    await world.start_bot(timing=None, clock=clock, **settings)
    return clock


async def test_cap_counts_from_the_first_start_over_both_attempts(world: World) -> None:
    clock = await quick_bot(world)
    dokku = world.simulators.dokku
    world.hold(BUILDING)
    await world.deploy()
    await world.held()
    await world.until_message("Building", "Dokku build")
    clock.leap(timedelta(minutes=9))
    await world.simulators.server.drop_connections_for_test()
    world.hold("build step 2/")  # the first attempt dies at its next line
    await world.replied("Starting myapp again, once")
    await dokku.until(lambda: dokku.holding("myapp"))
    await world.until_message("Building")
    clock.leap(timedelta(minutes=22))
    row = await result_of(world, "Failed")
    assert (row.failure, row.live, row.attempt) == (Failure.TIMED_OUT, Live.PREVIOUS, 2)
    assert row.started_at is not None
    assert row.finished_at is not None
    assert row.finished_at - row.started_at < timedelta(minutes=35)


async def test_time_in_the_queue_does_not_count(world: World) -> None:
    clock = await quick_bot(world)
    world.hold(BUILDING)
    push = world.simulators.dokku.outside_push_for_test("myapp", OTHER)
    await world.held()
    await world.deploy()
    await world.until_message("1st in line", "outside the bot")
    clock.leap(MORE_THAN_THE_CAP)
    world.let_go()
    await push
    row = await result_of(world, "Deployed")
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


async def test_time_of_the_stability_check_does_not_count(world: World) -> None:
    clock = await quick_bot(world, DEPLOYBOT_SETTLE="20s")
    await world.deploy()
    await world.until_message("Checking · watching")
    clock.leap(MORE_THAN_THE_CAP)
    row = await result_of(world, "Deployed")
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
