"""Dokku before 0.38 keeps no build records; the freed deploy lock proves that a deploy is dead."""

import asyncio
from datetime import timedelta

from bot.deployments.dokku_facts import AppReport
from bot.deployments.execution.attempt import NEXT_START
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.timing import LockTiming
from tests.support.builders import METADATA, NEW, OTHER_RELEASE, containers
from tests.support.fake_dokku import BUILDING, DOWN, FakeDokku, FakeStream
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

LOCK = LockTiming()


AFTER_SWITCH = (*BUILDING, "> releasing", f"> start {NEW.id}")
TIME_LIMIT = timedelta(minutes=30)
INTERVAL = 10
BY_LOCK = "(inferred from the released deploy lock)."


async def started(*printed: str, locked: bool = True) -> tuple[Rig, FakeStream]:
    """Start a deploy that printed `printed`; it holds the lock from its build on."""
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=False))
    stream = await rig.begun()
    stream.say(*printed)
    rig.dokku.locked = locked
    await rig.passes(5)
    return rig, stream


async def die_and_free_lock(rig: Rig, stream: FakeStream) -> None:
    """Its client is gone: it dies and frees its lock 2 s later (recording m1)."""
    await rig.until(lambda: stream.ended)
    await rig.passes(2)
    rig.dokku.locked = False


# Cancel.


@in_virtual_time
async def test_cancel_in_a_build_is_proven_within_10_s() -> None:
    rig, stream = await started(*BUILDING)
    asked_at = rig.clock.monotonic()
    await rig.cancel()
    await die_and_free_lock(rig, stream)
    row = await rig.until_ended(within_s=10)
    assert (row.phase, row.failure, row.live) == (Phase.CANCELLED, None, Live.PREVIOUS)
    assert rig.clock.monotonic() - asked_at < 10
    assert stream.closed
    assert rig.dokku.cancels == []
    assert row.reason == (
        f"Cancelled, and stopped {BY_LOCK} The previous release is still serving."
    )
    assert "record none (this Dokku keeps none), lock free for a moment" in (row.evidence or "")


@in_virtual_time
async def test_cancel_after_the_switch_is_too_late() -> None:
    rig, stream = await started(*AFTER_SWITCH)
    rig.dokku.now = containers(NEW)
    await rig.cancel()
    await die_and_free_lock(rig, stream)
    row = await rig.until_ended(within_s=10)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.NEW)
    assert "too late" in (row.reason or "")


@in_virtual_time
async def test_cancel_that_meets_a_success_ends_as_succeeded() -> None:
    rig, stream = await started(*AFTER_SWITCH)
    rig.dokku.now = containers(NEW)
    await rig.cancel()
    await rig.until(lambda: stream.closed)
    rig.dokku.locked = False
    await rig.passes(2)
    rig.dokku.metadata = METADATA
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_deploy_still_running_after_cancel_stays_cancelling() -> None:
    rig, stream = await started(*BUILDING)
    await rig.cancel()
    await rig.until(lambda: stream.closed)
    await rig.passes(120)
    assert rig.row().phase is Phase.CANCELLING
    rig.dokku.locked = False
    row = await rig.until_ended(within_s=INTERVAL + 10)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)


# The time limit.


@in_virtual_time
async def test_time_limit_stops_a_build() -> None:
    rig, stream = await started(*BUILDING)
    await rig.until(lambda: stream.closed)
    await die_and_free_lock(rig, stream)
    row = await rig.until_ended(within_s=10)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)
    assert rig.clock.monotonic() >= TIME_LIMIT.total_seconds()
    assert (row.reason or "").startswith(f"It took longer than allowed and was stopped {BY_LOCK}")


@in_virtual_time
async def test_time_limit_waits_for_a_silent_fetch() -> None:
    rig, stream = await started("> fetching", locked=False)
    await rig.until(lambda: stream.closed)
    row = await rig.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.TIMED_OUT, Live.PREVIOUS)


