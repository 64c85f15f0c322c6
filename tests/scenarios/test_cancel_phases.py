"""A cancel in each phase, by each way, on both generations of Dokku; polls are 10 s apart here.

Each is proven within 10 s of the wish, by Dokku's record or (before 0.38) by its freed lock, and
nothing but our own build is ever killed.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.deployments.lock import FETCH_LIVES_ON
from bot.deployments.model import Deployment, Live, Phase
from bot.simulators.bot_process import clean_environment
from bot.simulators.dokku.recordings import NEWEST
from tests.scenarios.conftest import QuickClock, World, open_world, shown

WITHIN_S = 10.0
OLD = "0.35.20"
BOTH = pytest.mark.parametrize("version", [NEWEST, OLD])
OTHER = "ab" * 20

FETCHING = "Fetching remote code"
BUILDING = "build step 4/"
CHECKS = "Attempting pre-flight checks"
SWITCHED = "Running post-deploy"
FREED = "this Dokku keeps no build records, its freed lock tells so."
KEPT = "The previous release is still serving."
TOO_LATE = "too late"
NEW = "The new release is serving."


@asynccontextmanager
async def beside(folder: Path, version: str, settle: str = "0.3") -> AsyncIterator[World]:
    async with open_world(folder, version=version) as world:
        await world.start_bot(DEPLOYBOT_POLL_INTERVAL="10s", DEPLOYBOT_SETTLE=settle)
        yield world


def sent(world: World, command: str) -> int:
    """How often the bot sent such a command."""
    asked = [one for one in world.stage.dokku.journal if one.event == "asked"]
    return sum(one.details["command"] == command and not one.details["elsewhere"] for one in asked)


def starts(world: World) -> int:
    """How often the bot started a deploy; what was live before was deployed so, too."""
    begun = [one for one in world.stage.dokku.journal if one.event == "record_begun"]
    return sum(one.details["source"] == "git:sync" for one in begun) - 1


def cancelled_on_dokku(world: World) -> list[object]:
    """Builds that `builds:cancel` killed."""
    return [one.details["id"] for one in world.stage.dokku.journal if one.event == "canceled"]


async def newest(world: World) -> Deployment:
    row = (await world.rows())[0]
    assert isinstance(row, Deployment)
    return row


async def held_at(world: World, line: str) -> None:
    world.hold(line)
    await world.deploy()
    await world.held()
    await world.until_message("Deploying", "Cancel")


# --- the ways to ask


async def by_button(world: World) -> None:
    await world.click("deployment_cancel")


async def by_command(world: World) -> None:
    await world.deploy("cancel myapp")


async def by_reply(world: World) -> None:
    await world.slack.say(world.ada, world.deploys, "cancel", thread_ts=world.message.ts)


async def by_shell(world: World) -> None:
    status, said = await at_a_shell(world)
    assert status == 0, said
    assert "Asked to cancel" in said


async def at_a_shell(world: World) -> tuple[int, str]:
    """`deploybot cancel ID` for the newest deployment: its exit status, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        "cancel",
        (await newest(world)).id,
        cwd=world.folder,
        env=clean_environment(os.environ) | world.environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


Way = Callable[[World], Awaitable[None]]
WAYS: dict[str, Way] = {
    "button": by_button,
    "command": by_command,
    "reply": by_reply,
    "shell": by_shell,
}
BY_EACH = pytest.mark.parametrize("way", WAYS)


async def ends_cancelled(world: World, since: float, *words: str) -> tuple[Phase, Live | None]:
    await world.until_message("Cancelled", *words)
    took = time.monotonic() - since
    assert took < WITHIN_S, f"{took:.1f} s after the wish"
    row = await newest(world)
    assert row.failure is None
    return row.phase, row.live


# --- waiting


@BY_EACH
async def test_what_waits_for_its_turn_is_taken_out_of_the_line(tmp_path: Path, way: str) -> None:
    async with beside(tmp_path, NEWEST) as world:
        await held_at(world, BUILDING)
        await world.deploy("myapp v1.0")
        await world.until_message("1st in line", "`v1.0`")
        # A thread is known once the place of its message is stored, which nobody sees.
        await world.deploy(f"status {(await newest(world)).id}")
        await world.whispered("1st in line")
        if way == "command":
            await world.deploy(f"cancel {(await newest(world)).id}")
        else:
            await WAYS[way](world)
        end = await ends_cancelled(world, time.monotonic(), "`v1.0`", KEPT)
        assert end == (Phase.CANCELLED, Live.PREVIOUS)
        assert sent(world, "builds:cancel") == 0
        assert starts(world) == 1
        world.let_go()
        await world.stage.receiver.wait_delivered(2)
        assert [row.phase for row in await world.rows()] == [Phase.CANCELLED, Phase.SUCCEEDED]


