import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.simulators.slack.simulator import SlackSimulator


class Bot:
    """A small Bolt app that remembers what it was sent."""

    def __init__(self, app: AsyncApp) -> None:
        self.app = app
        self.received: list[dict[str, Any]] = []
        self.acks = True

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [body for body in self.received if body.get("event", {}).get("type") == kind]


@pytest.fixture
async def bot(slack: SlackSimulator, client: AsyncWebClient) -> AsyncIterator[Bot]:
    app = AsyncApp(client=client)
    bot = Bot(app)

    async def listen(ack: AsyncAck, body: dict[str, Any]) -> None:
        bot.received.append(body)
        if bot.acks:
            await ack()

    async def listen_to_event(body: dict[str, Any]) -> None:
        bot.received.append(body)

    app.command("/sample")(listen)
    app.action("press")(listen)
    app.shortcut("take_sample")(listen)
    app.view("form")(listen)
    for event in ("message", "app_mention", "app_home_opened"):
        app.event(event)(listen_to_event)
    handler = AsyncSocketModeHandler(app, slack.app_token, ping_interval=0.2)
    await handler.connect_async()  # type: ignore[no-untyped-call]
    await slack.until(lambda: slack.open_connections == 1)
    yield bot
    await handler.close_async()  # type: ignore[no-untyped-call]
    await slack.until(lambda: slack.open_connections == 0)
    await handler.client.aiohttp_client_session.close()


async def test_command_reaches_bolt_and_is_acked(slack: SlackSimulator, bot: Bot) -> None:
    ada, deploys = slack.user("ada"), slack.channel("deploys")

    result = await slack.command(ada, deploys, "/sample", "@grace https://example.com <b>")

    assert result.acked
    assert result.ack_after_s is not None
    assert result.ack_after_s < 0.3
    body = bot.received[0]
    assert body["text"] == "<@U01GRACE001|grace> <https://example.com> &lt;b&gt;"
    assert body["channel_name"] == "deploys"
    assert body["trigger_id"] == result.trigger_id
    assert "thread_ts" not in body


async def test_late_ack_shows_a_failure(slack: SlackSimulator, bot: Bot) -> None:
    bot.acks = False

    result = await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample")

    assert not result.acked
    assert [n.text for n in slack.notices] == ['/sample failed with the error "operation_timeout"']


async def test_command_fails_at_once_without_a_connection(slack: SlackSimulator) -> None:
    result = await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample")

    assert not result.acked
    assert "dispatch_failed" in slack.notices[0].text


async def test_mention_in_a_channel_sends_two_events(slack: SlackSimulator, bot: Bot) -> None:
    posted = await slack.say(slack.user("ada"), slack.channel("deploys"), "@samplebot hello")

    await slack.until(lambda: len(slack.deliveries) == 2)
    message, mention = bot.events("message")[0], bot.events("app_mention")[0]
    assert message["event"]["ts"] == mention["event"]["ts"] == posted.ts
    assert message["event_id"] != mention["event_id"]


async def test_mention_in_a_direct_message_sends_one_event(slack: SlackSimulator, bot: Bot) -> None:
    ada = slack.user("ada")

    await slack.say(ada, slack.dm(ada), "@samplebot hello")

    await slack.until(lambda: len(slack.deliveries) == 1)
    assert bot.events("message")[0]["event"]["channel_type"] == "im"
    assert not bot.events("app_mention")


async def test_no_events_from_channels_without_the_bot(slack: SlackSimulator, bot: Bot) -> None:
    ada = slack.user("ada")
    await slack.say(ada, slack.channel("random"), "@samplebot hello")
    await slack.say(ada, slack.channel("oncall"), "something else")

    await slack.until(lambda: len(slack.deliveries) == 1)
    assert bot.events("message")[0]["event"]["channel_type"] == "group"


async def test_events_are_retried_until_they_are_acked(slack: SlackSimulator, bot: Bot) -> None:
    slack.lose_acks_for_test(2)

    await slack.say(slack.user("ada"), slack.channel("oncall"), "again")

    await slack.until(lambda: len(slack.deliveries) == 3)
    assert [a.retry and a.retry.number for a in slack.deliveries] == [None, 1, 2]
    assert len({body["event_id"] for body in bot.received}) == 1
    assert len(bot.received) == 3


