import pytest

from bot.deployments.model import Deployment, Live, Phase, Trigger
from bot.simulators.slack.model import Message
from tests.support.builders import OLD_SHA, a_deployment
from tests.support.stage import Stage, open_stage

ONE = "01K9ZB0000000000000000001A"


async def a_live_message(stage: Stage, phase: Phase, log: str = "") -> tuple[Deployment, Message]:
    live = Live.NONE if phase is Phase.FAILED else None
    row = a_deployment(id=ONE, app="myapp", phase=phase, live=live, rollback_sha=OLD_SHA)
    stage.service.logs[ONE] = log
    deployment = await stage.service.post(row, stage.deploys.id)
    return deployment, await stage.live_message()


async def say_below(stage: Stage, message: Message, text: str) -> None:
    await stage.slack.say(stage.ada, stage.deploys, text, thread_ts=message.ts)


@pytest.mark.parametrize("text", ["status", "Status?", "*status*", "<@BOT> status"])
async def test_status_is_answered_in_the_thread(text: str) -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.BUILDING)
        await say_below(stage, message, text.replace("BOT", stage.slack.bot.id))
        (answer,) = await stage.replies(message)
        assert "Building" in answer


async def test_mention_that_arrives_as_two_events_is_answered_once() -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.BUILDING)
        await say_below(stage, message, f"<@{stage.slack.bot.id}> status")
        await stage.replies(message)
        await stage.slack.redeliver_last_for_test("events_api")
        await say_below(stage, message, "help")
        assert len(await stage.replies(message, 2)) == 2


@pytest.mark.parametrize(
    "text", ["looks good to me", "status of the other one", "cancel that order", "deploy myapp"]
)
async def test_other_replies_are_ignored(text: str) -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.BUILDING)
        await say_below(stage, message, text)
        await say_below(stage, message, "status")
        assert len(await stage.replies(message)) == 1
        assert not stage.service.cancels
        assert not stage.service.requests


async def test_commands_outside_a_deployments_thread_are_ignored() -> None:
    async with open_stage() as stage:
        other = await stage.slack.say(stage.ada, stage.deploys, "status")
        await stage.slack.say(stage.ada, stage.deploys, "status", thread_ts=other.ts)
        _, message = await a_live_message(stage, Phase.BUILDING)
        await say_below(stage, message, "status")
        await stage.replies(message)
        assert not [one for one in stage.slack.thread(other) if one.bot_id]


async def test_mention_without_a_command_gets_help() -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.BUILDING)
        await say_below(stage, message, f"<@{stage.slack.bot.id}> what is going on")
        (answer,) = await stage.replies(message)
        assert answer.startswith("Commands: `status` ")


async def test_logs_uploads_a_file_in_the_thread() -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.BUILDING, "step 1\n")
        await say_below(stage, message, "logs")
        (file,) = await stage.slack.until(lambda: stage.slack.files)
        assert file.name == f"myapp-{ONE}.log"
        await stage.replies(message)


async def test_empty_log_is_reported_only_to_the_requester() -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.STARTING)
        await say_below(stage, message, "logs")
        assert "No output of this deployment is stored yet" in await stage.whisper()


async def answer(stage: Stage, action_id: str, user: str = "ada") -> Message:
    """Answer the newest ephemeral question; returns it."""
    person = stage.slack.user(user)
    question = (await stage.slack.until(lambda: stage.slack.ephemerals(person)))[-1]
    await stage.slack.click(person, question, action_id=action_id)
    return question


async def test_cancel_in_a_thread_asks_first_and_is_answered_in_the_thread() -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.BUILDING)
        await say_below(stage, message, "cancel")
        assert (await stage.whisper()).startswith("Cancel myapp `main` to production?")
        assert not stage.service.cancels
        await answer(stage, "answer_cancel")
        assert await stage.replies(message) == ["Cancelling it."]
        assert stage.service.cancels[0][0] == ONE
        await stage.slack.until(lambda: not stage.slack.ephemerals(stage.ada))


