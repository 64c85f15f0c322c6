"""Slack in trouble: slow, refusing, losing answers, disconnecting. The message stays right."""

import pytest

from bot.deployments.model import Phase
from bot.simulators.slack.model import Message
from bot.simulators.slack.web_api import ApiCall
from tests.scenarios.conftest import World, shown

EDIT, POST = "chat.update", "chat.postMessage"


async def test_429_pauses_all_edits_and_then_only_the_newest_state_goes_out(world: World) -> None:
    pause_s = 3
    world.slack.rate_limit_for_test(EDIT, pause_s)
    await world.deploy()
    await world.until_message("Deployed")
    limited, *later = _calls(world, EDIT)
    assert limited.outcome == "ratelimited"
    assert (later[0].at - limited.at).total_seconds() >= pause_s
    assert len(later) == 1
    assert len(world.messages) == 1


@pytest.mark.parametrize("times", [1, 4])
async def test_failed_edits_are_repeated(quick: World, times: int) -> None:
    quick.slack.fail_for_test(EDIT, status=500, times=times)
    await quick.deploy()
    await quick.until_message("Deployed")
    assert [call.outcome for call in _calls(quick, EDIT)[:times]] == ["http_500"] * times
    assert len(quick.messages) == 1


async def test_too_large_message_is_shown_without_its_log(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building", "build step 4/")
    quick.slack.fail_for_test(EDIT, error="msg_too_long")
    quick.let_go()
    message = await quick.until_message("Deployed")
    assert "Application deployed:" not in shown(message)
    assert len(quick.messages) == 1


async def test_nothing_starts_if_the_message_cannot_be_posted(quick: World) -> None:
    quick.slack.fail_for_test(POST, error="restricted_action")
    await quick.deploy()
    await quick.whispered("A setting of this workspace does not let me post here.")
    assert quick.messages == []
    assert await quick.rows() == []
    await quick.deploy()
    (row,) = await quick.ended()
    assert row.phase is Phase.SUCCEEDED


async def test_rate_limited_post_is_made_later(quick: World) -> None:
    quick.slack.rate_limit_for_test(POST, 1)
    await quick.deploy()
    await quick.until_message("Deployed")
    assert len(quick.messages) == 1
    assert quick.slack.ephemerals(quick.ada) == []


async def test_post_without_an_answer_is_not_repeated(quick: World) -> None:
    quick.slack.lose_response_for_test(POST)
    await quick.deploy()
    message = await quick.until_message("Deployed")
    (row,) = await quick.rows()
    assert row.message.ts == message.ts
    assert len(quick.messages) == 1


async def test_thread_reply_without_an_answer_is_not_repeated(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building")
    quick.slack.lose_response_for_test(POST)
    quick.let_go()
    message = await quick.until_message("Deployed")
    await quick.replied("was deployed")
    # The outbox looks again after 5 s; it reads the thread before it sends anything.
    await quick.slack.until(lambda: _calls(quick, "conversations.replies"))
    await quick.deploy("status")
    await quick.whispered("Nothing is running or queued.")
    assert len([one for one in quick.slack.thread(message) if one.bot_id]) == 1


async def test_refused_thread_reply_is_repeated(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building")
    quick.slack.fail_for_test(POST, status=503)
    quick.let_go()
    message = await quick.until_message("Deployed")
    await quick.replied("was deployed")
    assert len([one for one in quick.slack.thread(message) if one.bot_id]) == 1


@pytest.mark.parametrize("reason", ["refresh_requested", "warning"])
async def test_refreshed_socket_loses_no_request(quick: World, reason: str) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building", "Cancel")
    await quick.slack.disconnect_all_for_test(reason)
    await quick.slack.until(lambda: len(quick.slack.envelopes_per_connection_for_test()) > 1)
    await quick.slack.until(lambda: quick.slack.open_connections > 0)
    clicked = await quick.click("deployment_cancel")
    assert clicked.acked
    (row,) = await quick.ended()
    assert row.phase is Phase.CANCELLED
    await quick.until_message("Cancelled:")
    assert quick.slack.unknown_acks_for_test() == []


async def test_broken_socket_is_reopened_while_the_message_is_edited(
    quick: World,
) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building")
    quick.slack.drop_tcp_for_test()
    quick.let_go()
    await quick.until_message("Deployed")
    await quick.slack.until(lambda: quick.slack.open_connections > 0)
    await quick.deploy("status")
    await quick.whispered("Nothing is running or queued.")


async def test_half_dead_socket_is_replaced_and_nothing_is_done_twice(quick: World) -> None:
    """No pong comes: the connection looks open, and everything that Slack sends is lost."""
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building", "Cancel")
    quick.slack.fall_silent_for_test()
    lost = await quick.click("deployment_cancel")
    assert not lost.acked
    await quick.slack.until(lambda: len(quick.slack.envelopes_per_connection_for_test()) > 1)
    # An event is delivered again; a person clicks again.
    await quick.slack.say(quick.ada, quick.deploys, "@deploybot status")
    clicked = await quick.click("deployment_cancel")
    assert clicked.acked
    assert clicked.ack_after_s is not None
    assert clicked.ack_after_s < 3
    await quick.until_message("Cancelled:")
    (row,) = await quick.ended()
    assert row.phase is Phase.CANCELLED
    seen = [one for one in quick.slack.ephemerals(quick.ada) if "Cancelling" in shown(one)]
    assert len(seen) == 1
    assert quick.slack.unknown_acks_for_test() == []


async def test_acks_are_in_time_while_slack_answers_slowly(quick: World) -> None:
    quick.hold()
    await quick.deploy("myapp main")
    await quick.until_message("Building", "Cancel")
    message = quick.message
    async with quick.slack.hold_for_test() as door:
        acks = [
            await quick.deploy("myapp v1.0"),
            await quick.deploy(""),
            await quick.deploy("status"),
            await quick.click("deployment_cancel", message),
            await quick.click("deployment_log", message),
        ]
        await quick.slack.say(quick.ada, quick.deploys, "status", thread_ts=message.ts)
        await door.arrived()
    assert [one.acked for one in acks] == [True] * 5
    # The build is held, so the cancel alone can end the first one.
    await quick.ended(1)
    quick.let_go()
    rows = await quick.ended(2)
    assert {row.phase for row in rows} == {Phase.CANCELLED, Phase.SUCCEEDED}
    assert quick.slack.notices == []


async def test_form_that_slack_does_not_open_is_reported(quick: World) -> None:
    quick.slack.fail_for_test("views.open", error="expired_trigger_id")
    await quick.deploy("")
    await quick.whispered("The form took too long to open. Please try again.")
    quick.slack.fail_for_test("views.open", error="expired_trigger_id")
    await quick.deploy("myapp main")
    await quick.until_message("Deployed")
    await quick.click("deployment_log")

    def seen() -> list[Message]:
        return quick.slack.ephemerals(quick.ada)[1:]

    await quick.slack.until(seen)


def _calls(world: World, method: str) -> list[ApiCall]:
    return [call for call in world.slack.calls if call.method == method]
