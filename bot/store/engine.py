"""The store's door: a URL in, the whole store out."""

import importlib.util
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, NullPool, event, exc, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from bot.clock import Clock
from bot.deployments.queue.rules import NO_LIMITS
from bot.errors import ConfigError, DatabaseDown, StoreError
from bot.outbox.model import Planner
from bot.store import schema
from bot.store.columns import NowMs
from bot.store.database import Database, Signal, whole
from bot.store.deployments import DeploymentWrites
from bot.store.leases import Leases
from bot.store.logs import Logs
from bot.store.outbox import OutboxRows
from bot.store.part import DatabaseClock
from bot.store.queries import DeploymentReads

SETTING = "DATABASE_URL"
_WAIT_S = 10.0
"""Longest wait for a lock (SQLite), a connection or an answer (PostgreSQL)."""
_MEND_FILE = "Name a file that the bot may read and write, in a folder where it may write."
_FORMS = "Write sqlite:///deploybot.db or postgresql://user:password@host/name."


class SqlStore(DeploymentWrites, DeploymentReads, Leases, Logs, OutboxRows):
    """`ports.Store` and `ports.Outbox` on one database.

    Any method may raise DatabaseDown: no answer, and whether a write was made is not known.
    """

    def subscribe(self, signal: Signal) -> Callable[[], None]:
        """Call `signal(kind, deployment_id)` soon after each commit of this process.

        Kinds: `queued` (the queue may have a new head), `wish` (somebody asked for an end),
        `ended`, `outbox` (something is to be told; the id may be empty). The returned call
        ends the subscription.
        """
        return self._database.subscribe(signal)

    @whole
    async def ping(self) -> None:
        """Ask the database for its time. DatabaseDown: it does not answer."""
        async with self._database.read() as connection:
            await connection.execute(NowMs().select())

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._database.engine.dialect.name


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
) -> AsyncIterator[SqlStore]:
    """Open the database; closing hangs up.

    Args:
        url: `sqlite:///file.db` (relative), `sqlite:////file.db` (absolute) or `postgresql://...`
            with any parameter that libpq knows (`sslmode`, `search_path`, ...).
        clock: Stamps audit rows and decides what is due in the outbox.
        planner: Turns events into outbox rows.
        migrate: Create and upgrade the tables first. By default SQLite is, and PostgreSQL must
            have been (`deploybot db upgrade`).
        source: Where the URL was read, for the error's sentence.
        now_ms: The database's clock, for leases; tests shift it.
        max_running: Server -> how many deployments may run there at once; 0: no limit.

    Raises: ConfigError for the setting DATABASE_URL; DatabaseDown when no server answers (trying
    again may help).
    """
    if migrate or (migrate is None and read_url(url, source=source).get_backend_name() == "sqlite"):
        await upgrade(url, source=source)
    engine = build_engine(url, source=source)
    try:
        await _check_revision(engine, source=source)
        yield SqlStore(
            Database(engine),
            clock=clock,
            planner=planner,
            now_ms=now_ms,
            max_running=max_running,
        )
    finally:
        await engine.dispose()


async def upgrade(url: str, *, source: str = "environment") -> None:
    """Create the tables, or bring them to the newest revision. Raises as `open_store`."""
    engine = build_engine(url, source=source, migrates=True)
    try:
        with _explained(engine, source):
            await schema.upgrade(engine)
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
            mend = "Install the extra: dokku-deploybot[postgres]."
            raise ConfigError(SETTING, source, "PostgreSQL's driver is not installed", mend)
        return read.set(drivername="postgresql+asyncpg")
    raise ConfigError(SETTING, source, f"{name} is not a database this bot knows", _FORMS)


def build_engine(url: str, *, source: str = "environment", migrates: bool = False) -> AsyncEngine:
    """An engine of our manners. `migrates`: for `schema.upgrade` alone, foreign keys off."""
    read = read_url(url, source=source)
    pool: dict[str, Any] = {"poolclass": NullPool} if migrates else {}
    if read.get_backend_name() == "sqlite":
        _check_file(read, source)
        engine = create_async_engine(
            read, connect_args={"isolation_level": None, "timeout": _WAIT_S}, **pool
        )
        _teach_sqlite(engine, foreign_keys=not migrates)
        return engine
    dsn = read.set(drivername="postgresql").render_as_string(hide_password=False)
    if not migrates:
        # A server that restarted costs one question, not one failed write.
        pool = {"pool_pre_ping": True, "pool_timeout": _WAIT_S}
    return create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: _connect(dsn, source), **pool
    )


def _teach_sqlite(engine: AsyncEngine, *, foreign_keys: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: ConnectionPoolEntry) -> None:
        with ExitStack() as stack:
            # The pool forgets a connection that fails here; its thread must end all the same.
            stack.callback(connection.close)
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode = WAL")
            # A kill loses nothing; a power cut may lose the last moments, never the file.
            cursor.execute("PRAGMA synchronous = NORMAL")
            cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
            cursor.close()
            stack.pop_all()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE: a writer that began as a reader could not wait for another one's end.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _check_file(url: URL, source: str) -> None:
    """Open the file once, plainly: a driver's thread that fails to would print a traceback."""
    file = Path(url.database or "").absolute()
    if not file.parent.is_dir():
        mend = "Create it, or name another file."
        raise ConfigError(SETTING, source, f"there is no folder {file.parent}", mend)
    try:
        with closing(sqlite3.connect(file, timeout=_WAIT_S)) as plain:
            plain.execute("PRAGMA schema_version")
    except sqlite3.Error as err:
        if "locked" in str(err):
            raise DatabaseDown(f"{file}: {err}") from err
        raise ConfigError(SETTING, source, f"{file}: {err}", _MEND_FILE) from err


@contextmanager
def _explained(engine: AsyncEngine, source: str) -> Iterator[None]:
    """At the start: what stays wrong until somebody mends it is a ConfigError."""
    try:
        yield
    except StoreError as err:
        if engine.dialect.name == "postgresql":
            if isinstance(err, DatabaseDown):
                raise
            mend = "Give the user the right to create and use tables in its schema."
            raise ConfigError(SETTING, source, str(err), mend) from err
        if "locked" in str(err):
            raise
        raise ConfigError(SETTING, source, f"{engine.url.database}: {err}", _MEND_FILE) from err


async def _check_revision(engine: AsyncEngine, *, source: str) -> None:
    with _explained(engine, source):
        found, needed = await schema.current(engine), schema.newest()
    # One that is not known here was written by a newer release: it works with this one.
    if found == needed or (found is not None and not schema.is_known(found)):
        return
    lacks = "has no tables" if found is None else f"is at revision {found}, not {needed}"
    mend = "Run: deploybot db upgrade."
    raise ConfigError(SETTING, source, f"the database {lacks}", mend)


async def _connect(dsn: str, source: str) -> Any:
    """Log in to PostgreSQL; asyncpg itself reads libpq's parameters out of the URL."""
    import asyncpg  # noqa: PLC0415  (an extra: it may be absent)

    try:
        return await asyncpg.connect(dsn, timeout=_WAIT_S, command_timeout=_WAIT_S)
    except (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.ClientConfigurationError,
    ) as err:
        mend = "Correct the URL, or create the user and the database."
        raise ConfigError(SETTING, source, f"PostgreSQL refuses: {err}", mend) from err
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as err:
        reason = str(err) or "no answer in time"
        raise DatabaseDown(f"PostgreSQL cannot be reached: {reason}") from err