@BOTH
async def test_what_waits_for_a_foreign_build_kills_nobodys(tmp_path: Path, version: str) -> None:
    async with beside(tmp_path, version) as world:
        world.hold(BUILDING)
        push = world.stage.dokku.foreign_push("myapp", OTHER)
        await world.held()
        await world.deploy()
        await world.until_message("Queued", "outside this bot", "Cancel")
        began = time.monotonic()
        await by_button(world)
        end = await ends_cancelled(world, began, KEPT)
        assert end == (Phase.CANCELLED, Live.PREVIOUS)
        assert world.stage.dokku.holding("myapp")
        world.let_go()
        await push
        assert {one.sha for one in world.stage.dokku.live("myapp").values()} == {OTHER}
        assert (sent(world, "builds:cancel"), starts(world)) == (0, 0)


# --- starting and fetching


async def test_a_start_that_was_not_sent_yet_is_stopped_when_it_builds(
    tmp_path: Path, dokku_may_start: asyncio.Event
) -> None:
    """It cannot be called back: whether Dokku has it already is not known."""
    async with beside(tmp_path, NEWEST) as world:
        world.hold(BUILDING)
        await world.deploy()
        await world.until_message("Starting")
        await by_button(world)
        began = time.monotonic()
        dokku_may_start.set()
        await world.held()
        end = await ends_cancelled(world, began, KEPT)
        assert end == (Phase.CANCELLED, Live.PREVIOUS)
        assert (await newest(world)).attempt == 1


async def test_a_fetch_is_stopped_by_hanging_up(tmp_path: Path) -> None:
    """It holds no lock yet: `builds:cancel` would hit nothing, or somebody else (recording l6)."""
    async with beside(tmp_path, NEWEST) as world:
        await held_at(world, FETCHING)
        began = time.monotonic()
        await by_button(world)
        await hangs_up(world)
        end = await ends_cancelled(world, began, KEPT)
        assert end == (Phase.CANCELLED, Live.PREVIOUS)
        assert sent(world, "builds:cancel") == 0
        (run,) = world.app.records[-1:]
        assert run.display_status == "abandoned"


async def test_a_fetch_that_outlives_its_client_is_called_cancelled_when_it_has_died(
    tmp_path: Path,
) -> None:
    """A silent one was seen to live on for 11 s; until it is dead, nobody can say how it ends."""
    async with beside(tmp_path, NEWEST) as world:
        await held_at(world, FETCHING)
        await by_button(world)
        (run,) = world.app.runs
        await world.stage.dokku.until(lambda: run.output.closed, timeout_s=20)
        looks = sent(world, "ps:inspect")
        await world.stage.dokku.until(lambda: sent(world, "ps:inspect") > looks + 1, timeout_s=20)
        assert (await newest(world)).phase is Phase.CANCELLING
        dead_at = time.monotonic()
        world.let_go()
        end = await ends_cancelled(world, dead_at, KEPT)
        assert end == (Phase.CANCELLED, Live.PREVIOUS)


async def test_a_push_that_has_the_lock_while_ours_fetches_is_not_killed(tmp_path: Path) -> None:
    async with beside(tmp_path, NEWEST) as world:
        dokku = world.stage.dokku
        await held_at(world, FETCHING)
        dokku.hold_for_test("myapp", at=BUILDING, too=True)
        push = dokku.foreign_push("myapp", OTHER)
        await dokku.until(lambda: dokku.holding("myapp") == 2)
        began = time.monotonic()
        await by_button(world)
        ours, _theirs = world.app.runs
        await dokku.until(lambda: ours.output.closed, timeout_s=20)
        dokku.release_for_test("myapp", at=FETCHING)
        end = await ends_cancelled(world, began, KEPT)
        assert end == (Phase.CANCELLED, Live.PREVIOUS)
        assert sent(world, "builds:cancel") == 0
        assert dokku.holding("myapp")
        world.let_go()
        await push
        assert {one.sha for one in dokku.live("myapp").values()} == {OTHER}


