"""A replica dies at any point; the next one finds and reports the true result."""

from dataclasses import replace

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import CancelRequest, Failure, Live, Phase
from tests.support.builders import METADATA, NEW, NOW, OLD, OTHER_RELEASE, SHA, containers
from tests.support.fake_dokku import BUILDING, GOOD, FakeDokku
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time


async def killed(rig: Rig) -> Rig:
    """Kill the replica, and start another on the same database and server."""
    await rig.crash()
    return a_rig(store=rig.store, dokku=rig.dokku)


@in_virtual_time
async def test_build_that_died_with_the_bot_is_started_again() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    again = await killed(rig)
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    second = await rig.dokku.stream(2)
    await again.passes(5)
    row = again.row()
    assert (row.attempt, row.phase) == (2, Phase.STARTING)
    second.succeed()
    row = await again.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert row.build_id == "b2"
    assert again.store.event_types(row.id) == [
        "deployment.started",
        "deployment.note",
        "deployment.finished",
    ]
    assert len(rig.dokku.streams) == 2


@in_virtual_time
async def test_second_death_ends_as_interrupted() -> None:
    rig = a_rig(waiting())
    (await rig.begun()).say(*BUILDING)
    await rig.passes(5)
    again = await killed(rig)
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    (await rig.dokku.stream(2)).say(*BUILDING)
    await again.passes(5)
    third = await killed(again)
    rig.dokku.set_status("b2", BuildStatus.ABANDONED)
    row = await third.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 2


@in_virtual_time
async def test_surviving_build_is_followed_not_started_again() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    again = await killed(rig)
    await again.passes(120)
    assert again.row().phase is Phase.BUILDING
    stream.succeed()
    row = await again.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert len(rig.dokku.streams) == 1
    assert "> deployed\n" in await again.store.logs.read(row.id)


@in_virtual_time
@pytest.mark.parametrize("records", [True, False])
async def test_kill_while_checking_still_recognizes_the_release(records: bool) -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=records))
    (await rig.begun()).succeed()
    await rig.until_phase(Phase.CHECKING)
    again = await killed(rig)
    row = await again.until_ended(within_s=120)
    assert (row.phase, row.failure, row.live) == (Phase.SUCCEEDED, None, Live.NEW)


@in_virtual_time
async def test_kill_while_checking_recognizes_release_with_unchanged_image() -> None:
    same = replace(NEW, image=OLD.image)
    rig = a_rig(waiting())
    stream = await rig.begun()
    await rig.passes(3)
    stream.say(*GOOD)
    rig.dokku.now = containers(same)
    rig.dokku.metadata = METADATA
    stream.end(0)
    await rig.until_phase(Phase.CHECKING)
    again = await killed(rig)
    row = await again.until_ended(within_s=120)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_kill_after_a_failed_build_reports_the_failure() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    await rig.passes(3)
    stream.say(*BUILDING, "> error build_failed ERROR: failed to solve")
    await rig.passes(3)
    rig.dokku.hanging.add("containers")
    stream.end(1)
    await rig.until(lambda: rig.row().exit_status == 1)
    again = await killed(rig)
    rig.dokku.hanging.clear()
    row = await again.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.BUILD_FAILED, Live.PREVIOUS)
    assert "failed to solve" in (row.reason or "")
    assert any("failed to solve" in line for line in again.progress().excerpt)


@in_virtual_time
async def test_stored_log_stays_when_dokkus_output_is_gone() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    await rig.passes(3)
    stream.succeed()
    await rig.until_phase(Phase.CHECKING)
    rig.dokku.streams[0].build_id = "of another name"
    again = await killed(rig)
    row = await again.until_ended(within_s=120)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert "> deployed\n" in await again.store.logs.read(row.id)


@in_virtual_time
async def test_time_limit_stop_is_reported_as_timed_out_after_restart() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    rig.dokku.hanging.add("containers")
    await rig.until_phase(Phase.CANCELLING)
    await rig.until(lambda: stream.ended)
    again = await killed(rig)
    rig.dokku.hanging.clear()
    row = await again.until_ended(within_s=120)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)


