"""Cancels before Dokku builds, with and without build records: no deploy lock is held yet."""

import time
from pathlib import Path

from bot.deployments.model import Live, Phase
from bot.deployments.timing import LockTiming
from bot.simulators.dokku.recordings import NEWEST
from bot.simulators.patience import in_time, stretched
from tests.scenarios.conftest import QuickClock, StartGate, open_world
from tests.support.cancels import (
    BOTH,
    BUILDING,
    BY_LOCK,
    FETCHING,
    OLD,
    OTHER,
    STILL_SERVING,
    by_button,
    held_at,
    newest,
    open_rarely_polling,
    sent,
    until_cancelled,
)
from tests.support.incidents import die_at_the_next_line

LOCK = LockTiming()


ACTS_WITHIN_S = 1.0
"""From Dokku's line that a build begins to the end of the connection."""


@BOTH
async def test_unsent_start_is_stopped_when_it_builds(
    tmp_path: Path, dokku_may_start: StartGate, version: str
) -> None:
    """It cannot be called back: whether Dokku has received it is unknown."""
    async with open_rarely_polling(tmp_path, version) as world:
        world.hold("-----> Building")
        await world.deploy()
        await world.until_message("Starting")
        async with in_time():
            await dokku_may_start.reached.wait()
        await by_button(world)
        began = time.monotonic()
        dokku_may_start.set()
        if version == OLD:
            await world.held()
            await die_at_the_next_line(world)
        result = await until_cancelled(world, began, STILL_SERVING)
        assert result == (Phase.CANCELLED, Live.PREVIOUS)
        assert (await newest(world)).attempt == 1


async def test_fetch_is_stopped_by_closing_the_connection(tmp_path: Path) -> None:
    """It holds no lock yet: `builds:cancel` would hit nothing or another build (recording l6)."""
    async with open_rarely_polling(tmp_path, NEWEST) as world:
        await held_at(world, FETCHING)
        began = time.monotonic()
        await by_button(world)
        await die_at_the_next_line(world)
        result = await until_cancelled(world, began, STILL_SERVING)
        assert result == (Phase.CANCELLED, Live.PREVIOUS)
        assert sent(world, "builds:cancel") == 0
        (run,) = world.app.records[-1:]
        assert run.display_status == "abandoned"


async def test_fetch_that_outlives_its_client_is_cancelled_once_dead(
    tmp_path: Path,
) -> None:
    """A silent fetch was seen to live on for 11 s; until it is dead, its result is unknown."""
    async with open_rarely_polling(tmp_path, NEWEST) as world:
        await held_at(world, FETCHING)
        await by_button(world)
        (run,) = world.app.runs
        await world.simulators.dokku.until(lambda: run.output.closed)
        looks = sent(world, "ps:inspect")
        await world.simulators.dokku.until(lambda: sent(world, "ps:inspect") > looks + 1)
        assert (await newest(world)).phase is Phase.CANCELLING
        dead_at = time.monotonic()
        world.let_go()
        result = await until_cancelled(world, dead_at, STILL_SERVING)
        assert result == (Phase.CANCELLED, Live.PREVIOUS)


async def test_outside_push_holding_the_lock_is_not_killed(tmp_path: Path) -> None:
    async with open_rarely_polling(tmp_path, NEWEST) as world:
        dokku = world.simulators.dokku
        await held_at(world, FETCHING)
        dokku.hold_for_test("myapp", at=BUILDING, too=True)
        push = dokku.outside_push_for_test("myapp", OTHER)
        await dokku.until(lambda: dokku.holding("myapp") == 2)
        began = time.monotonic()
        await by_button(world)
        own, _outside = world.app.runs
        await dokku.until(lambda: own.output.closed)
        dokku.release_for_test("myapp", at=FETCHING)
        result = await until_cancelled(world, began, STILL_SERVING)
        assert result == (Phase.CANCELLED, Live.PREVIOUS)
        assert sent(world, "builds:cancel") == 0
        assert dokku.holding("myapp")
        world.let_go()
        await push
        assert {one.sha for one in dokku.live("myapp").values()} == {OTHER}


