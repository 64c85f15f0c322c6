"""The Slack client against the simulated workspace."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

import bot.slack
from bot.deployments.model import Person
from bot.errors import MessageGone, SlackError
from bot.simulators.slack.model import Channel, Message
from bot.simulators.slack.simulator import SlackSimulator, open_slack
from bot.slack.client import CLOCK_SKEW, SlackClient, open_client
from bot.slack.manifest import manifest
from bot.slack.refusals import NO_ANSWER, UNREACHABLE, RateLimited, as_error, sentence_for
from bot.slack.render.blocks import section
from bot.slack.unreachable import bypasses_proxy

BLOCKS = [section("hello")]
EDITED = [section("goodbye")]
VIEW: dict[str, Any] = {
    "type": "modal",
    "title": {"type": "plain_text", "text": "A modal"},
    "blocks": BLOCKS,
}


@pytest.fixture
async def slack() -> AsyncIterator[SlackSimulator]:
    async with open_slack(manifest=manifest()) as slack:
        yield slack


@pytest.fixture
def seen() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def client(slack: SlackSimulator, seen: list[tuple[str, str]]) -> AsyncIterator[SlackClient]:
    async with open_client(
        slack.bot_token,
        base_url=slack.api_url,
        observed=lambda method, outcome: seen.append((method, outcome)),
    ) as client:
        yield client


@pytest.fixture
def deploys(slack: SlackSimulator) -> Channel:
    return slack.channel("deploys")


def only(slack: SlackSimulator, channel: Channel) -> Message:
    [message] = slack.messages(channel)
    return message


async def test_authenticate_returns_identity(slack: SlackSimulator, client: SlackClient) -> None:
    identity = await client.authenticate()
    assert identity.user == slack.bot.id
    assert identity.bot == slack.bot.bot_id
    assert client.identity == identity


async def test_wrong_token_is_explained(slack: SlackSimulator) -> None:
    async with open_client("xoxb-wrong", base_url=slack.api_url) as client:
        with pytest.raises(SlackError, match="SLACK_BOT_TOKEN") as caught:
            await client.authenticate()
    assert caught.value.code == "invalid_auth"


async def test_message_is_posted_edited_and_found_by_metadata(
    slack: SlackSimulator,
    client: SlackClient,
    deploys: Channel,
    seen: list[tuple[str, str]],
) -> None:
    begun = datetime.now(UTC) - timedelta(minutes=1)
    await client.authenticate()
    ts = await client.post(deploys.id, text="hello", blocks=BLOCKS, deployment_id="01K9")
    await client.post(deploys.id, text="other", blocks=BLOCKS, deployment_id="01KA")
    await client.post(deploys.id, text="plain", blocks=BLOCKS)
    assert await client.find_by_metadata(deploys.id, "01K9", since=begun) == ts
    assert await client.find_by_metadata(deploys.id, "01KX", since=begun) is None
    await client.update(deploys.id, ts, text="goodbye", blocks=EDITED)
    message = slack.messages(deploys)[0]
    assert (message.text, message.plain, message.edited) == ("goodbye", "goodbye", False)
    assert await client.find_by_metadata(deploys.id, "01K9", since=begun) == ts
    assert await client.permalink(deploys.id, ts) != ""
    assert seen[0] == ("auth.test", "ok")
    assert {outcome for _, outcome in seen} == {"ok"}


async def test_nothing_unfurls_and_nothing_is_parsed(
    slack: SlackSimulator, client: SlackClient, deploys: Channel
) -> None:
    ts = await client.post(deploys.id, text="@here", blocks=BLOCKS)
    await client.update(deploys.id, ts, text="@here", blocks=BLOCKS)
    posted, updated = slack.calls
    assert (posted.args["unfurl_links"], posted.args["unfurl_media"]) in {
        (False, False),
        ("0", "0"),
    }
    assert posted.args["parse"] == updated.args["parse"] == "none"


async def test_refused_post_says_how_to_invite_the_bot(
    slack: SlackSimulator, client: SlackClient
) -> None:
    with pytest.raises(SlackError, match="/invite @deploybot") as caught:
        await client.post(slack.channel("random").id, text="hello", blocks=BLOCKS)
    assert caught.value.code == "not_in_channel"
    with pytest.raises(SlackError, match="/invite @deploybot"):
        await client.post(slack.channel("secret").id, text="hello", blocks=BLOCKS)
    slack.archive(slack.channel("deploys"))
    with pytest.raises(SlackError, match="archived"):
        await client.post(slack.channel("deploys").id, text="hello", blocks=BLOCKS)


async def test_edit_of_a_deleted_message_raises_message_gone(
    slack: SlackSimulator, client: SlackClient, deploys: Channel
) -> None:
    ts = await client.post(deploys.id, text="hello", blocks=BLOCKS)
    await slack.delete(slack.user("ada"), only(slack, deploys))
    with pytest.raises(MessageGone) as caught:
        await client.update(deploys.id, ts, text="goodbye", blocks=EDITED)
    assert caught.value.code == "message_not_found"


async def test_edit_is_never_repeated_and_says_how_long_to_wait(
    slack: SlackSimulator, client: SlackClient, deploys: Channel, seen: list[tuple[str, str]]
) -> None:
    ts = await client.post(deploys.id, text="hello", blocks=BLOCKS)
    slack.rate_limit_for_test("chat.update", retry_after_s=17)
    with pytest.raises(RateLimited) as caught:
        await client.update(deploys.id, ts, text="goodbye", blocks=EDITED)
    assert caught.value.retry_after == timedelta(seconds=17)
    slack.fail_for_test("chat.update", error="internal_error")
    with pytest.raises(SlackError, match="internal_error"):
        await client.update(deploys.id, ts, text="goodbye", blocks=EDITED)
    slack.lose_response_for_test("chat.update")
    with pytest.raises(SlackError) as unanswered:
        await client.update(deploys.id, ts, text="goodbye", blocks=EDITED)
    assert unanswered.value.code == NO_ANSWER
    assert [outcome for method, outcome in seen if method == "chat.update"] == [
        "ratelimited",
        "internal_error",
        NO_ANSWER,
    ]


async def test_post_is_repeated_after_429(
    slack: SlackSimulator, client: SlackClient, deploys: Channel
) -> None:
    slack.rate_limit_for_test("chat.postMessage", retry_after_s=1)
    await client.post(deploys.id, text="hello", blocks=BLOCKS)
    assert only(slack, deploys).plain == "hello"


async def test_post_does_not_wait_so_long_that_another_process_takes_it_over(
    slack: SlackSimulator, client: SlackClient, deploys: Channel
) -> None:
    slack.rate_limit_for_test("chat.postMessage", retry_after_s=3600)
    with pytest.raises(RateLimited) as caught:
        await client.post(deploys.id, text="hello", blocks=BLOCKS)
    assert caught.value.retry_after == timedelta(hours=1)
    assert slack.messages(deploys) == []


async def test_post_without_an_answer_is_not_repeated(
    slack: SlackSimulator, client: SlackClient, deploys: Channel
) -> None:
    slack.lose_response_for_test("chat.postMessage")
    with pytest.raises(SlackError) as caught:
        await client.post(deploys.id, text="hello", blocks=BLOCKS)
    assert caught.value.code == NO_ANSWER
    assert only(slack, deploys).plain == "hello"


async def test_other_calls_are_repeated_after_temporary_errors(
    slack: SlackSimulator, client: SlackClient, deploys: Channel
) -> None:
    ts = await client.post(deploys.id, text="hello", blocks=BLOCKS)
    slack.fail_for_test("chat.getPermalink", status=503)
    assert deploys.id in await client.permalink(deploys.id, ts)
    slack.lose_response_for_test("chat.getPermalink")
    assert deploys.id in await client.permalink(deploys.id, ts)


@pytest.mark.parametrize("status", [500, 502, 404])
async def test_answer_that_is_not_from_slack_is_an_error(
    slack: SlackSimulator, client: SlackClient, deploys: Channel, status: int
) -> None:
    slack.fail_for_test("chat.postMessage", status=status)
    with pytest.raises(SlackError):
        await client.post(deploys.id, text="hello", blocks=BLOCKS)


async def test_no_connection_and_no_answer_have_different_codes(unused_tcp_port: int) -> None:
    async with open_client("xoxb-1", base_url=f"http://127.0.0.1:{unused_tcp_port}/api/") as client:
        with pytest.raises(SlackError, match="cannot be reached") as caught:
            await client.post("C1", text="hello", blocks=BLOCKS)
        assert caught.value.code == UNREACHABLE


async def test_ephemeral_message_is_for_one_person(
    slack: SlackSimulator, client: SlackClient, deploys: Channel
) -> None:
    ada = slack.user("ada")
    await client.ephemeral(deploys.id, ada.id, text="psst", blocks=BLOCKS)
    assert [message.plain for message in slack.ephemerals(ada)] == ["hello"]
    assert slack.messages(deploys) == []


async def test_log_is_shared_as_a_file_in_the_thread(
    slack: SlackSimulator, client: SlackClient, deploys: Channel
) -> None:
    ts = await client.post(deploys.id, text="hello", blocks=BLOCKS)
    await client.upload(
        deploys.id, filename="a.log", content="lïne\n" * 3, title="The log", thread_ts=ts
    )
    [reply] = slack.thread(only(slack, deploys))
    [file] = slack.files
    assert reply.file_ids == [file.id]
    assert file.content == ("lïne\n" * 3).encode()
    with pytest.raises(SlackError, match="nothing to upload"):
        await client.upload(deploys.id, filename="a.log", content="", title="The log")
    with pytest.raises(SlackError, match="/invite"):
        await client.upload(slack.channel("random").id, filename="a", content="x", title="y")


async def test_modal_is_opened_once_and_updated_only_with_its_hash(
    slack: SlackSimulator, client: SlackClient
) -> None:
    ada = slack.user("ada")
    trigger = slack.actions._tokens.new_trigger(ada.id)
    opened = await client.open_view(trigger, VIEW)
    changed = await client.update_view(opened.id, {**VIEW, "blocks": EDITED}, view_hash=opened.hash)
    assert changed.hash != opened.hash
    with pytest.raises(SlackError, match="changed meanwhile"):
        await client.update_view(opened.id, VIEW, view_hash=opened.hash)
    with pytest.raises(SlackError, match="already"):
        await client.open_view(trigger, VIEW)
    late = slack.actions._tokens.new_trigger(ada.id)
    slack.advance_clock_for_test(4)
    with pytest.raises(SlackError, match="try again"):
        await client.open_view(late, VIEW)


async def test_one_connection_serves_many_calls(
    slack: SlackSimulator, client: SlackClient, deploys: Channel
) -> None:
    made: list[object] = []
    assert client.web.session is not None
    connector = client.web.session.connector
    assert isinstance(connector, aiohttp.BaseConnector)
    create = connector._create_connection

    async def counted(*args: Any, **kwargs: Any) -> Any:
        made.append(args)
        return await create(*args, **kwargs)

    connector._create_connection = counted  # type: ignore[method-assign] # only counts
    for _ in range(4):
        await client.post(deploys.id, text="hello", blocks=BLOCKS)
    assert len(made) == 1


async def test_proxy_is_used_but_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "slack.inside.example")
    async with open_client("xoxb-1") as client:
        assert client.web.proxy == "http://proxy.example:3128"
        assert client._posting.proxy == client._patient.proxy == client.web.proxy
    for url in (
        "http://localhost:1/api/",
        "http://127.0.0.1:1/api/",
        "http://[::1]:1/api/",
        "https://slack.inside.example/api/",
    ):
        assert bypasses_proxy(url)
        async with open_client("xoxb-1", base_url=url) as client:
            assert client.web.proxy is None
            assert client._posting.proxy is None
            assert client._patient.proxy is None


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("restricted_action_read_only_channel", "read-only"),
        ("restricted_action", "A setting of this workspace"),
        ("restricted_action_thread_locked", "locked"),
        ("token_revoked", "SLACK_BOT_TOKEN"),
        ("missing_scope", "files:write"),
        ("something_new", r"\(something_new\)"),
    ],
)
def test_error_codes_become_sentences(code: str, says: str) -> None:
    error = as_error("x", {"error": code, "needed": "files:write"}, bot_name="shipper")
    assert error.code == code
    with pytest.raises(SlackError, match=says):
        raise error


def test_invitation_contains_the_bots_name() -> None:
    assert "`/invite @shipper`" in sentence_for("not_in_channel", bot_name="shipper")


@pytest.mark.parametrize(
    ("header", "seconds"), [("12", 12), ("0", 1), ("soon", 30), (None, 30), ("99999", 3600)]
)
def test_invalid_retry_after_is_accepted(header: str | None, seconds: int) -> None:
    headers = {} if header is None else {"Retry-After": header}
    response = SimpleNamespace(status_code=429, data={}, headers=headers)
    error = as_error("chat.update", response, bot_name="deploybot")
    assert isinstance(error, RateLimited)
    assert error.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize("code", ["cant_update_message", "edit_window_closed", "is_inactive"])
def test_only_edits_raise_message_gone(code: str) -> None:
    assert isinstance(as_error("chat.update", {"error": code}, bot_name="b"), MessageGone)
    assert not isinstance(as_error("chat.postMessage", {"error": code}, bot_name="b"), MessageGone)


async def test_messages_are_found_although_slacks_clock_is_behind(
    client: SlackClient, deploys: Channel
) -> None:
    by_the_bots_clock = datetime.now(UTC) + CLOCK_SKEW / 2
    ts = await client.post(deploys.id, text="hello", blocks=BLOCKS, deployment_id="01K9")
    await client.post_reply(deploys.id, ts, text="done", blocks=BLOCKS, reply_id="one")
    assert await client.find_by_metadata(deploys.id, "01K9", since=by_the_bots_clock) == ts
    assert await client.has_reply(deploys.id, ts, "one", since=by_the_bots_clock, page=10)


async def test_every_kind_of_call_is_counted(
    slack: SlackSimulator, client: SlackClient, deploys: Channel, seen: list[tuple[str, str]]
) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    ts = await client.post(deploys.id, text="hello", blocks=BLOCKS)
    await client.authenticate()
    assert not await client.has_reply(deploys.id, ts, "one", since=since, page=10)
    await client.post_reply(deploys.id, ts, text="done", blocks=BLOCKS, reply_id="one")
    assert await client.has_reply(deploys.id, ts, "one", since=since, page=10)
    assert (await client.open_socket(slack.app_token)).startswith("ws")
    assert await client.group_members("S-unknown") == frozenset()
    assert await client.person("U-unknown") is None
    assert [method for method, _ in seen] == [
        "chat.postMessage",
        "auth.test",
        "conversations.replies",
        "chat.postMessage",
        "conversations.replies",
        "apps.connections.open",
        "usergroups.users.list",
        "users.info",
    ]
    outcomes = [outcome for _, outcome in seen]
    assert outcomes == [*["ok"] * 6, "no_such_subteam", "user_not_found"]


async def test_only_the_bots_own_metadata_counts(
    slack: SlackSimulator, client: SlackClient, deploys: Channel
) -> None:
    begun = datetime.now(UTC) - timedelta(minutes=1)
    ts = await client.post(deploys.id, text="live", blocks=BLOCKS)
    for kind, bot_id in (("deployment", None), ("outgoing", None), ("outgoing", "B02ANOTHER0")):
        slack.workspace.post(
            Message(
                channel=deploys.id,
                ts=slack.workspace.clock.next_ts(),
                user=slack.user("ada").id,
                text="not the bot's",
                bot_id=bot_id,
                thread_ts=ts if kind == "outgoing" else None,
                metadata={"event_type": kind, "event_payload": {"id": "01K9"}},
            )
        )
    assert await client.find_by_metadata(deploys.id, "01K9", since=begun) is None
    assert not await client.has_reply(deploys.id, ts, "01K9", since=begun, page=10)


async def test_person_is_read_with_workspace_enterprise_and_kind(
    slack: SlackSimulator, client: SlackClient
) -> None:
    ada, grace = slack.user("ada"), slack.user("grace")
    assert await client.person(ada.id) == Person(teams=frozenset({"T01SIMULATED"}))
    slack.join_enterprise_for_test("E01SIMULATED", sister="grace")
    slack.change_user_for_test("ada", guest="single_channel", deleted=True)
    assert await client.person(ada.id) == Person(
        teams=frozenset({"T01SIMULATED"}), enterprise="E01SIMULATED", guest=True, outsider=True
    )
    sister = await client.person(grace.id)
    assert sister == Person(teams=frozenset({"T03SISTER00"}), enterprise="E01SIMULATED")
    assert (await client.authenticate()).enterprise == "E01SIMULATED"


def test_calls_go_through_the_client_so_that_all_are_counted() -> None:
    calls = re.compile(r"\bweb\.(apps|auth|chat|conversations|files|usergroups|users|views)_")
    sources = Path(bot.slack.__file__).parent.rglob("*.py")
    assert [one.name for one in sources if calls.search(one.read_text())] == ["client.py"]
