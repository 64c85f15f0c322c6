"""Cancel requests in each phase, with each answer of Dokku; the time limit in each phase."""

import asyncio
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, Phase
from bot.errors import Declined, Unreachable
from tests.support.builders import METADATA, NEW, containers
from tests.support.fake_dokku import BUILDING, DOWN, UNKNOWN, FakeDokku, FakeStream
from tests.support.memory_store import refused
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time


async def building(**timing: timedelta) -> tuple[Rig, FakeStream]:
    rig = a_rig(waiting(), timing=timing)
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    return rig, stream


@in_virtual_time
async def test_cancel_stops_a_build_within_a_second() -> None:
    rig, _ = await building()
    asked_at = rig.clock.monotonic()
    await rig.cancel()
    row = await rig.until_ended(within_s=10)
    assert (row.phase, row.failure, row.live) == (Phase.CANCELLED, None, Live.PREVIOUS)
    assert rig.dokku.cancels[0] - asked_at < 1
    assert len(rig.dokku.cancels) == 1


@in_virtual_time
async def test_cancel_is_not_sent_on_an_answer_from_before_a_pause() -> None:
    """The machine was suspended in between: the build may have ended, and another one begun."""
    rig, stream = await building()
    rig.dokku.cancel_s = 5.0
    await rig.cancel()
    await rig.until(lambda: stream.closed, within_s=60)
    assert rig.dokku.cancels == []


@in_virtual_time
async def test_cancel_while_queued_sends_nothing_to_dokku() -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(3)
    assert "Nothing was sent to Dokku" in await rig.cancel()
    assert (rig.row().phase, rig.row().live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert rig.dokku.cancels == []


@in_virtual_time
async def test_cancel_between_login_tries_sends_no_deploy() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("deploy")
    await rig.until_phase(Phase.STARTING)
    await rig.passes(1)
    await rig.cancel()
    row = await rig.until_ended(within_s=10)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert row.started_at is None
    assert rig.dokku.streams == []


@in_virtual_time
async def test_cancel_during_login_acts_once_the_stream_is_open() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(login_s=5))
    await rig.until_phase(Phase.STARTING)
    await rig.passes(1)
    await rig.cancel()
    (await rig.dokku.stream()).say(*BUILDING)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)


@in_virtual_time
async def test_cancel_while_fetching_closes_the_connection() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say("> fetching")
    await rig.passes(3)
    await rig.cancel()
    await rig.until(lambda: stream.closed)
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert rig.dokku.cancels == []


@pytest.mark.parametrize("lives_s", [11, 14, 17])
@in_virtual_time
async def test_fetch_outliving_its_connection_ends_soon_after_its_death(lives_s: int) -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say("> fetching")
    await rig.passes(3)
    await rig.cancel()
    await rig.until(lambda: stream.closed)
    await rig.passes(lives_s)
    assert rig.row().phase is Phase.CANCELLING
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    row = await rig.until_ended(within_s=4)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)


@in_virtual_time
async def test_close_looks_stop_while_the_record_stays_running() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say("> fetching")
    await rig.passes(3)
    await rig.cancel()
    await rig.until(lambda: stream.closed)
    await rig.passes(62)
    closely = rig.dokku.asked.count("containers")
    await rig.passes(60)
    assert rig.row().phase is Phase.CANCELLING
    assert rig.dokku.asked.count("containers") - closely <= 7


@in_virtual_time
async def test_cancel_uses_dokku_once_the_fetch_becomes_a_build() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say("> fetching")
    await rig.passes(3)
    await rig.cancel()
    await rig.passes(2)
    stream.say("> building")
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert len(rig.dokku.cancels) == 1
    assert not stream.closed


@in_virtual_time
async def test_cancel_after_the_switch_is_reported_as_too_late() -> None:
    rig, stream = await building()
    stream.say("> releasing", f"> start {NEW.id}")
    rig.dokku.now = containers(NEW)
    await rig.passes(1)
    await rig.cancel()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.NEW)
    assert "too late" in (row.reason or "")


@in_virtual_time
async def test_success_that_beats_the_cancel_is_checked() -> None:
    rig, stream = await building()
    rig.dokku.cancel_works = False
    await rig.cancel()
    await rig.until_phase(Phase.CANCELLING)
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_cancel_while_checking_is_declined() -> None:
    rig, stream = await building()
    stream.succeed()
    await rig.until_phase(Phase.CHECKING)
    with pytest.raises(Declined, match="Too late to cancel"):
        await rig.cancel()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.cancel) == (Phase.SUCCEEDED, None)


@in_virtual_time
async def test_cancel_racing_the_end_gets_a_definite_result() -> None:
    rig, stream = await building()
    asked = asyncio.create_task(rig.cancel())
    await asyncio.sleep(0)
    rig.store.rows[rig.row().id] = rig.row()
    stream.succeed()
    await rig.until_phase(Phase.CHECKING)
    said = await asyncio.gather(asked, return_exceptions=True)
    row = await rig.until_ended(within_s=60)
    assert row.phase in {Phase.SUCCEEDED, Phase.CANCELLED}
    assert said


@in_virtual_time
async def test_ineffective_cancel_is_retried_then_connection_is_closed() -> None:
    rig, stream = await building()
    rig.dokku.cancel_works = False
    await rig.cancel()
    await rig.until(lambda: stream.closed)
    assert len(rig.dokku.cancels) == 5
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)


