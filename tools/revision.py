"""Writes a migration from the difference between tables.py and the newest migration.

`make revision M="what changed"` runs it. The difference is taken from a new database that all
migrations have made, so it does not depend on any database of the developer's.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from sqlalchemy import MetaData

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
                await connection.run_sync(lambda on: schema.migrate(on, scripts=scripts))
            return await schema.write_revision(engine, message, tables=metadata, scripts=scripts)
        finally:
            await engine.dispose()


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
