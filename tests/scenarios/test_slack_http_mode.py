"""Signed HTTP instead of Socket Mode: the bot in its own process, and Slack calls it."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bot.simulators.environment import Simulators, open_simulators
from bot.simulators.slack.delivery import Ack
from bot.simulators.slack.model import Message, View
from bot.slack.manifest import EVENTS_PATH, manifest
from tests.scenarios.conftest import FAST, ONE_APP, SPEED, shown
from tests.support.bot_process import BotProcess, Command
from tests.support.bot_processes import free_port


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[tuple[Simulators, BotProcess]]:
    """A workspace whose app has a request URL, and the bot behind it."""
    app = manifest("http", "https://deploybot.example.com")
    async with open_simulators(
        manifest=app, folder=tmp_path, apps=ONE_APP, speed=SPEED, mode="http"
    ) as opened:
        settings = {**opened.settings, **FAST}
        bot = await BotProcess.start(Command("run"), settings, folder=tmp_path)
        try:
            assert await bot.ready(), bot.last_lines
            await opened.slack.set_request_url(_url(opened))
            yield opened, bot
            assert bot.running, bot.last_lines
        finally:
            await bot.kill()


@pytest.fixture
def simulators(behind: tuple[Simulators, BotProcess]) -> Simulators:
    return behind[0]


async def test_deployment_over_signed_http(simulators: Simulators) -> None:
    slack = simulators.slack
    ada, deploys = slack.user("ada"), slack.channel("deploys")
    simulators.dokku.hold_for_test("myapp", at="build step 4/")
    form = await slack.command(ada, deploys, "/deploy", "")
    assert form.acked
    view = await slack.until(lambda: _filled_in(slack.view(ada)))
    assert view is not None
    wrong = await slack.submit(ada, view, {"app": "myapp", "ref": "a..b"})
    assert set(wrong.errors) == {"ref"}
    await slack.submit(ada, view, {"app": "myapp", "ref": "main"})
    message = await _message(simulators, "Building")
    await slack.say(ada, deploys, "status", thread_ts=message.ts)
    await slack.until(lambda: any("Deploying myapp" in shown(one) for one in slack.thread(message)))
    clicked = await slack.click(ada, message, action_id="deployment_log")
    assert clicked.acked
    simulators.dokku.release_for_test("myapp")
    await _message(simulators, "Deployed")
    assert len(_messages(simulators)) == 1
    (one,) = await simulators.receiver.wait_delivered(1)
    assert (one.body["data"]["status"], one.body["data"]["trigger"]) == ("succeeded", "form")
    assert slack.notices == []


async def test_unsigned_requests_are_refused_and_the_log_says_why(
    behind: tuple[Simulators, BotProcess],
) -> None:
    simulators, bot = behind
    body = {"command": "/deploy", "text": "myapp main", "channel_id": "C01DEPLOYS0"}
    async with aiohttp.ClientSession() as session:
        for headers in (
            {},
            {"X-Slack-Request-Timestamp": "1790000000", "X-Slack-Signature": "v0=" + "0" * 64},
        ):
            async with session.post(_url(simulators), data=body, headers=headers) as answer:
                assert answer.status == 401
        async with session.post(_url(simulators), data={"ssl_check": "1"}) as answer:
            assert answer.status == 200
    assert _messages(simulators) == []
    refusals = [line for line in bot.last_lines if "slack_request_refused" in line]
    assert len(refusals) == 2
    assert "a proxy in front of the bot" in refusals[0]
    assert "SLACK_SIGNING_SECRET is wrong" in refusals[1]


async def test_any_replica_behind_a_balancer_takes_any_request(
    behind: tuple[Simulators, BotProcess], tmp_path: Path
) -> None:
    simulators, _ = behind
    slack = simulators.slack
    ada, deploys = slack.user("ada"), slack.channel("deploys")
    port = free_port()
    settings = {**simulators.settings, **FAST, "PORT": str(port)}
    other = await BotProcess.start(Command("run"), settings, folder=tmp_path)
    try:
        assert await other.ready(), other.last_lines
        simulators.dokku.hold_for_test("myapp", at="build step 4/")
        await slack.command(ada, deploys, "/deploy", "myapp main")
        message = await _message(simulators, "Building", "Cancel")
        # The balancer sends the rest to the other replica, some of it twice.
        await slack.set_request_url(f"http://127.0.0.1:{port}{EVENTS_PATH}")
        assert isinstance(await slack.redeliver_last_for_test("slash_commands"), Ack)
        clicked = await slack.click(ada, message, action_id="deployment_cancel")
        assert clicked.acked
        await slack.set_request_url(_url(simulators))
        await slack.redeliver_last_for_test("interactive")
        await _message(simulators, "Cancelled:")
        await simulators.receiver.wait_delivered(1)
        answers = [shown(one) for one in slack.ephemerals(ada)]
        assert len([text for text in answers if "Cancelling" in text]) == len(answers) == 1
        assert len(_messages(simulators)) == 1
    finally:
        await other.kill()


def _url(simulators: Simulators) -> str:
    return f"http://127.0.0.1:{simulators.settings['PORT']}{EVENTS_PATH}"


def _filled_in(view: View | None) -> View | None:
    return view if view is not None and view.payload.get("submit") else None


def _messages(simulators: Simulators) -> list[Message]:
    slack = simulators.slack
    return [one for one in slack.messages(slack.channel("deploys")) if one.bot_id]


async def _message(simulators: Simulators, *words: str) -> Message:
    def says() -> list[Message]:
        return [one for one in _messages(simulators) if all(word in shown(one) for word in words)]

    return (await simulators.slack.until(says))[-1]
