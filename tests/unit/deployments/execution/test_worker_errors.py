"""Unexpected errors lead to a retry or a result, never to silence."""

import asyncio

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.errors import (
    CommandFailed,
    DatabaseDown,
    Declined,
    OddReport,
    Unreachable,
)
from tests.support.builders import OLD, containers
from tests.support.fake_dokku import BUILDING, DOWN, UNKNOWN, FakeDokku
from tests.support.memory_store import refused
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

BUG = RuntimeError("a bug")


@pytest.mark.parametrize("question", ["keeps_records", "report", "containers", "builds", "deploy"])
@in_virtual_time
async def test_single_error_before_the_start_is_retried(question: str) -> None:
    rig = a_rig(waiting())
    rig.dokku.fail(question, BUG)
    (await rig.dokku.stream()).say(*BUILDING)
    await rig.passes(5)
    rig.dokku.streams[0].succeed()
    row = await rig.until_ended(within_s=120)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert len(rig.dokku.streams) == 1
    assert rig.store.event_types(row.id).count("deployment.started") == 1


@pytest.mark.parametrize("question", ["report", "builds"])
@in_virtual_time
async def test_repeated_error_before_the_start_ends_as_internal(question: str) -> None:
    rig = a_rig(waiting())
    rig.dokku.broken.add(question)
    row = await rig.until_ended(within_s=120)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.INTERNAL, Live.PREVIOUS)
    assert row.started_at is None
    assert rig.store.owner(row.id) is None


@in_virtual_time
async def test_declined_deploy_ends_as_refused_with_its_sentence() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("deploy", Declined("The repository's address cannot be given to Dokku."))
    row = await rig.until_ended(within_s=30)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.REFUSED, Live.PREVIOUS)
    assert row.reason == (
        "The repository's address cannot be given to Dokku. The previous release is still serving."
    )
    assert rig.dokku.streams == []


@in_virtual_time
async def test_repeated_error_at_the_end_is_corrected_later() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    rig.dokku.broken.add("report")
    stream.succeed()
    row = await rig.until_ended(within_s=120)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.INTERNAL, Live.UNKNOWN)
    assert "internal error" in (row.reason or "")
    rig.dokku.broken.clear()
    await rig.until(lambda: rig.row().phase is Phase.SUCCEEDED, within_s=60)
    assert rig.row().live is Live.NEW
    assert rig.store.event_types(row.id)[-1] == "deployment.corrected"


@pytest.mark.parametrize("question", ["report", "containers", "builds", "keeps_records"])
@in_virtual_time
async def test_single_error_at_the_end_is_retried(question: str) -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    rig.dokku.fail(question, BUG)
    stream.succeed()
    row = await rig.until_ended(within_s=120)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_error_while_reading_the_stream_still_reaches_a_result() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    stream.breaks_with = BUG
    stream.lose()
    await rig.passes(30)
    rig.dokku.set_status("b1", BuildStatus.FAILED, 1)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.FAILED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


@pytest.mark.parametrize("method", ["save", "append_log", "get", "read_log", "proven_live"])
@pytest.mark.parametrize("error", [DatabaseDown("away"), refused(), RuntimeError("a bug")])
@in_virtual_time
async def test_single_store_failure_at_any_point_is_retried(method: str, error: Exception) -> None:
    for at in range(0, 30, 3):
        rig = a_rig(waiting())
        stream = await rig.begun()
        rig.store.calls.clear()
        await _fail_at(rig, method, error, at)
        stream.say(*BUILDING)
        await rig.passes(5)
        stream.succeed()
        row = await rig.until_ended(within_s=300)
        assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
        assert rig.store.event_types(row.id) == ["deployment.started", "deployment.finished"]
        await rig.passes(30)
        assert rig.store.owner(row.id) is None
        await rig.stop()


async def _fail_at(rig: Rig, method: str, error: Exception, at: int) -> None:
    """Let the next call fail after `at` steps of the loop."""
    for _ in range(at):
        await rig.passes(0)
    rig.store.fail(method, error)


