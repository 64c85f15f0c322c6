"""Polls: what they store, how failures count, and when contact is lost."""

from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, Phase
from bot.errors import CommandFailed
from tests.support.builders import METADATA, NEW, containers
from tests.support.fake_dokku import BUILDING, DOWN, GOOD, FakeStream
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

INTERVAL = 10
NO_APP = CommandFailed("builds:list web", 20, "", " !     App web does not exist")


async def building() -> tuple[Rig, FakeStream]:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    return rig, stream


@in_virtual_time
async def test_five_failed_polls_and_50_silent_seconds_are_lost_contact() -> None:
    rig, stream = await building()
    rig.dokku.down = DOWN
    began = rig.clock.monotonic()
    row = await rig.until_ended(within_s=120)
    assert (row.phase, row.failure, row.live) == (
        Phase.FAILED,
        Failure.LOST_CONTACT,
        Live.UNKNOWN,
    )
    assert 45 <= rig.clock.monotonic() - began <= 61
    assert (row.reason or "").endswith(f"The server could not be queried: {DOWN}")
    assert not stream.closed


@in_virtual_time
async def test_four_failed_polls_keep_contact() -> None:
    rig, stream = await building()
    rig.dokku.fail("builds", times=4)
    await rig.passes(4 * INTERVAL)
    assert rig.observer.poll_failures == 4
    assert rig.progress().stale_since is not None
    assert rig.progress().stale_why == str(DOWN)
    await rig.passes(INTERVAL)
    assert (rig.progress().stale_since, rig.progress().stale_why) == (None, None)
    rig.dokku.fail("builds", times=4)
    await rig.passes(6 * INTERVAL)
    assert rig.row().phase is Phase.BUILDING
    stream.succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_output_keeps_contact_although_polls_fail() -> None:
    rig, stream = await building()
    rig.dokku.down = DOWN
    for number in range(12):
        await rig.passes(INTERVAL)
        stream.say(f"line {number}")
    assert rig.row().phase is Phase.BUILDING
    rig.dokku.down = None
    stream.succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_stale_since_does_not_move() -> None:
    rig, stream = await building()
    rig.dokku.down = DOWN
    await rig.until(lambda: rig.progress().stale_since is not None)
    first = rig.progress().stale_since
    stream.say("still talking")
    await rig.passes(3 * INTERVAL)
    assert rig.progress().stale_since == first


@in_virtual_time
async def test_hanging_poll_counts_as_failed_after_eight_seconds() -> None:
    rig, _ = await building()
    rig.dokku.hanging.add("builds")
    row = await rig.until_ended(within_s=180)
    assert row.failure is Failure.LOST_CONTACT
    assert (row.reason or "").endswith("could not be queried: it did not answer within 8 s.")
    assert rig.observer.poll_failures >= 5


@in_virtual_time
async def test_exit_status_from_the_connection_prevents_lost_contact() -> None:
    rig, stream = await building()
    rig.dokku.down = DOWN
    await rig.passes(4 * INTERVAL)
    stream.say("> error build_failed ERROR: failed to solve")
    stream.end(1)
    row = await rig.until_ended(within_s=300)
    assert (row.failure, row.live) == (Failure.BUILD_FAILED, Live.UNKNOWN)
    assert str(DOWN) in (row.reason or "")


@in_virtual_time
async def test_lost_connection_waits_for_a_restarting_server() -> None:
    """Sshd restarts and refuses everything for 20 s, which is not lost contact yet."""
    rig, stream = await building()
    rig.dokku.down = DOWN
    stream.lose()
    await rig.passes(25)
    assert rig.row().phase is Phase.BUILDING
    assert not rig.progress().reading_end
    rig.dokku.down = None
    rig.dokku.set_status("b1", BuildStatus.FAILED, 1)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.FAILED, Live.PREVIOUS)


@in_virtual_time
async def test_lost_connection_on_dead_server_becomes_lost_contact() -> None:
    rig, stream = await building()
    rig.dokku.down = DOWN
    stream.lose()
    row = await rig.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.LOST_CONTACT, Live.UNKNOWN)


