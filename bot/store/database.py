"""One database: transactions, translated errors, and what is told after a commit."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.errors import DatabaseDown, StoreError

P = ParamSpec("P")
T = TypeVar("T")

Signal = Callable[[str, str], None]
"""Called with a kind (`queued`, `wish`, `ended`, `outbox`) and a deployment id (may be empty)."""


class Clash(StoreError):
    """A unique index or a foreign key refused a row: only the caller knows its meaning."""


def whole(method: Callable[P, Coroutine[None, None, T]]) -> Callable[P, Coroutine[None, None, T]]:
    """A call to the store once begun is finished, even when its caller is cancelled meanwhile.

    The caller's CancelledError is raised after the end, which the database's time limits bound.
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
                # Nobody is left to hear of it.
                task.exception()
            raise

    return finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One write under way; what it tells is heard only after the commit."""

    connection: AsyncConnection
    _told: list[tuple[str, str]] = field(default_factory=list)

    def tell(self, kind: str, deployment_id: str = "") -> None:
        """Announce a change to the subscribers, once it is durable."""
        if (kind, deployment_id) not in self._told:
            self._told.append((kind, deployment_id))

    @property
    def told(self) -> tuple[tuple[str, str], ...]:
        """What is to be announced, in order."""
        return tuple(self._told)


class Database:
    """Hands out transactions. Every library error leaves it as a StoreError."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._signals: list[Signal] = []
        # SQLite has one writer: waiting here is fair and costs no busy loop in its threads.
        self._turn = asyncio.Lock() if engine.dialect.name == "sqlite" else None

    @property
    def engine(self) -> AsyncEngine:
        """The pool of connections."""
        return self._engine

    def subscribe(self, signal: Signal) -> Callable[[], None]:
        """Hear of commits of this process; the returned call ends it."""
        self._signals.append(signal)

        def leave() -> None:
            if signal in self._signals:
                self._signals.remove(signal)

        return leave

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent look."""
        with translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """Commit at the end, roll back on any exception."""
        async with AsyncExitStack() as stack:
            stack.enter_context(translated())
            if self._turn is not None:
                await stack.enter_async_context(self._turn)
            connection = await stack.enter_async_context(self._engine.connect())
            await connection.execution_options(writes=True)
            transaction = Transaction(connection=connection)
            async with connection.begin():
                yield transaction
        loop = asyncio.get_running_loop()
        for kind, deployment_id in transaction.told:
            for signal in self._signals:
                # Not called here: a subscriber's error is not the writer's.
                loop.call_soon(signal, kind, deployment_id)


_DOWN_STATES = ("08", "25006", "40", "53", "57", "58")
"""SQLSTATEs: connection, read-only standby, deadlock, full, shut down, system error."""


def _is_down(err: exc.DBAPIError) -> bool:
    if isinstance(err, exc.OperationalError | exc.InterfaceError) or err.connection_invalidated:
        return True
    return str(getattr(err.orig, "sqlstate", None) or "").startswith(_DOWN_STATES)


@contextmanager
def translated() -> Iterator[None]:
    """Turn library errors into ours."""
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
