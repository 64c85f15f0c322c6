"""The store's transaction, then the cache, then Slack; what a killed process left is shown."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.execution.owned import CancelRequests
from bot.deployments.model import BOT, AuditEntry, Event, Failure, Phase, Who
from bot.deployments.ports import Urgency
from bot.deployments.progress import Progress
from bot.deployments.state.repository import (
    find_unposted,
    load_recently_ended,
    load_unfinished,
)
from bot.errors import StaleState
from tests.support.builders import NOW
from tests.support.rig import a_rig, waiting
from tests.support.virtual_time import in_virtual_time

AUDIT = AuditEntry(actor=BOT, through="runner", action="ended")


@in_virtual_time
async def test_only_committed_rows_are_cached_and_announced() -> None:
    rig = a_rig(waiting(), start=False)
    ended = replace(rig.row(), phase=Phase.FAILED)
    rig.store.fail("save", StaleState("it changed"))
    with pytest.raises(StaleState):
        await rig.deployments.save(ended, was=Phase.QUEUED, by=Who.SERVICE, audit=AUDIT)
    assert rig.cache.get(ended.id) is None
    assert rig.announcer.changes == []
    await rig.deployments.save(ended, was=Phase.QUEUED, by=Who.SERVICE, audit=AUDIT)
    assert rig.announcer.changes == [(ended.id, Urgency.NOW)]
    assert rig.observer.ended_ids == [ended.id]


@in_virtual_time
async def test_phase_change_is_more_urgent_than_a_fact() -> None:
    rig = a_rig(start=False)
    row = waiting()
    rig.deployments.adopt(row, was=Phase.QUEUED)
    rig.deployments.adopt(replace(row, phase=Phase.STARTING), was=Phase.QUEUED)
    assert [urgency for _, urgency in rig.announcer.changes] == [Urgency.ROUTINE, Urgency.PHASE]


@in_virtual_time
async def test_unchanged_progress_is_not_announced() -> None:
    rig = a_rig(start=False)
    row = waiting()
    rig.cache.put(row)
    for _ in range(2):
        rig.deployments.note(row.id, Progress(step="step 1 of 2"))
        rig.deployments.note_waiting(row.id, position=1, waits_for="a git push")
    assert rig.announcer.changes == [
        (row.id, Urgency.ROUTINE),
        (row.id, Urgency.PHASE),
        (row.id, Urgency.ROUTINE),
        (row.id, Urgency.PHASE),
    ]
    rig.announcer.changes.clear()
    rig.deployments.note_waiting(row.id, position=1, waits_for="a git push")
    assert rig.announcer.changes == []


@in_virtual_time
async def test_correction_is_announced_with_highest_urgency() -> None:
    rig = a_rig(waiting(phase=Phase.FAILED), start=False)
    fence = await rig.store.leases.claim(rig.row().id, "one late", rig.timing.lease)
    assert fence is not None
    row = replace(rig.row(), reason="known now", fence=fence)
    event = Event(type="deployment.corrected")
    assert (await rig.deployments.correct(row, audit=AUDIT, event=event)).reason == "known now"
    assert rig.announcer.changes == [(row.id, Urgency.NOW)]


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
    assert rig.progress(failed.id).excerpt[0] == "line 15"
    assert rig.progress(good.id) == Progress()
    assert rig.store.calls.count("read_log") == 1
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


@in_virtual_time
async def test_one_read_a_second_serves_the_polls_of_all_deployments() -> None:
    rows = [waiting(id=f"d{number}", request_key=f"k{number}") for number in range(3)]
    rig = a_rig(*rows, start=False)
    for row in rows:
        await rig.store.leases.claim(row.id, "one", rig.timing.lease)
    requests = CancelRequests(rig.store, replica="one", clock=rig.clock)
    for _ in range(100):
        assert not any([await requests.includes(row.id) for row in rows])
    await asyncio.gather(*(requests.includes(row.id) for row in rows * 100))
    assert rig.store.calls.count("cancel_requests") == 1
    await rig.store.ask_cancel(rows[0].id, rows[0].requested_by, rig.clock.now())
    await rig.passes(1)
    rig.store.fail("cancel_requests")
    assert not await requests.includes(rows[0].id), "what was known last"
    await rig.passes(1)
    assert [await requests.includes(row.id) for row in rows] == [True, False, False]
