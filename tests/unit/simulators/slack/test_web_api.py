import json

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.simulators.slack.simulator import SlackSimulator, open_slack
from tests.unit.simulators.slack.conftest import MANIFEST, refusal

DEPLOYS, RANDOM, ONCALL, SECRET = "C01DEPLOYS0", "C01RANDOM00", "C01ONCALL00", "C01SECRET00"
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "blocks"}}
RICH = {
    "type": "rich_text",
    "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "rich"}]}],
}


async def test_auth_test_identifies_the_bot(slack: SlackSimulator, client: AsyncWebClient) -> None:
    answer = await client.auth_test()

    assert answer["user_id"] == slack.bot.id
    assert answer["team_id"] == slack.bot.team_id
    assert "chat:write" in answer.headers["x-oauth-scopes"]


@pytest.mark.parametrize(
    ("token", "code"),
    [(None, "not_authed"), ("xoxb-no", "invalid_auth"), ("app", "not_allowed_token_type")],
)
async def test_wrong_tokens_are_refused(
    slack: SlackSimulator, token: str | None, code: str
) -> None:
    token = slack.app_token if token == "app" else token
    client = AsyncWebClient(token=token, base_url=slack.api_url)

    assert await refusal(client.auth_test()) == code


async def test_bot_token_cannot_open_a_socket(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    code = await refusal(client.apps_connections_open(app_token=slack.bot_token))

    assert code == "not_allowed_token_type"


async def test_unknown_methods_and_arguments_are_refused(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    assert await refusal(client.api_call("pins.invent")) == "unknown_method"
    with pytest.raises(SlackApiError) as refused:
        await client.chat_postMessage(channel=DEPLOYS, text="x", icon_emoji=":x:")

    assert refused.value.response["error"] == "invalid_arguments"
    assert "icon_emoji" in refused.value.response["response_metadata"]["messages"][0]
    assert slack.calls[-1].outcome == "invalid_arguments"


async def test_arguments_come_as_form_query_or_json(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    url = f"{slack.api_url}chat.postMessage"
    fields = {"channel": DEPLOYS, "text": "x", "unfurl_links": "false"}
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {slack.bot_token}"}
    ) as session:
        for request in (
            session.post(url, data=fields),
            session.get(url, params=fields),
            session.post(url, json=fields | {"unfurl_links": False, "blocks": [SECTION]}),
            session.post(url, data=fields | {"blocks": json.dumps([SECTION])}),
        ):
            async with request as response:
                assert (await response.json())["ok"]
        async with session.post(url, data="[", headers={"Content-Type": "application/json"}) as bad:
            assert (await bad.json())["error"] == "invalid_json"
        async with session.post(url, json=["x"]) as bad:
            assert (await bad.json())["error"] == "json_not_object"
        async with session.post(url, data="x", headers={"Content-Type": "text/plain"}) as bad:
            assert (await bad.json())["error"] == "invalid_post_type"


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        (RANDOM, "not_in_channel"),
        (SECRET, "channel_not_found"),
        ("D02ADAGRACE", "channel_not_found"),
        ("C0NOWHERE", "channel_not_found"),
    ],
)
async def test_posting_needs_membership(client: AsyncWebClient, channel: str, code: str) -> None:
    assert await refusal(client.chat_postMessage(channel=channel, text="x")) == code


