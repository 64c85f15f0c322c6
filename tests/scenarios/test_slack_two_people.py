"""Two people press every button of a message at the same instant, in every state.

Each act happens at most once, everyone gets an answer to each click, and the deployment goes on.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from bot.deployments.model import Phase
from bot.deployments.states import ENDINGS
from bot.simulators.patience import in_time
from bot.simulators.slack.model import Message, interactive_elements
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.store.engine import upgrade
from tests.scenarios.conftest import QuickClock, World, open_world
from tests.support.postgres import postgres_server

PEOPLE = ("ada", "grace", "ada")
"""Who clicks each button; one of them twice."""
OPENS = {"deployment_log", "deployment_reject"}
"""The answer to these is a window, and a second one takes the place of the first."""
STARTS = {"deployment_retry", "deployment_rollback", "deployment_rollback_unverified"}
ACTS = {"approved", "ended", "cancelled", "cancel_asked"}
"""Audit actions of which a deployment may have one by a person's click."""

State = Callable[[World], Awaitable[Message]]


async def awaiting_approval(world: World) -> Message:
    await world.deploy()
    return await world.until_message("Awaiting approval", "Approve", "Reject")


async def queued(world: World) -> Message:
    world.hold()
    await world.deploy("myapp v1.0")
    await world.held()
    await world.deploy("myapp main")
    return await world.until_message("Waiting", "Cancel")


async def fetching(world: World) -> Message:
    await world.deploy_until("Fetching remote code")
    return await world.until_message("Fetching", "Cancel")


async def building(world: World) -> Message:
    world.hold()
    await world.deploy()
    return await world.until_message("Building", "Cancel")


async def releasing(world: World) -> Message:
    await world.deploy_until("Attempting pre-flight checks")
    return await world.until_message("Releasing")


async def checking(world: World) -> Message:
    await world.stop_bot()
    await world.start_bot(clock=QuickClock(), DEPLOYBOT_SETTLE=f"{SETTLE.total_seconds()}")
    await world.deploy()
    return await world.until_message("Checking")


async def cancelling(world: World) -> Message:
    world.hold()
    await world.deploy()
    await world.until_message("Building", "Cancel")
    world.simulators.dokku.delay_answers_for_test(2, "builds:cancel")
    await world.click("deployment_cancel", user="grace")
    return await world.until_message("Cancelling")


async def succeeded(world: World) -> Message:
    await world.deploy()
    return await world.until_message("Deployed", "Roll back")


async def failed(world: World) -> Message:
    world.now_behaves("build_fails")
    await world.deploy()
    message = await world.until_message("Failed:", "Retry")
    world.now_behaves("ok")
    return message


async def crashed(world: World) -> Message:
    world.now_behaves("crash_1s")
    await world.deploy()
    message = await world.until_message("Failed:", "Roll back", "Retry")
    world.now_behaves("ok")
    return message


async def cancelled(world: World) -> Message:
    world.hold()
    await world.deploy()
    await world.until_message("Building", "Cancel")
    await world.click("deployment_cancel", user="grace")
    return await world.until_message("Cancelled:", "Retry")


STATES = (
    awaiting_approval,
    queued,
    fetching,
    building,
    releasing,
    checking,
    cancelling,
    succeeded,
    failed,
    crashed,
    cancelled,
)


SETTLE = timedelta(seconds=60)
"""Longer than all buttons take to be pressed."""
POSTS_SLOWLY = {"posting": timedelta(hours=1)}
"""No replica takes another one for dead that posts slowly on a busy machine."""


@asynccontextmanager
async def replicas(
    folder: Path, count: int, *, approval: bool = False, **environ: str
) -> AsyncIterator[World]:
    """A workspace whose requests go to each of several bots in turn; they share a database."""
    async with open_world(folder) as world, AsyncExitStack() as stack:
        if approval:
            (folder / "deploybot.toml").write_text('[apps.myapp]\napproval = "confirm"\n')
        world.environ |= environ
        for _ in range(count - 1):
            beside = World(
                simulators=world.simulators,
                folder=folder,
                environ=world.environ,
                slack_limits=world.slack_limits,
            )
            await beside.start_bot(POSTS_SLOWLY, QuickClock())
            stack.push_async_callback(beside.stop_bot)
        await world.start_bot(POSTS_SLOWLY, QuickClock())
        await world.slack.until(lambda: world.slack.open_connections == count)
        yield world


