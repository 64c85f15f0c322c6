"""One database: transactions, translated errors, and signals after a commit."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import (
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, Self, TypeVar
from uuid import uuid4

import aiosqlite
import structlog
from sqlalchemy import BigInteger, ColumnElement, Connection, Table, event, exc, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from bot.errors import DatabaseDown, StoreError

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

Signal = Callable[[str, str], None]
"""Called soon after a commit of this process with a kind and a deployment id.

Kinds: `queued` (the queue may have a new head), `cancel` (a cancel was requested), `ended`, and
`outbox` (something to deliver; the id may be empty).
"""


class Clash(StoreError):
    """A unique index or a foreign key refused a row; only the caller knows what that means."""


def whole(method: Callable[P, Coroutine[None, None, T]]) -> Callable[P, Coroutine[None, None, T]]:
    """Finish a call once begun, even if its caller is cancelled meanwhile.

    The caller's CancelledError is raised afterwards; the database's time limits bound the wait.
    """

    # A driver that is cancelled in the middle of a statement (measured: of BEGIN IMMEDIATE)
    # loses the connection while the database goes on, and the write lock stays taken.
    @wraps(method)
    async def finish(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.ensure_future(method(*args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            if not task.cancelled():
                # No caller is left to receive the error.
                task.exception()
            raise

    return finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One write under way. Subscribers get its signals only after the commit."""

    connection: AsyncConnection
    signals: list[tuple[str, str]] = field(default_factory=list)
    """To send after the commit, in order."""

    async def wait_for(self, name: str) -> None:
        """Wait until no other transaction has this name; it has it now, until its end.

        SQLite needs no lock for that: it has one writer at a time.
        """
        if self.connection.dialect.name == "postgresql":
            key = func.hashtextextended(f"deploybot {name}", 0)
            await self.connection.execute(select(func.pg_advisory_xact_lock(key)))

    def announce(self, kind: str, deployment_id: str = "") -> None:
        """Signal a change to the subscribers once it is durable."""
        if (kind, deployment_id) not in self.signals:
            self.signals.append((kind, deployment_id))


class NowMs(FunctionElement[int]):
    """The database's own clock in milliseconds since 1970. Leases are measured only by it."""

    type = BigInteger()
    inherit_cache = True
    name = "now_ms"


