"""The database as operators' commands open it: never created by a look, never migrated by one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.clock import SystemClock
from bot.config.settings import Settings
from bot.store.engine import open_store, revisions, upgrade
from bot.store.sql_store import SqlStore
from bot.webhooks.payload import planner


@asynccontextmanager
async def open_records(settings: Settings) -> AsyncIterator[SqlStore]:
    """The store of the bot that has these settings. ConfigError: there is none yet."""
    refuse_missing_file(settings)
    clock = SystemClock()
    async with open_store(
        settings.database_url,
        clock=clock,
        planner=planner(settings.endpoints(), clock=clock),
        migrate=False,
        source=settings.origin("database_url").source,
    ) as store:
        yield store


def refuse_missing_file(settings: Settings) -> None:
    """Opening an SQLite file that is not there would create an empty one, in the wrong place."""
    file = settings.sqlite_file
    if file is not None and not file.exists():
        raise settings.origin("database_url").wrong(
            f"there is no file {file.absolute()}",
            "Run the command where the bot runs, or `deploybot db upgrade` to create it.",
        )


async def upgrade_database(settings: Settings) -> str:
    """Create or upgrade the tables; the sentence to print."""
    source = settings.origin("database_url").source
    await upgrade(settings.database_url, source=source)
    found, _needed = await revisions(settings.database_url, source=source)
    return f"The database is at revision {found}."


async def check_database(settings: Settings) -> str:
    """The sentence to print. ConfigError: not there, or not at the revision of this release."""
    refuse_missing_file(settings)
    async with open_records(settings) as store:
        await store.database.ping()
        dialect = store.database.dialect
    source = settings.origin("database_url").source
    found, needed = await revisions(settings.database_url, source=source)
    if found != needed:  # `open_store` lets only a newer one pass
        return f"{dialect}: revision {found}, newer than {needed} of this release; it works."
    return f"{dialect}: revision {found}, as this release needs it."
