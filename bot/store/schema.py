"""The schema's version: which one the database has, and bringing it to ours."""

from types import ModuleType

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.store.database import translated
from bot.store.tables import REVISION

_UPGRADE_LOCK = 5_220_161
"""Any fixed number: replicas that upgrade one PostgreSQL at once wait for each other."""


async def current(engine: AsyncEngine) -> str | None:
    """The revision that the database has; None: it is empty."""
    with translated():
        async with engine.connect() as connection:
            return await connection.run_sync(_current)


def newest() -> str:
    """The revision that this release needs."""
    return REVISION


def is_known(revision: str) -> bool:
    """Whether this release has the migration; one of a newer release is not known here."""
    known: bool = revision == newest() or _alembic().is_known(revision)
    return known


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the database to the newest revision. One that a newer release wrote is left alone.

    The engine must be one of `engine.build_engine(..., migrates=True)`: SQLite rebuilds tables,
    and with foreign keys on that would delete the rows that point at them.
    """
    with translated():
        async with engine.connect() as connection:
            await connection.execution_options(writes=True)
            async with connection.begin():
                await connection.run_sync(_upgrade)


async def revise(engine: AsyncEngine, message: str) -> str:
    """Write a new migration from the difference to `tables.py`; its path. For developers."""
    with translated():
        async with engine.connect() as connection:
            return await connection.run_sync(_alembic().write_revision, message)


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version"))
    revision: str | None = found.scalar_one_or_none()
    return revision


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
    revision = _current(connection)
    if revision is None or (revision != newest() and is_known(revision)):
        _alembic().migrate(connection)


def _alembic() -> ModuleType:
    from bot.store import migrating  # noqa: PLC0415  (slow to load and seldom needed)

    return migrating
