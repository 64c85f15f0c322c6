from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.clock import SystemClock
from bot.deployments.model import Actor, Deployment, Live, MessagePlace, Phase, Trigger
from bot.outbox import Attempt, Delivered, Failed, Outgoing, Undeliverable
from bot.simulators.slack.model import Channel, Message
from bot.simulators.slack.simulator import SlackSimulator, open_slack
from bot.slack.client import SlackClient, open_client
from bot.slack.limits import SlackLimits
from bot.slack.manifest import manifest
from bot.slack.thread_replies import ThreadReplies

NOW = datetime.now(UTC)
ROW = Outgoing(
    id="01K9ZB0000000000000000000A",
    deployment_id="01K9ZB00000000000000000000",
    lane="slack",
    kind="deployment.finished",
    body={},
    created_at=NOW,
)


class Stage:
    """A live message in #deploys, and the replies under test."""

    def __init__(self, slack: SlackSimulator, client: SlackClient, parent: Message) -> None:
        self.slack = slack
        self.parent = parent
        self.deployment: Deployment | None = Deployment(
            id=ROW.deployment_id,
            server="default",
            app="myapp",
            dokku_app="myapp",
            repo=None,
            ref="main",
            phase=Phase.SUCCEEDED,
            live=Live.NEW,
            requested_by=Actor(user=slack.user("ada").id, name="ada"),
            trigger=Trigger.COMMAND,
            request_key="r",
            channel=parent.channel,
            message=MessagePlace(channel=parent.channel, ts=parent.ts),
            created_at=NOW - timedelta(minutes=2),
            started_at=NOW - timedelta(minutes=1, seconds=20),
            finished_at=NOW,
        )
        self.deliver = ThreadReplies(client=client, get=self.get, clock=SystemClock())

    async def get(self, deployment_id: str) -> Deployment | None:
        return self.deployment

    async def reply(self, row: Outgoing | None = None) -> Attempt:
        return await self.deliver(row or replace(ROW, created_at=datetime.now(UTC)))

    @property
    def replies(self) -> list[Message]:
        return self.slack.thread(self.parent)


@pytest.fixture
async def slack() -> AsyncIterator[SlackSimulator]:
    async with open_slack(manifest=manifest()) as slack:
        yield slack


@pytest.fixture
async def deploys(slack: SlackSimulator) -> Channel:
    return slack.channel("deploys")


@pytest.fixture
async def stage(slack: SlackSimulator, deploys: Channel) -> AsyncIterator[Stage]:
    async with open_client(slack.bot_token, base_url=slack.api_url) as client:
        await client.authenticate()
        ts = await client.post(deploys.id, text="live", blocks=[])
        parent = next(m for m in slack.messages(deploys) if m.ts == ts)
        yield Stage(slack, client, parent)


async def test_reply_in_the_thread_mentions_the_requester(stage: Stage) -> None:
    assert await stage.reply() == Delivered()
    (reply,) = stage.replies
    assert f"<@{stage.slack.user('ada').id}>" in reply.text
    assert not reply.reply_broadcast
    assert [call.method for call in stage.slack.calls].count("conversations.replies") == 0


async def test_suspended_process_sends_nothing_that_another_may_have_sent(stage: Stage) -> None:
    held_no_more = replace(ROW, created_at=datetime.now(UTC), may_send=lambda: False)
    assert isinstance(await stage.reply(held_no_more), Failed)
    assert stage.replies == []


@pytest.mark.parametrize(
    ("phase", "kind", "wanted", "shown"),
    [
        (Phase.FAILED, "deployment.finished", True, True),
        (Phase.FAILED, "deployment.corrected", True, True),
        (Phase.FAILED, "deployment.note", True, False),
        (Phase.FAILED, "deployment.finished", False, False),
        (Phase.SUCCEEDED, "deployment.finished", True, False),
        (Phase.CANCELLED, "deployment.finished", True, False),
    ],
)
async def test_only_failures_of_apps_that_want_it_go_to_the_channel_too(
    stage: Stage, phase: Phase, kind: str, wanted: bool, shown: bool
) -> None:
    assert stage.deployment is not None
    stage.deployment = replace(stage.deployment, phase=phase)
    stage.deliver = replace(stage.deliver, broadcasts=lambda _deployment: wanted)
    row = replace(ROW, kind=kind, created_at=datetime.now(UTC), body={"text": "Note."})
    assert await stage.reply(row) == Delivered()
    (reply,) = stage.replies
    assert reply.reply_broadcast is shown