@pytest.mark.parametrize("error", [DOWN, UNKNOWN])
@in_virtual_time
async def test_unanswered_cancel_is_checked_before_it_is_sent_again(
    error: Unreachable,
) -> None:
    rig, _ = await building()
    rig.dokku.fail("cancel_build", error, times=2)
    await rig.cancel()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert len(rig.dokku.cancels) == 1


@in_virtual_time
async def test_cancel_sends_nothing_while_two_records_are_candidates() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    rig.dokku.add_record("x1", BuildStatus.ABANDONED)
    stream.say(*BUILDING)
    await rig.passes(3)
    await rig.cancel()
    await rig.until(lambda: stream.closed)
    assert rig.dokku.cancels == []


@in_virtual_time
async def test_cancel_sends_nothing_after_the_connection_is_lost() -> None:
    """Its PID may belong to another process by now, which `builds:cancel` would kill."""
    rig, stream = await building()
    assert not rig.progress().cut_off
    stream.lose()
    await rig.passes(2)
    await rig.cancel()
    await rig.passes(60)
    assert rig.dokku.cancels == []
    assert rig.row().phase is Phase.BUILDING
    assert rig.progress().cut_off
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_second_cancel_request_changes_nothing() -> None:
    rig, _ = await building()
    first = await rig.cancel()
    second = await rig.cancel()
    assert first.startswith("Cancelling")
    assert "already being cancelled" in second
    row = await rig.until_ended(within_s=30)
    assert row.phase is Phase.CANCELLED
    assert len(rig.dokku.cancels) == 1
    assert rig.store.actions(row.id).count("cancel_asked") == 1
    assert rig.store.event_types(row.id).count("deployment.finished") == 1


@in_virtual_time
async def test_cancel_from_another_process_is_seen_at_next_poll() -> None:
    rig, _ = await building()
    rig.store.listeners.clear()
    row = rig.row()
    await rig.store.ask_cancel(row.id, row.requested_by, rig.clock.now())
    row = await rig.until_ended(within_s=12)
    assert row.phase is Phase.CANCELLED


@in_virtual_time
async def test_cancel_acts_even_if_the_phase_write_is_refused() -> None:
    rig, _ = await building()
    rig.store.fail("save", refused())
    await rig.cancel()
    row = await rig.until_ended(within_s=30)
    assert row.phase is Phase.CANCELLED


@in_virtual_time
async def test_cancel_audit_names_the_actor_and_the_surface() -> None:
    rig, _ = await building()
    await rig.cancel()
    row = await rig.until_ended(within_s=30)
    (entry,) = [one for of, one in rig.store.audit if one.action == "cancel_asked"]
    assert (entry.actor, entry.through) == (row.requested_by, "button")


@in_virtual_time
async def test_cancel_on_the_server_is_not_attributed_to_the_bot() -> None:
    rig, stream = await building()
    stream.end(141, BuildStatus.CANCELED, -1)
    row = await rig.until_ended(within_s=30)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert "not by the bot" in (row.reason or "")


# The time limit.

TIME_LIMIT = timedelta(minutes=30)


@in_virtual_time
async def test_time_limit_stops_a_build() -> None:
    rig, _ = await building()
    row = await rig.until_ended(within_s=TIME_LIMIT.total_seconds() + 30)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)
    assert rig.clock.monotonic() >= TIME_LIMIT.total_seconds()


@in_virtual_time
async def test_time_limit_closes_the_connection_of_a_fetch() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say("> fetching")
    await rig.until(lambda: stream.closed)
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.TIMED_OUT, Live.PREVIOUS)


@in_virtual_time
async def test_time_limit_ends_a_start_without_output() -> None:
    rig = a_rig(waiting())
    await rig.begun()
    row = await rig.until_ended(within_s=TIME_LIMIT.total_seconds() + 120)
    assert row.failure is Failure.TIMED_OUT


@in_virtual_time
async def test_time_limit_does_not_count_while_checking() -> None:
    rig = a_rig(
        waiting(max_duration=timedelta(seconds=60)), timing={"settle": timedelta(seconds=50)}
    )
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(40)
    stream.succeed()
    row = await rig.until_ended(within_s=120)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_cancel_request_during_time_limit_stop_ends_as_cancelled() -> None:
    rig, stream = await building()
    rig.dokku.cancel_works = False
    await rig.until_phase(Phase.CANCELLING)
    await rig.cancel()
    await rig.until(lambda: stream.closed)
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.failure) == (Phase.CANCELLED, None)


@in_virtual_time
async def test_build_that_succeeds_at_the_time_limit_is_checked() -> None:
    rig, stream = await building()
    rig.dokku.cancel_works = False
    await rig.until_phase(Phase.CANCELLING)
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_deploy_that_outlives_the_time_limit_is_unconfirmed() -> None:
    rig, stream = await building()
    rig.dokku.cancel_works = False
    await rig.until(lambda: stream.closed)
    row = await rig.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.TIMED_OUT, Live.UNKNOWN)


@in_virtual_time
async def test_unreadable_success_at_the_time_limit_is_read_again() -> None:
    rig, stream = await building()
    rig.dokku.cancel_works = False
    await rig.until_phase(Phase.CANCELLING)
    stream.say("> releasing", f"> start {NEW.id}", "> deployed")
    rig.dokku.metadata = METADATA
    rig.dokku.now = None
    stream.end(0)
    await rig.passes(60)
    assert rig.row().phase is Phase.CHECKING
    rig.dokku.now = containers(NEW)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
