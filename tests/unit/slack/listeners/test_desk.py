import asyncio
from datetime import UTC, datetime, timedelta

from bot.clock import Clock
from bot.deployments.model import Actor
from bot.slack.listeners.desk import Answers, LockPerDeployment, RecentDeliveries
from bot.slack.listeners.payloads import Asker
from tests.support.stage import Stage, open_stage


class HandClock(Clock):
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, duration: timedelta) -> None:
        self.seconds += duration.total_seconds()
        await asyncio.sleep(0)


def test_repeated_delivery_is_recognised_until_it_is_forgotten() -> None:
    clock = HandClock()
    recent = RecentDeliveries(clock=clock, keep=timedelta(minutes=10))
    assert recent.add("a")
    clock.seconds = 599
    assert not recent.add("a")
    assert recent.add("b")
    clock.seconds = 601
    assert recent.add("a")
    assert not recent.add("b")


def test_number_of_remembered_deliveries_is_bounded() -> None:
    recent = RecentDeliveries(clock=HandClock(), most=3)
    assert all(recent.add(str(number)) for number in range(10))
    assert not recent.add("9")
    assert recent.add("0")


async def test_lock_is_per_key_and_removed_after_the_last_holder() -> None:
    locks = LockPerDeployment()
    order: list[str] = []

    async def hold(key: str, name: str, until: asyncio.Event) -> None:
        async with locks.hold(key):
            order.append(name)
            await until.wait()

    free, held = asyncio.Event(), asyncio.Event()
    free.set()
    first = asyncio.create_task(hold("a", "first", held))
    await asyncio.sleep(0)
    second = asyncio.create_task(hold("a", "second", free))
    await asyncio.wait_for(hold("b", "other", free), 5)
    assert order == ["first", "other"]
    held.set()
    await asyncio.wait_for(asyncio.gather(first, second), 5)
    assert order == ["first", "other", "second"]
    assert not locks._locks


def asker(stage: Stage, channel: str, response_url: str | None = None) -> Asker:
    return Asker(actor=Actor(user=stage.ada.id), channel=channel, response_url=response_url)


async def test_expired_response_url_falls_back_to_an_ephemeral_message() -> None:
    async with open_stage() as stage:
        gone = f"{stage.slack.page_url}response/gone"
        who = asker(stage, stage.deploys.id, gone)
        await Answers(client=stage.client, asker=who).whisper("Not there.")
        assert await stage.whisper() == "Not there."


async def test_unreachable_response_url_falls_back_to_an_ephemeral_message() -> None:
    async with open_stage() as stage:
        who = asker(stage, stage.deploys.id, "http://127.0.0.1:9/none")
        await Answers(client=stage.client, asker=who).whisper("Not there.")
        assert await stage.whisper() == "Not there."


async def test_answer_goes_by_direct_message_where_the_bot_is_not_a_member() -> None:
    async with open_stage() as stage:
        who = asker(stage, stage.slack.channel("secret").id)
        await Answers(client=stage.client, asker=who).whisper("Not there.")
        (seen,) = stage.slack.messages(stage.slack.dm(stage.ada))
        assert seen.text == "Not there."


async def test_answer_in_a_direct_message_is_a_normal_message() -> None:
    async with open_stage() as stage:
        direct = stage.slack.dm(stage.ada)
        await Answers(client=stage.client, asker=asker(stage, direct.id)).whisper("Not there.")
        assert [one.text for one in stage.slack.messages(direct)] == ["Not there."]
        assert not stage.slack.ephemerals(stage.ada)
