"""Two replicas on one database: whatever Slack delivers several times is done once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.simulators.slack.delivery import EnvelopeKind
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import shown
from tests.support.bot_processes import Processes, an_app, open_processes


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Processes]:
    """Slack sends each envelope to the connection that it used least recently."""
    async with open_processes(tmp_path, an_app("myapp"), an_app("other")) as it:
        await it.start()
        await it.start()
        yield it


async def again(it: Processes, kind: EnvelopeKind, saying: str = "") -> None:
    """Twice in the same envelope, then in a new one: each replica gets it."""
    slack = it.world.slack
    await slack.until(lambda: any(one.envelope.kind == kind for one in slack.deliveries))
    for new_id in (False, False, True):
        await slack.redeliver_last_for_test(kind, saying=saying, new_id=new_id)
    assert min(slack.envelopes_per_connection_for_test()) > 0


async def say(it: Processes, text: str, thread_ts: str | None = None) -> Message:
    """Say something, and have Slack deliver it several times."""
    slack = it.world.slack
    said = await slack.say(it.world.ada, it.world.deploys, text, thread_ts=thread_ts)
    words = text.rpartition(" ")[2]

    def sent() -> bool:
        payloads = [one.envelope.payload for one in slack.deliveries]
        return any(one.get("event", {}).get("ts") == said.ts for one in payloads)

    await slack.until(sent)
    await again(it, "events_api", words)
    return said


async def test_each_request_is_handled_once(pair: Processes) -> None:
    world = pair.world
    # A command that says something to all.
    await world.deploy("lock other for 1h audit")
    await again(pair, "slash_commands")
    await world.until_message("*other* is locked")
    await world.deploy("unlock other")
    await world.until_message("unlocked by")
    # A mention comes as two events, perhaps one to each replica.
    await say(pair, "@deploybot myapp main")
    message = await world.until_message("Deployed")
    question = await say(pair, "@deploybot status myapp")
    await world.replied("is live", message=question)
    # A question in a thread.
    await say(pair, "status", thread_ts=message.ts)
    await world.replied("live when it ended", message=message)
    # A form.
    await world.deploy("")
    form = await world.viewed("Branch, tag or commit")
    await world.slack.submit(world.ada, form, {"app": "other"})
    await again(pair, "interactive")
    await pair.until_webhooks("other")
    # A click.
    await world.click("deployment_log", message)
    await world.viewed("Application deployed")
    await again(pair, "interactive")

    # What is asked last is answered last: nothing else comes of all the rest.
    await world.deploy("queue")
    await world.whispered("Nothing runs or waits")
    assert len(pair.messages_of("myapp")) == 1
    assert (pair.starts("myapp"), pair.starts("other")) == (1, 1)
    assert len([*pair.webhooks("myapp"), *pair.webhooks("other")]) == 2
    texts = [shown(one) for one in world.messages]
    assert sum("*other* is locked" in text for text in texts) == 1
    assert sum("unlocked by" in text for text in texts) == 1
    replies = [shown(one) for one in world.slack.thread(message)]
    assert sum("live when it ended" in text for text in replies) == 1
    assert len([one for one in world.slack.thread(question) if one.bot_id]) == 1
    assert world.slack.notices == []


async def test_two_people_in_the_same_second_get_two_deployments_in_order(
    pair: Processes,
) -> None:
    world = pair.world
    world.hold()
    await asyncio.gather(
        world.deploy("myapp main"), world.deploy("myapp feature/login", user="grace")
    )
    await world.posted(2)
    await world.slack.until(lambda: any("1st in line" in shown(one) for one in world.messages))
    world.let_go()
    await pair.until_webhooks("myapp", 2)
    begun = pair.webhooks("myapp")
    assert [one["status"] for one in begun] == ["succeeded", "succeeded"]
    first, second = sorted(begun, key=lambda one: one["queued_at"])
    assert first["finished_at"] <= second["started_at"]
    assert pair.live_sha("myapp") == second["sha"]
    assert len({one["requested_by"]["user"] for one in begun}) == 2


async def test_same_commit_asked_at_the_same_instant_on_both_is_deployed_once(
    pair: Processes,
) -> None:
    world = pair.world
    people = (world.ada, world.slack.user("grace"))
    world.hold()
    # Neither can start before the other one is compared with it.
    await world.deploy("myapp feature/login")
    await world.until_message("Building")
    await asyncio.gather(*(world.deploy("myapp main", user=one.name) for one in people))

    def refused() -> bool:
        whispers = [one for who in people for one in world.slack.ephemerals(who)]
        return any("already" in shown(one) for one in whispers)

    await world.slack.until(refused)
    world.let_go()
    await pair.until_webhooks("myapp", 2)
    assert min(world.slack.envelopes_per_connection_for_test()) > 0
    assert (pair.starts("myapp"), len(world.messages)) == (2, 2)
