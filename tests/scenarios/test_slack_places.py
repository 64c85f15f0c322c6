"""Every kind of place and every way in: it works there, or one answer says why and nothing starts.

What else is known of places: `test_slack_strangers`, `test_slack_out_of_channel`,
`test_slack_group_messages`, `test_slack_channels` and `test_slack_live_message` (deleted messages).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from bot.deployments.model import Failure, Phase
from bot.simulators.slack.model import Channel, Message
from bot.slack.listeners.shortcuts import DEPLOY_FROM_MESSAGE, DEPLOYMENT_STATUS
from tests.scenarios.conftest import World, shown
from tests.scenarios.test_slack_group_messages import group_message

RETRY, CANCEL, LOG = "deployment_retry", "deployment_cancel", "deployment_log"


def named(name: str) -> Callable[[World], Channel]:
    return lambda world: world.slack.channel(name)


def of_the_bot(world: World) -> Channel:
    return world.slack.dm(world.ada)


def without_replies(world: World) -> Channel:
    world.slack.restrict_for_test(world.deploys, threads="none")
    return world.deploys


def enterprise(world: World) -> Channel:
    world.slack.join_enterprise_for_test("E01GRID", sister="mallory")
    return world.deploys


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A place with what was there before something changed."""

    world: World
    channel: Channel
    said: Message
    """By a person; it names an app and a ref."""
    failed: Message | None
    """A failed deployment's message, if the bot was there."""

    @property
    def live_messages(self) -> list[Message]:
        found = self.world.slack.messages(self.channel)
        return [one for one in found if one.bot_id and one.metadata]


Way = Callable[[Scene], Awaitable[object]]


async def command(scene: Scene) -> None:
    world = scene.world
    await world.slack.command(world.ada, scene.channel, "/deploy", "myapp main")


async def form(scene: Scene) -> None:
    view = await scene.world.viewed("Branch, tag or commit")
    await scene.world.slack.submit(scene.world.ada, view, {"app": "myapp", "ref": "main"})


async def message_action(scene: Scene) -> None:
    slack = scene.world.slack
    await slack.shortcut(scene.world.ada, scene.said, callback_id=DEPLOY_FROM_MESSAGE)
    await form(scene)


async def mention(scene: Scene) -> None:
    world = scene.world
    await world.slack.say(world.ada, scene.channel, "@deploybot myapp main")


async def button(scene: Scene) -> None:
    await scene.world.click(RETRY, scene.failed)


async def thread(scene: Scene) -> None:
    assert scene.failed is not None
    world = scene.world
    await world.slack.say(world.ada, scene.channel, "retry", thread_ts=scene.failed.ts)


async def a_scene(world: World, channel: Channel, *, bot_is_there: bool) -> Scene:
    said = await world.slack.say(world.ada, channel, "myapp main")
    failed = None
    scene = Scene(world=world, channel=channel, said=said, failed=None)
    if bot_is_there:
        if channel.kind == "im":
            # There a plain line is for the bot.
            await _until_ends(scene, 1)
        world.now_behaves("build_fails")
        count = len(scene.live_messages)
        await command(scene)
        await _until_ends(scene, count + 1)
        failed = scene.live_messages[-1]
        world.now_behaves("ok")
    return Scene(world=world, channel=channel, said=said, failed=failed)


async def _until_ends(scene: Scene, count: int) -> None:
    def over() -> bool:
        found = scene.live_messages
        words = ("Deployed", "Failed:")
        return len(found) == count and any(word in shown(found[-1]) for word in words)

    await scene.world.slack.until(over)


def heard(world: World, *words: str) -> list[str]:
    """What ada alone was answered, in whichever way, with all these words."""
    direct = [one for one in world.slack.messages(world.slack.dm(world.ada)) if one.bot_id]
    texts = [shown(one) for one in (*world.slack.ephemerals(world.ada), *direct)]
    return [text for text in texts if all(word in text for word in words)]


Restrict = Callable[[World, Channel], None]


def unchanged(_world: World, _channel: Channel) -> None:
    return


def put_out(world: World, channel: Channel) -> None:
    world.slack.remove_bot(channel)


def archive(world: World, channel: Channel) -> None:
    world.slack.archive(channel)


def make_read_only(world: World, channel: Channel) -> None:
    world.slack.restrict_for_test(channel, read_only=True)


def make_thread_only(world: World, channel: Channel) -> None:
    world.slack.restrict_for_test(channel, threads="only")


