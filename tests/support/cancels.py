"""Cancels played through the whole bot: how they are asked for, and what must come of them."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.clock import Clock
from bot.deployments.model import Deployment, Live, Phase
from bot.simulators.dokku.recordings import NEWEST
from tests.scenarios.conftest import World, open_world
from tests.support.bot_process import BotProcess, Command
from tests.support.patience import stretched

WITHIN_S = 10.0
OLD = "0.35.20"
BOTH = pytest.mark.parametrize("version", [NEWEST, OLD])
OTHER = "ab" * 20

FETCHING = "Fetching remote code"
BUILDING = "build step 4/"
CHECKS = "Attempting pre-flight checks"
SWITCHED = "Running post-deploy"
FREED = "(inferred from the released deploy lock)."
KEPT = "The previous release is still serving."
TOO_LATE = "too late"
NEW = "The new release is serving."


@asynccontextmanager
async def beside(
    folder: Path, version: str, settle: str = "0.3", clock: Clock | None = None
) -> AsyncIterator[World]:
    """A bot that polls each 10 s: what is told earlier was not found out by a poll."""
    async with open_world(folder, version=version) as world:
        await world.start_bot(clock=clock, DEPLOYBOT_POLL_INTERVAL="10s", DEPLOYBOT_SETTLE=settle)
        yield world


def sent(world: World, command: str) -> int:
    """How often the bot sent such a command."""
    asked = [one for one in world.simulators.dokku.journal if one.event == "asked"]
    return sum(one.details["command"] == command and not one.details["outside"] for one in asked)


def starts(world: World) -> int:
    """How often the bot started a deploy; what was live before was deployed so, too."""
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


async def ends_cancelled(world: World, since: float, *words: str) -> tuple[Phase, Live | None]:
    await world.until_message("Cancelled", *words)
    took = time.monotonic() - since
    assert took < stretched(WITHIN_S), f"{took:.1f} s after the wish"
    row = await newest(world)
    assert row.failure is None
    return row.phase, row.live


async def hangs_up(world: World) -> None:
    """Its client is gone: it goes on from where it was held, and dies at its next line."""
    (run,) = world.app.runs
    await world.simulators.dokku.until(lambda: run.output.closed)
    world.let_go()
    await world.simulators.dokku.until(lambda: not world.app.runs)


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
