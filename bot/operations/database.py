"""Open the database for operators' commands, without creating or migrating it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.clock import SystemClock
from bot.config.loading import Settings
from bot.store.engine import open_store, revisions, upgrade
from bot.store.sql_store import SqlStore
from bot.webhooks.payload import planner


@asynccontextmanager
async def open_records(settings: Settings) -> AsyncIterator[SqlStore]:
    """Open the store of the bot that has these settings. ConfigError: there is none yet."""
    refuse_missing_file(settings)
    clock = SystemClock()
    async with open_store(
        settings.database_url,
        clock=clock,
        planner=planner(
            settings.endpoints(),
            clock=clock,
            name_server=len(settings.values.servers) > 1,
            notified=settings.catalog().notified,
        ),
        migrate=False,
        source=settings.origin("database_url").source,
    ) as store:
        yield store


def refuse_missing_file(settings: Settings) -> None:
    """ConfigError: the SQLite file does not exist. Opening it would create an empty one."""
    file = settings.sqlite_file
    if file is not None and not file.exists():
        raise settings.origin("database_url").wrong(
            f"there is no file {file.absolute()}",
            "Run this where the bot runs, or create it: deploybot db upgrade.",
        )


async def upgrade_database(settings: Settings) -> str:
    """Create or upgrade the tables. Returns the sentence to print."""
    source = settings.origin("database_url").source
    await upgrade(settings.database_url, source=source)
    found, _needed = await revisions(settings.database_url, source=source)
    return f"The database is at revision {found}."


async def check_database(settings: Settings) -> str:
    """Check the database. Returns the sentence to print. ConfigError: missing, or older tables."""
    refuse_missing_file(settings)
    async with open_records(settings) as store:
        await store.database.check_writes()
        dialect = store.database.dialect
    source = settings.origin("database_url").source
    found, needed = await revisions(settings.database_url, source=source)
    if found != needed:  # `open_store` lets only a newer one pass
        return f"{dialect}: revision {found}, newer than {needed} of this release; it still works."
    return f"{dialect}: revision {found}, the one of this release."