@in_virtual_time
async def test_cancel_requested_while_unowned_prevents_a_second_attempt() -> None:
    rig = a_rig(waiting())
    (await rig.begun()).say(*BUILDING)
    await rig.passes(5)
    await rig.crash()
    row = rig.row()
    request = CancelRequest(by=row.requested_by, at=NOW)
    rig.store.rows[row.id] = replace(row, cancel=request)
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    again = a_rig(store=rig.store, dokku=rig.dokku)
    row = await again.until_ended(within_s=120)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_late_cancel_does_not_stop_the_check_after_restart() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    rig.dokku.cancel_works = False
    await rig.passes(3)
    stream.say(*GOOD[:3])
    await rig.cancel()
    await rig.until_phase(Phase.CANCELLING)
    stream.succeed()
    await rig.until_phase(Phase.CHECKING)
    again = await killed(rig)
    row = await again.until_ended(within_s=120)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_old_loss_is_not_started_again() -> None:
    rig = a_rig(waiting())
    (await rig.begun()).say(*BUILDING)
    await rig.passes(5)
    await rig.crash()
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    await rig.passes(11 * 60)
    again = a_rig(store=rig.store, dokku=rig.dokku)
    row = await again.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)


@in_virtual_time
async def test_long_silent_connection_is_not_started_again() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    stream.lose()
    await rig.passes(11 * 60)
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_two_candidates_prove_nothing_before_the_time_limit() -> None:
    rig = a_rig(waiting())
    rig.dokku.record_after_s = 1000
    await rig.begun()
    await rig.passes(3)
    again = await killed(rig)
    rig.dokku.add_record("x1", BuildStatus.ABANDONED)
    rig.dokku.add_record("x2", BuildStatus.SUCCEEDED)
    await again.passes(600)
    assert again.row().phase is Phase.STARTING
    row = await again.until_ended(within_s=3600)
    assert (row.failure, row.live) == (Failure.LOST_CONTACT, Live.UNKNOWN)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_log_of_first_attempt_is_ignored_for_the_second() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=True))
    (await rig.begun()).say(*BUILDING, "> error app_missing it was the first")
    await rig.passes(5)
    again = await killed(rig)
    rig.dokku.set_status("b1", BuildStatus.FAILED, 141)
    second = await rig.dokku.stream(2)
    second.say("> fetching", "> error ref_missing fatal: couldn't find remote ref")
    await again.passes(5)
    rig.dokku.hanging.add("containers")
    second.end(128)
    await again.until(lambda: again.row().exit_status == 128)
    second.build_id = "its text is gone"
    third = await killed(again)
    rig.dokku.hanging.clear()
    row = await third.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.REF_NOT_FOUND, Live.PREVIOUS)


@in_virtual_time
async def test_another_release_in_place_is_reported_as_unknown() -> None:
    rig = a_rig(waiting())
    (await rig.begun()).say(*BUILDING)
    await rig.passes(5)
    again = await killed(rig)
    rig.dokku.now = containers(OTHER_RELEASE)
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    row = await again.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.UNKNOWN)
    assert row.sha == SHA
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_takeover_redraws_the_message_with_the_stored_log() -> None:
    rig = a_rig(waiting())
    (await rig.begun()).say(*BUILDING, "a line of the build")
    await rig.passes(5)
    again = await killed(rig)
    await again.passes(30)
    assert (again.row().id, 1) in again.announcer.changes
    assert "a line of the build" in again.progress().tail


@in_virtual_time
async def test_known_failure_keeps_its_cause_when_server_hangs() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING, "> error build_failed ERROR: failed to solve")
    await rig.passes(5)
    rig.dokku.hanging.add("containers")
    stream.end(1)
    await rig.until(lambda: rig.row().exit_status == 1)
    again = await killed(rig)
    row = await again.until_ended(within_s=300)
    assert (row.failure, row.live) == (Failure.BUILD_FAILED, Live.UNKNOWN)


@in_virtual_time
async def test_fetch_that_failed_unobserved_is_not_started_again() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    await rig.passes(1)
    again = await killed(rig)
    stream.say("> fetching", "> ref_missing")
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    row = await again.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.REF_NOT_FOUND, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_unobserved_refusal_by_the_lock_requeues() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    await rig.passes(1)
    again = await killed(rig)
    stream.say("> locked")
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    (await rig.dokku.stream(2)).succeed()
    row = await again.until_ended(within_s=120)
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)
    assert "refused_by_lock" in again.store.actions(row.id)
    assert rig.dokku.cancels == []
