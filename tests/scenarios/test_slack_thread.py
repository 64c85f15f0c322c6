"""What is said in a deployment's thread, to the bot in a channel, and to it alone."""

import re

import pytest

from bot.deployments.model import Phase, Trigger
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import World, shown, until_stored


async def test_thread_commands_are_answered_in_the_thread(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    message = await quick.until_message("Building", "build step 4/", "Dokku build")
    (row,) = await quick.rows()
    await _reply(quick, message, "status")
    await quick.replied("Deploying myapp", row.id)
    await _reply(quick, message, "Help!")
    helped = await quick.replied("Commands:", "rollback")
    assert "/deploy" not in shown(helped)
    await _reply(quick, message, "@deploybot status")
    await _until_replies(quick, message, 3)
    await until_stored(quick, "build step 3/8")
    await _reply(quick, message, "LOGS")
    await quick.slack.until(lambda: quick.slack.files)
    (file,) = quick.slack.files
    assert "build step 3/8" in file.text
    assert quick.slack.view(quick.ada) is None
    await _reply(quick, message, "cancel", user="grace")
    await quick.whispered("Cancel myapp", user="grace")
    (question,) = quick.slack.ephemerals(quick.slack.user("grace"))
    await quick.click("answer_cancel", question, user="grace")
    await quick.replied("Cancelling myapp")
    await quick.until_message("Cancelled:")
    (row,) = await quick.rows()
    assert row.phase is Phase.CANCELLED
    assert row.cancel.by.user == quick.slack.user("grace").id
    assert len(quick.messages) == 1
    assert quick.slack.ephemerals(quick.ada) == []


async def test_other_replies_in_a_thread_are_ignored(quick: World) -> None:
    await quick.deploy()
    message = await quick.until_message("Deployed")
    await quick.replied("was deployed")
    before = len(quick.slack.thread(message))
    for words in (
        "nice!",
        "what is the status of this?",
        "status myapp",
        "let us cancel the meeting",
        "@grace status",
        "deploy",
        "history",
    ):
        await _reply(quick, message, words)
    await quick.slack.say(quick.ada, quick.deploys, "status")
    await quick.slack.say(quick.ada, quick.deploys, "cancel")
    await _reply(quick, message, "@deploybot hm?")  # after all those; a mention gets help
    await quick.replied("Commands:")
    said = [one for one in quick.slack.thread(message)[before:] if one.bot_id]
    assert len(said) == 1
    assert len(quick.messages) == 1


async def test_retry_and_rollback_in_a_thread_link_to_the_new_deployment(quick: World) -> None:
    quick.now_behaves("build_fails")
    await quick.deploy()
    failed = await quick.until_message("Failed:")
    quick.now_behaves("ok")
    await _reply(quick, failed, "retry")
    started = await quick.replied("Started: myapp", message=failed)
    await quick.until_message("Deployed", "(retry)")
    assert "/archives/" in shown(started)
    deployed = quick.message
    await _reply(quick, deployed, "rollback?")
    await _reply(quick, deployed, "rollback")
    asked = await quick.whispered("Roll back *myapp*", "not verified by deploybot")
    (row, _) = await quick.rows()
    assert f"from `{row.sha[:7]}` (deployed " in asked
    (question,) = quick.slack.ephemerals(quick.ada)
    assert len(quick.messages) == 2
    await quick.click("answer_roll_back", question)
    await quick.replied("Started: myapp", message=deployed)
    await quick.until_message("Deployed", "(rollback)")
    assert len(quick.messages) == 3


@pytest.mark.parametrize("behaviour", ["ok", "build_fails"])
async def test_requester_is_mentioned_once_at_the_end(quick: World, behaviour: str) -> None:
    quick.now_behaves(behaviour)
    await quick.deploy(user="grace")
    message = await quick.until_message("Live now")
    mention = await quick.replied("Live now:")
    grace = quick.slack.user("grace")
    assert f"<@{grace.id}>" in mention.text
    assert re.search(r"after (\d+m )?\d+s", mention.text)
    words = "was deployed" if behaviour == "ok" else "failed (the build failed)"
    assert words in mention.text
    # Later changes must not send it again.
    await quick.deploy("status", user="grace")
    await quick.whispered("Nothing is running or queued.", user="grace")
    assert f"<@{grace.id}>" not in shown(message)
    pings = [one for one in quick.slack.thread(message) if f"<@{grace.id}>" in shown(one)]
    assert len(pings) == 1


async def test_requester_by_mention_is_pinged_only_at_the_end(quick: World) -> None:
    """Slack names nobody in its events, and `<@U1>` pings; in an edit it does not."""
    quick.hold()
    await quick.slack.say(quick.ada, quick.deploys, "@deploybot myapp main")
    await quick.until_message("Building", f"<@{quick.ada.id}>")
    quick.let_go()
    await quick.until_message("Deployed")
    await quick.replied("was deployed")
    posts = [call for call in quick.slack.calls if call.method == "chat.postMessage"]
    pinging = [call for call in posts if f"<@{quick.ada.id}>" in str(call.args)]
    assert [call.args.get("thread_ts") for call in pinging] == [quick.message.ts]


async def test_mention_in_a_channel_starts_a_deployment(quick: World) -> None:
    said = await quick.slack.say(quick.ada, quick.deploys, "@deploybot myapp feature/login")
    await quick.until_message("Deployed", "`feature/login`")
    (row,) = await quick.rows()
    assert row.trigger is Trigger.MENTION
    assert row.requested_by.user == quick.ada.id
    assert quick.message.thread_ts is None
    assert [one for one in quick.slack.thread(said) if one.bot_id] == []
    assert len(quick.messages) == 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("@deploybot status", "Nothing is running or queued."),
        ("hello @deploybot, how are you?", "Commands:"),
        ("@deploybot", "Commands:"),
        ("@deploybot myap main", "`myapp`"),
        ("@deploybot lock myapp", "is locked by"),
    ],
)
async def test_question_by_mention_is_answered_below_it(
    world: World, text: str, answer: str
) -> None:
    said = await world.slack.say(world.ada, world.deploys, text)

    def answered() -> bool:
        seen = [*world.slack.thread(said), *world.slack.ephemerals(world.ada)]
        return any(one.bot_id and answer in shown(one) for one in seen)

    await world.slack.until(answered)
    assert world.messages == []
    assert await world.rows() == []


async def test_direct_message_needs_no_mention(quick: World) -> None:
    direct = quick.slack.dm(quick.ada)
    await quick.slack.say(quick.ada, direct, "myapp main")

    def seen() -> list[Message]:
        found = [one for one in quick.slack.messages(direct) if one.bot_id]
        return [one for one in found if "Deployed myapp" in shown(one)]

    (message,) = await quick.slack.until(seen)
    (row,) = await quick.rows()
    assert row.trigger is Trigger.MENTION
    assert row.message.channel == direct.id
    await _reply(quick, message, "status")
    await quick.replied(row.id, message=message)
    await quick.slack.say(quick.ada, direct, "history myapp")
    await quick.slack.until(
        lambda: any("Latest deployments" in shown(one) for one in quick.slack.messages(direct))
    )
    assert quick.messages == []


async def _reply(world: World, message: Message, text: str, *, user: str = "ada") -> None:
    channel = world.slack.workspace.channels[message.channel]
    await world.slack.say(world.slack.user(user), channel, text, thread_ts=message.ts)


async def _until_replies(world: World, message: Message, count: int) -> None:
    await world.slack.until(
        lambda: len([one for one in world.slack.thread(message) if one.bot_id]) >= count
    )
