"""SQLite: one thread switch for each statement, and how its transactions begin."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import Any, Self

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry


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
