"""Webhooks about a deployment, from the outbox to a receiver that verifies them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.simulators.receiver import Behaviour, Received
from tests.scenarios.conftest import QuickClock, World, open_world

EVERYTHING = """
[[webhooks]]
url = "{url}"
secret = "{secret}"
events = ["deployment.started", "deployment.finished", "deployment.corrected"]
"""
FASTER = 25.0


async def test_result_is_delivered_once_signed_and_complete(world: World) -> None:
    await world.deploy()
    (row,) = await world.ended()
    (one,) = world.simulators.receiver.received
    assert one.genuine
    assert one.headers["webhook-id"]
    data = one.body["data"]
    assert one.body["type"] == "deployment.finished"
    assert (data["id"], data["app"], data["server"]) == (row.id, "myapp", "default")
    assert (data["status"], data["failure"], data["live"]) == ("succeeded", None, "new")
    assert (data["ref"], data["sha"]) == ("main", world.simulators.forge.sha("myapp"))
    assert data["previous_sha"] == row.previous_sha
    assert data["requested_by"] == {
        "user": world.ada.id,
        "team": world.ada.team_id,
        "name": "ada",
    }
    assert data["trigger"] == "command"
    assert data["queued_at"] <= data["started_at"] <= data["finished_at"]
    assert data["duration_s"] > 0
    assert data["build_id"] == row.build_id
    assert data["url"].startswith("http://myapp.")
    assert (data["rollback_of"], data["retry_of"]) == (None, None)
    assert data["slack"] == {
        "channel": world.deploys.id,
        "ts": world.message.ts,
        "permalink": row.message.permalink,
    }
    assert any("Application deployed:" in line for line in data["log_tail"])


async def test_started_and_finished_arrive_in_order(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        _subscribe_to_everything(world)
        world.now_behaves("build_fails")
        await world.start_bot()
        await world.deploy("myapp main")
        await world.deploy("myapp v1.0")
        deliveries = await world.simulators.receiver.wait_delivered(4)
        first, second = reversed([row.id for row in await world.rows()])
        assert _events_of(deliveries, first) == [
            ("deployment.started", "running", None),
            ("deployment.finished", "failed", "build_failed"),
        ]
        assert _events_of(deliveries, second) == _events_of(deliveries, first)
        assert len({one.webhook_id for one in deliveries}) == 4
        failed = deliveries[-1].body["data"]
        assert failed["live"] == "previous"
        assert any("failed to solve" in line for line in failed["log_tail"])


@pytest.mark.parametrize(
    "trouble",
    [
        Behaviour(status=500),
        Behaviour(status=302, location="http://127.0.0.1:9/"),
        Behaviour(status=404),
    ],
    ids=lambda one: str(one.status),
)
async def test_failed_delivery_is_repeated_with_the_same_id(
    tmp_path: Path, trouble: Behaviour
) -> None:
    async with open_world(tmp_path) as world:
        _subscribe_to_everything(world)
        world.simulators.receiver.answer_for_test(trouble, trouble)
        await world.start_bot(clock=QuickClock(FASTER))
        await world.deploy()
        # 5 s and 30 s later by the bot's clock; `finished` waits behind `started`.
        received = await world.simulators.receiver.wait_for(4)
        assert [one.body["type"] for one in received] == [
            *["deployment.started"] * 3,
            "deployment.finished",
        ]
        assert len({one.webhook_id for one in received[:3]}) == 1
        assert len({str(one.body) for one in received[:3]}) == 1
        assert all(one.genuine for one in received)
        assert len({one.headers["webhook-timestamp"] for one in received[:3]}) == 3


async def test_next_process_repeats_a_failed_attempt(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.simulators.receiver.answer_for_test(Behaviour(status=503))
        await world.start_bot()
        await world.deploy()
        await world.simulators.receiver.wait_for(1)
        await world.stop_bot()
        assert len(world.simulators.receiver.delivered) == 0
        await world.start_bot(clock=QuickClock(FASTER))
        first, again = await world.simulators.receiver.wait_for(2)
        assert first.webhook_id == again.webhook_id
        assert again.delivered


async def test_410_disables_the_webhook(world: World) -> None:
    world.simulators.receiver.answer_for_test(Behaviour(status=410))
    await world.deploy()
    await world.simulators.receiver.wait_for(1)
    await world.replied("was deployed")
    await world.deploy("myapp v1.0")
    await world.posted(2)
    await world.until_message("Deployed", "`v1.0`")
    await world.replied("was deployed")
    await world.stop_bot()
    assert len(world.simulators.receiver.received) == 1


async def test_declined_requests_send_no_webhook(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        _subscribe_to_everything(world)
        await world.start_bot()
        await world.deploy("myapp no-such-branch")
        await world.whispered("no-such-branch")
        await world.deploy("nothing main")
        await world.whispered("There is no app")
        await world.slack.command(world.ada, world.slack.channel("random"), "/deploy", "myapp main")
        await world.whispered("/invite")
        await world.stop_bot()
        assert world.simulators.receiver.received == ()


def _subscribe_to_everything(world: World) -> None:
    """Configure all events. Call it before the bot is started."""
    environ = world.environ
    url, secret = environ.pop("DEPLOYBOT_WEBHOOK_URL"), environ.pop("DEPLOYBOT_WEBHOOK_SECRET")
    (world.folder / "deploybot.toml").write_text(EVERYTHING.format(url=url, secret=secret))


def _events_of(
    deliveries: Sequence[Received], deployment_id: str
) -> list[tuple[str, str, str | None]]:
    return [
        (one.body["type"], one.body["data"]["status"], one.body["data"]["failure"])
        for one in deliveries
        if one.body["data"]["id"] == deployment_id
    ]
