"""What one replica commits, the others are told at once on PostgreSQL; elsewhere they poll."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bot.store import listening
from bot.store.engine import SETTING, open_store, read_url
from bot.store.postgres import connect
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import ADA, BEGIN, StillClock, create, plan_both, start
from tests.support.postgres import PostgresServer


class Signals:
    """What a store signalled, in order."""

    def __init__(self, store: SqlStore) -> None:
        self.all: list[tuple[str, str]] = []
        self._news = asyncio.Condition()
        self.store = store
        store.database.subscribe(self._hear)

    def _hear(self, kind: str, deployment_id: str) -> None:
        self.all.append((kind, deployment_id))
        self._told = asyncio.ensure_future(self._tell())

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def until(self, kind: str, deployment_id: str) -> None:
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: (kind, deployment_id) in self.all)


@pytest.fixture
async def replicas(
    server: PostgresServer, clock: StillClock
) -> AsyncIterator[tuple[Signals, Signals]]:
    """Two that listen."""
    url = server.new_database()
    async with AsyncExitStack() as stack:
        one, two = [
            Signals(
                await stack.enter_async_context(
                    open_store(url, clock=clock, planner=plan_both, migrate=True)
                )
            )
            for _ in range(2)
        ]
        for each in (one, two):
            await each.until("outbox", "")
            each.all.clear()
        yield one, two


async def test_commit_is_signalled_to_the_other_replica(replicas: tuple[Signals, Signals]) -> None:
    here, there = replicas
    running = await start(here.store)
    await there.until("queued", running.id)
    await there.store.ask_cancel(running.id, ADA, BEGIN)
    await here.until("cancel", running.id)
    assert here.all.count(("queued", running.id)) == 1, "its own notice came back"
    assert there.all.count(("cancel", running.id)) == 1


async def test_lost_connection_is_replaced_and_what_was_missed_is_looked_for(
    server: PostgresServer, replicas: tuple[Signals, Signals], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "PAUSE_S", 0.05)
    monkeypatch.setattr(listening, "CHECK_EVERY_S", 0.05)
    here, there = replicas
    server.run_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1'"
    )
    await there.until("queued", "")
    missed = await create(here.store)
    await there.until("queued", missed.id)


async def test_nothing_listens_through_a_pooler(server: PostgresServer, clock: StillClock) -> None:
    """LISTEN would stay on a connection that other clients get, and tell nobody."""
    url = server.new_database()
    with server.pooler() as place:
        pooled = url.replace(str(server.folder), place)

        def connect_to_pooler() -> Awaitable[Any]:
            return connect(read_url(pooled), setting=SETTING, source="test", wait_s=10)

        async with open_store(pooled, clock=clock, planner=plan_both, migrate=True) as store:
            assert await listening._listen_once(store.database, connect_to_pooler) is False
            await create(store)
            found = server.run_sql(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            )
            assert found == "0\n"
