"""A cancel or the time limit while Dokku before 0.38 fetches, when nothing holds the lock yet."""

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.timing import LockTiming
from tests.support.fake_dokku import FakeDokku, FakeStream
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

LOCK = LockTiming()


FETCHING = "> fetching"
BUILDING = "> building"


async def fetching(*printed: str) -> tuple[Rig, FakeStream]:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=False))
    stream = await rig.begun()
    stream.say(*printed)
    await rig.passes(5)
    return rig, stream


async def cancel(rig: Rig) -> float:
    """Request a cancel; returns the time of the request."""
    await rig.cancel()
    return rig.clock.monotonic()


async def begin_build(rig: Rig, stream: FakeStream) -> float:
    """Let the build begin, which takes the lock; returns when the connection was closed."""
    rig.dokku.locked = True
    stream.say(BUILDING)
    await rig.until(lambda: stream.closed, within_s=5)
    closed_at = rig.clock.monotonic()
    await rig.passes(2)  # as in recording m1
    rig.dokku.locked = False
    return closed_at


@pytest.mark.parametrize("printed", [(), (FETCHING,)])
@in_virtual_time
async def test_connection_closes_when_the_build_begins_and_lock_proves_it(
    printed: tuple[str, ...],
) -> None:
    rig, stream = await fetching(*printed)
    await cancel(rig)
    await rig.passes(20)
    assert rig.row().phase is Phase.CANCELLING
    assert not stream.closed
    assert "Dokku's fetch" in (rig.progress().waits_for or "")
    began_at = rig.clock.monotonic()
    closed_at = await begin_build(rig, stream)
    assert closed_at - began_at < 0.2
    assert rig.progress().waits_for is None
    row = await rig.until_ended(within_s=6)
    assert (row.phase, row.failure, row.live) == (Phase.CANCELLED, None, Live.PREVIOUS)
    assert "building" in (row.evidence or "")


@in_virtual_time
async def test_cancel_waits_for_the_fetch_only_for_a_limited_time() -> None:
    rig, stream = await fetching(FETCHING)
    asked_at = await cancel(rig)
    await rig.until(lambda: stream.closed)
    waited_s = rig.clock.monotonic() - asked_at
    assert waited_s == pytest.approx(LOCK.fetch_lives_on.total_seconds(), abs=1)
    assert rig.progress().waits_for is None
    await rig.passes(LOCK.fetch_lives_on.total_seconds() - 2)
    assert rig.row().phase is Phase.CANCELLING
    row = await rig.until_ended(within_s=20)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)


@in_virtual_time
async def test_fetch_that_fails_during_the_wait_ends_as_cancelled() -> None:
    rig, stream = await fetching(FETCHING)
    await cancel(rig)
    await rig.passes(3)
    stream.say("> error repo_unreachable gone")
    stream.end(128)
    row = await rig.until_ended(within_s=2)
    assert (row.phase, row.failure, row.live) == (Phase.CANCELLED, None, Live.PREVIOUS)
    assert not stream.closed


@in_virtual_time
async def test_start_refused_during_the_wait_ends_as_cancelled() -> None:
    rig, stream = await fetching(FETCHING)
    await cancel(rig)
    await rig.passes(3)
    stream.say("> locked")
    stream.end(1)
    row = await rig.until_ended(within_s=10)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert not stream.closed


@in_virtual_time
async def test_connection_lost_during_the_wait_is_proven_by_the_lock() -> None:
    rig, stream = await fetching(FETCHING)
    await cancel(rig)
    await rig.passes(3)
    stream.lose()
    lost_at = rig.clock.monotonic()
    row = await rig.until_ended(within_s=80)
    assert rig.clock.monotonic() - lost_at >= LOCK.fetch_lives_on.total_seconds()
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)


@in_virtual_time
async def test_second_cancel_request_does_not_shorten_the_wait() -> None:
    rig, stream = await fetching(FETCHING)
    await cancel(rig)
    await rig.passes(2)
    await cancel(rig)
    await rig.passes(30)
    assert not stream.closed


@in_virtual_time
async def test_suspended_owner_closes_the_connection_once_allowed_again() -> None:
    rig, stream = await fetching(FETCHING)
    await cancel(rig)
    rig.store.fail("renew", times=3)
    await rig.passes(15.5)
    rig.dokku.locked = True
    stream.say(BUILDING)
    await rig.passes(3)
    assert not stream.closed
    await rig.until(lambda: stream.closed, within_s=12)


@in_virtual_time
async def test_drain_ends_the_wait_and_next_owner_reads_the_lock() -> None:
    rig, stream = await fetching(FETCHING)
    await cancel(rig)
    await rig.passes(2)
    assert await rig.stop(timeout_s=5) == 1
    stream.lose()  # the process ends, and its connections with it
    again = a_rig(store=rig.store, dokku=rig.dokku)
    row = await again.until_ended(within_s=LOCK.fetch_lives_on.total_seconds() + 20)
    assert (row.phase, row.live, row.attempt) == (Phase.CANCELLED, Live.PREVIOUS, 1)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_time_limit_stops_a_fetch_when_its_build_begins() -> None:
    rig, stream = await fetching(FETCHING)
    await rig.until_phase(Phase.CANCELLING)
    await rig.passes(40)
    await begin_build(rig, stream)
    row = await rig.until_ended(within_s=6)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)
    assert "was stopped" in (row.reason or "")


@in_virtual_time
async def test_fetch_ending_at_the_time_limit_is_not_timed_out() -> None:
    rig, stream = await fetching(FETCHING)
    await rig.until_phase(Phase.CANCELLING)
    await rig.passes(40)
    stream.say("> error repo_unreachable gone")
    stream.end(128)
    row = await rig.until_ended(within_s=6)
    assert (row.failure, row.live) == (Failure.REPO_UNREACHABLE, Live.PREVIOUS)


@in_virtual_time
async def test_time_limit_stops_a_hanging_fetch() -> None:
    rig, stream = await fetching(FETCHING)
    await rig.until(lambda: stream.closed)
    row = await rig.until_ended(within_s=LOCK.fetch_lives_on.total_seconds() + 20)
    assert (row.failure, row.live) == (Failure.TIMED_OUT, Live.PREVIOUS)
    assert "was stopped" in (row.reason or "")


@in_virtual_time
async def test_time_limit_after_lost_connection_waits_only_the_fetch_time() -> None:
    """Nothing is left to cancel, so the time that a cancel may take is not added."""
    rig, stream = await fetching(FETCHING, BUILDING)
    rig.dokku.locked = True
    stream.lose()
    row = rig.row()
    assert row.started_at is not None
    await rig.passes((row.started_at + row.max_duration - rig.clock.now()).total_seconds())
    end = await rig.until_ended(within_s=LOCK.fetch_lives_on.total_seconds() + 40)
    assert (end.failure, end.live) == (Failure.TIMED_OUT, Live.UNKNOWN)


@pytest.mark.parametrize("keeps", [True, False])
@in_virtual_time
async def test_second_attempt_starts_as_a_fetch_again(keeps: bool) -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=keeps))
    first = await rig.begun()
    first.say(FETCHING, BUILDING)
    await rig.passes(3)
    rig.dokku.locked = True
    first.lose()
    await rig.until(lambda: rig.progress().cut_off, within_s=15)
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    rig.dokku.locked = False
    second = await rig.dokku.stream(2)
    second.say(FETCHING)
    await rig.passes(3)
    assert not rig.progress().cut_off
    await cancel(rig)
    await rig.passes(2)
    assert not second.closed
    assert rig.dokku.cancels == []
