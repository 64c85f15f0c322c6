"""Lists whose options the app gives, and inputs that report each change: as strict as Slack."""

from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.simulators.slack.model import NotPossible, View
from bot.simulators.slack.simulator import SlackSimulator, open_slack
from tests.unit.simulators.slack.conftest import MANIFEST, QUICK, App, plain

SEARCHED: dict[str, Any] = {
    "type": "modal",
    "callback_id": "form",
    "title": plain("A form"),
    "submit": plain("Send"),
    "blocks": [
        {
            "type": "input",
            "block_id": "ref",
            "label": plain("Ref"),
            "dispatch_action": True,
            "element": {"type": "external_select", "action_id": "refs", "min_query_length": 0},
        },
        {
            "type": "input",
            "block_id": "kind",
            "optional": True,
            "label": plain("Kind"),
            "element": {
                "type": "static_select",
                "action_id": "kinds",
                "options": [{"text": plain("One"), "value": "1"}],
            },
        },
    ],
}
MAIN = {"text": plain("main"), "value": "main"}


async def opened(slack: SlackSimulator, client: AsyncWebClient, app: App) -> View:
    result = await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample")
    await client.views_open(trigger_id=result.trigger_id, view=SEARCHED)
    view = slack.view(slack.user("ada"))
    assert view is not None
    app.answer = {"options": [MAIN]}
    return view


async def test_app_is_asked_for_options_and_a_chosen_one_is_sent(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    view = await opened(slack, client, app)
    ada = slack.user("ada")
    assert await slack.suggest(ada, view, "ref", "ma") == [MAIN]
    asked = app.last("interactive")
    assert (asked["type"], asked["action_id"], asked["block_id"], asked["value"]) == (
        "block_suggestion",
        "refs",
        "ref",
        "ma",
    )
    assert asked["view"]["state"]["values"]["ref"]["refs"]["selected_option"] is None
    assert "trigger_id" not in asked
    await slack.choose(ada, view, "ref", "main")
    sent = app.last("interactive")
    assert sent["type"] == "block_actions"
    assert sent["actions"][0]["selected_option"] == MAIN
    before = len(app.got)
    await slack.choose(ada, view, "kind", "1")  # without dispatch_action
    assert len(app.got) == before
    await slack.submit(ada, view)
    state = app.last("interactive")["view"]["state"]["values"]
    assert state["ref"]["refs"]["selected_option"] == MAIN
    assert state["kind"]["kinds"]["selected_option"]["value"] == "1"


async def test_only_what_the_app_offers_can_be_chosen(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    view = await opened(slack, client, app)
    with pytest.raises(NotPossible, match="not 'other'"):
        await slack.submit(slack.user("ada"), view, {"ref": "other"})


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"options": [{"text": plain("x" * 76), "value": "x"}]},
        {"options": [{"text": plain("x"), "value": "x" * 151}]},
        {"options": [MAIN] * 101},
        {"options": [{"text": {"type": "mrkdwn", "text": "x"}, "value": "x"}]},
        {"options": [MAIN], "option_groups": []},
    ],
)
async def test_options_that_slack_would_refuse_are_not_shown(
    slack: SlackSimulator, client: AsyncWebClient, app: App, answer: Any
) -> None:
    view = await opened(slack, client, app)
    app.answer = answer
    assert await slack.suggest(slack.user("ada"), view, "ref", "m") == []
    assert "could not be loaded" in slack.notices[-1].text


async def test_silent_app_offers_nothing(
    slack: SlackSimulator, client: AsyncWebClient, app: App
) -> None:
    view = await opened(slack, client, app)
    app.silent = True
    assert await slack.suggest(slack.user("ada"), view, "ref") == []
    assert "did not respond in time" in slack.notices[-1].text


async def test_http_mode_needs_an_options_load_url() -> None:
    async with open_slack(manifest=MANIFEST, timings=QUICK, mode="http") as slack:
        app = App()
        slack._delivery._transport = app
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url)
        view = await opened(slack, client, app)
        assert await slack.suggest(slack.user("ada"), view, "ref") == []
        assert "no options load URL" in slack.notices[-1].text
