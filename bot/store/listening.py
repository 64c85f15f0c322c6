"""Signals of other replicas through PostgreSQL's LISTEN: at once, where polling takes seconds.

Nothing depends on them. A notice may be missing (a connection was lost, a pooler passes none on),
and whatever it said is found by the next look.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from bot.errors import BotError
from bot.store.database import CHANNEL, Database

log = structlog.get_logger(__name__)

PAUSE_S = 5.0
"""Before another connection is made."""
CHECK_EVERY_S = 30.0
"""After this long a connection that died silently is noticed."""

Connect = Callable[[], Awaitable[Any]]
"""Make a connection of asyncpg."""


async def listen(database: Database, connect: Connect) -> None:
    """Pass on what other replicas signal, until cancelled."""
    while True:
        try:
            if not await _listen_once(database, connect):
                log.info("not_listening", why="a pooler passes no notices on; polling finds all")
                return
        except (BotError, OSError, TimeoutError) as error:
            log.info("notices_interrupted", why=str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - the driver's errors have no common base class
            log.info("notices_interrupted", why=f"{type(error).__name__}: {error}")
        await asyncio.sleep(PAUSE_S)


async def _listen_once(database: Database, connect: Connect) -> bool:
    """Until the connection is lost, which raises. False: it is not PostgreSQL's own."""
    connection = await connect()
    try:
        if await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid():
            # A pooler makes its process numbers up. LISTEN would stay on a connection of others.
            return False

        def heard(_connection: object, _pid: int, _channel: str, payload: str) -> None:
            database.pass_on(payload)

        await connection.add_listener(CHANNEL, heard)
        # What was signalled before this connection listened.
        database.catch_up()
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _connection: lost.set())
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), CHECK_EVERY_S)
            await connection.fetchval("SELECT 1")
    finally:
        connection.terminate()


async def stop(listening: "asyncio.Task[None]") -> None:
    """End it, and wait for its connection to be gone."""
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
