from bot.deployments.model import Actor
from bot.slack.listeners.payloads import Asker
from bot.slack.listeners.replies import Answers
from tests.support.stage import Stage, open_stage


def asker(stage: Stage, channel: str, response_url: str | None = None) -> Asker:
    return Asker(actor=Actor(user=stage.ada.id), channel=channel, response_url=response_url)


async def test_a_dead_response_url_gives_way_to_an_ephemeral_message() -> None:
    async with open_stage() as stage:
        gone = f"{stage.slack.page_url}response/gone"
        who = asker(stage, stage.deploys.id, gone)
        await Answers(client=stage.client, asker=who).whisper("Not there.")
        assert await stage.whisper() == "Not there."


async def test_a_response_url_that_cannot_be_reached_does_too() -> None:
    async with open_stage() as stage:
        who = asker(stage, stage.deploys.id, "http://127.0.0.1:9/none")
        await Answers(client=stage.client, asker=who).whisper("Not there.")
        assert await stage.whisper() == "Not there."


async def test_where_the_bot_is_no_member_a_direct_message_says_it() -> None:
    async with open_stage() as stage:
        who = asker(stage, stage.slack.channel("secret").id)
        await Answers(client=stage.client, asker=who).whisper("Not there.")
        (told,) = stage.slack.messages(stage.slack.dm(stage.ada))
        assert told.text == "Not there."


async def test_in_a_direct_message_nothing_needs_to_be_whispered() -> None:
    async with open_stage() as stage:
        direct = stage.slack.dm(stage.ada)
        await Answers(client=stage.client, asker=asker(stage, direct.id)).whisper("Not there.")
        assert [one.text for one in stage.slack.messages(direct)] == ["Not there."]
        assert not stage.slack.ephemerals(stage.ada)