async def test_posting_to_a_user_id_goes_to_the_direct_message(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    ada = slack.user("ada")

    answer = await client.chat_postMessage(channel=ada.id, text="psst")

    assert answer["channel"] == slack.dm(ada).id
    assert [m.text for m in slack.messages(slack.dm(ada))] == ["psst"]


async def test_archived_channels_refuse_messages(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel=DEPLOYS, text="x")
    slack.archive(slack.channel("deploys"))

    assert await refusal(client.chat_postMessage(channel=DEPLOYS, text="x")) == "is_archived"
    code = await refusal(client.chat_update(channel=DEPLOYS, ts=posted["ts"], text="y"))
    assert code == "is_inactive"


async def test_missing_scope_is_refused(slack: SlackSimulator) -> None:
    scopes = [s for s in MANIFEST["oauth_config"]["scopes"]["bot"] if s != "files:write"]
    poor = MANIFEST | {"oauth_config": {"scopes": {"bot": [*scopes, "chat:write.public"]}}}
    async with open_slack(manifest=poor) as other:
        client = AsyncWebClient(token=other.bot_token, base_url=other.api_url)

        code = await refusal(client.files_getUploadURLExternal(filename="a", length=1))
        assert code == "missing_scope"
        assert (await client.chat_postMessage(channel=RANDOM, text="x"))["ok"]


async def test_long_texts_are_truncated_or_refused(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel=DEPLOYS, text="x" * 40_001)

    assert posted["warning"] == "message_truncated"
    assert len(slack.messages(slack.channel("deploys"))[0].text) == 40_000
    update = client.chat_update
    assert (await update(channel=DEPLOYS, ts=posted["ts"], text="x" * 4000))["ok"]
    code = await refusal(update(channel=DEPLOYS, ts=posted["ts"], text="x" * 4001))
    assert code == "msg_too_long"


async def test_update_with_only_text_removes_blocks_and_keeps_metadata(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    metadata = {"event_type": "thing", "event_payload": {"id": "1"}}
    posted = await client.chat_postMessage(
        channel=DEPLOYS, text="x", blocks=[SECTION], metadata=metadata
    )
    message = slack.messages(slack.channel("deploys"))[0]
    assert message.plain == "blocks"

    await client.chat_update(channel=DEPLOYS, ts=posted["ts"], text="y")

    assert message.blocks == []
    assert message.metadata == metadata
    assert message.edited
    assert [r.text for r in slack.edits(message)] == ["x", "y"]


async def test_invalid_updates_are_refused(slack: SlackSimulator, client: AsyncWebClient) -> None:
    other = await slack.say(slack.user("ada"), slack.channel("deploys"), "mine")
    own_ts = (await client.chat_postMessage(channel=DEPLOYS, text="x", blocks=[RICH]))["ts"]
    update = client.chat_update

    assert await refusal(update(channel=DEPLOYS, ts="1.0", text="x")) == "message_not_found"
    assert await refusal(update(channel=DEPLOYS, ts=other.ts, text="x")) == "cant_update_message"
    assert (
        await refusal(client.api_call("chat.update", json={"channel": DEPLOYS, "ts": own_ts}))
        == "no_text"
    )
    code = await refusal(update(channel=DEPLOYS, ts=own_ts, text="x", blocks=[SECTION]))
    assert code == "block_mismatch"
    assert await refusal(client.chat_delete(channel=DEPLOYS, ts=other.ts)) == "cant_delete_message"


async def test_deleted_parent_keeps_its_thread_while_it_has_replies(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    deploys, ada = slack.channel("deploys"), slack.user("ada")
    posted = await client.chat_postMessage(channel=DEPLOYS, text="parent")
    message = slack.messages(deploys)[0]
    await client.chat_postMessage(channel=DEPLOYS, text="reply", thread_ts=posted["ts"])
    await slack.delete(ada, message)

    code = await refusal(client.chat_update(channel=DEPLOYS, ts=posted["ts"], text="x"))
    assert code == "message_not_found"
    post = client.chat_postMessage
    assert (await post(channel=DEPLOYS, text="more", thread_ts=posted["ts"]))["ok"]
    for reply in slack.thread(message):
        await client.chat_delete(channel=DEPLOYS, ts=reply.ts)
    code = await refusal(post(channel=DEPLOYS, text="more", thread_ts=posted["ts"]))
    assert code == "thread_not_found"


async def test_reply_cannot_be_a_thread_parent(client: AsyncWebClient) -> None:
    post = client.chat_postMessage
    parent = await post(channel=DEPLOYS, text="parent")
    reply = await post(channel=DEPLOYS, text="reply", thread_ts=parent["ts"])

    code = await refusal(post(channel=DEPLOYS, text="x", thread_ts=reply["ts"]))
    assert code == "thread_not_found"


async def test_ephemeral_reaches_one_user_and_needs_a_thread_with_replies(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    ada = slack.user("ada")
    parent = (await client.chat_postMessage(channel=DEPLOYS, text="parent"))["ts"]
    whisper = client.chat_postEphemeral

    await whisper(channel=DEPLOYS, user=ada.id, text="unseen", thread_ts=parent)
    await whisper(channel=DEPLOYS, user=ada.id, text="seen")
    await client.chat_postMessage(channel=DEPLOYS, text="reply", thread_ts=parent)
    await whisper(channel=DEPLOYS, user=ada.id, text="also seen", thread_ts=parent)

    assert [m.text for m in slack.ephemerals(ada)] == ["seen", "also seen"]
    assert slack.ephemerals(slack.user("grace")) == []
    assert len(slack.messages(slack.channel("deploys"))) == 1
    slack.channel("deploys").members.discard(ada.id)
    assert await refusal(whisper(channel=DEPLOYS, user=ada.id, text="x")) == "user_not_in_channel"
    assert await refusal(whisper(channel=RANDOM, user=ada.id, text="x")) == "not_in_channel"


async def test_upload_in_three_steps_is_posted_in_the_thread(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel=DEPLOYS, text="parent")

    answer = await client.files_upload_v2(
        channel=DEPLOYS,
        thread_ts=posted["ts"],
        content="line one\nline two",
        filename="build.log",
        title="Build log",
        initial_comment="The log",
    )

    assert answer["file"]["title"] == "Build log"
    assert [f.text for f in slack.files] == ["line one\nline two"]
    reply = slack.thread(slack.messages(slack.channel("deploys"))[0])[0]
    assert reply.text == "The log"
    assert reply.file_ids == [slack.files[0].id]


async def test_invalid_uploads_are_refused(slack: SlackSimulator, client: AsyncWebClient) -> None:
    ticket = await client.files_getUploadURLExternal(filename="a.txt", length=3)
    async with aiohttp.ClientSession() as session:
        async with session.post(ticket["upload_url"], data=b"four") as response:
            assert response.status == 400
        async with session.post(ticket["upload_url"], data=b"abc") as response:
            assert await response.text() == "invalid_ticket"
    complete = client.files_completeUploadExternal
    files = [{"id": ticket["file_id"], "title": "a"}]
    assert await refusal(complete(files=files, channel_id=DEPLOYS)) == "file_not_found"
    upload = client.files_upload_v2(channel=RANDOM, content="x", filename="x")
    assert await refusal(upload) == "not_in_channel"
    code = await refusal(
        client.files_getUploadURLExternal(filename="a", length=1_000_001, snippet_type="text")
    )
    assert code == "snippet_too_large"


async def test_history_and_replies(slack: SlackSimulator, client: AsyncWebClient) -> None:
    metadata = {"event_type": "thing", "event_payload": {"id": "7"}}
    first = await client.chat_postMessage(channel=DEPLOYS, text="1", metadata=metadata)
    await client.chat_postMessage(channel=DEPLOYS, text="1a", thread_ts=first["ts"])
    for text in ("2", "3"):
        await client.chat_postMessage(channel=DEPLOYS, text=text)

    page = await client.conversations_history(channel=DEPLOYS, limit=2, include_all_metadata=True)
    rest = await client.conversations_history(
        channel=DEPLOYS,
        limit=2,
        include_all_metadata=True,
        cursor=page["response_metadata"]["next_cursor"],
    )
    replies = await client.conversations_replies(channel=DEPLOYS, ts=first["ts"])
    since = await client.conversations_history(channel=DEPLOYS, oldest=first["ts"])

    assert [m["text"] for m in page["messages"]] == ["3", "2"]
    assert page["has_more"]
    assert [m["text"] for m in rest["messages"]] == ["1"]
    assert rest["messages"][0]["metadata"]["event_payload"] == {"id": "7"}
    assert rest["messages"][0]["reply_count"] == 1
    assert not rest["has_more"]
    assert [m["text"] for m in replies["messages"]] == ["1", "1a"]
    assert [m["text"] for m in since["messages"]] == ["3", "2"]
    assert await refusal(client.conversations_history(channel=RANDOM)) == "not_in_channel"
    code = await refusal(client.conversations_replies(channel=DEPLOYS, ts="1.0"))
    assert code == "thread_not_found"
    assert await refusal(client.conversations_history(channel=DEPLOYS, limit=0)) == "invalid_limit"
    code = await refusal(client.conversations_history(channel=DEPLOYS, cursor="?"))
    assert code == "invalid_cursor"


async def test_users_groups_and_channels_can_be_looked_up(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    ada = slack.user("ada")
    assert (await client.users_info(user=ada.id))["user"]["name"] == "ada"
    assert await refusal(client.users_info(user="U0")) == "user_not_found"
    info = (await client.conversations_info(channel=DEPLOYS))["channel"]
    assert info["is_member"]
    assert not (await client.conversations_info(channel=RANDOM))["channel"]["is_member"]
    assert await refusal(client.conversations_info(channel=SECRET)) == "channel_not_found"
    opened = await client.conversations_open(users=ada.id, return_im=True)
    assert opened["channel"]["user"] == ada.id
    assert ada.id in (await client.conversations_members(channel=ONCALL))["members"]
    group = slack.usergroup()
    assert (await client.usergroups_users_list(usergroup=group.id))["users"] == list(group.users)
    assert await refusal(client.usergroups_users_list(usergroup="S0")) == "no_such_subteam"
    assert (await client.bots_info(bot=slack.bot.bot_id))["bot"]["user_id"] == slack.bot.id


async def test_permalink_points_to_the_message(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel=DEPLOYS, text="x")

    link = (await client.chat_getPermalink(channel=DEPLOYS, message_ts=posted["ts"]))["permalink"]

    assert link == f"{slack.page_url}archives/{DEPLOYS}/p{posted['ts'].replace('.', '')}"