@compiles(NowMs, "sqlite")
def _now_ms_on_sqlite(_element: NowMs, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"


@compiles(NowMs, "postgresql")
def _now_ms_on_postgresql(_element: NowMs, _compiler: SQLCompiler, **_kw: Any) -> str:
    # Not now(): it does not move while a transaction waits for a lock.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


DatabaseClock = Callable[[], ColumnElement[int]]
"""The expression that asks the database for its time in ms; tests pass a shifted one."""


class Database:
    """Opens transactions. Every error of the library leaves it as a StoreError."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._reads = engine.execution_options(begins="")
        self._snapshots = engine.execution_options(begins="BEGIN")
        self._writes = engine.execution_options(begins="BEGIN IMMEDIATE")
        self._subscribers: list[Signal] = []
        self._name = uuid4().hex
        """Of this process among those that notify."""
        # SQLite has one writer: waiting here is fair and costs no busy loop in its threads.
        self._turn = asyncio.Lock() if engine.dialect.name == "sqlite" else None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._writes.dialect.name

    def subscribe(self, signal: Signal) -> Callable[[], None]:
        """Call `signal` after each commit of this process; the returned call unsubscribes."""
        self._subscribers.append(signal)

        def unsubscribe() -> None:
            if signal in self._subscribers:
                self._subscribers.remove(signal)

        return unsubscribe

    @whole
    async def check_writes(self) -> None:
        """Write a little and commit it. DatabaseDown: a full disk, for example, refuses it."""
        async with self.write() as transaction:
            await transaction.connection.execute(text(_SAME_REVISION))

    @whole
    async def has_rows(self, table: Table) -> bool:
        """Whether anything is in a table."""
        async with self.read() as connection:
            found = await connection.execute(select(*table.primary_key).limit(1))
            return found.first() is not None

    async def if_rows(self, table: Table, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work for a table that is mostly empty, at the next call if this one fails."""
        try:
            if await self.has_rows(table):
                await work()
        except StoreError as error:
            log.warning("rows_not_read", table=table.name, why=str(error))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Read with one statement, which sees the database as it is at one moment."""
        with translated():
            async with self._reads.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """As `read`, for several statements. On SQLite all of them see the same moment."""
        with translated():
            async with self._snapshots.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """Commit at the end, roll back on any exception."""
        async with AsyncExitStack() as stack:
            commits = stack.enter_context(_translated_write())
            if self._turn is not None:
                await stack.enter_async_context(self._turn)
            connection = await stack.enter_async_context(self._writes.connect())
            transaction = Transaction(connection=connection)
            async with connection.begin():
                yield transaction
                await self._notify(transaction)
                commits.set()
        for kind, deployment_id in transaction.signals:
            self._signal(kind, deployment_id)

    async def _notify(self, transaction: Transaction) -> None:
        """Tell other replicas with the commit. SQLite has no way to: they poll."""
        if self._turn is None and transaction.signals:
            payloads = [f"{self._name} {kind} {about}" for kind, about in transaction.signals]
            given = {"channel": CHANNEL, "payloads": payloads}
            await transaction.connection.execute(text(_NOTIFY), given)

    def pass_on(self, payload: str) -> None:
        """Signal what another replica committed. Its own, which come back, are done already."""
        name, _, signal = payload.partition(" ")
        kind, _, deployment_id = signal.partition(" ")
        if name != self._name:
            self._signal(kind, deployment_id)

    def catch_up(self) -> None:
        """Signal what may have been missed."""
        for kind in ("queued", "outbox"):
            self._signal(kind, "")

    def _signal(self, kind: str, deployment_id: str) -> None:
        loop = asyncio.get_running_loop()
        for signal in self._subscribers:
            # Not called here: a subscriber's error is not the writer's.
            loop.call_soon(signal, kind, deployment_id)


CHANNEL = "deploybot"
"""PostgreSQL's channel of all replicas."""
_NOTIFY = (
    "SELECT pg_notify(CAST(:channel AS text), payload)"
    " FROM unnest(CAST(:payloads AS text[])) AS payload"
)
_SAME_REVISION = "UPDATE alembic_version SET version_num = version_num"
"""Changes nothing, and is written and committed all the same."""
_DOWN_STATES = ("08", "25006", "40", "53", "57", "58")
"""SQLSTATEs: connection, read-only standby, deadlock, full, shut down, system error."""


def _is_down(err: exc.DBAPIError) -> bool:
    if isinstance(err, exc.OperationalError | exc.InterfaceError) or err.connection_invalidated:
        return True
    return str(getattr(err.orig, "sqlstate", None) or "").startswith(_DOWN_STATES)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the library's errors into StoreErrors."""
    try:
        yield
    except exc.IntegrityError as err:
        raise Clash(f"the database refused a row: {err.orig}") from err
    except exc.DBAPIError as err:
        if _is_down(err):
            raise DatabaseDown(f"the database cannot be used: {err.orig}") from err
        raise StoreError(f"the database refused a statement: {err.orig}") from err
    except exc.TimeoutError as err:
        raise DatabaseDown("no free connection to the database") from err
    except OSError as err:
        # Also TimeoutError, which is one of them.
        reason = str(err) or "no answer in time"
        raise DatabaseDown(f"the database cannot be reached: {reason}") from err


@contextmanager
def _translated_write() -> Iterator[asyncio.Event]:
    """As `translated`; until the event is set, an error means that nothing was written."""
    commits = asyncio.Event()
    try:
        with translated():
            yield commits
    except DatabaseDown as err:
        err.nothing_written = not commits.is_set()
        raise


def open_sqlite(connect: Callable[[], sqlite3.Connection]) -> aiosqlite.Connection:
    """What SQLAlchemy awaits for a connection. `connect` is called in the connection's thread."""
    connection = _SqliteConnection(connect, iter_chunk_size=64)
    # A bot that is cut off while it opens the database ends all the same.
    connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does
    return connection


class _SqliteConnection(aiosqlite.Connection):
    """Goes once to the connection's thread and back for each statement, not four times.

    SQLAlchemy asks for a cursor, then to execute, to fetch all rows and to close it.
    """

    begun = False
    """A transaction was begun, or may be: the call was cancelled."""

    def cursor(self) -> "_SqliteCursor":  # type: ignore[override]
        return _SqliteCursor(self)

    async def in_thread(self, call: Callable[..., None], *arguments: Any) -> None:
        await self._execute(call, *arguments)  # type: ignore[no-untyped-call]

    async def commit(self) -> None:
        await super().commit()
        self.begun = False

    async def rollback(self) -> None:
        if self.begun:
            await super().rollback()
            self.begun = False


class _SqliteCursor:
    """Of one statement: executed, fetched and closed in one go."""

    arraysize = 1
    description: Any = None
    lastrowid: int | None = None
    rowcount = -1

    def __init__(self, connection: _SqliteConnection) -> None:
        self._connection = connection
        self._rows: Sequence[Any] = ()

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, values: Any = ()) -> Self:
        return await self._run(sqlite3.Cursor.execute, statement, values)

    async def executemany(self, statement: str, values: Any) -> Self:
        return await self._run(sqlite3.Cursor.executemany, statement, values)

    async def fetchall(self) -> Sequence[Any]:
        return self._rows

    async def close(self) -> None:
        """There is nothing left to close."""

    async def _run(self, call: Callable[..., Any], statement: str, values: Any) -> Self:
        self._connection.begun |= statement.startswith("BEGIN")
        await self._connection.in_thread(self._in_thread, call, statement, values)
        return self

    def _in_thread(self, call: Callable[..., Any], statement: str, values: Any) -> None:
        with closing(self._connection._conn.cursor()) as cursor:  # noqa: SLF001
            call(cursor, statement, values)
            self.description = cursor.description
            self._rows = cursor.fetchall()
            self.lastrowid, self.rowcount = cursor.lastrowid, cursor.rowcount


def configure_sqlite(engine: AsyncEngine, *, foreign_keys: bool) -> None:
    """Set SQLite's pragmas on each connection, and begin writes so that they can wait."""

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
        # A read of one statement begins nothing: SQLite does that for the statement itself.
        begins = connection.get_execution_options().get("begins", "BEGIN")
        if begins:
            connection.exec_driver_sql(begins)