def close_direct_messages(world: World, _channel: Channel) -> None:
    world.slack.disable_direct_messages_for_test()


def two_without_the_bot(world: World) -> Channel:
    return group_message(world, with_bot=False)


@pytest.mark.parametrize(
    ("place", "restrict", "ways", "words"),
    [
        pytest.param(
            named("random"),
            unchanged,
            (form, command, message_action),
            ("I am not in this channel", "/invite @deploybot"),
            id="public-without-the-bot",
        ),
        pytest.param(
            named("secret"),
            unchanged,
            (form, command, message_action),
            ("I can't see this conversation", "/invite @deploybot"),
            id="private-without-the-bot",
        ),
        pytest.param(
            named("ada-grace"),
            unchanged,
            (form, command, message_action),
            ("I can't see this conversation", "start a group one with me in it"),
            id="dm-of-two-people",
        ),
        pytest.param(
            two_without_the_bot,
            unchanged,
            (form, command, message_action),
            ("I can't see this conversation", "start a group one with me in it"),
            id="group-dm-without-the-bot",
        ),
        pytest.param(
            named("deploys"),
            put_out,
            (form, command, message_action, button),
            ("I am not in this channel", "/invite @deploybot"),
            id="put-out",
        ),
        pytest.param(
            named("deploys"),
            archive,
            (form, message_action, button),
            ("This channel is archived",),
            id="archived",
        ),
        pytest.param(
            named("deploys"),
            make_read_only,
            (form, command, message_action, button, mention, thread),
            ("This channel is read-only",),
            id="read-only",
        ),
        pytest.param(
            named("deploys"),
            make_thread_only,
            (form, command, message_action, button, thread),
            ("posts are only allowed in threads",),
            id="thread-only",
        ),
        pytest.param(
            of_the_bot,
            close_direct_messages,
            (form, command, message_action, button),
            ("Direct messages to me are switched off",),
            id="dm-switched-off",
        ),
    ],
)
async def test_place_that_takes_no_message_starts_nothing_and_says_why(
    quick: World,
    place: Callable[[World], Channel],
    restrict: Restrict,
    ways: tuple[Way, ...],
    words: tuple[str, ...],
) -> None:
    channel = place(quick)
    scene = await a_scene(quick, channel, bot_is_there=quick.slack.bot.id in channel.members)
    await quick.slack.command(quick.ada, channel, "/deploy", "")
    await quick.viewed("Branch, tag or commit")
    restrict(quick, channel)
    rows, live = len(await quick.rows()), len(scene.live_messages)
    builds = list(quick.app.records)
    for way in ways:
        before = len(heard(quick, *words))
        await way(scene)

        def answered(before: int = before) -> bool:
            return len(heard(quick, *words)) > before

        await quick.slack.until(answered)
        assert len(await quick.rows()) == rows, way
    assert len(scene.live_messages) == live
    assert quick.app.records == builds


@pytest.mark.parametrize(
    ("place", "ways"),
    [
        pytest.param(
            named("oncall"),
            (command, form, message_action, mention, button, thread),
            id="private-with-the-bot",
        ),
        pytest.param(
            of_the_bot, (command, form, message_action, button, thread), id="dm-with-the-bot"
        ),
        pytest.param(
            lambda world: group_message(world, with_bot=True),
            (command, form, message_action, mention, button, thread),
            id="group-dm-with-the-bot",
        ),
        pytest.param(
            without_replies,
            (command, form, message_action, mention, button),
            id="channel-without-replies",
        ),
        pytest.param(
            enterprise,
            (command, form, message_action, mention, button, thread),
            id="enterprise-grid",
        ),
    ],
)
async def test_place_with_the_bot_takes_every_way_in(
    quick: World, place: Callable[[World], Channel], ways: tuple[Way, ...]
) -> None:
    channel = place(quick)
    scene = await a_scene(quick, channel, bot_is_there=True)
    count = len(scene.live_messages)
    for number, way in enumerate(ways, start=1):
        if way is form:
            await quick.slack.command(quick.ada, channel, "/deploy", "")
        await way(scene)
        await _until_ends(scene, count + number)
        # How it was asked for changes nothing of what follows: the others end sooner.
        quick.now_behaves("repo_refused")
    rows = await quick.rows()
    ends = [(row.phase, row.failure) for row in rows[: len(ways)]]
    refused = (Phase.FAILED, Failure.REPO_UNREACHABLE)
    assert ends == [refused] * (len(ways) - 1) + [(Phase.SUCCEEDED, None)]
    assert {row.message.channel for row in rows} == {channel.id}
    assert len(rows) == count + len(ways)


