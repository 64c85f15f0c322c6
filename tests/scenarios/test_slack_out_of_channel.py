"""The bot is put out of the channel while it deploys: nothing is lost, its message converges."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from bot.deployments.model import Phase
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import QuickClock, World, shown

EDIT = "chat.update"
Change = Callable[[World], None]


def kick(world: World) -> None:
    world.slack.remove_bot(world.deploys)


def kick_like_a_stranger(world: World) -> None:
    world.slack.remove_bot(world.deploys, refuses_edits="cant_update_message")


def make_private_and_kick(world: World) -> None:
    world.slack.make_private(world.deploys)
    world.slack.remove_bot(world.deploys)


def invite(world: World) -> None:
    world.slack.invite_bot(world.deploys)


def archive(world: World) -> None:
    world.slack.archive(world.deploys)


def unarchive(world: World) -> None:
    world.slack.unarchive(world.deploys, world.ada)


WAYS = pytest.mark.parametrize(
    ("put_out", "back"),
    [
        (kick, invite),
        (kick_like_a_stranger, invite),
        (make_private_and_kick, invite),
        (archive, unarchive),
    ],
    ids=["kicked", "kicked_cant_update", "made_private_and_kicked", "archived"],
)


@WAYS
async def test_result_comes_directly_and_the_message_converges(
    quick: World, put_out: Change, back: Change
) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building")
    put_out(quick)
    quick.let_go()
    (row,) = await quick.ended()
    assert row.phase is Phase.SUCCEEDED
    direct = await _directly(quick)
    assert "was deployed" in shown(direct)
    assert f"I can't post in <#{quick.deploys.id}>" in shown(direct)
    assert "Building" in shown(quick.message)

    back(quick)
    message = await quick.until_message("Deployed")
    assert [message] == quick.messages
    assert quick.slack.thread(message) == []
    assert len(quick.slack.messages(quick.slack.dm(quick.ada))) == 1


@WAYS
async def test_message_goes_on_if_the_bot_is_back_before_the_end(
    quick: World, put_out: Change, back: Change
) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building")
    put_out(quick)
    refused = len(_refused(quick))
    await quick.slack.until(lambda: len(_refused(quick)) > refused)
    back(quick)
    quick.let_go()
    message = await quick.until_message("Deployed")
    await quick.replied("was deployed")
    assert [message] == quick.messages
    assert quick.slack.messages(quick.slack.dm(quick.ada)) == []


async def test_conversion_to_a_private_channel_changes_nothing(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building")
    quick.slack.make_private(quick.deploys)
    quick.let_go()
    await quick.until_message("Deployed")
    await quick.replied("was deployed")
    assert len(quick.messages) == 1


async def test_message_converges_after_hours_and_a_restart(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building")
    kick(quick)
    quick.let_go()
    await quick.ended()
    await _directly(quick)
    await quick.stop_bot()
    clock = QuickClock()
    clock.leap(timedelta(hours=6))
    await quick.start_bot(clock=clock)
    edits = len(_refused(quick))
    invite(quick)
    message = await quick.until_message("Deployed")
    assert "Live now" in shown(message)
    assert [message] == quick.messages
    assert len(_refused(quick)) == edits


async def _directly(world: World) -> Message:
    direct = world.slack.dm(world.ada)
    return (await world.slack.until(lambda: world.slack.messages(direct)))[-1]


def _refused(world: World) -> list[str]:
    return [
        call.outcome for call in world.slack.calls if call.method == EDIT and call.outcome != "ok"
    ]
