"""Cancels in every phase and in every way, on Dokku with and without build records.

Each is proven within 10 s of the request, by Dokku's record or (before 0.38) by its released
deploy lock. Only this deployment's build is ever killed. What asks no server, such as a cancel in
the queue or one that comes too late, is the same on each version.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.deployments.model import Live, Phase
from bot.simulators.dokku.recordings import NEWEST
from tests.scenarios.conftest import QuickClock, open_world, shown
from tests.support.cancels import (
    BOTH,
    BUILDING,
    BY_EACH,
    BY_LOCK,
    CHECKS,
    NEW,
    OLD,
    OTHER,
    STILL_SERVING,
    SWITCHED,
    TOO_LATE,
    WAYS,
    by_button,
    cancelled_on_dokku,
    held_at,
    is_refused,
    newest,
    open_rarely_polling,
    sent,
    starts,
    until_cancelled,
)
from tests.support.incidents import die_at_the_next_line

# --- waiting


@BY_EACH
async def test_queued_deployment_is_removed_from_the_queue(tmp_path: Path, way: str) -> None:
    async with open_rarely_polling(tmp_path, NEWEST, way=way) as world:
        await held_at(world, BUILDING)
        await world.deploy("myapp v1.0")
        await world.until_message("1st in line", "`v1.0`")
        # A thread is known once the place of its message is stored, which is not visible outside.
        await world.deploy(f"status {(await newest(world)).id}")
        await world.whispered("1st in line")
        if way == "command":
            await world.deploy(f"cancel {(await newest(world)).id}")
        else:
            await WAYS[way](world)
        result = await until_cancelled(world, time.monotonic(), "`v1.0`", STILL_SERVING)
        assert result == (Phase.CANCELLED, Live.PREVIOUS)
        assert sent(world, "builds:cancel") == 0
        assert starts(world) == 1
        world.let_go()
        await world.simulators.receiver.wait_delivered(2)
        assert [row.phase for row in await world.rows()] == [Phase.CANCELLED, Phase.SUCCEEDED]


@BOTH
async def test_cancel_while_waiting_for_an_outside_build_kills_nothing(
    tmp_path: Path, version: str
) -> None:
    async with open_rarely_polling(tmp_path, version) as world:
        world.hold(BUILDING)
        push = world.simulators.dokku.outside_push_for_test("myapp", OTHER)
        await world.held()
        await world.deploy()
        await world.until_message("Queued", "outside the bot", "Cancel")
        began = time.monotonic()
        await by_button(world)
        result = await until_cancelled(world, began, STILL_SERVING)
        assert result == (Phase.CANCELLED, Live.PREVIOUS)
        assert world.simulators.dokku.holding("myapp")
        world.let_go()
        await push
        assert {one.sha for one in world.simulators.dokku.live("myapp").values()} == {OTHER}
        assert (sent(world, "builds:cancel"), starts(world)) == (0, 0)


# --- building and later


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The line at which a cancel comes, and the expected result."""

    at: str
    live: Live
    says: tuple[str, ...]


RUNNING = {
    "build": Case(at=BUILDING, live=Live.PREVIOUS, says=(STILL_SERVING,)),
    "health checks": Case(at=CHECKS, live=Live.PREVIOUS, says=(STILL_SERVING,)),
    "post-deploy": Case(at=SWITCHED, live=Live.NEW, says=(TOO_LATE, NEW)),
}


@BOTH
@pytest.mark.parametrize("phase", RUNNING)
async def test_running_deployment_is_stopped_with_proof(
    tmp_path: Path, phase: str, version: str
) -> None:
    case = RUNNING[phase]
    async with open_rarely_polling(tmp_path, version) as world:
        await held_at(world, case.at)
        own = world.app.records[-1].id
        began = time.monotonic()
        await by_button(world)
        if version == OLD:
            await die_at_the_next_line(world)
        says = (*case.says, BY_LOCK) if version == OLD else case.says
        result = await until_cancelled(world, began, *says)
        assert result == (Phase.CANCELLED, case.live)
        assert cancelled_on_dokku(world) == ([] if version == OLD else [own])
        proof = "lock free" if version == OLD else "record canceled (-1)"
        assert proof in ((await newest(world)).evidence or "")


@BY_EACH
async def test_build_can_be_cancelled_in_every_way(tmp_path: Path, way: str) -> None:
    async with open_rarely_polling(tmp_path, NEWEST, way=way) as world:
        await held_at(world, BUILDING)
        await world.until_message("Building")
        await WAYS[way](world)
        result = await until_cancelled(world, time.monotonic(), STILL_SERVING)
        assert result == (Phase.CANCELLED, Live.PREVIOUS)
        request = (await newest(world)).cancel
        assert request is not None
        assert request.by.user == ("cli" if way == "shell" else world.ada.id)


# --- out of reach


REMEDIES = {
    NEWEST: "if that process is still this build",
    OLD: "find that deploy's process on the server",
}


@BOTH
async def test_cancel_without_a_connection_is_reported_as_unsafe(
    tmp_path: Path, version: str
) -> None:
    """A silent loss kills nothing, and nobody can prove which process has the record's PID now."""
    async with open_world(tmp_path, version=version) as world:
        # Before 0.38 the lock of a lost build is watched for 6 s of this clock.
        await world.start_bot(clock=QuickClock(), DEPLOYBOT_POLL_INTERVAL="1s")
        await held_at(world, BUILDING)
        await world.until_message("Building")
        looks = sent(world, "ps:inspect")
        world.simulators.server.forget_clients_for_test()
        # The bot must notice the loss before the click.
        await world.simulators.dokku.until(lambda: sent(world, "ps:inspect") > looks)
        await by_button(world)
        await world.until_message("cancel requested", "cancelling is unsafe", REMEDIES[version])
        world.let_go()
        await world.until_message("Deployed")
        assert "cancelling is unsafe" not in shown(world.message)
        row = await newest(world)
        assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
        assert row.cancel is not None
        assert sent(world, "builds:cancel") == 0


# --- too late to cancel


TOO_LATE_TO_CANCEL = ("Too late to cancel", "Roll back")


@pytest.mark.parametrize("way", ["button", "reply", "shell"])
async def test_stability_check_cannot_be_cancelled(tmp_path: Path, way: str) -> None:
    async with open_rarely_polling(tmp_path, NEWEST, settle="60s") as world:
        await world.deploy()
        await world.until_message("Checking · watching")
        await is_refused(world, way, *TOO_LATE_TO_CANCEL)
        row = await newest(world)
        assert (row.phase, row.cancel) == (Phase.CHECKING, None)
        assert sent(world, "builds:cancel") == 0


@pytest.mark.parametrize("way", ["button", "command", "shell"])
async def test_ended_deployment_cannot_be_cancelled(tmp_path: Path, way: str) -> None:
    async with open_rarely_polling(tmp_path, NEWEST) as world:
        await held_at(world, BUILDING)
        message = world.message
        world.let_go()
        await world.until_message("Deployed")
        before = shown(world.message)
        if way == "button":
            await world.slack.click_stale_for_test(
                world.ada, message, action_id="deployment_cancel"
            )
            await world.whispered("no longer applies", "succeeded")
        else:
            await is_refused(world, way, "already ended", "Nothing was cancelled")
        row = await newest(world)
        assert (row.phase, row.live, row.cancel) == (Phase.SUCCEEDED, Live.NEW, None)
        assert shown(world.message) == before
        assert sent(world, "builds:cancel") == 0
