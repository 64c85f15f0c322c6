"""The schema's versions: Alembic, run inside the process on our own connection."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.store.database import translated

_SCRIPTS = Path(__file__).parent / "migrations"
_UPGRADE_LOCK = 5_220_161
"""Any fixed number: replicas that upgrade one PostgreSQL at once wait for each other."""


async def current(engine: AsyncEngine) -> str | None:
    """The revision that the database has; None: it is empty."""
    with translated():
        async with engine.connect() as connection:
            return await connection.run_sync(_current)


def newest() -> str:
    """The revision that this release needs."""
    head = ScriptDirectory(str(_SCRIPTS)).get_current_head()
    if head is None:
        raise LookupError(f"no migrations in {_SCRIPTS}")
    return head


def is_known(revision: str) -> bool:
    """Whether this release has the migration; one of a newer release is not known here."""
    return revision in {
        script.revision for script in ScriptDirectory(str(_SCRIPTS)).walk_revisions()
    }


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
            script = await connection.run_sync(_revise, message)
    return str(script)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
    revision = _current(connection)
    if revision is None or is_known(revision):
        command.upgrade(_config(connection), "head")


def _revise(connection: Connection, message: str) -> str:
    script: Any = command.revision(_config(connection), message, autogenerate=True)
    return str(script.path)


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
