import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.simulators.slack.model import NotPossible
from bot.simulators.slack.simulator import SlackSimulator, open_slack
from bot.simulators.slack.user_input import as_text
from tests.unit.simulators.slack.conftest import MANIFEST

DEPLOYS = "C01DEPLOYS0"


@pytest.mark.parametrize(
    ("typed", "message", "command"),
    [
        ("@ada and @nobody", "<@U01ADA00001> and @nobody", "<@U01ADA00001|ada> and @nobody"),
        ("see #random.", "see <#C01RANDOM00|random>.", "see <#C01RANDOM00|random>."),
        ("#nowhere", "#nowhere", "#nowhere"),
        ("https://e.com/a?b=1&c=2.", "<https://e.com/a?b=1&amp;c=2>.", None),
        ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d", None),
        ("<@U01ADA00001> <https://e.com>", "<@U01ADA00001> <https://e.com>", None),
        ("mail@ada", "mail@ada", None),
    ],
)
async def test_typed_text_becomes_slack_markup(
    slack: SlackSimulator, typed: str, message: str, command: str | None
) -> None:
    assert as_text(slack.workspace, typed, style="message") == message
    assert as_text(slack.workspace, typed, style="command") == (command or message)


async def test_events_mark_users_of_other_teams(slack: SlackSimulator) -> None:
    mallory = slack.user("mallory")

    await slack.say(mallory, slack.channel("deploys"), "hi")

    await slack.until(lambda: slack.deliveries)
    payload = slack.deliveries[0].envelope.payload
    assert payload["event"]["user_team"] == mallory.team_id
    assert payload["is_ext_shared_channel"]


async def test_events_mark_broadcast_replies_and_files(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    parent = await client.chat_postMessage(channel=DEPLOYS, text="parent")
    await client.chat_postMessage(
        channel=DEPLOYS, text="for all", thread_ts=parent["ts"], reply_broadcast=True
    )
    await client.files_upload_v2(channel=DEPLOYS, content="x", filename="x.txt")

    assert [m.text for m in slack.messages(slack.channel("deploys"))] == ["parent", "for all", ""]
    await slack.until(lambda: len(slack.deliveries) >= 3)
    subtypes = {d.envelope.payload["event"].get("subtype") for d in slack.deliveries}
    assert subtypes == {None, "thread_broadcast", "file_share"}


async def test_membership_can_change(slack: SlackSimulator, client: AsyncWebClient) -> None:
    random, ada = slack.channel("random"), slack.user("ada")
    slack.invite_bot(random)
    await client.chat_postMessage(channel=random.id, text="hello")
    slack.remove_bot(random)

    with pytest.raises(SlackApiError, match="not_in_channel"):
        await client.chat_postMessage(channel=random.id, text="hello")
    with pytest.raises(NotPossible):
        slack.invite_bot(slack.dm(ada))
    with pytest.raises(NotPossible):
        slack.dm(slack.user("mallory"))
    with pytest.raises(NotPossible):
        slack.user("nobody")
    with pytest.raises(NotPossible):
        slack.channel("nowhere")


async def test_taken_port_is_an_error(slack: SlackSimulator) -> None:
    port = int(slack.page_url.rsplit(":", 1)[1].rstrip("/"))

    with pytest.raises(OSError, match="in use"):
        async with open_slack(manifest=MANIFEST, port=port):
            pass


async def test_home_tab_can_be_disabled() -> None:
    features = MANIFEST["features"] | {"app_home": {"home_tab_enabled": False}}
    async with open_slack(manifest=MANIFEST | {"features": features}) as slack:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url)
        ada = slack.user("ada")
        with pytest.raises(NotPossible, match="no Home tab"):
            await slack.open_home(ada)
        with pytest.raises(SlackApiError, match="not_enabled"):
            await client.views_publish(user_id=ada.id, view={"type": "home", "blocks": []})


async def test_plain_is_the_visible_text(slack: SlackSimulator, client: AsyncWebClient) -> None:
    parts = [
        {"type": "text", "text": "by "},
        {"type": "user", "user_id": "U01ADA00001"},
        {"type": "emoji", "name": "wave"},
        {"type": "link", "url": "https://e.com"},
    ]
    button = {
        "type": "button",
        "action_id": "go",
        "text": {"type": "plain_text", "text": "Go"},
        "value": "hidden",
    }
    await client.chat_postMessage(
        channel=DEPLOYS,
        text="fallback",
        blocks=[
            {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": parts}]},
            {"type": "actions", "elements": [button]},
        ],
    )

    message = slack.messages(slack.channel("deploys"))[0]
    assert message.plain == "by <@U01ADA00001>:wave:https://e.com\nGo"
    assert message.buttons == {"go": "Go"}
