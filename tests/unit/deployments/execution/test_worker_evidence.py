"""After the command's end: which evidence is read, how often, and what it proves."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildStatus, Container
from bot.deployments.model import Failure, Live, Phase
from bot.errors import OddReport
from tests.support.builders import METADATA, NEW, NEW_WORKER, OLD, OLD_WORKER, containers
from tests.support.fake_dokku import BUILDING, DOWN, GOOD, FakeDokku, FakeStream
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time


async def building(dokku: FakeDokku | None = None, **timing: timedelta) -> tuple[Rig, FakeStream]:
    rig = a_rig(waiting(), dokku=dokku, timing=timing)
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    return rig, stream


def end_well(rig: Rig, stream: FakeStream) -> None:
    """End the command well; the test has set what the server shows."""
    stream.say("> releasing", f"> start {NEW.id}", "> deployed")
    stream.end(0)


@in_virtual_time
async def test_command_that_ends_at_once_gets_its_result_at_once() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say("> fetching", "> error ref_missing fatal: couldn't find remote ref nope")
    ended_at = rig.clock.monotonic()
    stream.end(128)
    row = await rig.until_ended(within_s=10)
    assert (row.failure, row.live) == (Failure.REF_NOT_FOUND, Live.PREVIOUS)
    assert rig.clock.monotonic() - ended_at < 2


@in_virtual_time
async def test_missing_record_leaves_output_and_containers_to_decide() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(makes_records=False))
    stream = await rig.begun()
    await rig.passes(5)
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, row.build_id) == (Phase.SUCCEEDED, Live.NEW, None)


@in_virtual_time
async def test_output_kept_on_the_server_is_read_from_dokku() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    await rig.passes(5)
    rig.dokku.texts["b1"] = GOOD
    rig.dokku.now, rig.dokku.metadata = containers(NEW), METADATA
    stream.end(0)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert (await rig.store.logs.read(row.id)).splitlines() == list(GOOD)


@in_virtual_time
async def test_candidate_with_the_same_output_is_the_own_record() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    rig.dokku.add_record("x1", BuildStatus.ABANDONED, text=["another text"])
    stream.say(*BUILDING)
    await rig.passes(5)
    assert rig.row().build_id is None
    stream.say("a line\u2028with an odd separator\x0cin it")
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.build_id) == (Phase.SUCCEEDED, "b1")


@in_virtual_time
async def test_candidates_with_other_output_decide_nothing() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(makes_records=False))
    stream = await rig.begun()
    rig.dokku.add_record("x1", BuildStatus.CANCELED, text=["another text"])
    rig.dokku.add_record("x2", BuildStatus.FAILED, text=["a third text"])
    await rig.passes(5)
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, row.build_id) == (Phase.SUCCEEDED, Live.NEW, None)


@in_virtual_time
async def test_record_still_running_after_the_end_is_read_again() -> None:
    rig, stream = await building()
    rig.dokku.now, rig.dokku.metadata = containers(NEW), METADATA
    stream.say("> releasing", f"> start {NEW.id}", "> deployed")
    stream.end(0, BuildStatus.RUNNING)
    await rig.passes(2)
    assert rig.row().phase is Phase.RELEASING
    rig.dokku.set_status("b1", BuildStatus.SUCCEEDED)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_record_that_never_ends_does_not_delay_the_result() -> None:
    rig, stream = await building()
    ended_at = rig.clock.monotonic()
    stream.say("> error build_failed ERROR: failed to solve")
    stream.end(1, BuildStatus.RUNNING)
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.BUILD_FAILED, Live.PREVIOUS)
    assert rig.clock.monotonic() - ended_at < 8


@in_virtual_time
async def test_containers_readable_later_prove_the_success() -> None:
    rig, stream = await building()
    rig.dokku.now, rig.dokku.metadata = None, METADATA
    end_well(rig, stream)
    await rig.passes(60)
    assert rig.row().phase is Phase.CHECKING
    rig.dokku.now = containers(NEW)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_containers_readable_later_still_need_the_right_commit() -> None:
    """Containers that were unreadable at first do not replace the proof of the commit."""
    rig, stream = await building()
    rig.dokku.now = None
    end_well(rig, stream)
    await rig.passes(20)
    rig.dokku.now = containers(NEW)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.INTERNAL, Live.NEW)
    assert "commit could not be confirmed" in (row.reason or "")


@in_virtual_time
async def test_containers_readable_later_show_that_nothing_was_released() -> None:
    rig, stream = await building()
    rig.dokku.now = None
    stream.say("> deploy_skipped")
    stream.end(0)
    await rig.passes(20)
    rig.dokku.now = FakeDokku().now
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.NOT_DEPLOYED, Live.PREVIOUS)


@in_virtual_time
async def test_containers_never_readable_end_as_unknown_at_time_limit() -> None:
    rig, stream = await building()
    rig.dokku.now = None
    end_well(rig, stream)
    await rig.passes(timedelta(minutes=29).total_seconds())
    assert rig.row().phase is Phase.CHECKING
    row = await rig.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.INTERNAL, Live.UNKNOWN)


@in_virtual_time
async def test_server_reboot_after_good_end_is_waited_for() -> None:
    rig, stream = await building()
    rig.dokku.now, rig.dokku.metadata = containers(NEW), METADATA
    rig.dokku.down = DOWN
    end_well(rig, stream)
    await rig.passes(180)
    assert rig.row().phase is Phase.CHECKING
    assert rig.progress().stale_since is not None
    rig.dokku.down = None
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_server_lost_after_good_end_is_unknown_at_time_limit() -> None:
    rig, stream = await building()
    rig.dokku.down = DOWN
    end_well(rig, stream)
    row = await rig.until_ended(within_s=timedelta(minutes=45).total_seconds())
    assert (row.failure, row.live) == (Failure.INTERNAL, Live.UNKNOWN)
    assert str(DOWN) in (row.reason or "")
    assert rig.clock.monotonic() > timedelta(minutes=30).total_seconds()


@in_virtual_time
async def test_server_lost_during_stability_check_is_unknown_at_time_limit() -> None:
    rig, stream = await building()
    stream.succeed()
    await rig.until_phase(Phase.CHECKING)
    await rig.passes(1)
    rig.dokku.down = DOWN
    row = await rig.until_ended(within_s=timedelta(minutes=45).total_seconds())
    assert (row.failure, row.live) == (Failure.INTERNAL, Live.UNKNOWN)
    assert str(DOWN) in (row.reason or "")


@in_virtual_time
async def test_mixed_containers_that_settle_still_need_the_right_commit() -> None:
    rig, stream = await building()
    rig.dokku.now = containers(NEW, OLD_WORKER)
    end_well(rig, stream)
    await rig.passes(20)
    assert rig.row().phase is Phase.CHECKING
    rig.dokku.now = containers(NEW, NEW_WORKER)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.INTERNAL, Live.NEW)


@in_virtual_time
async def test_mixed_containers_that_settle_succeed() -> None:
    rig, stream = await building()
    rig.dokku.now, rig.dokku.metadata = containers(NEW, OLD_WORKER), METADATA
    end_well(rig, stream)
    await rig.passes(20)
    rig.dokku.now = containers(NEW, NEW_WORKER)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_containers_mixed_until_time_limit_fail_as_mixed() -> None:
    rig, stream = await building()
    rig.dokku.now, rig.dokku.metadata = containers(NEW, OLD_WORKER), METADATA
    end_well(rig, stream)
    row = await rig.until_ended(within_s=timedelta(minutes=35).total_seconds())
    assert (row.failure, row.live) == (Failure.RELEASE_FAILED, Live.MIXED)


@in_virtual_time
async def test_malformed_report_is_read_again() -> None:
    rig, stream = await building()
    rig.dokku.fail("report", OddReport("no JSON"), times=3)
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@pytest.mark.parametrize("question", ["report", "containers", "builds", "keeps_records"])
@in_virtual_time
async def test_failed_command_on_hanging_server_reports_unknown_live_state(
    question: str,
) -> None:
    rig, stream = await building()
    rig.dokku.hanging.add(question)
    stream.say("> error build_failed ERROR: failed to solve")
    stream.end(1)
    row = await rig.until_ended(within_s=300)
    assert (row.failure, row.live) == (Failure.BUILD_FAILED, Live.UNKNOWN)


@in_virtual_time
async def test_successful_record_proves_success_after_lost_connection() -> None:
    rig, stream = await building()
    stream.lose()
    await rig.passes(15)
    assert rig.row().phase is Phase.BUILDING
    stream.printed += GOOD[2:]
    rig.dokku.now, rig.dokku.metadata = containers(NEW), METADATA
    rig.dokku.set_status("b1", BuildStatus.SUCCEEDED)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, row.exit_status) == (Phase.SUCCEEDED, Live.NEW, None)
    assert "> deployed\n" in await rig.store.logs.read(row.id)


@in_virtual_time
async def test_lost_connection_is_not_shown_as_reading_the_end() -> None:
    rig, stream = await building()
    stream.lose()
    await rig.passes(1)
    assert not rig.progress().reading_end


@in_virtual_time
async def test_crash_right_after_a_good_end_fails_as_crashed() -> None:
    rig, stream = await building()
    stream.succeed()
    await rig.until_phase(Phase.CHECKING)
    rig.dokku.now = containers(
        type(NEW)(id=NEW.id, process=NEW.process, image=NEW.image, state="running", restarts=1)
    )
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.CRASHED, Live.NEW)


@in_virtual_time
async def test_nothing_scaled_up_succeeds_with_nothing_live() -> None:
    rig, stream = await building()
    rig.dokku.now, rig.dokku.metadata = containers(), METADATA
    stream.say("> releasing", "> deployed")
    stream.end(0)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NONE)


@in_virtual_time
async def test_old_dokku_success_needs_output_and_containers() -> None:
    rig, stream = await building(FakeDokku(keeps=False))
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, row.build_id) == (Phase.SUCCEEDED, Live.NEW, None)


@in_virtual_time
async def test_crashed_process_shows_the_end_of_its_own_log() -> None:
    rig = a_rig(waiting())
    rig.dokku.app_logs["web.1"] = ["starting", "KeyError: 'STRIPE_ACCOUNT'"]
    stream = await rig.begun()
    stream.succeed()
    await rig.until_phase(Phase.CHECKING)
    rig.dokku.now = containers(replace(NEW, restarts=3))
    row = await rig.until_ended(within_s=60)
    assert row.failure is Failure.CRASHED
    own = ("…… the end of the log of web.1 ……", "starting", "KeyError: 'STRIPE_ACCOUNT'")
    assert rig.progress().excerpt[-3:] == own
    assert tuple(rig.store.logs[row.id][-3:]) == own


@in_virtual_time
async def test_own_log_that_cannot_be_read_delays_no_result() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.succeed()
    await rig.until_phase(Phase.CHECKING)
    rig.dokku.now = containers(replace(NEW, restarts=3))
    rig.dokku.fail("app_log")
    row = await rig.until_ended(within_s=60)
    assert row.failure is Failure.CRASHED
    assert rig.dokku.asked.count("app_log") == 1


@pytest.mark.parametrize(
    ("after", "printed", "shown"),
    [
        ((NEW,), (), True),
        ((NEW,), ("=====> Start of web container output (x web.1)", "       KeyError"), False),
        # `logs` would show what the old container printed.
        ((OLD,), (), False),
        ((OLD, NEW), (), False),
    ],
)
@in_virtual_time
async def test_failed_check_without_output_shows_the_own_log_only_of_a_new_container(
    after: tuple[Container, ...], printed: tuple[str, ...], shown: bool
) -> None:
    rig = a_rig(waiting())
    rig.dokku.app_logs["web.1"] = ["starting", "KeyError: 'STRIPE_ACCOUNT'"]
    stream = await rig.begun()
    stream.say(*BUILDING, "> releasing", f"> start {NEW.id}", *printed)
    stream.say("> error checks_failed web.1 failed its check")
    rig.dokku.now = containers(*after)
    stream.end(1, BuildStatus.FAILED, 1)
    row = await rig.until_ended(within_s=60)
    assert row.phase is Phase.FAILED
    assert ("KeyError: 'STRIPE_ACCOUNT'" in rig.progress().excerpt) is shown


@in_virtual_time
async def test_address_is_shown_only_where_a_web_process_serves() -> None:
    rig = a_rig(waiting(url="http://web.example"))
    stream = await rig.begun()
    stream.succeed()
    rig.dokku.now = containers(replace(NEW, process="worker.1"))
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.url) == (Phase.SUCCEEDED, None)
