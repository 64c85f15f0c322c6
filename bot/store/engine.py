"""The store's entry point: database URLs, engines, and opening the store."""

import asyncio
import importlib.util
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, NullPool, exc, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.clock import Clock
from bot.deployments.queue.rules import NO_LIMITS
from bot.errors import ConfigError, DatabaseDown, StoreError
from bot.outbox import Planner
from bot.store import schema
from bot.store.database import Database, DatabaseClock, NowMs
from bot.store.listening import listen, stop
from bot.store.postgres import UNNAMED_STATEMENTS, connect
from bot.store.sql_store import SqlStore
from bot.store.sqlite import configure_sqlite, open_sqlite

SETTING = "DATABASE_URL"
WAIT_S = 10.0
"""Longest wait for a lock (SQLite), a connection or an answer (PostgreSQL)."""
_FIX_FILE = "Name a file that the bot may read and write, in a folder where it may write."
_FORMS = "Write sqlite:///deploybot.db or postgresql://user:password@host/name."


@asynccontextmanager
async def open_store(
    url: str,
    *,
    clock: Clock,
    planner: Planner,
    migrate: bool | None = None,
    source: str = "environment",
    now_ms: DatabaseClock = NowMs,
    max_running: Mapping[str, int] = NO_LIMITS,
    wait_s: float = WAIT_S,
) -> AsyncIterator[SqlStore]:
    """Open the database; closing hangs up.

    Args:
        url: `sqlite:///file.db` (relative), `sqlite:////file.db` (absolute) or `postgresql://...`
            with parameters that asyncpg or the server knows (`sslmode`, `search_path`, ...).
        clock: Stamps audit rows and decides what is due in the outbox.
        planner: Turns events into outbox rows.
        migrate: Create and upgrade the tables first. By default SQLite is, and PostgreSQL must
            have been (`deploybot db upgrade`).
        source: Where the URL was read, for the error's sentence.
        now_ms: The database's clock, for leases; tests shift it.
        max_running: Server -> how many deployments may run there at once; 0: no limit.
        wait_s: Longest wait for a lock, a connection or an answer.

    Raises: ConfigError for the setting DATABASE_URL; DatabaseDown when no server answers (trying
    again may help).
    """
    if migrate or (migrate is None and read_url(url, source=source).get_backend_name() == "sqlite"):
        await upgrade(url, source=source, wait_s=wait_s)
    engine = build_engine(url, source=source, wait_s=wait_s)
    try:
        await _check_revision(engine, source=source)
        database = Database(engine, wait_s=wait_s)
        async with _listening(database, url, source, wait_s):
            yield SqlStore(
                database,
                clock=clock,
                planner=planner,
                now_ms=now_ms,
                max_running=max_running,
            )
    finally:
        await engine.dispose()


@asynccontextmanager
async def _listening(
    database: Database, url: str, source: str, wait_s: float
) -> AsyncIterator[None]:
    if database.dialect != "postgresql":
        yield
        return
    read = read_url(url, source=source)
    listening = asyncio.create_task(
        listen(database, lambda: connect(read, setting=SETTING, source=source, wait_s=wait_s))
    )
    try:
        yield
    finally:
        await stop(listening)


async def upgrade(url: str, *, source: str = "environment", wait_s: float = WAIT_S) -> None:
    """Create the tables, or bring them to the newest revision. Raises as `open_store`."""
    engine = build_engine(url, source=source, migrates=True, wait_s=wait_s)
    try:
        with _explained(engine, source):
            await schema.upgrade(engine)
        await _check_revision(engine, source=source)
    finally:
        await engine.dispose()


async def revisions(url: str, *, source: str = "environment") -> tuple[str | None, str]:
    """The database's revision (None: no tables) and the one that this release needs."""
    engine = build_engine(url, source=source)
    try:
        with _explained(engine, source):
            return await schema.current(engine), schema.newest()
    finally:
        await engine.dispose()


