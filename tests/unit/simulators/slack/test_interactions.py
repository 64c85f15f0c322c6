"""User actions, answered by the test itself through a fake transport."""

from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.simulators.slack.delivery import Ack, Envelope, NoAck, Retry
from bot.simulators.slack.model import Message, NotPossible
from bot.simulators.slack.simulator import SlackSimulator

DEPLOYS = "C01DEPLOYS0"


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


class App:
    """Acknowledges everything with the next answer, and remembers it."""

    def __init__(self) -> None:
        self.got: list[Envelope] = []
        self.answer: Any = None
        self.silent = False

    async def attempt(
        self, envelope: Envelope, *, retry: Retry | None, timeout_s: float
    ) -> Ack | NoAck:
        self.got.append(envelope)
        if self.silent:
            return NoAck(reason="timeout")
        return Ack(after_s=0.0, response=self.answer)

    def last(self, kind: str) -> dict[str, Any]:
        return next(e.payload for e in reversed(self.got) if e.kind == kind)


@pytest.fixture
def app(slack: SlackSimulator) -> App:
    app = App()
    slack._delivery._transport = app
    return app


CONFIRM = {
    "title": plain("Sure?"),
    "text": plain("Really?"),
    "confirm": plain("Yes"),
    "deny": plain("No"),
}


def buttons(*action_ids: str, **more: Any) -> list[dict[str, Any]]:
    elements = [
        {"type": "button", "action_id": one, "text": plain(one.title()), "value": "v", **more}
        for one in action_ids
    ]
    return [{"type": "actions", "block_id": "row", "elements": elements}]


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


FORM: dict[str, Any] = {
    "type": "modal",
    "callback_id": "form",
    "title": plain("A form"),
    "submit": plain("Send"),
    "notify_on_close": True,
    "blocks": [
        {
            "type": "input",
            "block_id": "name",
            "label": plain("Name"),
            "element": {"type": "plain_text_input", "action_id": "name_field"},
        },
        {
            "type": "input",
            "block_id": "kind",
            "optional": True,
            "label": plain("Kind"),
            "element": {
                "type": "static_select",
                "action_id": "kind_field",
                "options": [
                    {"text": plain("One"), "value": "1"},
                    {"text": plain("Two"), "value": "2"},
                ],
            },
        },
        {
            "type": "input",
            "block_id": "flags",
            "optional": True,
            "label": plain("Flags"),
            "element": {
                "type": "checkboxes",
                "action_id": "flags_field",
                "options": [{"text": plain("Loud"), "value": "loud"}],
            },
        },
        *buttons("look"),
    ],
}


async def trigger(slack: SlackSimulator) -> str:
    result = await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample")
    return result.trigger_id


