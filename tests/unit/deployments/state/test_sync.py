"""What a killed process left behind is shown by the next process."""

from datetime import timedelta

from bot.deployments.model import Failure, Phase
from bot.deployments.state.sync import find_unposted, load_recently_ended, load_unfinished
from tests.support.builders import NOW
from tests.support.rig import a_rig, waiting
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_waiting_deployments_are_shown_and_running_ones_left_to_their_owner() -> None:
    queued, running = waiting(), waiting(id="01RUNS", phase=Phase.BUILDING, request_key="2")
    unposted = waiting(id="01UNPOSTED", message=None, request_key="3")
    rig = a_rig(queued, running, unposted, start=False)
    assert await load_unfinished(rig.deployments) == [queued]
    assert {one.deployment.id for one in rig.cache.active()} == {
        queued.id,
        running.id,
        unposted.id,
    }


@in_virtual_time
async def test_recent_result_is_shown_again_with_its_excerpt() -> None:
    failed = waiting(
        phase=Phase.FAILED,
        failure=Failure.BUILD_FAILED,
        reason="The build failed: ERROR: failed to solve. The previous release is still serving.",
        finished_at=NOW - timedelta(minutes=2),
    )
    good = waiting(
        id="01GOOD", phase=Phase.SUCCEEDED, request_key="2", finished_at=NOW - timedelta(minutes=3)
    )
    old = waiting(
        id="01OLD", phase=Phase.FAILED, request_key="3", finished_at=NOW - timedelta(hours=2)
    )
    rig = a_rig(failed, good, old, start=False)
    log = [f"line {n}" for n in range(30)]
    rig.store.logs[failed.id] = [*log[:20], "ERROR: failed to solve", *log[20:]]
    rig.store.logs[good.id] = log
    shown = await load_recently_ended(rig.deployments, rig.clock)
    assert {row.id for row in shown} == {failed.id, good.id}
    assert "ERROR: failed to solve" in rig.progress(failed.id).excerpt
    assert rig.progress(failed.id).excerpt[0] == "line 14"
    assert rig.progress(good.id).tail == tuple(log[-10:])
    assert rig.cache.active() == []


@in_virtual_time
async def test_unposted_rows_are_found_unless_someone_is_posting_them() -> None:
    left = waiting(message=None)
    posted_now = waiting(id="01NOW", message=None, request_key="2")
    from_cli = waiting(id="01CLI", message=None, channel="", request_key="3")
    placed = waiting(id="01PLACED", request_key="4")
    rig = a_rig(left, posted_now, from_cli, placed, start=False)
    await load_unfinished(rig.deployments)
    assert find_unposted(rig.deployments, rig.clock, (), rig.timing) == []
    await rig.passes(30)
    found = find_unposted(rig.deployments, rig.clock, {posted_now.id}, rig.timing)
    assert [row.id for row in found] == [left.id]


@in_virtual_time
async def test_ended_row_without_a_message_is_found_too() -> None:
    cancelled = waiting(message=None, phase=Phase.CANCELLED, finished_at=NOW - timedelta(seconds=5))
    rig = a_rig(cancelled, start=False)
    assert await load_recently_ended(rig.deployments, rig.clock) == []
    await rig.passes(30)
    assert [row.id for row in find_unposted(rig.deployments, rig.clock, (), rig.timing)] == [
        cancelled.id
    ]