@in_virtual_time
async def test_deploy_outliving_the_time_limit_is_proven_later() -> None:
    rig, stream = await started(*BUILDING)
    await rig.until(lambda: stream.closed)
    row = await rig.until_ended(within_s=180)
    assert (row.failure, row.live) == (Failure.TIMED_OUT, Live.UNKNOWN)
    await rig.late.look()
    await rig.passes(30)
    assert rig.row().live is Live.UNKNOWN
    rig.dokku.locked = False
    await rig.late.look()
    await rig.passes(30)
    assert (rig.row().failure, rig.row().live) == (Failure.TIMED_OUT, Live.PREVIOUS)


@in_virtual_time
async def test_deploy_that_died_before_time_limit_is_not_timed_out() -> None:
    """The connection was lost long before, so the bot stopped nothing."""
    rig, stream = await started(*BUILDING)
    await rig.passes(TIME_LIMIT.total_seconds() - 60)
    stream.lose()
    await rig.passes(58)
    assert rig.row().phase is Phase.BUILDING
    rig.dokku.locked = False
    row = await rig.until_ended(within_s=40)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


# A lost connection.


@in_virtual_time
async def test_connection_lost_in_a_build_starts_again() -> None:
    rig, stream = await started(*BUILDING)
    stream.lose()
    await die_and_free_lock(rig, stream)
    lost_at = rig.clock.monotonic()
    second = await rig.dokku.stream(2)
    assert rig.clock.monotonic() - lost_at < 10
    second.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 2)


@in_virtual_time
async def test_lock_taken_by_another_deploy_prevents_a_second_attempt() -> None:
    rig, stream = await started(*BUILDING)
    rig.dokku.locked = False
    real = rig.store.newer

    async def newer(deployment: object) -> object:
        rig.dokku.locked = True
        return await real(deployment)  # type: ignore[arg-type]  # between verdict and start

    rig.store.newer = newer  # type: ignore[assignment,method-assign]  # between verdict and start
    stream.lose()
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_connection_lost_after_the_switch_is_interrupted_but_live() -> None:
    rig, stream = await started(*AFTER_SWITCH)
    rig.dokku.now = containers(NEW)
    stream.lose()
    await die_and_free_lock(rig, stream)
    row = await rig.until_ended(within_s=10)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.NEW)
    assert BY_LOCK in (row.reason or "")


@in_virtual_time
async def test_deploy_that_survives_lost_connection_succeeds() -> None:
    """A silent loss kills nothing: the output is lost, but the release is live."""
    rig, stream = await started(*BUILDING)
    stream.lose()
    await rig.passes(65)
    assert rig.row().phase is Phase.BUILDING
    rig.dokku.now = containers(NEW)
    await rig.passes(20)
    rig.dokku.locked = False
    await rig.passes(0.4)
    rig.dokku.metadata = METADATA
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_bot_killed_in_a_build_starts_again() -> None:
    rig, _ = await started(*BUILDING)
    await rig.crash()
    rig.dokku.locked = False
    again = a_rig(store=rig.store, dokku=rig.dokku)
    (await rig.dokku.stream(2)).succeed()
    row = await again.until_ended(within_s=60)
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 2)


@in_virtual_time
async def test_phase_replaces_log_lines_that_were_never_stored() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=False))
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.until_phase(Phase.BUILDING)
    await rig.crash()
    assert await rig.store.logs.read(rig.row().id) == ""
    a_rig(store=rig.store, dokku=rig.dokku)
    killed_at = rig.clock.monotonic()
    await rig.dokku.stream(2)
    # The lease of 20 s and one look at the lock, without the wait for a fetch.
    assert rig.clock.monotonic() - killed_at < 40


