"""The schema's version: which one the database has, and upgrading it.

Alembic runs inside the process on our own connection, and is imported only where there is work:
loading it takes longer than everything else at a start, and most starts migrate nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, MetaData, delete, insert, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.store.database import translated
from bot.store.shared_tables import WORKS_SINCE, releases
from bot.store.tables import REVISION, metadata

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS = Path(__file__).parent / "migrations"
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
    """Whether this release has the migration. It does not have those of newer releases."""
    if revision == newest():
        return True
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - slow

    scripts = ScriptDirectory(str(SCRIPTS))
    return revision in {script.revision for script in scripts.walk_revisions()}


async def works_since(engine: AsyncEngine, revision: str) -> str | None:
    """The oldest revision whose release works with tables of that newer one; None: not known."""
    with translated():
        async with engine.connect() as connection:
            return await connection.run_sync(_works_since, revision)


def _works_since(connection: Connection, revision: str) -> str | None:
    if not inspect(connection).has_table(releases.name):
        return None
    query = select(releases.c.works_since).where(releases.c.revision == revision)
    return connection.execute(query).scalar_one_or_none()


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the database to the newest revision. A database of a newer release is left alone.

    All in one transaction: a process that is killed in it leaves the former tables.

    The engine must come from `engine.build_engine(..., migrates=True)`: SQLite rebuilds tables,
    and with foreign keys on that would delete the rows that point at them.
    """
    with translated():
        async with engine.connect() as connection:
            await connection.execution_options(begins="BEGIN IMMEDIATE")
            async with connection.begin():
                await connection.run_sync(_upgrade)


def migrate(connection: Connection, *, scripts: Path = SCRIPTS) -> None:
    """Run the migrations that are missing, in the caller's transaction."""
    from alembic import command  # noqa: PLC0415 - slow

    command.upgrade(alembic_config(connection, scripts), "head")


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
        migrate(connection)
        connection.execute(delete(releases).where(releases.c.revision == newest()))
        connection.execute(insert(releases).values(revision=newest(), works_since=WORKS_SINCE))


def alembic_config(connection: Connection, scripts: Path, tables: MetaData = metadata) -> "Config":
    """Configure Alembic for migrations in the folder `scripts`, to be compared with `tables`."""
    from alembic.config import Config  # noqa: PLC0415 - slow

    config = Config(attributes={"connection": connection, "tables": tables})
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config
