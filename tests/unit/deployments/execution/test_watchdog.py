"""What a poll shows of the connection and of the time limit, at the limits. Rest: worker tests."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.dokku_facts import BuildStatus, Pace
from bot.deployments.execution.attempt import Attempt
from bot.deployments.execution.owned import OwnedDeployment
from bot.deployments.execution.watchdog import Cap, Contact, Watchdog
from bot.deployments.model import Phase
from bot.deployments.timing import Timing
from bot.errors import Slow
from tests.support.builders import NOW, a_snapshot
from tests.support.fake_dokku import DOWN, FakeDokku, FakeStream
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time, set_wall_clock

TIMING = Timing()
INTERVAL_S = TIMING.poll_interval.total_seconds()
SILENCE_S = (TIMING.silent_intervals * TIMING.poll_interval).total_seconds()
LIMIT_S = waiting().max_duration.total_seconds()
GRACE_S = 2 * INTERVAL_S


class Watched:
    """A watchdog over a build that started at second 0, with an open connection."""

    def __init__(self, rig: Rig, owned: OwnedDeployment) -> None:
        self.rig, self.dokku = rig, rig.dokku
        self.watchdog = Watchdog(owned, rig.dokku, rig.context)
        self.stream = FakeStream(rig.dokku, "b1")
        self.attempt = Attempt(rig.clock.monotonic())
        self.attempt.follow(self.stream)

    async def poll(self, at_s: float) -> Contact:
        """Poll so that the answer arrives at `at_s`."""
        await self.until(at_s - self.dokku.answer_s)
        return await self.watchdog.poll(self.attempt)

    async def check_cap(self, at_s: float, *, is_cancelling: bool = False) -> Cap:
        await self.until(at_s)
        return self.watchdog.check_cap(is_cancelling=is_cancelling)

    async def until(self, at_s: float) -> None:
        await self.rig.passes(at_s - self.rig.clock.monotonic())


async def watched(*, keeps: bool = True, **changes: Any) -> Watched:
    given: dict[str, Any] = {
        "phase": Phase.BUILDING,
        "started_at": NOW,
        "build_id": "b1",
        "before": a_snapshot(builds=frozenset() if keeps else None),
    }
    rig = a_rig(waiting(**(given | changes)), dokku=FakeDokku(keeps=keeps), start=False)
    if keeps:
        rig.dokku.add_record("b1")
    fence = await rig.store.leases.claim(rig.row().id, "one", rig.timing.lease)
    rig.cache.put(rig.row())
    return Watched(rig, OwnedDeployment(replace(rig.row(), fence=fence or 0), context=rig.context))


# --- contact


@in_virtual_time
async def test_running_command_is_fine_however_long_it_is_silent() -> None:
    it = await watched()
    assert await it.poll(1) is Contact.FINE
    assert await it.poll(10 * SILENCE_S) is Contact.FINE


@in_virtual_time
async def test_ended_command_with_silent_connection_is_dead_after_the_silence() -> None:
    it = await watched()
    it.dokku.set_status("b1", BuildStatus.ABANDONED)
    assert await it.poll(INTERVAL_S) is Contact.FINE
    assert await it.poll(INTERVAL_S + SILENCE_S - 1) is Contact.FINE
    assert await it.poll(INTERVAL_S + SILENCE_S + 1) is Contact.DEAD


@in_virtual_time
async def test_free_lock_means_dead_only_after_the_build_began() -> None:
    it = await watched(keeps=False)
    assert await it.poll(INTERVAL_S) is Contact.FINE
    assert await it.poll(INTERVAL_S + SILENCE_S + 1) is Contact.FINE
    it.stream.printed.append("> building")
    building_at = 2 * INTERVAL_S + SILENCE_S
    assert await it.poll(building_at) is Contact.FINE
    assert await it.poll(building_at + SILENCE_S + 1) is Contact.DEAD


@in_virtual_time
async def test_output_after_the_record_ended_is_fine() -> None:
    it = await watched()
    it.dokku.set_status("b1", BuildStatus.SUCCEEDED)
    assert await it.poll(INTERVAL_S) is Contact.FINE
    await it.until(INTERVAL_S + 10)
    it.stream.say("still printing")
    assert await it.poll(INTERVAL_S + SILENCE_S + 1) is Contact.FINE
    assert await it.poll(INTERVAL_S + SILENCE_S + 11) is Contact.DEAD


@in_virtual_time
async def test_record_running_again_restarts_the_silence() -> None:
    it = await watched()
    it.dokku.set_status("b1", BuildStatus.ABANDONED)
    assert await it.poll(10) is Contact.FINE
    it.dokku.set_status("b1", BuildStatus.RUNNING)
    assert await it.poll(50) is Contact.FINE
    it.dokku.set_status("b1", BuildStatus.ABANDONED)
    assert await it.poll(70) is Contact.FINE
    assert await it.poll(70 + SILENCE_S + 1) is Contact.DEAD


@in_virtual_time
async def test_ended_connection_is_never_dead() -> None:
    it = await watched()
    it.dokku.set_status("b1", BuildStatus.ABANDONED)
    it.attempt.stream_ended.set()
    assert await it.poll(1) is Contact.FINE
    assert await it.poll(10 * SILENCE_S) is Contact.FINE


@pytest.mark.parametrize("has_connection", [True, False])
@in_virtual_time
async def test_fifth_failed_poll_on_silent_connection_is_lost(has_connection: bool) -> None:
    it = await watched()
    it.dokku.down = DOWN
    if not has_connection:
        it.attempt.begin_again()
    for number in range(1, TIMING.max_poll_errors):
        assert await it.poll(SILENCE_S + number) is Contact.FINE
    assert await it.poll(SILENCE_S + TIMING.max_poll_errors) is Contact.LOST
    assert it.rig.observer.poll_failures == TIMING.max_poll_errors


@in_virtual_time
async def test_slow_server_that_answers_others_is_not_lost() -> None:
    it = await watched()
    it.dokku.down = Slow("dokku.example.com:22 is slow")
    for number in range(1, 4 * TIMING.max_poll_errors):
        it.dokku.answers_at = Pace(slow=True, answers=number)
        assert await it.poll(SILENCE_S + 10 * number) is Contact.FINE
    assert it.rig.cache.progress(it.rig.row().id).slow
    # From here on it answers nobody.
    at_s = 10 * SILENCE_S
    for number in range(1, TIMING.max_poll_errors):
        assert await it.poll(at_s + number) is Contact.FINE
    assert await it.poll(at_s + TIMING.max_poll_errors) is Contact.LOST


@in_virtual_time
async def test_slow_server_gets_more_time_for_a_poll() -> None:
    it = await watched()
    it.dokku.answer_s = 1.5 * TIMING.poll_timeout.total_seconds()
    assert await it.poll(100) is Contact.FINE
    assert it.rig.observer.poll_failures == 1
    it.dokku.answers_at = Pace(patience=2)
    assert await it.poll(200) is Contact.FINE
    assert it.rig.observer.poll_failures == 1


@in_virtual_time
async def test_answered_poll_restarts_the_count_of_failures() -> None:
    it = await watched()
    it.dokku.fail("builds", times=TIMING.max_poll_errors - 1)
    for number in range(1, TIMING.max_poll_errors + 1):
        assert await it.poll(SILENCE_S + number) is Contact.FINE
    it.dokku.down = DOWN
    assert await it.poll(2 * SILENCE_S) is Contact.FINE


@in_virtual_time
async def test_output_keeps_contact_after_any_number_of_failed_polls() -> None:
    it = await watched()
    it.dokku.down = DOWN
    for number in range(1, 3 * TIMING.max_poll_errors):
        it.stream.say(f"line {number}")
        assert await it.poll(number * (SILENCE_S - 1)) is Contact.FINE


# --- the time limit


@in_virtual_time
async def test_time_limit_is_reached_at_its_last_second() -> None:
    it = await watched()
    assert await it.check_cap(LIMIT_S - 1) is Cap.NOT_REACHED
    assert await it.check_cap(LIMIT_S) is Cap.REACHED


@pytest.mark.parametrize("changes", [{"started_at": None}, {"phase": Phase.CHECKING}])
@in_virtual_time
async def test_time_limit_applies_only_while_the_command_runs(changes: dict[str, Any]) -> None:
    it = await watched(**changes)
    assert await it.check_cap(2 * LIMIT_S) is Cap.NOT_REACHED


@in_virtual_time
async def test_time_limit_is_over_two_polls_later() -> None:
    it = await watched()
    assert await it.check_cap(LIMIT_S) is Cap.REACHED
    assert await it.check_cap(LIMIT_S + GRACE_S - 1) is Cap.REACHED
    assert await it.check_cap(LIMIT_S + GRACE_S) is Cap.OVER


@in_virtual_time
async def test_two_polls_count_from_the_end_of_the_cancel() -> None:
    it = await watched()
    assert await it.check_cap(LIMIT_S) is Cap.REACHED
    cancelled_at = LIMIT_S + 10 * GRACE_S
    assert await it.check_cap(cancelled_at, is_cancelling=True) is Cap.REACHED
    assert await it.check_cap(cancelled_at + GRACE_S - 1) is Cap.REACHED
    assert await it.check_cap(cancelled_at + GRACE_S) is Cap.OVER


@in_virtual_time
async def test_old_dokku_gets_the_longest_fetch_on_top() -> None:
    it = await watched(keeps=False)
    grace_s = GRACE_S + TIMING.lock.fetch_lives_on.total_seconds()
    assert await it.check_cap(LIMIT_S) is Cap.REACHED
    assert await it.check_cap(LIMIT_S + grace_s - 1) is Cap.REACHED
    assert await it.check_cap(LIMIT_S + grace_s) is Cap.OVER


@in_virtual_time
async def test_own_longest_duration_of_the_deployment_counts() -> None:
    it = await watched(max_duration=timedelta(minutes=1))
    assert await it.check_cap(59) is Cap.NOT_REACHED
    assert await it.check_cap(60) is Cap.REACHED


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
@in_virtual_time
async def test_clock_that_is_set_neither_ends_it_early_nor_lets_it_run_longer(
    jump: timedelta,
) -> None:
    it = await watched()
    assert await it.check_cap(1) is Cap.NOT_REACHED
    set_wall_clock(jump)
    assert await it.check_cap(LIMIT_S - 1) is Cap.NOT_REACHED
    assert await it.check_cap(LIMIT_S) is Cap.REACHED
