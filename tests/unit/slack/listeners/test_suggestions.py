"""Misspelled words, apps and servers: what is suggested, and what its button does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.model import Phase
from bot.simulators.slack.model import Message
from bot.slack.listeners.commands import ACTS, COMMANDS, TABLE, WORDS, Command
from bot.slack.listeners.payloads import read_line
from bot.slack.listeners.suggestions import RUN, Known, corrections
from tests.support.builders import a_deployment
from tests.support.stage import Stage, open_stage

ONE = "01K9ZB0000000000000000001A"
KNOWN = Known(
    words=WORDS,
    apps={"myapp", "shop", "mall"},
    servers=("production", "staging"),
    refs=("main", "feature/login", "v1.0"),
)


def corrected(text: str) -> list[str]:
    return list(corrections(read_line(text, TABLE.keys(), exact=ACTS), KNOWN))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("staus myapp", ["status myapp"]),
        ("rolback myapp", ["rollback myapp"]),
        ("Cancle myapp", ["cancel myapp"]),
        ("log myapp", ["logs myapp"]),
        ("myap main", ["myapp main"]),
        ("myap@v1.0", ["myapp@v1.0"]),
        ("deploy sho", ["deploy shop"]),
        ("history myap", ["history myapp"]),
        ("myapp main to prodution", ["myapp main to production"]),
        ("status myapp on stagin", ["status myapp on staging"]),
        ("apps on stagin", ["apps on staging"]),
        ("rolback myap on stagin", ["rollback myap on staging"]),
        ("cancel? myapp", ["cancel myapp"]),
        ("myapp main", []),
        ("myapp mian", ["myapp main"]),
        ("MyApp@1.0", ["myapp@v1.0"]),
        ("deploy myapp logn to staging", ["deploy myapp feature/login to staging"]),
        ("myapp something-else", []),
        ("myapp Status", ["status myapp"]),
        ("myapp rollback 9ce0144", ["rollback myapp 9ce0144"]),
        ("myapp queue", []),
        ("lock all for 2h", []),
        ("unlock ALL", []),
        ("status all", ["status mall"]),
        ("MyApp main to Production", []),
        ("help", []),
        ("quarterly numbers", []),
        ("https://git.example/acme/myap", []),
        ("", []),
    ],
)
def test_line_is_corrected_where_something_is_nearly_right(text: str, lines: list[str]) -> None:
    assert corrected(text) == lines


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name or "deploy")
def test_each_word_of_the_table_is_found_without_its_second_letter(row: Command) -> None:
    name = row.name or "deploy"
    assert name in corrected(f"{name[0]}{name[2:]}")


@given(st.text(max_size=60))
def test_correction_never_raises_and_never_repeats_the_line(text: str) -> None:
    found = corrected(text)
    assert len(found) <= len(RUN)
    assert text not in found


async def _press(stage: Stage, label: str) -> None:
    def offered() -> list[tuple[Message, str]]:
        return [
            (message, element["action_id"])
            for message in stage.slack.ephemerals(stage.ada)
            for block in message.blocks
            for element in block.get("elements", ())
            if element.get("text", {}) == {"type": "plain_text", "text": label, "emoji": False}
        ]

    message, action_id = (await stage.slack.until(offered))[0]
    await stage.slack.click(stage.ada, message, action_id=action_id)


async def test_line_that_is_too_long_for_a_button_still_gets_its_reason() -> None:
    async with open_stage() as stage:
        await stage.deploy(f"myap main {'x' * 2500}")
        assert "I don't understand `xxx" in await stage.whisper()


async def test_button_of_a_suggestion_deploys_once() -> None:
    async with open_stage() as stage:
        await stage.deploy("myap v2")
        assert "Did you mean `myapp`?" in await stage.whisper()
        (question,) = stage.slack.ephemerals(stage.ada)
        async with stage.slack.hold_for_test("chat.postMessage"):
            for _ in range(2):
                await stage.slack.click(stage.ada, question, action_id=RUN[0])
        await stage.live_message()
        await stage.slack.until(lambda: question.deleted)
        (ask,) = stage.service.requests
        assert (ask.app, ask.ref) == ("myapp", "v2")
        assert ask.request_key.startswith("command:")


async def test_misspelled_word_is_suggested_and_its_button_answers() -> None:
    async with open_stage() as stage:
        await stage.deploy("staus")
        assert "Did you mean `/deploy status`?" in await stage.whisper()
        await _press(stage, "/deploy status")
        await stage.slack.until(
            lambda: (
                [one.text for one in stage.slack.ephemerals(stage.ada)]
                == ["Nothing is running or queued."]
            )
        )


async def test_misspelled_server_is_suggested() -> None:
    async with open_stage() as stage:
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING))
        await stage.deploy("history myapp on prodution")
        assert "There is no server `prodution`" in await stage.whisper()
        await _press(stage, "/deploy history myapp on production")
        await stage.slack.until(
            lambda: any("Latest" in one.text for one in stage.slack.ephemerals(stage.ada))
        )


async def test_misspelled_word_in_a_thread_is_suggested_to_its_author_and_asks_before_it_acts() -> (
    None
):
    async with open_stage() as stage:
        row = a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING)
        await stage.service.post(row, stage.deploys.id)
        message = await stage.live_message()
        bot = stage.slack.bot.id
        await stage.slack.say(stage.ada, stage.deploys, f"<@{bot}> cancle", thread_ts=message.ts)
        assert "Did you mean `cancel`?" in await stage.whisper()
        await _press(stage, "cancel")
        await stage.slack.until(
            lambda: any("Cancel myapp" in one.text for one in stage.slack.ephemerals(stage.ada))
        )
        assert not stage.service.cancels
        await _press(stage, "Cancel deployment")
        assert await stage.replies(message) == ["Cancelling it."]


async def test_suggestion_that_is_declined_says_why_in_its_place() -> None:
    async with open_stage() as stage:
        await stage.deploy("cancle myapp")
        await _press(stage, "/deploy cancel myapp")
        said = await stage.slack.until(
            lambda: [
                one.text
                for one in stage.slack.ephemerals(stage.ada)
                if "No deployment of" in one.text
            ]
        )
        assert len(said) == 1
        assert len(stage.slack.ephemerals(stage.ada)) == 1
