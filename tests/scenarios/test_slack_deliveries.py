"""Slack delivers some acts twice: whatever was done, one deployment comes of it."""

from typing import Any

import pytest

from bot.simulators.slack.delivery import EnvelopeKind
from tests.scenarios.conftest import World, shown

RETRY, CANCEL = "deployment_retry", "deployment_cancel"


async def test_command_delivered_twice_starts_one_deployment(quick: World) -> None:
    await quick.deploy()
    await _again(quick, "slash_commands")
    await _only_one(quick, await quick.ended())


async def test_command_redelivered_after_a_restart_starts_nothing(quick: World) -> None:
    await quick.deploy()
    await quick.ended()
    await quick.stop_bot()
    await quick.start_bot()
    await _again(quick, "slash_commands")
    await _only_one(quick, await quick.rows())


async def test_command_typed_twice_is_two_requests(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    await quick.held()  # while it waits, the same commit would be answered with a link to it
    await quick.deploy()
    await quick.posted(2)
    quick.let_go()
    assert len(await quick.ended(2)) == 2
    assert len(quick.messages) == 2


async def test_click_delivered_twice_starts_one_deployment(quick: World) -> None:
    quick.now_behaves("build_fails")
    await quick.deploy()
    await quick.until_message("Failed:", "Retry")
    quick.now_behaves("ok")
    await quick.click(RETRY)
    await _again(quick, "interactive")
    await quick.ended(2)
    await quick.stop_bot()
    await quick.start_bot()
    await _again(quick, "interactive")
    assert len(await quick.rows()) == 2
    assert len(quick.messages) == 2


async def test_cancel_delivered_twice_is_answered_once(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building", "Cancel")
    await quick.click(CANCEL)
    await _again(quick, "interactive")
    await quick.until_message("Cancelled:")
    seen = [one for one in quick.slack.ephemerals(quick.ada) if "Cancelling" in shown(one)]
    assert len(seen) == 1


async def test_form_delivered_twice_starts_one_deployment(quick: World) -> None:
    await quick.deploy("")
    view = await quick.viewed("Branch, tag or commit")
    await quick.slack.submit(quick.ada, view, {"app": "myapp"})
    await _again(quick, "interactive")
    await _only_one(quick, await quick.ended())


async def test_mention_arrives_as_two_events_and_is_handled_once(quick: World) -> None:
    await quick.slack.say(quick.ada, quick.deploys, "@deploybot myapp main")
    rows = await quick.ended()
    sent = [
        attempt.envelope.payload["event"]["type"]
        for attempt in quick.slack.deliveries
        if attempt.envelope.kind == "events_api"
    ]
    assert {"app_mention", "message"} <= set(sent)
    await _again(quick, "events_api")
    await _only_one(quick, rows)


async def test_event_redelivered_after_a_lost_ack_is_handled_once(quick: World) -> None:
    quick.slack.lose_acks_for_test(2)
    await quick.slack.say(quick.ada, quick.deploys, "@deploybot myapp main")
    rows = await quick.ended()
    await quick.slack.until(
        lambda: len([one for one in quick.slack.deliveries if one.retry is not None]) == 2
    )
    await _only_one(quick, rows)


@pytest.mark.parametrize("word", ["status", "@deploybot status"])
async def test_question_in_a_thread_is_answered_once(quick: World, word: str) -> None:
    await quick.deploy()
    message = await quick.until_message("Deployed")
    await quick.replied("was deployed")
    await quick.slack.say(quick.ada, quick.deploys, word, thread_ts=message.ts)
    await quick.replied("live when it ended")
    await _again(quick, "events_api")
    await quick.slack.say(quick.ada, quick.deploys, "help", thread_ts=message.ts)
    await quick.replied("Commands:")
    answers = [one for one in quick.slack.thread(message) if "live when it ended:" in shown(one)]
    assert len(answers) == 1


async def _again(world: World, kind: EnvelopeKind) -> None:
    await world.slack.redeliver_last_for_test(kind)


async def _only_one(world: World, rows: list[Any]) -> None:
    """Nothing more came of it, when something that was asked later has been answered."""
    assert len(rows) == 1
    await world.deploy("history myapp")
    await world.whispered("Latest deployments")
    assert len(await world.rows()) == 1
    assert len(world.messages) == 1
    assert len(world.slack.ephemerals(world.ada)) == 1
    assert world.slack.notices == []
