"""Cancels through the whole bot: the ways to request one, and its expected results."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from bot.clock import Clock
from bot.deployments.model import Deployment, Live, Phase
from bot.simulators.dokku.recordings import NEWEST
from bot.simulators.patience import stretched
from tests.scenarios.conftest import World, open_world
from tests.support.bot_process import BotProcess, Command

WITHIN_S = 10.0
OLD = "0.35.20"
BOTH = pytest.mark.parametrize("version", [NEWEST, OLD])
OTHER = "ab" * 20

FETCHING = "Fetching remote code"
BUILDING = "build step 4/"
CHECKS = "Attempting pre-flight checks"
SWITCHED = "Running post-deploy"
BY_LOCK = "(inferred from the released deploy lock)."
STILL_SERVING = "live now: the previous release"
TOO_LATE = "too late"
NEW = "live now: the new release"


@asynccontextmanager
async def open_rarely_polling(
    folder: Path,
    version: str,
    settle: str = "0.3",
    clock: Clock | None = None,
    way: str = "button",
) -> AsyncIterator[World]:
    """A bot that polls every 10 s, so that anything reported earlier does not come from a poll.

    Only a cancel from a shell is found by a poll, or while it waits by the look for work.
    """
    async with open_world(folder, version=version) as world:
        # A cancel asks a fetch several times whether its build has begun, before it hangs up.
        timing = {"cancel_pause": timedelta(milliseconds=200)}
        if way == "shell":
            timing["look_for_work"] = timedelta(seconds=1)
        poll = "1s" if way == "shell" else "10s"
        await world.start_bot(timing, clock, DEPLOYBOT_POLL_INTERVAL=poll, DEPLOYBOT_SETTLE=settle)
        yield world


def sent(world: World, command: str) -> int:
    """How many times the bot sent this command."""
    asked = [one for one in world.simulators.dokku.journal if one.event == "asked"]
    return sum(one.details["command"] == command and not one.details["outside"] for one in asked)


def starts(world: World) -> int:
    """How many deploys the bot started, without the one that made the app live."""
    begun = [one for one in world.simulators.dokku.journal if one.event == "record_begun"]
    return sum(one.details["source"] == "git:sync" for one in begun) - 1


def cancelled_on_dokku(world: World) -> list[object]:
    """Builds that `builds:cancel` killed."""
    return [one.details["id"] for one in world.simulators.dokku.journal if one.event == "canceled"]


async def newest(world: World) -> Deployment:
    row = (await world.rows())[0]
    assert isinstance(row, Deployment)
    return row


async def held_at(world: World, line: str) -> None:
    """Deploy up to this line, and wait until the message offers to cancel."""
    await world.deploy_until(line)
    await world.until_message("Deploying", "Cancel")


# --- the ways to request a cancel


async def by_button(world: World) -> None:
    await world.click("deployment_cancel")


async def by_command(world: World) -> None:
    await world.deploy("cancel myapp")


async def by_reply(world: World) -> None:
    """Reply in the thread, and answer the question that only the author sees."""
    await reply(world)
    await world.whispered("Cancel myapp")
    await world.click("answer_cancel", world.slack.ephemerals(world.ada)[-1])


async def reply(world: World) -> None:
    await world.slack.say(world.ada, world.deploys, "cancel", thread_ts=world.message.ts)


async def by_shell(world: World) -> None:
    status, said = await at_a_shell(world)
    assert status == 0, said
    assert "Asked to cancel" in said


async def at_a_shell(world: World) -> tuple[int, str]:
    """Run `deploybot cancel ID` for the newest deployment: exit status and output."""
    command = Command("cancel", (await newest(world)).id)
    process = await BotProcess.start(command, world.environ, folder=world.folder)
    return await process.ended(), "\n".join(process.lines)


Way = Callable[[World], Awaitable[None]]
WAYS: dict[str, Way] = {
    "button": by_button,
    "command": by_command,
    "reply": by_reply,
    "shell": by_shell,
}
BY_EACH = pytest.mark.parametrize("way", WAYS)


async def until_cancelled(world: World, since: float, *words: str) -> tuple[Phase, Live | None]:
    await world.until_message("Cancelled", *words)
    took = time.monotonic() - since
    assert took < stretched(WITHIN_S), f"{took:.1f} s after the cancel request"
    row = await newest(world)
    assert row.failure is None
    return row.phase, row.live


async def is_refused(world: World, way: str, *words: str) -> None:
    """Request a cancel and check why it is refused: at the shell or in an ephemeral reply."""
    if way == "shell":
        status, said = await at_a_shell(world)
        assert status != 0
        assert all(word in said for word in words), said
        return
    if way == "command":
        await world.deploy(f"cancel {(await newest(world)).id}")
    elif way == "reply":
        await reply(world)
    else:  # on a message that was drawn before
        await world.slack.click_stale_for_test(
            world.ada, world.message, action_id="deployment_cancel"
        )
    await world.whispered(*words)