def answers(world: World, name: str) -> int:
    """What a person was told alone, and the messages of what they started."""
    return len(world.slack.ephemerals(world.slack.user(name)))


async def press_all(world: World, message: Message) -> Counter[str]:
    """Press all buttons at once, also those that earlier renderings had; who pressed how many."""
    old = {
        element["action_id"]
        for rendering in message.history
        for _, element in interactive_elements(list(rendering.blocks))
    }
    known = {one.action_id for one in MESSAGE_BUTTONS}
    assert old <= known
    clicks = []
    pressed: Counter[str] = Counter()
    for action_id in sorted(old):
        for name in PEOPLE:
            user = world.slack.user(name)
            if action_id in message.buttons:
                click = world.slack.click(user, message, action_id=action_id)
            else:
                click = world.slack.click_stale_for_test(user, message, action_id=action_id)
            clicks.append(click)
            pressed[name] += action_id not in OPENS
    results = await asyncio.gather(*clicks)
    assert all(one.acked for one in results)
    return pressed


async def settled(world: World, before: Counter[str], pressed: Counter[str], rows: int) -> None:
    """Wait until each click was answered: alone, or by the message of what it started."""

    async def started_by(name: str) -> int:
        new = (await world.rows())[: len(await world.rows()) - rows]
        return sum(one.requested_by.user == world.slack.user(name).id for one in new)

    for name, count in pressed.items():
        async with in_time():
            while answers(world, name) - before[name] + await started_by(name) < count:
                await world.slack.workspace.changes.wait_beyond(
                    len(world.slack.workspace.changes.entries)
                )


async def check_acts(world: World, row_id: str) -> None:
    assert world.bot is not None
    store = world.bot.service.queries.store
    trail = [entry for _, entry in await store.audit_of(row_id)]
    by_people = Counter(one.action for one in trail if one.through == "button")
    assert all(by_people[action] <= 1 for action in ACTS), by_people
    decisions = by_people["approved"] + by_people["ended"] + by_people["cancelled"]
    assert decisions <= 1, by_people


async def finish(world: World) -> None:
    """Whatever was started ends, and the bot still answers."""
    world.let_go()
    assert world.bot is not None
    store = world.bot.service.queries.store
    async with in_time():
        while any(one.phase is not Phase.AWAITING_APPROVAL for one in await store.unfinished()):
            await world.slack.workspace.changes.wait_beyond(
                len(world.slack.workspace.changes.entries)
            )
    await world.deploy("help", user="alan")
    await world.whispered("/deploy", user="alan")
    assert world.slack.notices == []


async def press_and_check(world: World, state: State) -> None:
    message = await state(world)
    rows = await world.rows()
    acted = rows[0]
    before = Counter({name: answers(world, name) for name in set(PEOPLE)})
    pressed = await press_all(world, message)
    await settled(world, before, pressed, len(rows))
    await check_acts(world, acted.id)
    if state is checking:
        assert isinstance(world.clock, QuickClock)
        world.clock.skip(SETTLE)
    await finish(world)
    ended = await world.rows()
    new = Counter((one.retry_of, one.rollback_of) for one in ended[: len(ended) - len(rows)])
    assert all(count == 1 for count in new.values()), new
    assert set(new) <= {(acted.id, None), (None, acted.id)}
    assert all(one.phase in ENDINGS for one in ended)
    assert len({one.message.ts for one in ended}) == len(ended) == len(world.messages)


@pytest.mark.parametrize("state", STATES)
async def test_all_buttons_at_once(tmp_path: Path, state: State) -> None:
    async with replicas(tmp_path, 1, approval=state is awaiting_approval) as world:
        await press_and_check(world, state)


@pytest.mark.parametrize("state", [awaiting_approval, building, failed, crashed, succeeded])
async def test_all_buttons_at_once_on_two_replicas(tmp_path: Path, state: State) -> None:
    async with replicas(tmp_path, 2, approval=state is awaiting_approval) as world:
        await press_and_check(world, state)


@pytest.mark.parametrize("state", [awaiting_approval, crashed])
async def test_all_buttons_at_once_on_two_replicas_of_postgresql(
    tmp_path: Path, state: State
) -> None:
    with postgres_server() as server:
        url = server.new_schema()
        await upgrade(url)
        guarded = state is awaiting_approval
        async with replicas(tmp_path, 2, approval=guarded, DATABASE_URL=url) as world:
            await press_and_check(world, state)
