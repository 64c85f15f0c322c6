"""Every test here runs on SQLite and on PostgreSQL."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from bot.store.engine import open_store, upgrade
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import Dial, StillClock, plan_both
from tests.support.compiled_once import statements_are_compiled_once
from tests.support.postgres import NoPostgres, PostgresServer, postgres_server

__all__ = ["statements_are_compiled_once"]
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


@pytest.fixture(scope="session")
def sqlite_tables() -> bytes:
    """A file with all tables: to migrate one for each test takes most of its time."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new.db"
        asyncio.run(upgrade(f"sqlite:///{file}"))
        return file.read_bytes()


@pytest.fixture(scope="session")
def postgres_tables(server: PostgresServer) -> str:
    """The same as a script for `new_schema`."""
    url = server.new_schema()
    asyncio.run(upgrade(url))
    return server.schema_script(url)


@pytest.fixture
def new_ready_url(request: pytest.FixtureRequest, new_url: NewUrl) -> NewUrl:
    """Call it for the URL of a database with all tables."""

    def on_sqlite() -> str:
        url = new_url()
        Path(url.removeprefix("sqlite:///")).write_bytes(request.getfixturevalue("sqlite_tables"))
        return url

    def on_postgresql() -> str:
        running: PostgresServer = request.getfixturevalue("server")
        return running.new_schema(request.getfixturevalue("postgres_tables"))

    on = request.node.callspec.params["new_url"]
    return on_sqlite if on == "sqlite" else on_postgresql


@pytest.fixture
def ready_url(new_ready_url: NewUrl) -> str:
    return new_ready_url()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def dial() -> Dial:
    """Turns the database's clock, as leases see it."""
    return Dial()


@pytest.fixture
async def store(ready_url: str, clock: StillClock, dial: Dial) -> AsyncIterator[SqlStore]:
    async with open_store(
        ready_url, clock=clock, planner=plan_both, migrate=False, now_ms=dial.now_ms
    ) as opened:
        yield opened


@pytest.fixture
async def other(
    ready_url: str, clock: StillClock, dial: Dial, store: SqlStore
) -> AsyncIterator[SqlStore]:
    """A second replica on the same database."""
    async with open_store(
        ready_url, clock=clock, planner=plan_both, migrate=False, now_ms=dial.now_ms
    ) as opened:
        yield opened