@in_virtual_time
async def test_stream_of_lost_deployment_is_read_and_corrects_the_result() -> None:
    rig, stream = await building()
    rig.dokku.down = DOWN
    row = await rig.until_ended(within_s=120)
    assert row.failure is Failure.LOST_CONTACT
    rig.dokku.down = None
    stream.say("one more line")
    await rig.passes(5)
    assert stream.read == len(stream.printed)
    assert not stream.closed
    stream.succeed()
    await rig.until(lambda: rig.row().phase is Phase.SUCCEEDED, within_s=120)
    assert rig.row().live is Live.NEW
    assert rig.store.event_types(row.id)[-1] == "deployment.corrected"
    await rig.passes(30)
    assert rig.store.owner(row.id) is None
    assert rig.dispatcher._workers == {}


@in_virtual_time
async def test_commit_is_read_after_the_fetch() -> None:
    rig = a_rig(waiting(sha=None))
    stream = await rig.begun()
    stream.say("> fetching")
    await rig.passes(INTERVAL + 2)
    assert rig.row().sha is None
    stream.say("> building")
    await rig.passes(INTERVAL + 2)
    assert rig.row().sha == rig.dokku.fetched


@in_virtual_time
async def test_first_poll_stores_the_build_id() -> None:
    rig = a_rig(waiting())
    await rig.begun()
    await rig.passes(2)
    assert rig.row().build_id == "b1"


@in_virtual_time
async def test_record_that_appears_late_is_found() -> None:
    rig = a_rig(waiting())
    rig.dokku.record_after_s = 35
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(20)
    assert rig.row().build_id is None
    await rig.passes(30)
    assert rig.row().build_id == "b1"
    stream.succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_polls_write_only_changes() -> None:
    rig, _ = await building()
    writes = rig.store.calls.count("save")
    await rig.passes(10 * INTERVAL)
    assert rig.store.calls.count("save") == writes


@in_virtual_time
async def test_database_outage_is_not_lost_contact() -> None:
    rig = a_rig(waiting())
    rig.dokku.record_after_s = 12
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(3)
    rig.store.down = True
    await rig.passes(8 * INTERVAL)
    rig.store.down = False
    await rig.passes(2 * INTERVAL)
    assert rig.row().phase is Phase.BUILDING
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_unexpected_error_does_not_stop_the_polls() -> None:
    rig, stream = await building()
    rig.dokku.fail("builds", RuntimeError("a bug"), times=3)
    await rig.passes(3 * INTERVAL)
    stream.lose()
    rig.dokku.fail("builds", RuntimeError("a bug"), times=1)
    rig.dokku.set_status("b1", BuildStatus.FAILED, 1)
    row = await rig.until_ended(within_s=120)
    assert (row.phase, row.live) == (Phase.FAILED, Live.PREVIOUS)


@in_virtual_time
async def test_time_limit_applies_although_every_poll_fails() -> None:
    rig, _ = await building()
    rig.dokku.broken.add("builds")
    row = await rig.until_ended(within_s=timedelta(hours=1).total_seconds())
    assert row.phase is Phase.FAILED
    assert row.live is Live.UNKNOWN


@in_virtual_time
async def test_half_open_connection_is_closed_when_record_has_ended() -> None:
    """The server was switched off and on, and the connection never reported its end."""
    rig, stream = await building()
    rig.dokku.set_status(stream.build_id, BuildStatus.ABANDONED)
    await rig.passes(4 * INTERVAL)
    assert len(rig.dokku.streams) == 1
    second = await rig.dokku.stream(2)
    assert stream.closed
    second.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 2)


@in_virtual_time
async def test_record_proves_success_on_a_half_open_connection() -> None:
    rig, stream = await building()
    stream.printed += [line for line in GOOD if line not in stream.printed]
    rig.dokku.now, rig.dokku.metadata = containers(NEW), METADATA
    rig.dokku.set_status(stream.build_id, BuildStatus.SUCCEEDED, 0)
    row = await rig.until_ended(within_s=120)
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)