async def locked_thread(world: World) -> None:
    world.slack.lock_thread_for_test(world.message)


async def no_replies(world: World) -> None:
    world.slack.restrict_for_test(world.deploys, threads="none")


async def read_only(world: World) -> None:
    world.slack.restrict_for_test(world.deploys, read_only=True)


async def uploads_disabled(world: World) -> None:
    world.slack.disable_uploads_for_test()


async def deleted(world: World) -> None:
    await world.slack.delete(world.ada, world.message)
    await world.posted(1)


Change = Callable[[World], Awaitable[None]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (locked_thread, "This thread is locked"),
        (no_replies, "This channel has no threads"),
        (read_only, "This channel is read-only"),
    ],
)
async def test_result_reaches_the_requester_where_the_thread_takes_no_reply(
    quick: World, change: Change, words: str
) -> None:
    quick.hold()
    await quick.deploy()
    message = await quick.until_message("Building")
    await change(quick)
    quick.let_go()
    await quick.until_message("Deployed")
    direct = quick.slack.dm(quick.ada)
    (told,) = await quick.slack.until(lambda: quick.slack.messages(direct))
    assert "was deployed" in shown(told)
    assert words in shown(told)
    assert "invite" not in shown(told)
    # A question about it is answered to the person.
    await quick.slack.shortcut(quick.ada, message, callback_id=DEPLOYMENT_STATUS)
    await quick.whispered("is live")
    assert quick.messages == [message]
    assert quick.slack.thread(message) == []


@pytest.mark.parametrize(
    "change", [locked_thread, no_replies, read_only, uploads_disabled, deleted]
)
async def test_buttons_work_whatever_the_place_allows(quick: World, change: Change) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building", "Cancel")
    await change(quick)
    await quick.until_message("Building", "Cancel")
    await quick.click(LOG, user="grace")
    await quick.viewed(user="grace")
    await quick.click(CANCEL, user="grace")
    await quick.whispered("Cancelling myapp", user="grace")
    (row,) = await quick.ended()
    assert (row.phase, row.cancel.by.user) == (Phase.CANCELLED, quick.slack.user("grace").id)
    await quick.until_message("Cancelled:")
    assert len(quick.messages) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (uploads_disabled, "Uploads are switched off in this workspace"),
        (locked_thread, "I may not post files"),
        (read_only, "I may not post files"),
    ],
)
async def test_log_that_cannot_be_uploaded_stays_readable(
    quick: World, change: Change, words: str
) -> None:
    await quick.deploy()
    message = await quick.until_message("Deployed")
    await quick.replied("was deployed")
    await change(quick)
    await quick.click(LOG)
    view = await quick.viewed("Application deployed:")
    await quick.click("log_post_as_file", view)
    await quick.viewed(words, "Application deployed:")
    if change is not locked_thread:
        await quick.slack.say(quick.ada, quick.deploys, "logs", thread_ts=message.ts)
        await quick.slack.until(lambda: heard(quick, words))
    assert quick.slack.files == [] or not any(one.channels for one in quick.slack.files)
    (row,) = await quick.rows()
    assert (row.phase, row.failure) == (Phase.SUCCEEDED, None)


async def test_lock_is_said_to_the_person_where_the_channel_takes_no_message(quick: World) -> None:
    await read_only(quick)
    await quick.deploy("lock myapp for 2h audit")
    await quick.whispered("locked", "Only you see this", "read-only")
    assert quick.bot is not None
    (lock,) = await quick.bot.service.locks.held()
    assert lock.holder.user == quick.ada.id
    await quick.deploy("myapp main", user="grace")
    await quick.whispered("locked", user="grace")
    assert await quick.rows() == []


async def test_failure_after_the_place_was_restricted_is_no_other_failure(quick: World) -> None:
    quick.now_behaves("build_fails")
    quick.hold("build step 2/")
    await quick.deploy()
    await quick.held()
    await read_only(quick)
    quick.let_go()
    (row,) = await quick.ended()
    assert (row.phase, row.failure) == (Phase.FAILED, Failure.BUILD_FAILED)
    await quick.until_message("Failed:")
