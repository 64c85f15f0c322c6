"""Alembic, run inside the process on our own connection. Imported only where there is work.

Loading it takes longer than everything else at a start, and most starts migrate nothing.
"""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

SCRIPTS = Path(__file__).parent / "migrations"


def is_known(revision: str) -> bool:
    """Whether this release has the migration; one of a newer release is not known here."""
    scripts = ScriptDirectory(str(SCRIPTS))
    return revision in {script.revision for script in scripts.walk_revisions()}


def migrate(connection: Connection) -> None:
    """Run what is missing, in the caller's transaction."""
    command.upgrade(_config(connection), "head")


def write_revision(connection: Connection, message: str) -> str:
    """Write a migration from the difference to `tables.py`; its path."""
    script: Any = command.revision(_config(connection), message, autogenerate=True)
    return str(script.path)


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