async def test_no_takes_the_question_away() -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.BUILDING)
        await say_below(stage, message, "cancel")
        await answer(stage, "answer_no")
        await stage.slack.until(lambda: not stage.slack.ephemerals(stage.ada))
        assert not stage.service.cancels
        assert not [one for one in stage.slack.thread(message) if one.bot_id]


@pytest.mark.parametrize("text", ["retry", "Retry", " retry ", "<@BOT> retry", "retry <@BOT>"])
async def test_retry_in_a_thread_links_to_the_new_deployment(text: str) -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.FAILED)
        await say_below(stage, message, text.replace("BOT", stage.slack.bot.id))
        (said,) = await stage.replies(message)
        assert said.startswith("Started: myapp")
        (ask,) = stage.service.requests
        assert (ask.channel, ask.retry_of) == (stage.deploys.id, ONE)


async def test_rollback_in_a_thread_asks_from_where_to_where() -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.FAILED)
        await say_below(stage, message, "rollback")
        assert f"to `{OLD_SHA[:7]}`? It is built again." in await stage.whisper()
        assert not stage.service.requests
        question = await answer(stage, "answer_roll_back")
        (said,) = await stage.replies(message)
        assert said.startswith("Started: myapp")
        (ask,) = stage.service.requests
        assert (ask.channel, ask.rollback_of, ask.ref) == (stage.deploys.id, ONE, OLD_SHA)
        assert ask.request_key.startswith("event:")
        await stage.slack.until(lambda: question.deleted)


async def test_second_yes_starts_nothing_more() -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.FAILED)
        await say_below(stage, message, "rollback")
        question = (await stage.slack.until(lambda: stage.slack.ephemerals(stage.ada)))[-1]
        async with stage.slack.hold_for_test("chat.postMessage"):
            for _ in range(2):
                await stage.slack.click(stage.ada, question, action_id="answer_roll_back")
        await stage.slack.until(lambda: question.deleted)
        await say_below(stage, message, "status")  # after both clicks
        assert len(await stage.replies(message, 2)) == 2
        assert len(stage.service.requests) == 1


@pytest.mark.parametrize("word", ["cancel", "retry", "rollback"])
@pytest.mark.parametrize(
    "said",
    [
        *(
            "{}?",
            "*{}*",
            "*{}*?",
            "`{}`",
            "_{}_",
            "{}!",
            "{}.",
            "should we {}",
            "{} or not",
            "<{}>",
        ),
        *("<@BOT> {}?", "<@BOT> *{}*", '<@BOT> "{}"', "<@BOT> should we {}", "{}? <@BOT>"),
        *("<@BOT> {}, or not", "<@BOT> {} it?", "<@BOT> {}? myapp"),
    ],
)
async def test_nothing_acts_on_a_question_or_in_passing(word: str, said: str) -> None:
    async with open_stage() as stage:
        phase = Phase.BUILDING if word == "cancel" else Phase.FAILED
        _, message = await a_live_message(stage, phase)
        text = said.format(word).replace("BOT", stage.slack.bot.id)
        await say_below(stage, message, text)
        await say_below(stage, message, "status")
        await stage.slack.until(
            lambda: any("production:" in one.text for one in stage.slack.thread(message))
        )
        assert not stage.service.cancels
        assert not stage.service.requests
        buttons = [one.buttons for one in stage.slack.ephemerals(stage.ada)]
        assert not any(buttons)


@pytest.mark.parametrize("text", ["deploy myapp v2", "myapp v2", "DEPLOY myapp@v2"])
async def test_mention_in_a_channel_starts_a_deployment(text: str) -> None:
    async with open_stage() as stage:
        await stage.slack.say(stage.ada, stage.deploys, f"<@{stage.slack.bot.id}> {text}")
        await stage.slack.until(lambda: stage.service.requests)
        (ask,) = stage.service.requests
        assert (ask.app, ask.ref, ask.trigger) == ("myapp", "v2", Trigger.MENTION)
        assert ask.request_key.startswith(f"event:{stage.deploys.id}:")