@pytest.mark.parametrize("method", ["save", "append_log", "claim", "release", "renew"])
@in_virtual_time
async def test_lost_store_answer_reports_nothing_twice(method: str) -> None:
    for skip in range(8):
        rig = a_rig(waiting())
        stream = await rig.begun()
        stream.say(*BUILDING)
        await rig.passes(0.2 * skip)
        if method != "claim":
            rig.store.lose_answer(method)
        await rig.passes(6)
        stream.succeed()
        row = await rig.until_ended(within_s=300)
        assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
        assert rig.store.event_types(row.id) == ["deployment.started", "deployment.finished"]
        assert rig.observer.ended_ids == [row.id]
        tracked = rig.cache.get(row.id)
        assert tracked is not None
        assert tracked.deployment.phase is Phase.SUCCEEDED
        await rig.stop()


@in_virtual_time
async def test_claim_with_lost_answer_is_repeated_after_its_lease() -> None:
    rig = a_rig(waiting(), start=False)
    rig.store.lose_answer("claim")
    rig.start()
    async with asyncio.timeout(rig.timing.lease.total_seconds() + 10):
        stream = await rig.dokku.stream()
    await rig.passes(2)
    stream.succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_result_is_shown_although_its_store_answer_is_lost() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING, "> error build_failed ERROR: failed to solve")
    await rig.passes(5)
    stream.end(1)
    await rig.until(lambda: rig.row().exit_status == 1)
    rig.store.lose_answer("save")
    row = await rig.until_ended(within_s=60)
    await rig.passes(5)
    tracked = rig.cache.get(row.id)
    assert tracked is not None
    assert tracked.deployment.phase is Phase.FAILED
    assert rig.store.event_types(row.id) == ["deployment.started", "deployment.finished"]
    assert rig.observer.ended_ids == [row.id]


@in_virtual_time
async def test_refused_writes_are_retried_with_pauses() -> None:
    rig = a_rig(waiting())
    rig.store.fail("save", refused(), times=1000)
    await rig.passes(600)
    assert rig.store.calls.count("save") < 400
    rig.store.failing.clear()
    (await rig.dokku.stream()).succeed()
    assert (await rig.until_ended(within_s=120)).phase is Phase.SUCCEEDED


# Questions before the start.


@in_virtual_time
async def test_three_unanswered_tries_end_as_unreachable() -> None:
    rig = a_rig(waiting())
    rig.dokku.down = DOWN
    row = await rig.until_ended(within_s=90)
    assert (row.failure, row.live) == (Failure.SERVER_UNREACHABLE, Live.UNKNOWN)
    assert 39 <= rig.clock.monotonic() <= 62
    assert row.started_at is None


@in_virtual_time
async def test_waiting_for_the_server_is_shown() -> None:
    rig = a_rig(waiting())
    rig.dokku.down = DOWN
    await rig.passes(5)
    assert (rig.progress().waits_for or "").startswith("the server to answer (try 1 of 3)")


@in_virtual_time
async def test_two_failed_tries_do_not_end_it() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("builds", times=2)
    (await rig.dokku.stream()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_refused_ssh_key_ends_it_at_once() -> None:
    rig = a_rig(waiting())
    rig.dokku.down = Unreachable("It refused the bot's SSH key.", final=True)
    row = await rig.until_ended(within_s=5)
    assert (row.failure, row.live) == (Failure.SERVER_UNREACHABLE, Live.UNKNOWN)


@in_virtual_time
async def test_failing_command_is_refused_not_unreachable() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("builds", command_failed(1), times=3)
    row = await rig.until_ended(within_s=90)
    assert (row.failure, row.live) == (Failure.REFUSED, Live.PREVIOUS)


@in_virtual_time
async def test_malformed_answer_is_internal_not_unreachable() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("builds", OddReport("builds:list answered no JSON"), times=3)
    row = await rig.until_ended(within_s=90)
    assert (row.failure, row.live) == (Failure.INTERNAL, Live.PREVIOUS)


@in_virtual_time
async def test_nothing_starts_while_containers_are_unreadable() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(now=None))
    await rig.passes(5)
    waits_for = rig.progress().waits_for or ""
    assert waits_for.startswith("the server to answer (try 1 of 3): Docker on the server")
    assert not rig.dokku.streams
    rig.dokku.now = containers(OLD)
    (await rig.dokku.stream()).end(1)
    row = await rig.until_ended(within_s=90)
    assert (row.phase, row.live) == (Phase.FAILED, Live.PREVIOUS)