def read_url(url: str, *, source: str = "environment") -> URL:
    """The URL with its driver. ConfigError: not one of the two forms."""
    try:
        read = make_url(url)
    except (exc.ArgumentError, ValueError):
        # The library's own sentence holds the URL, password and all.
        raise ConfigError(SETTING, source, "not a database URL", _FORMS) from None
    name = read.drivername.partition("+")[0]
    if name == "sqlite":
        if read.database in {None, "", ":memory:"}:
            raise ConfigError(SETTING, source, "names no file", _FORMS)
        return read.set(drivername="sqlite+aiosqlite")
    if name in {"postgresql", "postgres"}:
        if importlib.util.find_spec("asyncpg") is None:
            fix = "Install the extra: dokku-deploybot[postgres]."
            raise ConfigError(SETTING, source, "PostgreSQL's driver is not installed", fix)
        return read.set(drivername="postgresql+asyncpg")
    raise ConfigError(SETTING, source, f"{name} is not a database the bot knows", _FORMS)


def build_engine(
    url: str, *, source: str = "environment", migrates: bool = False, wait_s: float = WAIT_S
) -> AsyncEngine:
    """Create an engine with our pool and pragma settings.

    `migrates`: only for `schema.upgrade`; SQLite's foreign keys are off.
    """
    read = read_url(url, source=source)
    pool: dict[str, Any] = {"poolclass": NullPool} if migrates else {}
    if read.get_backend_name() == "sqlite":
        _check_file(read, source, wait_s)
        dialect = read.get_dialect()()
        names, options = dialect.create_connect_args(read)
        opens = partial(
            sqlite3.connect, *names, **{**options, "isolation_level": None, "timeout": wait_s}
        )
        engine = create_async_engine(read, async_creator=partial(open_sqlite, opens), **pool)
        configure_sqlite(engine, foreign_keys=not migrates)
        return engine
    if not migrates:
        # After a restart of the server, this costs one query instead of one failed write.
        pool = {"pool_pre_ping": True, "pool_timeout": wait_s}
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(read, setting=SETTING, source=source, wait_s=wait_s),
        connect_args=UNNAMED_STATEMENTS,
        **pool,
    )


def _check_file(url: URL, source: str, wait_s: float) -> None:
    """Open the file once without the driver, whose thread would print a traceback on failure."""
    file = Path(url.database or "").absolute()
    if not file.parent.is_dir():
        fix = "Create it, or name another file."
        raise ConfigError(SETTING, source, f"there is no folder {file.parent}", fix)
    try:
        with closing(sqlite3.connect(file, timeout=wait_s)) as plain:
            plain.execute("PRAGMA schema_version")
    except sqlite3.Error as err:
        if "locked" in str(err):
            raise DatabaseDown(f"{file}: {err}") from err
        raise ConfigError(SETTING, source, f"{file}: {err}", _FIX_FILE) from err


@contextmanager
def _explained(engine: AsyncEngine, source: str) -> Iterator[None]:
    """At the start: what stays wrong until someone fixes it is a ConfigError."""
    try:
        yield
    except StoreError as err:
        if engine.dialect.name == "postgresql":
            if isinstance(err, DatabaseDown):
                raise
            fix = "Give the user the right to create and use tables in its schema."
            raise ConfigError(SETTING, source, str(err), fix) from err
        if "locked" in str(err):
            raise
        raise ConfigError(SETTING, source, f"{engine.url.database}: {err}", _FIX_FILE) from err


async def _check_revision(engine: AsyncEngine, *, source: str) -> None:
    with _explained(engine, source):
        found, needed = await schema.current(engine), schema.newest()
        if found == needed:
            return
        if found is not None and not schema.is_known(found):
            oldest = await schema.works_since(engine, found)
            if oldest is not None and oldest <= needed:
                return
            problem = (
                f"the database is at revision {found}, of a newer release than this one "
                f"({needed}), which cannot work with it"
            )
            fix = "Start the newer release, or restore a copy from before its upgrade."
            raise ConfigError(SETTING, source, problem, fix)
    lacks = "has no tables" if found is None else f"is at revision {found}, not {needed}"
    fix = "Run: deploybot db upgrade."
    raise ConfigError(SETTING, source, f"the database {lacks}", fix)
