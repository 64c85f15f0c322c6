"""Group direct messages work like channels; if the bot is not in one, the answer says so."""

from bot.deployments.model import Phase
from bot.simulators.slack.model import Channel, Message
from tests.scenarios.conftest import World, shown


def group_message(world: World, *, with_bot: bool) -> Channel:
    people = {world.ada.id, world.slack.user("grace").id}
    return world.slack.workspace.add_channel(
        "C01GROUPDM0",
        "mpdm-ada--grace--deploybot-1",
        kind="mpim",
        members=people | {world.slack.bot.id} if with_bot else people,
    )


async def test_words_commands_and_threads_work_in_a_group_message(quick: World) -> None:
    group, slack = group_message(quick, with_bot=True), quick.slack
    await slack.say(quick.ada, group, "shall we deploy myapp?")
    await slack.say(quick.ada, group, "@deploybot myapp main")
    live = await _posted(quick, group, "Deployed")
    await slack.say(slack.user("grace"), group, "status", thread_ts=live.ts)
    await slack.until(lambda: any("is live" in shown(one) for one in slack.thread(live)))
    await slack.command(quick.ada, group, "/deploy", "status")
    await quick.whispered("Nothing is running or queued.")
    await slack.command(quick.ada, group, "/deploy", "myapp v1.0")
    rows = await quick.ended(2)
    assert {row.phase for row in rows} == {Phase.SUCCEEDED}
    assert {row.message.channel for row in rows} == {group.id}
    assert len([one for one in slack.messages(group) if one.bot_id]) == 2


async def test_group_message_without_the_bot_says_what_to_do(quick: World) -> None:
    group = group_message(quick, with_bot=False)
    await quick.slack.command(quick.ada, group, "/deploy", "myapp main")
    await quick.whispered("can't see this conversation", "start a group one with me in it")
    assert await quick.rows() == []


async def _posted(world: World, group: Channel, words: str) -> Message:
    def found() -> list[Message]:
        return [one for one in world.slack.messages(group) if one.bot_id and words in shown(one)]

    return (await world.slack.until(found))[-1]
