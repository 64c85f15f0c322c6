"""What a build prints reaches people, files, webhooks and the database masked and inert."""

import base64
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bot.simulators.receiver import Behaviour, Receiver, open_receiver
from tests.scenarios.conftest import QuickClock, World, open_world

PLANTED = "plain-words-of-a-setting"
SECRETS = (
    PLANTED,
    base64.b64encode(PLANTED.encode()).decode().rstrip("="),
    "hunter2hunter2",
    "s3cretOfBob",
    "ghp_0123456789abcdefghij0123456789abcdef",
    "AKIAABCDEFGHIJKLMNOP",
)
HOSTILE = (
    f"#8 1.1 the bot was set up with {PLANTED} and {base64.b64encode(PLANTED.encode()).decode()}",
    "#8 1.2 DATABASE_PASSWORD=hunter2hunter2",
    "#8 1.3 cloning https://bob:s3cretOfBob@git.example.com/acme/lib.git",
    "#8 1.4 token ghp_0123456789abcdefghij0123456789abcdef for AKIAABCDEFGHIJKLMNOP",
    "#8 1.5 <!channel> <!here|x> <@U01ADA00001> @here @channel *bold* _it_ ~no~ `code` :tada:",
    "#8 1.6 ``` <https://evil.example.com|click me> &amp; ```",
    "#8 1.7 \x1b[31mred\x1b[0m \x1b]0;title\x07 10%\r20%\r100% done \u202etxet\u202c",
    "#8 1.8 \udcff\udcfe not UTF-8",
    "#8 1.9 ERROR: failed to solve: <!channel> @here PASSWORD=hunter2hunter2 ``` *bold*",
)
PINGS = re.compile(r"<!(?!date\^)|<@|@(?:here|channel|everyone)\b")


@pytest.fixture
async def chat() -> AsyncIterator[Receiver]:
    """The receiver of a webhook that is a message for Slack."""
    async with open_receiver(secret="whsec_" + base64.b64encode(bytes(24)).decode()) as receiver:
        receiver.always_for_test(Behaviour(status=200))
        yield receiver


async def test_hostile_log_lines_are_masked_and_inert(tmp_path: Path, chat: Receiver) -> None:
    (tmp_path / "deploybot.toml").write_text(
        f'[[webhooks]]\nurl = "{chat.url}"\nformat = "slack"\n'
    )
    async with open_world(tmp_path) as world:
        world.now_behaves("build_fails")
        world.hold("build step 2/")
        await world.start_bot(clock=QuickClock(), SLACK_SIGNING_SECRET=PLANTED)
        await world.deploy()
        await world.held()
        await _print(world, *HOSTILE)
        world.let_go()
        message = await world.until_message("Failed:", "the build failed")
        await world.click("deployment_log")
        view = await world.viewed("100% done")
        await world.click("log_post_as_file", view)
        await world.viewed("Posted as a file")
        await world.slack.say(world.ada, world.deploys, "status", thread_ts=message.ts)
        await world.replied("live when it ended")
        await world.deploy("history myapp")
        await world.whispered("Latest deployments")
        (row,) = await world.ended()
        await world.replied(f"<@{world.ada.id}>")
        await chat.wait_for(1)

        assert world.bot is not None
        log = await world.bot.service.queries.store.logs.read(row.id)
        (file,) = world.slack.files
        assert file.text == log
        await world.stop_bot()
        places = {
            "slack": json.dumps([dict(call.args) for call in world.slack.calls], default=str),
            "file": file.text,
            "log": log,
            "webhook": json.dumps([dict(one.body) for one in world.simulators.receiver.received]),
            "chat webhook": json.dumps([dict(one.body) for one in chat.received]),
            "database": "\n".join(sqlite3.connect(tmp_path / "deploybot.db").iterdump()),
            "row": repr(row),
        }
        leaks = [(place, one) for place, text in places.items() for one in SECRETS if one in text]
        assert leaks == []
        assert "DATABASE_PASSWORD=[redacted]" in log
        assert "https://[redacted]@git.example.com/acme/lib.git" in log
        # What is harmless was not lost.
        assert "<!channel> <!here|x> <@U01ADA00001> @here @channel *bold*" in log
        assert "#8 1.7 100% done txet" in log
        assert "\ufffd" in log
        assert not re.search(r"[\x1b\r\x07\u202e]", log)

        pings = [
            text
            for call in world.slack.calls
            for text in _markup({key: _parsed(value) for key, value in call.args.items()})
            if PINGS.search(text.replace(f"<@{world.ada.id}> 🔴", "", 1))
        ]
        assert pings == []
        (posted,) = chat.received
        assert not PINGS.search(str(posted.body["text"]))


async def test_ref_cannot_ping_anyone(quick: World) -> None:
    await quick.deploy("myapp fix-@here")
    whispered = await quick.whispered("fix-")
    assert "@here" not in whispered
    await quick.deploy("@channel")
    await quick.whispered("not a valid app name")
    assert not [one for one in quick.slack.ephemerals(quick.ada) if "@channel" in one.text]
    quick.now_behaves("ref_missing")
    quick.simulators.forge.unreachable_for_test("myapp")
    await quick.deploy("myapp fix-@here/_x_")
    message = await quick.until_message("Failed:", "no such branch, tag or commit")
    for text in _markup({"text": message.text, "blocks": message.blocks}):
        assert not PINGS.search(text)


async def _print(world: World, *lines: str) -> None:
    (run,) = world.app.runs
    await run.write("out", ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))


def _parsed(value: Any) -> Any:
    """Arguments of a form-encoded call are JSON in a text."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        return json.loads(value)
    return value


def _markup(node: Any) -> Iterator[str]:
    """The texts that Slack reads as markup: `text` of calls and messages, and mrkdwn."""
    if isinstance(node, list | tuple):
        for item in node:
            yield from _markup(item)
    elif isinstance(node, Mapping):
        kind = node.get("type")
        if kind in {None, "mrkdwn"} and isinstance(node.get("text"), str):
            assert kind is None or node.get("verbatim")
            yield node["text"]
        for value in node.values():
            yield from _markup(value)