async def test_reply_is_not_sent_twice_if_slacks_answer_was_lost(stage: Stage) -> None:
    stage.slack.lose_response_for_test("chat.postMessage")
    assert await stage.reply() == Failed("no_answer: Slack did not answer.")
    again = await stage.reply(replace(ROW, tries=1))
    assert again == Delivered("an earlier try had got through")
    assert len(stage.replies) == 1


async def test_reply_is_not_sent_twice_if_another_process_died_after_sending(stage: Stage) -> None:
    await stage.reply()
    died = replace(ROW, created_at=NOW - timedelta(minutes=2))
    assert await stage.reply(died) == Delivered("an earlier try had got through")
    assert len(stage.replies) == 1


async def test_correction_says_what_was_reported_before(stage: Stage) -> None:
    await stage.reply()
    former = {"status": "failed", "failure": "lost_contact", "live": "unknown"}
    corrected = replace(
        ROW,
        id="other",
        kind="deployment.corrected",
        tries=1,
        body={"data": {"corrected_from": former}},
    )
    assert await stage.reply(corrected) == Delivered()
    _, reply = stage.replies
    words = "Correction: previously reported as failed · lost contact (live: unknown)."
    assert reply.text.startswith(f"{words} <@")
    assert words in reply.plain


async def test_long_thread_is_searched_to_its_end(stage: Stage) -> None:
    stage.deliver = replace(stage.deliver, limits=SlackLimits(thread_page=3))
    ada, deploys = stage.slack.user("ada"), stage.slack.channel("deploys")
    for n in range(7):
        await stage.slack.say(ada, deploys, f"reply {n}", thread_ts=stage.parent.ts)
    await stage.reply()
    assert await stage.reply(replace(ROW, tries=1)) == Delivered("an earlier try had got through")


async def test_reply_is_sent_if_the_thread_cannot_be_searched(stage: Stage) -> None:
    stage.slack.fail_for_test("conversations.replies", error="missing_scope")
    assert await stage.reply(replace(ROW, tries=1)) == Delivered()
    assert len(stage.replies) == 1


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda slack: slack.fail_for_test("chat.postMessage", error="internal_error"), "internal"),
        (lambda slack: slack.rate_limit_for_test("chat.postMessage", 3), "ratelimited"),
        (lambda slack: slack.fail_for_test("chat.postMessage", status=503), "http_503"),
        (
            lambda slack: slack.fail_for_test("chat.postMessage", error="restricted_action"),
            "restricted_action",
        ),
    ],
)
async def test_refusal_is_tried_again(
    stage: Stage, break_it: Callable[[SlackSimulator], None], code: str
) -> None:
    break_it(stage.slack)
    answer = await stage.reply()
    assert isinstance(answer, Failed)
    assert answer.error.startswith(code)
    assert stage.replies == []


def kicked(slack: SlackSimulator) -> None:
    slack.remove_bot(slack.channel("deploys"))


def kicked_from_a_private_one(slack: SlackSimulator) -> None:
    slack.make_private(slack.channel("deploys"))
    kicked(slack)


OUT = pytest.mark.parametrize(
    "put_out",
    [kicked, kicked_from_a_private_one, lambda slack: slack.archive(slack.channel("deploys"))],
)


@OUT
@pytest.mark.parametrize("tries", [0, 1])
async def test_out_of_the_channel_the_requester_gets_it_directly(
    stage: Stage, put_out: Callable[[SlackSimulator], None], tries: int
) -> None:
    put_out(stage.slack)
    answer = await stage.reply(replace(ROW, created_at=datetime.now(UTC), tries=tries))
    assert answer == Delivered("sent as a direct message")
    (direct,) = stage.slack.messages(stage.slack.dm(stage.slack.user("ada")))
    assert "was deployed" in direct.plain
    assert f"I can't post in <#{stage.parent.channel}>" in direct.plain
    assert stage.replies == []


