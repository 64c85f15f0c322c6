"""Every test here runs on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from bot.store.engine import open_store
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import Dial, StillClock, plan_both
from tests.support.postgres import NoPostgres, PostgresServer, postgres_server

NewUrl = Callable[[], str]


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    try:
        with postgres_server() as running:
            yield running
    except NoPostgres as err:
        pytest.fail(str(err))


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """Call it for the URL of an empty database."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path / uuid4().hex}.db"
    running: PostgresServer = request.getfixturevalue("server")
    return running.new_schema


@pytest.fixture
def url(new_url: NewUrl) -> str:
    return new_url()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def dial() -> Dial:
    """Turns the database's clock, as leases see it."""
    return Dial()


@pytest.fixture
async def store(url: str, clock: StillClock, dial: Dial) -> AsyncIterator[SqlStore]:
    async with open_store(
        url, clock=clock, planner=plan_both, migrate=True, now_ms=dial.now_ms
    ) as opened:
        yield opened


@pytest.fixture
async def other(
    url: str, clock: StillClock, dial: Dial, store: SqlStore
) -> AsyncIterator[SqlStore]:
    """A second replica on the same database."""
    async with open_store(
        url, clock=clock, planner=plan_both, migrate=False, now_ms=dial.now_ms
    ) as opened:
        yield opened
