"""The poller calls at the right pace, one call at a time, and stops quietly."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bot.poller import Poller, open_poller

SOON = timedelta(milliseconds=20)
LONG = timedelta(hours=1)
WITHIN_S = 10.0


class Calls:
    """What was called, oldest first."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self._news = asyncio.Event()

    def add(self, one: str = "call") -> None:
        self.made.append(one)
        self._news.set()

    async def until(self, holds: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not holds(self.made):
                self._news.clear()
                await self._news.wait()

    async def number(self, count: int) -> None:
        await self.until(lambda made: len(made) >= count)


class Work:
    """Something that is called, and goes on until it is let go."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.let_go = asyncio.Event()
        self.calls = Calls()
        self.at_once = 0
        self.most_at_once = 0
        self.left: list[str] = []

    async def tick(self, deployment_id: str = "work") -> None:
        self.calls.add(deployment_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.set()
        try:
            await self.let_go.wait()
        finally:
            # As a look that gives its lease back.
            await asyncio.sleep(0)
            self.at_once -= 1
            self.left.append(deployment_id)


def scheduler_of(poller: Poller) -> AsyncIOScheduler:
    return poller._scheduler


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


async def test_stop_cancels_running_calls_and_logs_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work()
    poller = Poller(interval=SOON)
    poller.poll_with(work.tick)
    poller.every(SOON, work.tick, "look")
    async with open_poller(poller):
        poller.watch("a")
        await work.calls.until(lambda made: {"a", "work"} <= set(made))
    assert sorted(work.left) == sorted(work.calls.made)
    for _ in range(10):  # the scheduler logs errors on later turns of the loop
        await asyncio.sleep(0)
    assert errors(caplog) == []


async def test_hanging_call_does_not_delay_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stubborn, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        stubborn.set()
        try:
            await done.wait()
        except asyncio.CancelledError:
            await done.wait()

    poller = Poller(interval=SOON)
    poller.every(SOON, work, "stubborn")
    async with asyncio.timeout(WITHIN_S):
        async with open_poller(poller):
            await stubborn.wait()
    done.set()
    assert errors(caplog) == []


async def test_failed_call_is_logged_and_the_next_one_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = Calls()

    async def broken() -> None:
        calls.add()
        raise LookupError("a bug")

    poller = Poller(interval=SOON)
    poller.every(SOON, broken, "broken look")
    async with open_poller(poller):
        await calls.number(2)
    assert any("broken look" in line for line in errors(caplog))


async def test_call_cancelled_by_others_does_not_stop_the_poller() -> None:
    calls = Calls()

    async def cancelled() -> None:
        calls.add()
        raise asyncio.CancelledError

    poller = Poller(interval=SOON)
    poller.every(SOON, cancelled, "look")
    async with open_poller(poller):
        await calls.number(2)


async def test_deployment_is_polled_once_at_a_time_beside_others() -> None:
    slow = Work()
    quick = Calls()

    async def tick(deployment_id: str) -> None:
        if deployment_id == "dead":
            await slow.tick(deployment_id)
        else:
            quick.add(deployment_id)

    poller = Poller(interval=SOON)
    poller.poll_with(tick)
    async with open_poller(poller):
        poller.watch("dead")
        poller.watch("alive")
        await slow.began.wait()
        await quick.number(5)
    assert slow.most_at_once == 1
    assert slow.calls.made == ["dead"]


async def test_poll_offset_depends_on_the_id_and_watching_twice_changes_nothing() -> None:
    poller = Poller(interval=LONG)
    poller.poll_with(Work().tick)
    async with open_poller(poller):
        began = datetime.now(UTC)
        ids = [f"01K9ZB{number:020}" for number in range(40)]
        for one in ids:
            poller.watch(one)
        due = {job.id: job.next_run_time for job in scheduler_of(poller).get_jobs()}
        for one in ids:
            poller.watch(one)
        assert {job.id: job.next_run_time for job in scheduler_of(poller).get_jobs()} == due
    assert set(due) == {f"poll:{one}" for one in ids}
    shares = sorted((at - began) / LONG for at in due.values())
    assert shares[0] > -0.01
    assert shares[-1] < 1.01
    # In each quarter of the interval there are some.
    assert all(any(low <= one < low + 0.25 for one in shares) for low in (0, 0.25, 0.5, 0.75))


async def test_poll_offset_is_the_same_after_a_restart() -> None:
    shares = []
    for _ in range(2):
        poller = Poller(interval=LONG)
        poller.poll_with(Work().tick)
        async with open_poller(poller):
            began = datetime.now(UTC)
            poller.watch("01K9ZB")
            (job,) = scheduler_of(poller).get_jobs()
            shares.append((job.next_run_time - began) / LONG)
    assert shares[0] == pytest.approx(shares[1], abs=0.01)


async def test_unwatched_deployment_is_not_polled() -> None:
    work = Work()
    poller = Poller(interval=LONG)
    poller.poll_with(work.tick)
    async with open_poller(poller):
        poller.watch("a")
        poller.unwatch("a")
        poller.unwatch("a")
        poller.unwatch("never known")
        assert scheduler_of(poller).get_jobs() == []


async def test_watch_before_poll_with_does_nothing() -> None:
    poller = Poller(interval=LONG)
    async with open_poller(poller):
        poller.watch("a")
        assert scheduler_of(poller).get_jobs() == []


async def test_lateness_is_measured_for_polls_only() -> None:
    late: list[float] = []
    looks, polls = Calls(), Calls()

    async def look() -> None:
        looks.add()

    async def poll(deployment_id: str) -> None:
        polls.add(deployment_id)

    poller = Poller(interval=SOON, lateness=late.append)
    poller.poll_with(poll)
    poller.every(SOON, look, "look")
    async with open_poller(poller):
        await looks.number(3)
        assert late == []
        poller.watch("a")
        await polls.number(1)
        assert len(late) == 1
    assert 0.0 <= late[0] < WITHIN_S


async def test_any_job_updates_last_run() -> None:
    looks = Calls()

    async def look() -> None:
        looks.add()

    poller = Poller(interval=LONG)
    ticks = [poller.last_run]
    poller.every(SOON, look, "look")
    async with open_poller(poller):
        ticks.append(poller.last_run)
        await looks.number(2)
        ticks.append(poller.last_run)
    assert ticks[0] is None
    assert ticks[1] is not None
    assert ticks[2] is not None
    assert ticks[2] > ticks[1]


async def test_stop_before_start() -> None:
    await Poller(interval=LONG).stop()


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
async def test_clock_that_is_set_neither_stops_nor_repeats_calls(jump: timedelta) -> None:
    calls = Calls()

    async def poll(_deployment_id: str) -> None:
        calls.add()

    poller = Poller(interval=timedelta(seconds=0.5))
    poller.poll_with(poll)
    async with open_poller(poller):
        poller.watch("one")
        await calls.number(1)
        began, before = time.monotonic(), len(calls.made)
        with time_machine.travel(datetime.now(UTC) + jump, tick=True):
            await calls.number(before + 4)
            # At the same pace; an hour that was skipped is not made up for.
            assert len(calls.made) - before <= 2 * (time.monotonic() - began) + 3