@OUT
async def test_note_is_not_lost_out_of_the_channel(
    stage: Stage, put_out: Callable[[SlackSimulator], None]
) -> None:
    put_out(stage.slack)
    note = replace(ROW, kind="deployment.note", body={"text": "It crashes since."})
    assert await stage.reply(note) == Delivered("sent as a direct message")
    (direct,) = stage.slack.messages(stage.slack.dm(stage.slack.user("ada")))
    assert "It crashes since." in direct.plain


async def test_nobody_is_tried_for_hours_out_of_the_channel(stage: Stage) -> None:
    kicked(stage.slack)
    assert stage.deployment is not None
    stage.slack.rate_limit_for_test("chat.postMessage", 3, times=1)
    assert isinstance(await stage.reply(), Failed)
    stage.slack.fail_for_test("chat.postMessage", error="not_in_channel")
    stage.slack.fail_for_test("chat.postMessage", error="messages_tab_disabled")
    refused = Undeliverable("not as a direct message either: messages_tab_disabled")
    assert await stage.reply() == refused
    stage.deployment = replace(stage.deployment, requested_by=Actor(user="cli"))
    assert isinstance(await stage.reply(), Undeliverable)


async def test_thread_that_keeps_refusing_is_given_up_for_a_direct_message(stage: Stage) -> None:
    stage.slack.fail_for_test("chat.postMessage", error="restricted_action_thread_locked")
    assert await stage.reply(replace(ROW, tries=2)) == Delivered("sent as a direct message")


async def test_deleted_message_leaves_the_reply_to_be_tried_again(stage: Stage) -> None:
    await stage.slack.delete(stage.slack.user("ada"), stage.parent)
    assert isinstance(await stage.reply(), Failed)
    assert isinstance(await stage.reply(replace(ROW, tries=1)), Failed)


async def test_reply_goes_to_where_the_message_is_now(stage: Stage, deploys: Channel) -> None:
    assert stage.deployment is not None
    place = MessagePlace(
        channel=deploys.id,
        ts="1700000000.000900",
        permalink=f"https://s.test/p1?thread_ts={stage.parent.ts}&cid={deploys.id}",
    )
    stage.deployment = replace(stage.deployment, message=place)
    assert await stage.reply() == Delivered()
    assert len(stage.replies) == 1


async def test_no_reply_before_the_message_is_posted(stage: Stage) -> None:
    assert stage.deployment is not None
    stage.deployment = replace(stage.deployment, message=None)
    assert await stage.reply() == Failed("its message has not been posted yet")


async def test_reply_waits_for_the_message_however_often_a_dying_bot_tried(stage: Stage) -> None:
    assert stage.deployment is not None
    stage.deployment = replace(stage.deployment, message=None)
    young = replace(ROW, created_at=datetime.now(UTC) - timedelta(minutes=1), tries=5)
    assert await stage.reply(young) == Failed("its message has not been posted yet")
    old = replace(young, created_at=datetime.now(UTC) - timedelta(minutes=3))
    assert await stage.reply(old) == Delivered("sent as a direct message")


async def test_withdrawn_deployment_gets_no_reply(stage: Stage) -> None:
    stage.deployment = None
    assert await stage.reply() == Delivered("the deployment was withdrawn")
    assert stage.replies == []


async def test_foreign_text_pings_nobody(stage: Stage) -> None:
    assert stage.deployment is not None
    stage.deployment = replace(stage.deployment, reason="<!here> @channel", ref="<@U1>")
    await stage.reply()
    (reply,) = stage.replies
    parsed = [one["text"]["text"] for one in reply.blocks if one["text"]["type"] == "mrkdwn"]
    shown = " ".join([reply.text, *parsed])
    assert "<@U01ADA" in shown
    assert "<!here>" not in shown
    assert "<@U1>" not in shown