async def test_before_0_38_a_fetch_is_called_cancelled_when_it_can_live_no_more(
    tmp_path: Path,
) -> None:
    """It holds no lock yet, so that a free one tells nothing: the known exception to the 10 s."""
    clock = QuickClock()
    async with open_world(tmp_path, version=OLD) as world:
        await world.start_bot(clock=clock)
        await held_at(world, FETCHING)
        await by_button(world)
        await hangs_up(world)
        looks = sent(world, "ps:inspect")
        await world.stage.dokku.until(lambda: sent(world, "ps:inspect") > looks + 2)
        assert (await newest(world)).phase is Phase.CANCELLING
        clock.leap(FETCH_LIVES_ON)
        await world.until_message("Cancelled", FREED, KEPT)
        row = await newest(world)
        assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)


async def hangs_up(world: World) -> None:
    """Its client is gone: it goes on from where it was held, and dies at its next line."""
    (run,) = world.app.runs
    await world.stage.dokku.until(lambda: run.output.closed, timeout_s=20)
    world.let_go()
    await world.stage.dokku.until(lambda: not world.app.runs)


# --- building and later


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Where a cancel comes, and what is true then."""

    at: str
    live: Live
    says: tuple[str, ...]


RUNNING = {
    "build": Case(at=BUILDING, live=Live.PREVIOUS, says=(KEPT,)),
    "health checks": Case(at=CHECKS, live=Live.PREVIOUS, says=(KEPT,)),
    "post-deploy": Case(at=SWITCHED, live=Live.NEW, says=(TOO_LATE, NEW)),
}


@BOTH
@pytest.mark.parametrize("phase", RUNNING)
async def test_what_runs_is_stopped_and_its_end_proven(
    tmp_path: Path, phase: str, version: str
) -> None:
    case = RUNNING[phase]
    async with beside(tmp_path, version) as world:
        await held_at(world, case.at)
        ours = world.app.records[-1].id
        began = time.monotonic()
        await by_button(world)
        if version == OLD:
            await hangs_up(world)
        says = (*case.says, FREED) if version == OLD else case.says
        end = await ends_cancelled(world, began, *says)
        assert end == (Phase.CANCELLED, case.live)
        assert cancelled_on_dokku(world) == ([] if version == OLD else [ours])
        proof = "lock free" if version == OLD else "record canceled (-1)"
        assert proof in ((await newest(world)).evidence or "")


@BY_EACH
async def test_a_build_is_stopped_by_whoever_asks_however(tmp_path: Path, way: str) -> None:
    async with beside(tmp_path, NEWEST) as world:
        await held_at(world, BUILDING)
        await world.until_message("Building")
        await WAYS[way](world)
        end = await ends_cancelled(world, time.monotonic(), KEPT)
        assert end == (Phase.CANCELLED, Live.PREVIOUS)
        wish = (await newest(world)).cancel
        assert wish is not None
        assert wish.by.user == ("cli" if way == "shell" else world.ada.id)


# --- nothing is left to cancel


NOTHING_LEFT = ("othing is left to cancel", "oll back")


@pytest.mark.parametrize("way", ["button", "reply", "shell"])
async def test_what_is_being_watched_cannot_be_cancelled(tmp_path: Path, way: str) -> None:
    async with beside(tmp_path, NEWEST, settle="60s") as world:
        await world.deploy()
        await world.until_message("Checking · watching")
        await says_no(world, way, *NOTHING_LEFT)
        row = await newest(world)
        assert (row.phase, row.cancel) == (Phase.CHECKING, None)
        assert sent(world, "builds:cancel") == 0


@pytest.mark.parametrize("way", ["button", "command", "shell"])
async def test_what_has_ended_cannot_be_cancelled(tmp_path: Path, way: str) -> None:
    async with beside(tmp_path, NEWEST) as world:
        await held_at(world, BUILDING)
        message = world.message
        world.let_go()
        await world.until_message("Deployed")
        before = shown(world.message)
        if way == "button":
            await world.slack.click_stale_for_test(
                world.ada, message, action_id="deployment_cancel"
            )
            await world.whispered("no longer there", "succeeded")
        else:
            await says_no(world, way, "already ended", "Nothing was cancelled")
        row = await newest(world)
        assert (row.phase, row.live, row.cancel) == (Phase.SUCCEEDED, Live.NEW, None)
        assert shown(world.message) == before
        assert sent(world, "builds:cancel") == 0


async def says_no(world: World, way: str, *words: str) -> None:
    """Ask for the end, and hear why not: at the shell, in the thread, or by a whisper."""
    if way == "shell":
        status, said = await at_a_shell(world)
        assert status != 0
        assert all(word in said for word in words), said
        return
    if way == "command":
        await world.deploy(f"cancel {(await newest(world)).id}")
    else:
        await WAYS[way](world)
    await world.whispered(*words)
