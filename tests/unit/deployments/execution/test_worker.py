"""One deployment from the queue to its result."""

from datetime import timedelta

from bot.deployments.model import Live, Phase
from tests.support.rig import a_rig, waiting
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_good_redeploy_succeeds() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say("> fetching", "> building")
    await rig.until_phase(Phase.BUILDING)
    await rig.passes(5)
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert row.build_id == "b1"
    assert rig.store.event_types(row.id) == ["deployment.started", "deployment.finished"]
    assert rig.store.actions(row.id) == ["starting", "moved_on", "moved_on", "checking", "ended"]
    assert rig.store.owner(row.id) is None
    assert await rig.stop() == 0


@in_virtual_time
async def test_last_check_shown_is_the_proving_look() -> None:
    rig = a_rig(waiting(), timing={"settle": timedelta(seconds=17)})
    stream = await rig.begun()
    stream.say("> fetching", "> building")
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    checked_at = rig.progress().checked_at
    assert row.finished_at is not None
    assert checked_at is not None
    assert row.finished_at - checked_at < timedelta(seconds=1)
    assert await rig.stop() == 0
