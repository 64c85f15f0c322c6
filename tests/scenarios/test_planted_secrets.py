"""`deploybot run` as a process: a build prints secrets of every kind, and nobody ever reads one."""

import base64
import json
import signal
import socket
from pathlib import Path

import aiohttp
import pytest

from bot.redaction_rules import MASK
from bot.simulators.receiver import Behaviour, open_receiver
from tests.scenarios.conftest import World, open_world
from tests.support.bot_process import BotProcess, Command
from tests.support.planted import (
    APP_CONFIG,
    KINDS,
    PRINTED,
    SETTING,
    everything_in,
    leaks,
)
from tests.support.run_command import run_command

CHAT_SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()
CLI = (
    "logs myapp",
    "status myapp",
    "status myapp --json",
    "history myapp --json",
    "config show",
    "webhooks list",
)
HOOK = "hOOk-of-the-chat-9876"


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_planted_secret_leaves_the_bot(tmp_path: Path, log_format: str) -> None:
    async with open_world(tmp_path) as world, open_receiver(secret=CHAT_SECRET) as chat:
        chat.always_for_test(Behaviour(status=200))
        (tmp_path / "deploybot.toml").write_text(
            f'[[webhooks]]\nurl = "{chat.url}?t={HOOK}"\nformat = "slack"\n'
        )
        world.now_behaves("build_fails")
        world.app.config |= APP_CONFIG
        world.hold("build step 2/")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        environ = {
            **world.environ,
            "SLACK_SIGNING_SECRET": SETTING,
            "DEPLOYBOT_LOG_FORMAT": log_format,
            "DEPLOYBOT_LOG_LEVEL": "DEBUG",
            "PORT": str(port),
        }
        async with run_command(environ, tmp_path) as command:
            await command.until_ready_says("slack", "")
            await world.deploy()
            await world.held()
            await _print_all(world)
            texts = {"live while it runs": await _live(world)}
            world.let_go()
            texts |= await _every_view(world)
            texts["pages"] = await _pages(port)
            await world.replied(f"<@{world.ada.id}>")
            await world.simulators.receiver.wait_delivered(1)
            await chat.wait_for(1)
            texts |= {
                "slack": json.dumps([dict(call.args) for call in world.slack.calls], default=str),
                "webhook": json.dumps(
                    [dict(one.body) for one in world.simulators.receiver.received]
                ),
                "chat webhook": json.dumps([dict(one.body) for one in chat.received]),
            }
            for words in CLI if log_format == "json" else CLI[:1]:
                texts[words] = await _cli(environ, tmp_path, *words.split())
            command.process.send_signal(signal.SIGTERM)
            assert await command.ended() == 0
            texts["process log"] = "\n".join(command.lines)
        texts["database"] = everything_in(tmp_path / "deploybot.db")

    assert leaks(texts) == []
    assert [place for place, text in texts.items() if HOOK in text] == []
    # Nothing was simply left out.
    assert texts["logs myapp"].count(MASK) >= len(KINDS) * len(PRINTED)
    assert "config_not_read" not in texts["process log"]
    assert "App build failed" in texts["database"]
    assert "#8 1.23 end of the secrets" in texts["logs myapp"]
    assert "deploybot_deployments_total" in texts["pages"]


async def _print_all(world: World) -> None:
    lines = [printed(line) for printed in PRINTED for kind in KINDS for line in kind.lines]
    lines += ["#8 1.23 end of the secrets", f"#8 1.23 ERROR: failed to solve: {SETTING}"]
    (run,) = world.app.runs
    data = ("\n".join(lines) + "\n").encode()
    # In pieces that end anywhere.
    for at in range(0, len(data), 97):
        await run.write("out", data[at : at + 97])


async def _live(world: World) -> str:
    message = await world.until_message("end of the secrets")
    return f"{message.text} {message.blocks}"


async def _every_view(world: World) -> dict[str, str]:
    message = await world.until_message("Failed:", "the build failed")
    texts = {"live at the end": f"{message.text} {message.blocks}"}
    await world.click("deployment_log")
    view = await world.viewed("App build failed")
    texts["modal"] = view.plain
    await world.click("log_post_as_file", view)
    await world.viewed("Posted as a file")
    (file,) = world.slack.files
    texts["file"] = file.text
    for word in ("status", "logs"):
        await world.slack.say(world.ada, world.deploys, word, thread_ts=message.ts)
    texts["thread"] = repr(await world.replied("web 1 running"))
    await world.deploy("history myapp")
    texts["history"] = await world.whispered("Latest deployments")
    return texts


async def _pages(port: int) -> str:
    texts: list[str] = []
    async with aiohttp.ClientSession() as session:
        for page in ("readyz", "healthz", "metrics"):
            async with session.get(f"http://127.0.0.1:{port}/{page}") as response:
                texts.append(await response.text())
    return "\n".join(texts)


async def _cli(environ: dict[str, str], folder: Path, *words: str) -> str:
    process = await BotProcess.start(Command(*words), environ, folder=folder)
    assert await process.ended() == 0, process.lines
    return "\n".join(process.lines)