@in_virtual_time
async def test_connection_stays_open_while_output_or_command_continues() -> None:
    rig, stream = await building()
    await rig.passes(20 * INTERVAL)
    rig.dokku.set_status(stream.build_id, BuildStatus.ABANDONED)
    for number in range(20):
        await rig.passes(INTERVAL)
        stream.say(f"line {number}")
    assert not stream.closed
    rig.dokku.set_status(stream.build_id, BuildStatus.RUNNING)
    await rig.passes(20 * INTERVAL)
    assert not stream.closed


@in_virtual_time
async def test_outside_change_is_shown_while_running_and_in_the_result() -> None:
    rig, stream = await building()
    assert rig.progress().others is None
    rig.dokku.add_record("c1", source="config-redeploy", kind="deploy")
    await rig.passes(INTERVAL + 1)
    assert rig.progress().others == (
        "Meanwhile, outside the bot: config:set (Dokku build c1, still running)."
    )
    rig.dokku.set_status("c1", BuildStatus.SUCCEEDED, 0)
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert row.reason == (
        "The new release is running and has stayed up. "
        "Meanwhile, outside the bot: config:set (Dokku build c1)."
    )
    assert (row.evidence or "").endswith("others: config-redeploy c1 succeeded")


@in_virtual_time
async def test_refused_outside_deploy_is_only_in_the_evidence() -> None:
    """It is shown as running for a moment, but changed nothing except Dokku's lock file."""
    rig, stream = await building()
    rig.dokku.add_record("p1", source="git-hook")
    await rig.passes(INTERVAL + 1)
    assert rig.progress().others is not None
    rig.dokku.set_status("p1", BuildStatus.ABANDONED)
    await rig.passes(INTERVAL + 1)
    assert rig.progress().others is None
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert row.reason == "The new release is running and has stayed up."
    assert "git-hook p1 abandoned" in (row.evidence or "")


@in_virtual_time
async def test_app_that_is_gone_ends_the_build_within_a_poll() -> None:
    rig, stream = await building()
    rig.dokku.down = NO_APP
    began = rig.clock.monotonic()
    row = await rig.until_ended(within_s=60)
    assert rig.clock.monotonic() - began <= INTERVAL + 1
    assert (row.phase, row.failure, row.live) == (
        Phase.FAILED,
        Failure.APP_NOT_FOUND,
        Live.UNKNOWN,
    )
    assert row.reason == (
        "Someone destroyed or renamed the app on the server during the deployment. "
        "What is serving now is unknown."
    )
    assert row.late_over
    assert not stream.closed


@in_virtual_time
@pytest.mark.parametrize("exit_status", [0, 1, None])
async def test_app_that_is_gone_at_the_end_is_not_asked_for_again(exit_status: int | None) -> None:
    rig, stream = await building()
    rig.dokku.down = NO_APP
    began = rig.clock.monotonic()
    if exit_status is None:
        stream.lose()
    else:
        stream.end(exit_status)
    row = await rig.until_ended(within_s=60)
    assert rig.clock.monotonic() - began <= INTERVAL + 1
    assert (row.failure, row.live) == (Failure.APP_NOT_FOUND, Live.UNKNOWN)


@in_virtual_time
async def test_app_that_is_gone_ends_the_watch() -> None:
    rig, stream = await building()
    stream.succeed()
    await rig.until_phase(Phase.CHECKING)
    rig.dokku.down = NO_APP
    began = rig.clock.monotonic()
    row = await rig.until_ended(within_s=60)
    assert rig.clock.monotonic() - began <= INTERVAL + 1
    assert (row.failure, row.live) == (Failure.APP_NOT_FOUND, Live.UNKNOWN)


@in_virtual_time
async def test_what_waits_for_an_app_that_is_gone_ends_too() -> None:
    second = waiting(id="01K9ZB0000000000000000000B", request_key="command:2")
    rig = a_rig(waiting(), second)
    await rig.begun()
    rig.dokku.down = NO_APP
    row = await rig.until_ended(second.id, within_s=60)
    assert row.failure is Failure.APP_NOT_FOUND
    assert row.started_at is None
