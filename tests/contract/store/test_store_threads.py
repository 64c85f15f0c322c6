"""No transaction waits for anything but the database."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from bot import clock
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import LEASE, start

MANY = 64


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Ends what a test let wait in threads."""
    event = threading.Event()
    yield event
    event.set()


async def test_log_is_stored_while_name_lookups_occupy_all_threads(
    store: SqlStore, release: threading.Event
) -> None:
    running = await start(store)
    loop = asyncio.get_running_loop()
    busy = [loop.run_in_executor(None, release.wait) for _ in range(MANY)]
    await store.logs.append(running.id, ["a"], fence=running.fence)
    assert await store.logs.read(running.id) == "a\n"
    release.set()
    await asyncio.gather(*busy)


async def test_log_that_waits_to_be_compressed_holds_no_lock(
    store: SqlStore, release: threading.Event
) -> None:
    running = await start(store)
    busy = [asyncio.ensure_future(clock.in_thread(release.wait)) for _ in range(MANY)]
    await asyncio.sleep(0)
    appending = asyncio.ensure_future(store.logs.append(running.id, ["a"], fence=running.fence))
    assert await store.leases.renew("one", LEASE, [running.id]) == {running.id}
    assert not appending.done()
    release.set()
    await asyncio.gather(appending, *busy)
    assert await store.logs.read(running.id) == "a\n"