async def test_events_during_a_disconnect_arrive_by_retry(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    await slack.say(slack.user("ada"), slack.channel("oncall"), "is anybody there?")

    await slack.until(lambda: len(slack.deliveries) == 4)
    assert [a.retry and a.retry.reason for a in slack.deliveries] == [
        None,
        *["connection_failed"] * 3,
    ]


async def test_last_envelope_can_be_redelivered(slack: SlackSimulator, bot: Bot) -> None:
    await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample", "once")

    await slack.redeliver_last_for_test("slash_commands")

    assert len(bot.received) == 2
    assert bot.received[0] == bot.received[1]


@pytest.mark.parametrize("reason", ["refresh_requested", "warning"])
async def test_bolt_reconnects_after_a_disconnect_request(
    slack: SlackSimulator, bot: Bot, reason: str
) -> None:
    await slack.disconnect_all_for_test(reason)
    await slack.until(
        lambda: (
            len([c for c in slack.workspace.changes.entries if c.kind == "socket_opened"]) == 2
            and slack.open_connections == 1
        )
    )

    assert (await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample")).acked


async def test_bolt_reconnects_after_a_lost_connection(slack: SlackSimulator, bot: Bot) -> None:
    slack.drop_tcp_for_test()
    await slack.until(
        lambda: (
            len([c for c in slack.workspace.changes.entries if c.kind == "socket_opened"]) == 2
            and slack.open_connections == 1
        )
    )

    assert (await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample")).acked


async def test_each_envelope_goes_to_one_connection(slack: SlackSimulator, bot: Bot) -> None:
    second = AsyncSocketModeHandler(bot.app, slack.app_token)
    try:
        await second.connect_async()  # type: ignore[no-untyped-call]
        await slack.until(lambda: slack.open_connections == 2)
        ada, deploys = slack.user("ada"), slack.channel("deploys")
        results = await asyncio.gather(
            *(slack.command(ada, deploys, "/sample", str(n)) for n in range(4))
        )
    finally:
        await second.close_async()  # type: ignore[no-untyped-call]
        await second.client.aiohttp_client_session.close()

    assert all(result.acked for result in results)
    assert sorted(body["text"] for body in bot.received) == ["0", "1", "2", "3"]
    assert sorted(slack.envelopes_per_connection_for_test()) == [2, 2]


async def test_bot_receives_an_event_for_its_own_edit(
    slack: SlackSimulator, client: AsyncWebClient, bot: Bot
) -> None:
    posted = await client.chat_postMessage(channel="C01ONCALL00", text="one")
    await client.chat_update(channel="C01ONCALL00", ts=posted["ts"], text="two")

    await slack.until(lambda: len(slack.deliveries) == 2)
    event = slack.deliveries[1].envelope.payload["event"]
    assert event["subtype"] == "message_changed"
    assert event["message"]["text"] == "two"
    assert event["message"]["bot_id"] == slack.bot.bot_id
    assert event["previous_message"]["text"] == "one"


async def test_opening_the_home_tab_sends_an_event(
    slack: SlackSimulator, client: AsyncWebClient, bot: Bot
) -> None:
    ada = slack.user("ada")
    assert await slack.open_home(ada) is None
    await slack.until(lambda: bot.events("app_home_opened"))
    block = {"type": "section", "text": {"type": "mrkdwn", "text": "Welcome"}}
    await client.views_publish(user_id=ada.id, view={"type": "home", "blocks": [block]})

    home = slack.home(ada)
    assert home is not None
    assert home.plain == "Welcome"


async def test_deleting_a_message_sends_an_event(
    slack: SlackSimulator, client: AsyncWebClient, bot: Bot
) -> None:
    await client.chat_postMessage(channel="C01ONCALL00", text="one")
    message = slack.messages(slack.channel("oncall"))[0]

    await slack.delete(slack.user("ada"), message)

    await slack.until(lambda: len(slack.deliveries) == 2)
    event = slack.deliveries[1].envelope.payload["event"]
    assert (event["subtype"], event["deleted_ts"]) == ("message_deleted", message.ts)


async def test_at_most_ten_connections_and_each_address_works_once(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    async with aiohttp.ClientSession() as session:
        sockets, frames = [], []
        for _ in range(11):
            url = (await client.apps_connections_open(app_token=slack.app_token))["url"]
            sockets.append(await session.ws_connect(url))
            frames.append(await sockets[-1].receive_json(timeout=5))
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)

    assert [frame["type"] for frame in frames] == ["hello"] * 10 + ["disconnect"]
    assert frames[10]["reason"] == "too_many_websockets"
    assert frames[9]["num_connections"] == 10


async def test_late_and_unknown_acks_are_ignored(slack: SlackSimulator) -> None:
    client = AsyncWebClient(base_url=slack.api_url)
    url = (await client.apps_connections_open(app_token=slack.app_token))["url"]
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        assert (await socket.receive_json(timeout=5))["type"] == "hello"
        await socket.send_json({"envelope_id": "made up"})
        await socket.send_str("no json")
        ada, deploys = slack.user("ada"), slack.channel("deploys")
        command = asyncio.create_task(slack.command(ada, deploys, "/sample"))
        envelope = await socket.receive_json(timeout=5)
        assert not (await command).acked
        await socket.send_json({"envelope_id": envelope["envelope_id"]})
        late = envelope["envelope_id"]
        await slack.until(lambda: late in slack.unknown_acks_for_test())

    assert slack.unknown_acks_for_test() == ["made up", "no json", late]


async def test_deliveries_can_be_paused(slack: SlackSimulator, bot: Bot) -> None:
    async with slack.pause_deliveries_for_test():
        ada, deploys = slack.user("ada"), slack.channel("deploys")
        command = asyncio.create_task(slack.command(ada, deploys, "/sample"))
        await asyncio.sleep(0)
        assert bot.received == []

    assert (await command).acked
