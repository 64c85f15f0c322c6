"""One database: transactions, translated errors, and signals after a commit."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import (
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar, cast
from uuid import uuid4

import structlog
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    RowMapping,
    Select,
    Table,
    exc,
    func,
    select,
    text,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NULLTYPE

from bot.errors import DatabaseDown, StoreError

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Reader = Callable[[Any], Any]

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

    def __init__(self, engine: AsyncEngine, *, wait_s: float) -> None:
        """`wait_s`: a write that says nothing for so long is given up by PostgreSQL."""
        self._reads = engine.execution_options(begins="")
        self._snapshots = engine.execution_options(begins="BEGIN")
        self._writes = engine.execution_options(begins="BEGIN IMMEDIATE")
        self._longest_pause = text(_LONGEST_PAUSE.format(int(wait_s * 1000)))
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
                if self._turn is None:
                    await connection.execute(self._longest_pause)
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


class Decoder(Generic[T]):
    """Decodes rows that are read once a second: only those that changed since, or are new.

    Of a thousand rows hardly any did; decoding them all takes ten times as long as reading them.
    """

    def __init__(self, table: Table, decode: Callable[[RowMapping], T]) -> None:
        self._columns = tuple(table.columns)
        self._undecoded = [type_coerce(one, NULLTYPE).label(one.name) for one in self._columns]
        self._decode = decode
        self._known: dict[object, tuple[tuple[Any, ...], T]] = {}
        self._readers: Sequence[Reader | None] = ()

    async def all(self, connection: AsyncConnection, query: Select[*tuple[Any, ...]]) -> list[T]:
        """The values of the rows that the query selects from the table, in its order."""
        found = await connection.execute(query.with_only_columns(*self._undecoded))
        if not self._readers and found.cursor is not None:
            driver = zip(self._columns, found.cursor.description, strict=True)
            self._readers = [_reader(one, about[1], connection.dialect) for one, about in driver]
        rows = [tuple(row) for row in found]
        before = self._known
        self._known = {row[0]: self._value(row, before.get(row[0])) for row in rows}
        return [self._known[row[0]][1] for row in rows]

    def _value(
        self, row: tuple[Any, ...], known: tuple[tuple[Any, ...], T] | None
    ) -> tuple[tuple[Any, ...], T]:
        if known is not None and known[0] == row:
            return known
        parts = zip(self._columns, self._readers, row, strict=True)
        named = {one.name: read(part) if read else part for one, read, part in parts}
        return row, self._decode(cast("RowMapping", named))


def _reader(column: Column[Any], driver_type: Any, dialect: Dialect) -> Reader | None:
    """What makes the column's value of what the driver gives; None: it is the value."""
    return column.type.dialect_impl(dialect).result_processor(dialect, driver_type)


CHANNEL = "deploybot"
"""PostgreSQL's channel of all replicas."""
_NOTIFY = (
    "SELECT pg_notify(CAST(:channel AS text), payload)"
    " FROM unnest(CAST(:payloads AS text[])) AS payload"
)
_LONGEST_PAUSE = "SET LOCAL idle_in_transaction_session_timeout = {}"
"""Without it, a replica that was suspended in a transaction, or whose network broke, would keep its
locks from the others for hours. Not for the session: behind a pooler, others use it too."""
_SAME_REVISION = "UPDATE alembic_version SET version_num = version_num"
"""Changes nothing, and is written and committed all the same."""
_DOWN_STATES = ("08", "25006", "25P03", "40", "53", "57", "58")
"""SQLSTATEs: connection, read-only standby, too long idle, deadlock, full, shut down, system error.
"""


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