@in_virtual_time
async def test_containers_never_readable_end_it_before_the_start() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(now=None))
    row = await rig.until_ended(within_s=90)
    assert (row.failure, row.live) == (Failure.SERVER_UNREACHABLE, Live.UNKNOWN)
    assert row.reason == (
        "Docker on the server does not show the containers of web, so no result could be "
        "proven: nothing was started. Check that Docker runs on the server, then retry. "
        "What is serving now is unknown."
    )
    assert row.started_at is None
    assert not rig.dokku.streams


@in_virtual_time
async def test_app_deleted_while_queued_ends_as_app_not_found() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(now=containers(OLD)))
    rig.dokku.fail("builds", command_failed(20))
    row = await rig.until_ended(within_s=90)
    assert row.failure is Failure.APP_NOT_FOUND


@in_virtual_time
async def test_failed_logins_are_tried_three_times() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("deploy", times=2)
    (await rig.dokku.stream()).succeed()
    row = await rig.until_ended(within_s=120)
    assert row.phase is Phase.SUCCEEDED
    assert rig.store.event_types(row.id).count("deployment.started") == 1


@in_virtual_time
async def test_three_failed_logins_end_as_unreachable() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("deploy", times=3)
    row = await rig.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.SERVER_UNREACHABLE, Live.UNKNOWN)
    assert rig.store.event_types(row.id) == ["deployment.finished"]


@in_virtual_time
async def test_start_with_unknown_outcome_is_not_repeated() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("deploy", UNKNOWN)
    await rig.until(lambda: rig.row().started_at is not None)
    rig.dokku.add_record("b9", text=["> fetching", "> building"])
    await rig.passes(60)
    assert rig.row().phase is Phase.STARTING
    assert rig.row().build_id == "b9"
    rig.dokku.set_status("b9", BuildStatus.FAILED, 1)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.FAILED, Live.PREVIOUS)
    assert rig.dokku.streams == []


def command_failed(status: int) -> Exception:
    return CommandFailed("builds:list web --format json", status, "", " !     It said no")


@in_virtual_time
async def test_start_that_always_errors_ends_as_internal() -> None:
    rig = a_rig(waiting())
    rig.dokku.broken.add("deploy")
    row = await rig.until_ended(within_s=600)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.INTERNAL, Live.PREVIOUS)


@in_virtual_time
async def test_error_while_the_stream_is_open_keeps_it_open() -> None:
    rig = a_rig(waiting())
    real = rig.store.get

    async def get(deployment_id: str) -> Deployment | None:
        row = await real(deployment_id)
        if row is not None and row.started_at is not None:
            rig.store.get = real  # type: ignore[method-assign]  # once
            raise BUG
        return row

    rig.store.get = get  # type: ignore[method-assign]  # the first read after the start
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    assert rig.row().phase is Phase.BUILDING
    assert stream.read == len(stream.printed)
    assert not stream.closed
    stream.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, len(rig.dokku.streams)) == (Phase.SUCCEEDED, Live.NEW, 1)


@in_virtual_time
async def test_lease_release_is_retried_later() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    rig.dokku.down = DOWN
    rig.store.fail("release", times=2)
    row = await rig.until_ended(within_s=120)
    assert row.failure is Failure.LOST_CONTACT
    rig.dokku.down = None
    stream.succeed()
    await rig.until(lambda: rig.store.owner(row.id) is None, within_s=60)
    assert rig.dispatcher._unreleased == {}
