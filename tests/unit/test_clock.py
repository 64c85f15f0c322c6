import asyncio
from datetime import timedelta

from bot.clock import Tasks


async def test_drain_waits_for_tasks_and_cancels_what_is_left_at_the_limit() -> None:
    tasks = Tasks()
    done: list[str] = []
    release = asyncio.Event()

    async def short() -> None:
        await release.wait()
        done.append("short")

    async def endless() -> None:
        await asyncio.Event().wait()

    tasks.spawn(short(), name="short")
    release.set()
    assert await tasks.drain(timedelta(seconds=5)) == 0
    assert done == ["short"]
    tasks.spawn(endless(), name="endless")
    assert await tasks.drain(timedelta(seconds=0)) == 1
    assert await tasks.drain(timedelta(seconds=0)) == 0
