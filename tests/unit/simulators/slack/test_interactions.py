"""User actions, answered by the test itself through a fake transport."""

from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.simulators.slack.model import Message, NotPossible
from bot.simulators.slack.simulator import SlackSimulator
from tests.unit.simulators.slack.conftest import App, buttons, plain

DEPLOYS = "C01DEPLOYS0"
CONFIRM = {
    "title": plain("Sure?"),
    "text": plain("Really?"),
    "confirm": plain("Yes"),
    "deny": plain("No"),
}


async def posted(slack: SlackSimulator, client: AsyncWebClient, **more: Any) -> Message:
    answer = await client.chat_postMessage(channel=DEPLOYS, text="x", **more)
    message = slack.workspace.message(DEPLOYS, answer["ts"])
    assert message is not None
    return message


async def test_click_payload_has_message_and_response_url(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    message = await posted(slack, client, blocks=buttons("stop"))

    result = await slack.click(slack.user("ada"), message, action_id="stop")

    assert result.acked
    payload = app.last("interactive")
    assert payload["type"] == "block_actions"
    assert payload["user"]["team_id"] == payload["team"]["id"]
    assert payload["container"]["message_ts"] == message.ts
    assert payload["message"]["blocks"] == message.blocks
    action = payload["actions"][0]
    assert (action["action_id"], action["block_id"], action["value"]) == ("stop", "row", "v")
    assert action["action_ts"]
    assert payload["response_url"].startswith(slack.page_url)


async def test_only_existing_buttons_can_be_clicked(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    ada = slack.user("ada")
    message = await posted(slack, client, blocks=buttons("stop"))
    await client.chat_update(channel=DEPLOYS, ts=message.ts, text="x", blocks=buttons("retry"))

    with pytest.raises(NotPossible, match="retry"):
        await slack.click(ada, message, action_id="stop")
    result = await slack.click_stale_for_test(ada, message, action_id="stop")

    assert result.acked
    assert app.last("interactive")["message"]["blocks"][0]["elements"][0]["action_id"] == "stop"
    with pytest.raises(NotPossible, match="ever had"):
        await slack.click_stale_for_test(ada, message, action_id="fly")


async def test_declined_confirmation_sends_nothing(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    message = await posted(slack, client, blocks=buttons("stop", confirm=CONFIRM))

    result = await slack.click(slack.user("ada"), message, action_id="stop", confirm=False)

    assert not result.sent
    assert not [e for e in app.got if e.kind == "interactive"]
    assert (await slack.click(slack.user("ada"), message, action_id="stop")).sent


async def test_unacknowledged_click_shows_a_warning(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    message = await posted(slack, client, blocks=buttons("stop"))
    app.silent = True

    result = await slack.click(slack.user("ada"), message, action_id="stop")

    assert not result.acked
    assert "did not respond" in slack.notices[0].text


async def test_users_of_other_teams_can_click_but_not_run_commands(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    mallory = slack.user("mallory")
    message = await posted(slack, client, blocks=buttons("stop"))

    await slack.click(mallory, message, action_id="stop")

    assert app.last("interactive")["user"]["team_id"] != slack.bot.team_id
    with pytest.raises(NotPossible):
        await slack.command(mallory, slack.channel("deploys"), "/sample")
    with pytest.raises(NotPossible):
        await slack.shortcut(mallory, message, callback_id="take_sample")


async def test_actions_that_no_client_offers_are_refused(slack: SlackSimulator, app: App) -> None:
    ada, deploys = slack.user("ada"), slack.channel("deploys")
    message = await slack.say(ada, deploys, "hello")

    with pytest.raises(NotPossible, match="in threads"):
        await slack.say(ada, deploys, "/sample x", thread_ts=message.ts)
    with pytest.raises(NotPossible, match="not a valid command"):
        await slack.command(ada, deploys, "/other")
    with pytest.raises(NotPossible, match="not in"):
        await slack.say(slack.user("mallory"), slack.channel("random"), "hello")
    with pytest.raises(NotPossible, match="is empty"):
        await slack.say(ada, deploys, " ")
    with pytest.raises(NotPossible, match="may not delete"):
        await slack.delete(slack.user("grace"), message)
    slack.archive(deploys)
    with pytest.raises(NotPossible, match="archived"):
        await slack.command(ada, deploys, "/sample")


async def test_private_channel_names_are_not_sent(slack: SlackSimulator, app: App) -> None:
    ada = slack.user("ada")

    await slack.command(ada, slack.channel("secret"), "/sample")
    assert app.last("slash_commands")["channel_name"] == "privategroup"
    await slack.command(ada, slack.dm(ada), "/sample")
    assert app.last("slash_commands")["channel_name"] == "directmessage"


@pytest.mark.parametrize("answer", ["hi", {"text": "hi"}])
async def test_ack_body_is_posted_as_ephemeral(
    slack: SlackSimulator, app: App, answer: Any
) -> None:
    app.answer = answer

    result = await slack.command(slack.user("ada"), slack.channel("random"), "/sample")

    assert result.response == answer
    assert [m.text for m in slack.ephemerals(slack.user("ada"))] == ["hi"]


async def test_ack_body_can_be_posted_in_channel(slack: SlackSimulator, app: App) -> None:
    app.answer = {"response_type": "in_channel", "text": "hi"}

    await slack.command(slack.user("ada"), slack.channel("random"), "/sample")

    assert [m.text for m in slack.messages(slack.channel("random"))] == ["hi"]


async def test_invalid_ack_body_shows_a_failure(slack: SlackSimulator, app: App) -> None:
    app.answer = {"blocks": [{"type": "nonsense"}]}

    await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample")

    assert "invalid_blocks" in slack.notices[0].text


async def test_response_url_works_five_times_within_30_minutes(
    slack: SlackSimulator, app: App
) -> None:
    await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample")
    respond = AsyncWebhookClient(app.last("slash_commands")["response_url"])

    statuses = [(await respond.send(text=str(n))).status_code for n in range(6)]

    assert statuses == [200] * 5 + [404]
    assert [m.text for m in slack.ephemerals(slack.user("ada"))] == ["0", "1", "2", "3", "4"]
    await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample")
    late = AsyncWebhookClient(app.last("slash_commands")["response_url"])
    slack.advance_clock_for_test(30 * 60 + 1)
    answer = await late.send(text="late")
    assert (answer.status_code, "expired_url" in answer.body) == (404, True)


async def test_response_url_replaces_and_deletes_the_clicked_message(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    message = await posted(slack, client, blocks=buttons("stop"))
    await slack.click(slack.user("ada"), message, action_id="stop")
    url = app.last("interactive")["response_url"]
    async with aiohttp.ClientSession() as session:

        async def respond(**body: Any) -> int:
            async with session.post(url, json=body) as answer:
                return answer.status

        assert await respond(text="stopped", replace_original=True) == 200
        assert (message.text, message.blocks) == ("stopped", [])
        assert await respond(delete_original=True, text="x") == 400
        assert await respond(text="x", colour="red") == 400
        assert await respond(delete_original=True) == 200
        assert message.deleted


async def test_ephemeral_is_replaced_only_through_its_response_url(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    ada = slack.user("ada")
    sent = await client.chat_postEphemeral(
        channel=DEPLOYS, user=ada.id, text="x", blocks=buttons("ok")
    )
    with pytest.raises(SlackApiError, match="message_not_found"):
        await client.chat_update(channel=DEPLOYS, ts=sent["message_ts"], text="y")
    whisper = slack.ephemerals(ada)[0]
    with pytest.raises(NotPossible):
        await slack.click(slack.user("grace"), whisper, action_id="ok")
    with pytest.raises(NotPossible):
        await slack.shortcut(ada, whisper, callback_id="take_sample")
    await slack.click(ada, whisper, action_id="ok")

    payload = app.last("interactive")
    assert payload["container"]["is_ephemeral"]
    assert "message" not in payload
    respond = AsyncWebhookClient(payload["response_url"])
    await respond.send(text="done", replace_original=True)
    assert [m.text for m in slack.ephemerals(ada)] == ["done"]
    await respond.send_dict({"delete_original": True})
    assert slack.ephemerals(ada) == []


async def test_shortcut_payload_has_the_whole_message(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    message = await slack.say(slack.user("grace"), slack.channel("deploys"), "a @samplebot b")

    await slack.shortcut(slack.user("ada"), message, callback_id="take_sample")

    payload = app.last("interactive")
    assert payload["type"] == "message_action"
    assert payload["message_ts"] == message.ts
    assert payload["message"]["text"] == f"a <@{slack.bot.id}> b"
    assert payload["message"]["user"] == slack.user("grace").id
    assert payload["channel"] == {"id": DEPLOYS, "name": "deploys"}
    bots_message = await posted(slack, client)
    await slack.shortcut(slack.user("ada"), bots_message, callback_id="take_sample")
    assert "user" not in app.last("interactive")["message"]
    assert app.last("interactive")["message"]["bot_id"] == slack.bot.bot_id


async def test_value_tells_two_buttons_with_the_same_action_apart(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    rows = [
        {"type": "actions", "elements": [{**buttons("stop")[0]["elements"][0], "value": value}]}
        for value in ("first", "second")
    ]
    message = await posted(slack, client, blocks=rows)
    ada = slack.user("ada")

    with pytest.raises(NotPossible, match="2 elements"):
        await slack.click(ada, message, action_id="stop")
    await slack.click(ada, message, action_id="stop", of="second")

    assert app.last("interactive")["actions"][0]["value"] == "second"
    with pytest.raises(NotPossible, match="0 elements"):
        await slack.click(ada, message, action_id="stop", of="third")