async def test_trigger_opens_one_modal_within_3_seconds(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    trigger_id = await trigger(slack)
    await client.views_open(trigger_id=trigger_id, view=FORM)
    with pytest.raises(SlackApiError, match="exchanged_trigger_id"):
        await client.views_open(trigger_id=trigger_id, view=FORM)
    trigger_id = await trigger(slack)
    slack.advance_clock_for_test(3.1)
    with pytest.raises(SlackApiError, match="expired_trigger_id"):
        await client.views_open(trigger_id=trigger_id, view=FORM)
    with pytest.raises(SlackApiError, match="invalid_trigger_id"):
        await client.views_open(trigger_id="made.up", view=FORM)


async def test_invalid_view_does_not_use_up_the_trigger(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    trigger_id = await trigger(slack)
    with pytest.raises(SlackApiError, match="invalid_arguments"):
        await client.views_open(trigger_id=trigger_id, view=FORM | {"title": plain("t" * 25)})

    assert (await client.views_open(trigger_id=trigger_id, view=FORM))["ok"]


async def test_submission_sends_values_and_closes_the_modal(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    ada = slack.user("ada")
    await client.views_open(trigger_id=await trigger(slack), view=FORM)
    view = slack.view(ada)
    assert view is not None

    empty = await slack.submit(ada, view)
    assert empty.errors == {"name": "This field is required"}
    assert not empty.sent
    with pytest.raises(NotPossible, match="offers"):
        await slack.submit(ada, view, {"kind_field": "3"})
    await slack.submit(ada, view, {"name_field": "Ada", "kind": "2", "flags_field": ["loud"]})

    payload = app.last("interactive")
    assert payload["type"] == "view_submission"
    values = payload["view"]["state"]["values"]
    assert values["name"]["name_field"] == {"type": "plain_text_input", "value": "Ada"}
    assert values["kind"]["kind_field"]["selected_option"]["value"] == "2"
    assert [o["value"] for o in values["flags"]["flags_field"]["selected_options"]] == ["loud"]
    assert slack.view(ada) is None


async def test_submission_errors_keep_the_modal_open(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    ada = slack.user("ada")
    await client.views_open(trigger_id=await trigger(slack), view=FORM)
    view = slack.view(ada)
    assert view is not None
    app.answer = {"response_action": "errors", "errors": {"name": "Taken"}}

    result = await slack.submit(ada, view, {"name_field": "Ada"})

    assert result.errors == view.errors == {"name": "Taken"}
    assert slack.view(ada) is view
    for bad in (
        {"response_action": "errors", "errors": {"nowhere": "x"}},
        {"response_action": "dance"},
        {"response_action": "update", "view": {"type": "modal"}},
        "text",
    ):
        app.answer = bad
        await slack.submit(ada, view)
    assert len([n for n in slack.notices if "trouble connecting" in n.text]) == 4
    app.silent = True
    assert not (await slack.submit(ada, view)).acked
    assert slack.view(ada) is view


async def test_at_most_three_modals_stack(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    ada = slack.user("ada")
    await client.views_open(trigger_id=await trigger(slack), view=FORM)
    first = slack.view(ada)
    assert first is not None
    app.answer = {"response_action": "push", "view": FORM}
    await slack.submit(ada, first, {"name_field": "Ada"})
    second = slack.view(ada)
    assert second is not None
    assert second.previous_view_id == first.id
    assert second.root_view_id == first.id
    app.answer = None
    clicked = await slack.click(ada, second, action_id="look")
    assert app.last("interactive")["view"]["id"] == second.id
    await client.views_push(trigger_id=clicked.trigger_id, view=FORM)
    third = slack.view(ada)
    assert third is not None
    with pytest.raises(NotPossible, match="not the modal"):
        await slack.submit(ada, second)
    clicked = await slack.click(ada, third, action_id="look")
    with pytest.raises(SlackApiError, match="push_limit_reached"):
        await client.views_push(trigger_id=clicked.trigger_id, view=FORM)
    await slack.close(ada, third)
    assert app.last("interactive")["type"] == "view_closed"
    assert slack.view(ada) is second
    app.answer = {"response_action": "clear"}
    await slack.submit(ada, second, {"name_field": "Ada"})
    assert slack.view(ada) is None


async def test_view_update_checks_the_hash_and_keeps_typed_values(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    ada = slack.user("ada")
    opened = (await client.views_open(trigger_id=await trigger(slack), view=FORM))["view"]
    view = slack.view(ada)
    assert view is not None
    app.answer = {"response_action": "errors", "errors": {"name": "Taken"}}
    await slack.submit(ada, view, {"name_field": "Ada"})

    with pytest.raises(SlackApiError, match="hash_conflict"):
        await client.views_update(view_id=view.id, view=FORM, hash="0.0")
    await client.views_update(
        view_id=view.id, view=FORM | {"title": plain("Changed")}, hash=opened["hash"]
    )

    assert view.title == "Changed"
    assert view.values["name"]["name_field"]["value"] == "Ada"
    assert view.errors == {}
    await slack.close(ada, view)
    with pytest.raises(SlackApiError, match="not_found"):
        await client.views_update(view_id=view.id, view=FORM)


async def test_external_ids_are_unique(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    named = FORM | {"external_id": "one"}
    await client.views_open(trigger_id=await trigger(slack), view=named)
    with pytest.raises(SlackApiError, match="duplicate_external_id"):
        await client.views_open(trigger_id=await trigger(slack), view=named)
    await client.views_update(external_id="one", view=named | {"title": plain("Found")})

    view = slack.view(slack.user("ada"))
    assert view is not None
    assert view.title == "Found"
