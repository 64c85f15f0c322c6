import asyncio
import signal
import time
from datetime import timedelta
from typing import Any

import pytest

from bot.clock import SystemClock, Tasks, begun, end_group
from bot.simulators.patience import in_time
from tests.support.quick_clock import QuickClock


async def test_drain_waits_for_tasks_and_cancels_what_is_left_at_the_limit() -> None:
    tasks = Tasks()
    done: list[str] = []
    release = asyncio.Event()

    async def short() -> None:
        await release.wait()
        done.append("short")

    async def endless() -> None:
        await asyncio.Event().wait()

    tasks.spawn(short(), name="short")
    release.set()
    assert await tasks.drain(timedelta(seconds=5)) == 0
    assert done == ["short"]
    tasks.spawn(endless(), name="endless")
    assert await tasks.drain(timedelta(seconds=0)) == 1
    assert await tasks.drain(timedelta(seconds=0)) == 0


async def test_what_is_cut_off_while_it_begins_is_undone() -> None:
    may = asyncio.Event()
    undone: list[str] = []

    async def starting() -> str:
        await may.wait()
        return "process"

    async def undo(what: str) -> None:
        undone.append(what)

    task = asyncio.create_task(begun(starting(), undo))
    await asyncio.sleep(0)
    task.cancel()
    may.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == ["process"]
    assert await begun(starting(), undo) == "process"


async def test_cut_off_start_of_a_process_leaves_neither_process_nor_pipes() -> None:
    """With the warnings of this suite, a pipe that stays open fails a test."""
    words: dict[str, Any] = {"stdout": asyncio.subprocess.PIPE, "start_new_session": True}
    started: list[asyncio.subprocess.Process] = []

    async def start() -> asyncio.subprocess.Process:
        started.append(await asyncio.create_subprocess_exec("sleep", "60", **words))
        return started[0]

    task = asyncio.create_task(begun(start(), end_group))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].returncode == -signal.SIGKILL


def test_seconds_count_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slept = SystemClock(), 60.0
    before, real = clock.monotonic(), time.clock_gettime
    counts = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux has such a clock
    monkeypatch.setattr(
        time, "clock_gettime", lambda which: real(which) + slept * (which == counts)
    )
    assert clock.monotonic() - before >= slept


async def test_time_that_a_quick_clock_skips_ends_the_sleeps_that_are_over_by_then() -> None:
    clock = QuickClock(speed=1)
    short = asyncio.create_task(clock.sleep(timedelta(hours=1)))
    long = asyncio.create_task(clock.sleep(timedelta(hours=3)))
    await asyncio.sleep(0)
    clock.skip(timedelta(hours=2))
    async with in_time():
        await short
    assert not long.done()
    clock.skip(timedelta(hours=2))
    async with in_time():
        await long
