"""The live message in the simulated workspace: what people see, with the real client."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.clock import SystemClock
from bot.deployments.model import Actor, Deployment, Failure, Live, MessagePlace, Phase, Trigger
from bot.deployments.ports import Urgency
from bot.deployments.state.repository import DeploymentCache
from bot.simulators.slack.simulator import SlackSimulator, open_slack
from bot.slack.budget import EditGate
from bot.slack.client import SlackClient, open_client
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.live_message.messages import LiveMessages
from bot.slack.manifest import manifest

ENDED: dict[str, Any] = {
    "phase": Phase.FAILED,
    "failure": Failure.BUILD_FAILED,
    "live": Live.PREVIOUS,
    "reason": "<!channel> missing script: build",
}
LINES = ("<!channel> @here ``` & <@U1>", "npm ERR! missing script: build")


class Places:
    """Keeps the places of the messages."""

    def __init__(self) -> None:
        self.known: dict[str, MessagePlace] = {}

    async def get(self, deployment_id: str) -> Deployment | None:
        return None

    async def place_message(self, deployment_id: str, place: MessagePlace) -> None:
        self.known[deployment_id] = place


class Stage:
    """A bot's messages in #deploys."""

    def __init__(self, slack: SlackSimulator, client: SlackClient) -> None:
        self.slack = slack
        self.channel = slack.channel("deploys")
        self.places = Places()
        clock = SystemClock()
        self.cache = DeploymentCache(clock=clock, ttl=timedelta(minutes=5))
        self.live = LiveMessages(
            client=client,
            cache=self.cache,
            store=self.places,
            gate=EditGate(clock=clock, running=lambda: 1),
            clock=clock,
            buttons=MESSAGE_BUTTONS,
        )
        self.deployment = Deployment(
            id="01K9ZB3V7N8Q4R5S6T7V8W9X0Y",
            server="production",
            app="myapp",
            dokku_app="myapp",
            repo=None,
            ref="main",
            ready=True,
            requested_by=Actor(user=slack.user("ada").id, name="ada"),
            trigger=Trigger.COMMAND,
            request_key="1",
            channel=self.channel.id,
            created_at=datetime.now(UTC),
        )

    async def post(self) -> None:
        self.cache.put(self.deployment)
        place = await self.live.post(self.deployment)
        self.deployment = replace(self.deployment, message=place)
        self.cache.put(self.deployment)

    def end(self) -> None:
        self.deployment = replace(self.deployment, **ENDED)
        self.cache.put(self.deployment)
        self.cache.note(
            self.deployment.id, replace(self.cache.progress(self.deployment.id), tail=LINES)
        )
        self.live.changed(self.deployment.id, Urgency.NOW)

    async def new_place(self) -> MessagePlace:
        """Wait until a place was stored."""
        known = self.places.known
        await self.slack.until(lambda: self.deployment.id in known)
        return known[self.deployment.id]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with (
        open_slack(manifest=manifest()) as slack,
        open_client(slack.bot_token, base_url=slack.api_url) as client,
    ):
        await client.authenticate()
        stage = Stage(slack, client)
        stage.live.start()
        yield stage
        await stage.live.stop()


async def test_one_message_is_posted_and_then_only_edited(stage: Stage) -> None:
    await stage.post()
    [message] = stage.slack.messages(stage.channel)
    assert "Waiting to deploy myapp" in message.plain
    assert list(message.buttons.values()) == ["Cancel", "Tell me when it is free"]
    stage.end()
    await stage.slack.until(lambda: "Failed: myapp" in message.plain)
    assert stage.slack.messages(stage.channel) == [message]
    assert list(message.buttons.values()) == ["Retry", "Full log", "Details"]
    assert LINES[0] in message.plain
    assert "<!channel>" not in message.text


async def test_deleted_message_is_posted_again_in_its_thread(stage: Stage) -> None:
    await stage.post()
    [message] = stage.slack.messages(stage.channel)
    ada = stage.slack.user("ada")
    await stage.slack.say(ada, stage.channel, "what happened?", thread_ts=message.ts)
    await stage.slack.delete(ada, message)
    stage.end()
    place = await stage.new_place()
    assert place.root == message.ts
    assert place.ts != message.ts
    again = next(one for one in stage.slack.thread(message) if one.ts == place.ts)
    assert "Failed: myapp" in again.plain


async def test_deleted_message_without_a_thread_is_posted_in_the_channel(
    stage: Stage,
) -> None:
    await stage.post()
    [message] = stage.slack.messages(stage.channel)
    await stage.slack.delete(stage.slack.user("ada"), message)
    stage.end()
    place = await stage.new_place()
    assert place.root == place.ts != message.ts


async def test_lost_answer_to_the_post_makes_no_second_message(stage: Stage) -> None:
    stage.slack.lose_response_for_test("chat.postMessage")
    await stage.post()
    [message] = stage.slack.messages(stage.channel)
    assert stage.deployment.message is not None
    assert stage.deployment.message.ts == message.ts


async def test_message_of_a_bot_that_died_is_found(stage: Stage) -> None:
    await stage.live.post(stage.deployment)
    stage.cache.put(stage.deployment)
    await stage.live.resume([stage.deployment])
    place = await stage.new_place()
    [message] = stage.slack.messages(stage.channel)
    assert place.ts == message.ts


async def test_429_delays_the_result_but_does_not_lose_it(stage: Stage) -> None:
    await stage.post()
    [message] = stage.slack.messages(stage.channel)
    stage.slack.rate_limit_for_test("chat.update", retry_after_s=1)
    stage.end()
    await stage.slack.until(lambda: "Failed: myapp" in message.plain)
    outcomes = [call.outcome for call in stage.slack.calls if call.method == "chat.update"]
    assert outcomes == ["ratelimited", "ok"]