@in_virtual_time
async def test_lock_is_checked_closely_only_just_after_the_loss() -> None:
    rig, stream = await started(*BUILDING)
    stream.lose()
    await rig.passes(LOCK.dies_within.total_seconds() + LOCK.stays_free.total_seconds())
    closely = rig.dokku.asked.count("report")
    assert closely > LOCK.dies_within / LOCK.pause / 2
    await rig.passes(10 * INTERVAL)
    # Per interval: the poll, the look at the lock, and one complete read.
    assert rig.dokku.asked.count("report") - closely <= 3 * 11


# Polls.


@in_virtual_time
async def test_five_failed_polls_on_silent_connection_are_lost_contact() -> None:
    rig, stream = await started(*BUILDING)
    await rig.passes(3 * INTERVAL)
    assert rig.observer.polls >= 3
    rig.dokku.fail("report", times=1)
    await rig.until(lambda: rig.progress().stale_since is not None, within_s=2 * INTERVAL)
    await rig.until(lambda: rig.progress().stale_since is None, within_s=2 * INTERVAL)
    rig.dokku.down = DOWN
    row = await rig.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.LOST_CONTACT, Live.UNKNOWN)
    assert not stream.closed


@in_virtual_time
async def test_free_lock_does_not_prove_a_lost_fetch_dead() -> None:
    rig, _ = await started("> fetching", locked=False)
    rig.dokku.down = DOWN
    row = await rig.until_ended(within_s=120)
    assert row.failure is Failure.LOST_CONTACT
    rig.dokku.down = None
    await rig.passes(2 * LOCK.fetch_lives_on.total_seconds())
    await rig.late.look()
    await rig.passes(30)
    assert rig.row().live is Live.UNKNOWN


@in_virtual_time
async def test_half_open_connection_is_closed_when_lock_is_free() -> None:
    rig, stream = await started(*AFTER_SWITCH)
    rig.dokku.now, rig.dokku.metadata = containers(NEW), METADATA
    rig.dokku.locked = False
    row = await rig.until_ended(within_s=120)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert stream.closed


@in_virtual_time
async def test_silent_build_and_silent_fetch_keep_their_connection() -> None:
    for printed, locked in ((BUILDING, True), (("> fetching",), False)):
        rig, stream = await started(*printed, locked=locked)
        await rig.passes(300)
        assert not stream.closed
        stream.succeed()
        assert (await rig.until_ended(within_s=60)).live is Live.NEW


class SlowReport(FakeDokku):
    """A server whose report arrives a second late."""

    async def report(self, app: str) -> AppReport:
        await asyncio.sleep(1)
        return await super().report(app)


@in_virtual_time
async def test_containers_are_read_after_the_lock_is_free() -> None:
    """Another deploy ends between two questions; before 0.38 only its lock shows that it ran."""
    dokku = SlowReport(keeps=False, locked=True)
    rig = a_rig(waiting(), dokku=dokku)

    def ends() -> None:
        dokku.locked, dokku.now = False, containers(OTHER_RELEASE)

    asyncio.get_running_loop().call_later(0.5, ends)
    (await dokku.stream()).end(1)
    row = await rig.until_ended(within_s=90)
    assert row.before is not None
    assert row.before.containers == containers(OTHER_RELEASE)
    assert (row.phase, row.live) == (Phase.FAILED, Live.PREVIOUS)


@in_virtual_time
async def test_output_of_a_refused_start_is_ignored_later() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=False))
    refused = await rig.begun()
    refused.say("> fetching", "> error locked web currently has a deploy lock in place.")
    refused.end(1)
    stream = await rig.dokku.stream(2)
    rig.dokku.locked = True
    stream.say("> fetching", "> building", "> releasing")
    await rig.until_phase(Phase.RELEASING)
    await rig.passes(5)
    await rig.crash()
    rig.dokku.locked = False
    again = a_rig(store=rig.store, dokku=rig.dokku)
    row = await again.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert row.reason is not None
    assert "lock in place" not in row.reason
    kept = (await rig.store.logs.read(row.id)).splitlines()
    assert kept[-3:] == ["> fetching", "> building", "> releasing"]
    assert NEXT_START in kept