@pytest.mark.parametrize(
    ("text", "said"),
    [("thank you", "Commands:"), ("status", "Nothing is running or queued.")],
)
async def test_mention_in_a_channel_is_answered_below_it(text: str, said: str) -> None:
    async with open_stage() as stage:
        asked = await stage.slack.say(stage.ada, stage.deploys, f"<@{stage.slack.bot.id}> {text}")
        (answer,) = await stage.replies(asked)
        assert answer.startswith(said)
        assert not stage.service.requests


async def test_misspelt_app_in_a_mention_is_answered_only_to_its_author() -> None:
    async with open_stage() as stage:
        await stage.slack.say(stage.ada, stage.deploys, f"<@{stage.slack.bot.id}> myap main")
        assert "Did you mean `myapp`?" in await stage.whisper()


async def test_direct_message_works_like_a_command() -> None:
    async with open_stage() as stage:
        direct = stage.slack.dm(stage.ada)
        await stage.slack.say(stage.ada, direct, "status")
        answers = await stage.slack.until(
            lambda: [one.text for one in stage.slack.messages(direct) if one.bot_id]
        )
        assert answers == ["Nothing is running or queued."]
        await stage.slack.say(stage.ada, direct, "deploy myapp")
        await stage.slack.until(lambda: stage.service.requests)
        assert stage.service.requests[0].channel == direct.id
        await stage.slack.say(stage.ada, direct, "deploy")
        await stage.slack.until(
            lambda: any("Which app?" in one.text for one in stage.slack.messages(direct))
        )


async def test_people_of_another_workspace_get_no_answers() -> None:
    async with open_stage() as stage:
        mallory = stage.slack.user("mallory")
        _, message = await a_live_message(stage, Phase.BUILDING, "secret\n")
        stage.deploys.members.add(mallory.id)
        await stage.slack.say(mallory, stage.deploys, "logs", thread_ts=message.ts)
        await stage.slack.until(lambda: stage.slack.ephemerals(mallory))
        assert "own workspace" in stage.slack.ephemerals(mallory)[0].text
        assert not stage.slack.files


async def test_command_with_arguments_needs_a_mention_in_a_thread() -> None:
    async with open_stage() as stage:
        _, message = await a_live_message(stage, Phase.BUILDING)
        await say_below(stage, message, f"<@{stage.slack.bot.id}> history myapp")
        (answer,) = await stage.replies(message)
        assert answer.startswith("Latest deployments of `myapp`: ")
        await say_below(stage, message, f"<@{stage.slack.bot.id}> approve myapp")
        assert "is waiting for an approval" in await stage.whisper()


@pytest.mark.parametrize("text", ["what is this all about then", "--force"])
async def test_plain_speech_to_the_bot_gets_help(text: str) -> None:
    async with open_stage() as stage:
        asked = await stage.slack.say(stage.ada, stage.deploys, f"<@{stage.slack.bot.id}> {text}")
        (answer,) = await stage.replies(asked)
        assert answer.startswith("Commands: `/deploy APP")


async def test_rollback_by_id_and_on_several_servers() -> None:
    async with open_stage() as stage:
        for number, server in enumerate(("production", "staging")):
            stage.service.known(
                a_deployment(
                    id=f"01K9ZB000000000000000000{number}A",
                    app="myapp",
                    server=server,
                    phase=Phase.SUCCEEDED,
                    live=Live.NEW,
                    rollback_sha=OLD_SHA,
                )
            )
        await stage.deploy("rollback myapp")
        assert "on SERVER" in await stage.whisper()
        await stage.deploy("rollback myapp on staging")
        await stage.slack.until(lambda: stage.service.requests)
        assert stage.service.requests[0].server == "staging"
