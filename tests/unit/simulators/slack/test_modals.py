"""Modals and Home tabs: opening, stacking, updating and submitting them."""

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.simulators.slack.model import NotPossible
from bot.simulators.slack.simulator import SlackSimulator
from tests.unit.simulators.slack.conftest import App, buttons, plain

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
