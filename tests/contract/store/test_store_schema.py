"""Migrations make the tables on both databases, and leave newer releases alone."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, inspect, text

from bot.errors import ConfigError
from bot.store import schema
from bot.store.engine import build_engine, open_store, revisions, upgrade
from bot.store.shared_tables import releases
from bot.store.tables import REVISION, Words, metadata
from tests.contract.store.conftest import NewUrl
from tests.contract.store.stories import StillClock, a_deployment, plan_both, said
from tools.revision import TABLES, name_newest, revise

NEXT = f"{int(REVISION) + 1:04}"
"""The revision that a new migration gets."""


async def look(url: str, question: Any) -> Any:
    engine = build_engine(url, migrates=True)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(question)
    finally:
        await engine.dispose()


def differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


def shape(connection: Connection) -> dict[str, Any]:
    """Indexes with their conditions, which Alembic does not compare."""
    found = inspect(connection)
    return {
        table: sorted(
            (
                index["name"],
                index["column_names"],
                bool(index["unique"]),
                any("where" in option for option in index.get("dialect_options", {})),
            )
            for index in found.get_indexes(table)
        )
        for table in sorted(metadata.tables)
    }


async def test_migrations_make_the_tables(new_url: NewUrl) -> None:
    migrated, made = new_url(), new_url()
    await upgrade(migrated)
    await look(made, metadata.create_all)
    assert await look(migrated, differences) == []
    migrated_shape = await look(migrated, shape)
    assert migrated_shape == await look(made, shape)
    assert (
        "uq_deployments_running",
        ["server", "dokku_app"],
        True,
        True,
    ) in migrated_shape["deployments"]


def test_tables_name_the_newest_migration() -> None:
    assert ScriptDirectory(str(schema.SCRIPTS)).get_heads() == [REVISION]


async def test_upgrading_again_changes_nothing(url: str) -> None:
    assert await revisions(url) == (None, schema.newest())
    await upgrade(url)
    await upgrade(url)
    assert await revisions(url) == (schema.newest(), schema.newest())


async def test_simultaneous_upgrades(url: str) -> None:
    await asyncio.gather(*(upgrade(url) for _ in range(4)))
    assert await look(url, differences) == []


async def test_database_without_tables_is_a_config_error(url: str, clock: StillClock) -> None:
    with pytest.raises(ConfigError, match="has no tables") as caught:
        async with open_store(url, clock=clock, planner=plan_both, migrate=False):
            pytest.fail("it opened")
    assert caught.value.setting == "DATABASE_URL"
    assert caught.value.fix == "Run: deploybot db upgrade."


async def test_sqlite_is_created_automatically_and_postgresql_is_not(
    url: str, clock: StillClock
) -> None:
    if url.startswith("sqlite"):
        async with open_store(url, clock=clock, planner=plan_both) as store:
            assert await store.recent() == []
            assert store.database.dialect == "sqlite"
    else:
        with pytest.raises(ConfigError, match="has no tables"):
            async with open_store(url, clock=clock, planner=plan_both):
                pytest.fail("it opened")


def newer(works_since: str | None) -> Callable[[Connection], None]:
    """A later release upgraded the tables, and knows since when releases work with them."""

    def upgrade_again(connection: Connection) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = 'later'"))
        if works_since is not None:
            row = releases.insert().values(revision="later", works_since=works_since)
            connection.execute(row)

    return upgrade_again


@pytest.mark.parametrize("works_since", [None, NEXT])
async def test_database_of_a_newer_release_is_refused(
    url: str, clock: StillClock, works_since: str | None
) -> None:
    await upgrade(url)
    await look(url, newer(works_since))
    for migrate in (True, False):
        with pytest.raises(ConfigError, match="at revision later, of a newer release") as caught:
            async with open_store(url, clock=clock, planner=plan_both, migrate=migrate):
                pytest.fail("it opened")
        assert caught.value.fix.startswith("Start the newer release, or restore")
    with pytest.raises(ConfigError, match="of a newer release"):
        await upgrade(url)
    assert await revisions(url) == ("later", schema.newest())


async def test_database_of_a_newer_release_is_used_unchanged(url: str, clock: StillClock) -> None:
    """If that release says that this one still works with it: it may be started again."""
    await upgrade(url)
    await look(url, newer(REVISION))
    async with open_store(url, clock=clock, planner=plan_both, migrate=True) as store:
        deployment = a_deployment()
        await store.create(deployment, said("requested"))
        assert await store.get(deployment.id) == deployment
    assert await revisions(url) == ("later", schema.newest())


async def test_database_at_an_old_revision_is_a_config_error(
    url: str, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upgrade(url)
    monkeypatch.setattr(schema, "newest", lambda: NEXT)
    with pytest.raises(ConfigError, match=f"is at revision {REVISION}, not {NEXT}"):
        async with open_store(url, clock=clock, planner=plan_both, migrate=False):
            pytest.fail("it opened")


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A copy of the migrations, to which one may be added."""
    return Path(shutil.copytree(schema.SCRIPTS, tmp_path / "migrations"))


async def test_revision_for_an_added_column_upgrades_the_database(url: str, scripts: Path) -> None:
    changed = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        table.to_metadata(changed)
    changed.tables["deployments"].append_column(Column("note", Words))

    written = await revise("add a note", metadata=changed, scripts=scripts)

    assert written == scripts / "versions" / f"{NEXT}_add_a_note.py"
    text = written.read_text()
    assert "sa.Column('note', sa.Text(), nullable=True)" in text
    assert "bot.store" not in text
    await upgrade(url)
    assert not await look(url, has_note)
    await look(url, lambda connection: schema.migrate(connection, scripts=scripts))
    assert await look(url, has_note)
    assert (await revisions(url))[0] == NEXT


def has_note(connection: Connection) -> bool:
    return "note" in {column["name"] for column in inspect(connection).get_columns("deployments")}


async def test_revision_without_a_difference_is_empty(scripts: Path) -> None:
    written = await revise("nothing", scripts=scripts)
    assert "op." not in written.read_text()


def test_tables_name_the_written_revision() -> None:
    text = name_newest(TABLES.read_text(), "0099")
    assert 'REVISION = "0099"\n' in text
    assert text.replace("0099", REVISION) == TABLES.read_text()
