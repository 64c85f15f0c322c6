"""What a read sees while someone else writes."""

from typing import Any

import pytest
from sqlalchemy import func, select

from bot.errors import StoreError
from bot.store.sql_store import SqlStore
from bot.store.tables import deployments
from tests.contract.store.stories import create

COUNT = select(func.count()).select_from(deployments)


async def test_snapshot_on_sqlite_sees_one_moment(store: SqlStore) -> None:
    database = store.database
    async with database.snapshot() as connection:
        assert await connection.scalar(COUNT) == 0
        await create(store)
        assert await connection.scalar(COUNT) == (0 if database.dialect == "sqlite" else 1)
    async with database.snapshot() as connection:
        assert await connection.scalar(COUNT) == 1


async def test_read_on_sqlite_leaves_no_transaction_open(store: SqlStore) -> None:
    async with store.database.read() as connection:
        await connection.execute(COUNT)
        driver: Any = (await connection.get_raw_connection()).driver_connection
        assert store.database.dialect != "sqlite" or not driver.in_transaction


async def test_refused_statement_leaves_nothing_behind_on_its_connection(store: SqlStore) -> None:
    first = await create(store)
    for _ in range(3):
        with pytest.raises(StoreError, match="refused a row"):
            await create(store, id=first.id)
    assert [one.id for one in await store.recent()] == [first.id]
