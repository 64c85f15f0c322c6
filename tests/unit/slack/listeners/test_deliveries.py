import asyncio
from datetime import UTC, datetime, timedelta

from bot.clock import Clock
from bot.slack.listeners.deliveries import KeyedLocks, Seen, Tasks


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


def test_a_key_is_first_once_until_it_is_forgotten() -> None:
    clock = HandClock()
    seen = Seen(clock=clock, keep=timedelta(minutes=10))
    assert seen.first("a")
    clock.seconds = 599
    assert not seen.first("a")
    assert seen.first("b")
    clock.seconds = 601
    assert seen.first("a")
    assert not seen.first("b")


def test_the_memory_is_bounded() -> None:
    seen = Seen(clock=HandClock(), most=3)
    assert all(seen.first(str(number)) for number in range(10))
    assert not seen.first("9")
    assert seen.first("0")


async def test_tasks_are_waited_for_and_then_cut_off() -> None:
    tasks = Tasks()
    done: list[str] = []
    release = asyncio.Event()

    async def short() -> None:
        await release.wait()
        done.append("short")

    async def endless() -> None:
        await asyncio.Event().wait()

    tasks.start(short(), name="short")
    release.set()
    assert await tasks.drain(timedelta(seconds=5)) == 0
    assert done == ["short"]
    tasks.start(endless(), name="endless")
    assert await tasks.drain(timedelta(seconds=0)) == 1
    assert await tasks.drain(timedelta(seconds=0)) == 0


async def test_a_lock_belongs_to_its_key_and_leaves_with_the_last_holder() -> None:
    locks = KeyedLocks()
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
