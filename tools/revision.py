"""Write a migration from the difference between tables.py and the newest migration.

`make revision M="what changed"` runs it. It compares with a new database that the migrations have
made, so the databases on the developer's machine do not matter.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import Connection, MetaData

from bot.store import schema, tables
from bot.store.engine import build_engine

TABLES = Path(tables.__file__)


async def revise(
    message: str, *, metadata: MetaData = tables.metadata, scripts: Path = schema.SCRIPTS
) -> Path:
    """Write the next migration of `scripts`; its file."""
    with tempfile.TemporaryDirectory(prefix="revision-") as folder:
        engine = build_engine(f"sqlite:///{folder}/head.db", migrates=True)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(schema.migrate, scripts=scripts)
            async with engine.connect() as connection:
                return await connection.run_sync(_write, message, metadata, scripts)
        finally:
            await engine.dispose()


def _write(connection: Connection, message: str, metadata: MetaData, scripts: Path) -> Path:
    number = f"{len(list((scripts / 'versions').glob('*.py'))) + 1:04}"
    config = schema.alembic_config(connection, scripts, metadata)
    script: Any = command.revision(config, message, autogenerate=True, rev_id=number)
    return Path(script.path)


def name_newest(text: str, revision: str) -> str:
    """The text of tables.py with another newest revision."""
    return re.sub(r'^REVISION = ".*"', f'REVISION = "{revision}"', text, flags=re.MULTILINE)


def main(message: str) -> None:
    """Write the migration and name it in tables.py."""
    if not message:
        sys.exit('Say what changes: make revision M="add a column"')
    written = asyncio.run(revise(message))
    TABLES.write_text(name_newest(TABLES.read_text(), written.name.partition("_")[0]))
    print(f"Wrote {written}. Read it: Alembic does not see every change, such as a new name.")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]).strip())
