import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from bot.outbox import (
    Attempt,
    Delivered,
    Endpoint,
    Failed,
    Gone,
    LaneTiming,
    OutboxLane,
    Outgoing,
    Undeliverable,
    open_lanes,
    webhook_lane,
)
from tests.support.outbox import HandClock, MemoryOutbox

RETRY_AFTER = LaneTiming().retry_after
LANE = webhook_lane("https://user:word@ops.example.com/secret/path")


class Receiver:
    """The receiver: answers as the test says, and can keep deliveries in flight."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.answers: list[Attempt | Exception] = []
        self.open = asyncio.Event()
        self.open.set()
        self.outcomes: Counter[str] = Counter()
        self.news = asyncio.Condition()

    async def __call__(self, row: Outgoing) -> Attempt:
        self.received.append(row.id)
        async with self.news:
            self.news.notify_all()
        await self.open.wait()
        answer = self.answers.pop(0) if self.answers else Delivered()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] += 1

    async def until_received(self, count: int) -> None:
        async with asyncio.timeout(5), self.news:
            await self.news.wait_for(lambda: len(self.received) >= count)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def outbox(clock: HandClock) -> MemoryOutbox:
    return MemoryOutbox(clock)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def lane(outbox: MemoryOutbox, clock: HandClock, receiver: Receiver) -> OutboxLane:
    return OutboxLane(lane=LANE, outbox=outbox, deliver=receiver, clock=clock, count=receiver.count)


async def test_due_rows_are_delivered_once(
    lane: OutboxLane, outbox: MemoryOutbox, receiver: Receiver
) -> None:
    keys = [outbox.add(lane=LANE, deployment=f"d{n}") for n in range(20)]
    async with open_lanes([lane]):
        for key in keys:
            await outbox.until(key, state="delivered")
    assert sorted(receiver.received) == keys
    assert receiver.outcomes == {"delivered": 20}


async def test_kick_delivers_now(lane: OutboxLane, outbox: MemoryOutbox, clock: HandClock) -> None:
    async with open_lanes([lane]):
        await outbox.until_looked(1)
        key = outbox.add(lane=LANE, deployment="d")
        lane.kick()
        await outbox.until(key, state="delivered")
    assert clock.monotonic() == 0


async def test_outbox_is_read_every_few_seconds_without_a_kick(
    lane: OutboxLane, outbox: MemoryOutbox, clock: HandClock
) -> None:
    async with open_lanes([lane]):
        await outbox.until_looked(1)
        key = outbox.add(lane=LANE, deployment="d")
        while outbox.rows[key].state == "waiting":
            looks = outbox.looks
            await asyncio.sleep(0)
            clock.advance(timedelta(seconds=5))
            await outbox.until_looked(looks)
        await outbox.until(key, state="delivered")


async def test_rows_of_a_deployment_keep_their_order_and_others_do_not_wait(
    lane: OutboxLane, outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    first = outbox.add(lane=LANE, deployment="d1")
    second = outbox.add(lane=LANE, deployment="d1")
    other = outbox.add(lane=LANE, deployment="d2")
    receiver.answers = [Failed("it answered 503")]
    async with open_lanes([lane]):
        await outbox.until(first, tries=1)
        await outbox.until(other, state="delivered")
        assert outbox.rows[second].state == "waiting"
        await outbox.until_looked(outbox.looks + 1)
        clock.advance(RETRY_AFTER[0])
        lane.kick()
        await outbox.until(second, state="delivered")
    assert receiver.received == [first, other, first, second]


async def pass_slowly(clock: HandClock, duration: timedelta) -> None:
    """In steps of a second, with turns of the loop in between."""
    for _ in range(int(duration.total_seconds())):
        clock.advance(timedelta(seconds=1))
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.mark.parametrize("jump", [timedelta(0), timedelta(hours=1)], ids=["slow", "clock jumps"])
async def test_delivery_under_way_is_begun_once(
    outbox: MemoryOutbox, clock: HandClock, receiver: Receiver, jump: timedelta
) -> None:
    answered = asyncio.Event()

    async def deliver(row: Outgoing) -> Attempt:
        await receiver(row)
        await answered.wait()
        return Delivered()

    lane = OutboxLane(lane=LANE, outbox=outbox, deliver=deliver, clock=clock)
    key = outbox.add(lane=LANE, deployment="d")
    async with open_lanes([lane]):
        await outbox.until_looked(1)
        if jump:
            outbox.held.clear()  # the wall clock was put forward: every hold has ended
        await pass_slowly(clock, timedelta(minutes=4))
        assert receiver.received == [key]
        answered.set()
        await outbox.until(key, state="delivered")
    assert receiver.received == [key]


async def test_suspended_process_may_not_send_what_it_held(
    outbox: MemoryOutbox, clock: HandClock
) -> None:
    could: list[bool] = []

    async def deliver(row: Outgoing) -> Attempt:
        could.append(row.may_send())
        clock.advance(timedelta(seconds=50))  # SIGSTOP: no timer has run
        could.append(row.may_send())
        return Delivered()

    lane = OutboxLane(lane=LANE, outbox=outbox, deliver=deliver, clock=clock)
    key = outbox.add(lane=LANE, deployment="d")
    async with open_lanes([lane]):
        await outbox.until(key, state="delivered")
    assert could == [True, False]


async def test_delivery_ends_before_another_process_may_begin_it(
    outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    """The database went away: nothing prolongs the hold."""
    ended: list[float] = []

    async def deliver(row: Outgoing) -> Attempt:
        await receiver(row)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(clock.monotonic())
        raise AssertionError

    lane = OutboxLane(lane=LANE, outbox=outbox, deliver=deliver, clock=clock)
    key = outbox.add(lane=LANE, deployment="d")
    async with open_lanes([lane]):
        await outbox.until_looked(1)
        await pass_slowly(clock, timedelta(seconds=1))
        outbox.broken = 1_000
        await pass_slowly(clock, lane.timing.hold)
        assert receiver.received == [key]
        assert len(ended) == 1
        assert ended[0] < lane.timing.hold.total_seconds()


async def test_failed_row_is_retried_on_schedule_and_given_up(
    lane: OutboxLane, outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    key = outbox.add(lane=LANE, deployment="d")
    receiver.answers = [Failed("it answered 503")] * 7
    async with open_lanes([lane]):
        for tries, wait in enumerate(RETRY_AFTER, start=1):
            row = await outbox.until(key, tries=tries)
            assert row.next_at == clock.now() + wait
            clock.advance(wait)
            lane.kick()
        row = await outbox.until(key, state="given_up")
    assert row.last_error == "it answered 503"
    assert [wait.total_seconds() for wait in RETRY_AFTER] == [5, 30, 120, 600, 3_600, 21_600]
    assert receiver.outcomes == {"retried": 6, "given_up": 1}
    assert outbox.left == 0, "each number of them would be another statement for the database"


@pytest.mark.parametrize("hours", [-1, 1])
async def test_set_clock_neither_delays_an_attempt_nor_doubles_it(
    lane: OutboxLane, outbox: MemoryOutbox, clock: HandClock, receiver: Receiver, hours: int
) -> None:
    key = outbox.add(lane=LANE, deployment="d")
    receiver.answers = [Failed("it answered 503")]
    async with open_lanes([lane]):
        await outbox.until(key, tries=1)
        clock.set_wall(timedelta(hours=hours))
        looks = outbox.looks
        if hours < 0:
            lane.kick()
            await outbox.until_looked(looks + 1)
            assert receiver.received == [key]
        clock.advance(RETRY_AFTER[0])
        lane.kick()
        await outbox.until(key, state="delivered")
        clock.advance(timedelta(hours=2))
        lane.kick()
        await outbox.until_looked(looks + 2)
    assert receiver.received == [key, key]


async def test_undeliverable_row_is_given_up_at_once(
    lane: OutboxLane, outbox: MemoryOutbox, receiver: Receiver
) -> None:
    key = outbox.add(lane=LANE, deployment="d")
    receiver.answers = [Undeliverable("the channel is archived")]
    async with open_lanes([lane]):
        await outbox.until(key, state="given_up")
    assert len(receiver.received) == 1


async def test_lane_of_a_gone_receiver_is_off_and_keeps_its_rows(
    lane: OutboxLane, outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    key = outbox.add(lane=LANE, deployment="d")
    receiver.answers = [Gone("it answered 410")]
    async with open_lanes([lane]):
        await outbox.until(key, tries=1)
        assert outbox.off == {LANE: "it answered 410"}
        clock.advance(timedelta(hours=1))
        lane.kick()
        await outbox.until_looked(outbox.looks + 1)
        assert len(receiver.received) == 1
        await outbox.turn_on(LANE)
        lane.kick()
        await outbox.until(key, state="delivered")


async def test_bug_in_delivery_is_retried_without_showing_its_text(
    lane: OutboxLane, outbox: MemoryOutbox, receiver: Receiver
) -> None:
    key = outbox.add(lane=LANE, deployment="d")
    receiver.answers = [RuntimeError("password=swordfish")]
    async with open_lanes([lane]):
        row = await outbox.until(key, tries=1)
    assert row.last_error == "internal error: RuntimeError"


async def test_unreadable_outbox_is_read_again(lane: OutboxLane, outbox: MemoryOutbox) -> None:
    outbox.broken = 1
    key = outbox.add(lane=LANE, deployment="d")
    async with open_lanes([lane]):
        await outbox.until_looked(1)
        lane.kick()
        await outbox.until(key, state="delivered")


async def test_deliveries_at_once_are_limited(
    lane: OutboxLane, outbox: MemoryOutbox, receiver: Receiver
) -> None:
    keys = [outbox.add(lane=LANE, deployment=f"d{n}") for n in range(12)]
    receiver.open.clear()
    async with open_lanes([lane]):
        await receiver.until_received(8)
        lane.kick()
        await asyncio.sleep(0)
        assert len(receiver.received) == 8
        receiver.open.set()
        for key in keys:
            await outbox.until(key, state="delivered")


async def test_leaving_delivers_due_rows(
    lane: OutboxLane, outbox: MemoryOutbox, receiver: Receiver
) -> None:
    async with open_lanes([lane]):
        await outbox.until_looked(1)
        key = outbox.add(lane=LANE, deployment="d")
    assert outbox.rows[key].state == "delivered"
    assert receiver.received == [key]


async def test_leaving_is_bounded_and_loses_no_row(
    lane: OutboxLane, outbox: MemoryOutbox, receiver: Receiver
) -> None:
    key = outbox.add(lane=LANE, deployment="d")
    receiver.open.clear()
    async with asyncio.timeout(5), open_lanes([lane], drain=timedelta(milliseconds=20)):
        await receiver.until_received(1)
    assert outbox.rows[key].state == "waiting"


async def test_two_lanes_do_not_wait_for_each_other(
    outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    slow, quick = Receiver(), receiver
    slow.open.clear()
    lanes = [
        OutboxLane(lane=name, outbox=outbox, deliver=deliver, clock=clock)
        for name, deliver in (("slow", slow), ("quick", quick))
    ]
    outbox.add(lane="slow", deployment="d")
    key = outbox.add(lane="quick", deployment="d")
    async with open_lanes(lanes, drain=timedelta(milliseconds=20)):
        await slow.until_received(1)
        await outbox.until(key, state="delivered")


def test_lane_is_named_by_host_and_digest() -> None:
    url = "https://user:word@Ops.example.com:8443/secret/path?key=hidden"
    lane = webhook_lane(url)
    assert lane.startswith("webhook:ops.example.com:8443/")
    assert not [part for part in ("user", "word", "secret", "path", "hidden") if part in lane]
    assert webhook_lane(url) == lane
    assert webhook_lane(url + "2") != lane
    endpoint = Endpoint(url=url, secret="whsec_c2VjcmV0")
    assert endpoint.lane == lane
    assert "hidden" not in repr(endpoint)