async def test_before_0_38_fetch_ends_before_the_connection_is_closed(tmp_path: Path) -> None:
    """It holds no lock yet. Its build does, and is dead once that lock is free."""
    async with open_rarely_polling(tmp_path, OLD) as world:
        dokku = world.simulators.dokku
        await held_at(world, FETCHING)
        await by_button(world)
        await world.until_message("Cancelling", "waiting for Dokku's fetch to end")
        (run,) = world.app.runs
        assert not run.output.closed
        dokku.hold_for_test("myapp", at=BUILDING, too=True)
        began = time.monotonic()
        dokku.release_for_test("myapp", at=FETCHING)
        await dokku.until(lambda: run.output.closed)
        assert time.monotonic() - began < stretched(ACTS_WITHIN_S)
        await die_at_the_next_line(world)
        result = await until_cancelled(world, began, BY_LOCK, STILL_SERVING)
        assert result == (Phase.CANCELLED, Live.PREVIOUS)
        assert "lock free" in ((await newest(world)).evidence or "")


async def test_before_0_38_build_dies_before_a_release_at_real_speed(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path, version=OLD, speed=1.0) as world:
        await world.start_bot(DEPLOYBOT_POLL_INTERVAL="10s")
        dokku = world.simulators.dokku
        await held_at(world, FETCHING)
        await by_button(world)
        await world.until_message("Cancelling", "waiting for Dokku's fetch to end")
        ((run, record),) = [(one, one.record) for one in world.app.runs]
        assert record is not None
        world.let_go()
        await dokku.until(lambda: b"-----> Building" in record.log)
        began = time.monotonic()
        await dokku.until(lambda: run.output.closed)
        assert time.monotonic() - began < stretched(ACTS_WITHIN_S)
        result = await until_cancelled(world, began, BY_LOCK, STILL_SERVING)
        assert result == (Phase.CANCELLED, Live.PREVIOUS)
        assert b"-----> Releasing" not in record.log


async def test_before_0_38_fetch_refused_by_an_outside_push_ends_by_itself(tmp_path: Path) -> None:
    async with open_rarely_polling(tmp_path, OLD) as world:
        dokku = world.simulators.dokku
        await held_at(world, FETCHING)
        dokku.hold_for_test("myapp", at=BUILDING, too=True)
        push = dokku.outside_push_for_test("myapp", OTHER)
        await dokku.until(lambda: dokku.holding("myapp") == 2)
        began = time.monotonic()
        await by_button(world)
        await world.until_message("Cancelling")
        dokku.release_for_test("myapp", at=FETCHING)
        result = await until_cancelled(world, began, STILL_SERVING)
        assert result == (Phase.CANCELLED, Live.PREVIOUS)
        assert (await newest(world)).exit_status == 1
        world.let_go()
        await push
        assert {one.sha for one in dokku.live("myapp").values()} == {OTHER}


async def test_before_0_38_hanging_fetch_is_cancelled_after_its_longest_life(
    tmp_path: Path,
) -> None:
    """A free lock proves nothing here: the known exception to the 10 s."""
    clock = QuickClock(60)
    async with open_rarely_polling(tmp_path, OLD, clock=clock) as world:
        await held_at(world, FETCHING)
        await by_button(world)
        await die_at_the_next_line(world)
        looks = sent(world, "ps:inspect")
        await world.simulators.dokku.until(lambda: sent(world, "ps:inspect") > looks + 2)
        assert (await newest(world)).phase is Phase.CANCELLING
        clock.leap(LOCK.fetch_lives_on)
        await world.until_message("Cancelled", BY_LOCK, STILL_SERVING)
        row = await newest(world)
        assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
