"""Upgrades beside a running former release, killed ones, and copies of a database in use."""

import asyncio
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import Connection, insert, inspect, select, update

from bot.deployments.model import Deployment, Phase
from bot.store import schema
from bot.store.engine import build_engine, open_store, revisions, upgrade
from bot.store.tables import REVISION, all_values, deployments, leases
from tests.contract.store.deaths import Upgrade
from tests.contract.store.stories import StillClock, a_deployment, create, own, plan_both
from tests.support.bot_process import BotProcess
from tests.support.postgres import PostgresServer

OLD_RELEASES = [f"{number:04}" for number in range(1, int(REVISION))]


async def run(url: str, work: Any, *args: Any) -> Any:
    engine = build_engine(url, migrates=True)
    try:
        async with engine.connect() as connection:
            await connection.execution_options(begins="BEGIN IMMEDIATE")
            async with connection.begin():
                return await connection.run_sync(work, *args)
    finally:
        await engine.dispose()


def bring_to(connection: Connection, revision: str) -> frozenset[str]:
    """Migrate to the tables of a former release; the columns of its deployments."""
    command.upgrade(schema.alembic_config(connection, schema.SCRIPTS), revision)
    return frozenset(one["name"] for one in inspect(connection).get_columns("deployments"))


def known_to(columns: frozenset[str], deployment: Deployment) -> Mapping[str, Any]:
    return {name: value for name, value in all_values(deployment).items() if name in columns}


def write_as(connection: Connection, columns: frozenset[str], deployment: Deployment) -> None:
    """Create and move a deployment as the release that has only these columns does."""
    values = known_to(columns, replace(deployment, phase=Phase.QUEUED))
    connection.execute(insert(deployments).values(values))
    connection.execute(insert(leases).values(deployment_id=deployment.id, fence=0, until_ms=0))
    row = update(deployments).where(deployments.c.id == deployment.id)
    connection.execute(row.values(known_to(columns, deployment)))


async def test_former_releases_read_and_write_the_new_tables(url: str, clock: StillClock) -> None:
    releases, written = {}, []
    for revision in OLD_RELEASES:
        releases[revision] = await run(url, bring_to, revision)
        written.append(a_deployment(phase=Phase.FAILED, reason=f"by {revision}"))
        await run(url, write_as, releases[revision], written[-1])
    await upgrade(url)
    for revision, columns in releases.items():
        written.append(a_deployment(phase=Phase.FAILED, reason=f"late by {revision}"))
        await run(url, write_as, columns, written[-1])

        def read(connection: Connection, columns: frozenset[str] = columns) -> int:
            query = select(*(deployments.c[name] for name in sorted(columns)))
            return len(connection.execute(query).all())

        assert await run(url, read) == len(written)
    async with open_store(url, clock=clock, planner=plan_both) as store:
        for one in written:
            assert await store.get(one.id) == one


async def test_former_release_works_on_during_the_upgrade(url: str, clock: StillClock) -> None:
    columns = await run(url, bring_to, OLD_RELEASES[0])
    written: list[Deployment] = []

    async def work(upgrading: asyncio.Future[None]) -> None:
        after = 0
        while after < 2:
            after += upgrading.done()
            written.append(a_deployment(phase=Phase.FAILED))
            await run(url, write_as, columns, written[-1])

    upgrading = asyncio.ensure_future(upgrade(url))
    await asyncio.gather(upgrading, work(upgrading))
    async with open_store(url, clock=clock, planner=plan_both) as store:
        assert {row.id for row in await store.recent(limit=1_000)} == {one.id for one in written}


async def test_killed_upgrade_leaves_the_former_tables(
    url: str, clock: StillClock, tmp_path: Path
) -> None:
    columns = await run(url, bring_to, OLD_RELEASES[0])
    kept = a_deployment(phase=Phase.FAILED)
    await run(url, write_as, columns, kept)
    child = await BotProcess.start(Upgrade(url), {}, folder=tmp_path)
    assert await child.ended() == -signal.SIGKILL
    assert await revisions(url) == (OLD_RELEASES[0], REVISION)
    await run(url, write_as, columns, a_deployment(phase=Phase.FAILED))  # the old one works on
    await upgrade(url)
    async with open_store(url, clock=clock, planner=plan_both) as store:
        assert await store.get(kept.id) == kept
        assert len(await store.recent()) == 2


async def test_copy_of_a_sqlite_file_in_use(tmp_path: Path, clock: StillClock) -> None:
    """As docs/backup.md says, and with `VACUUM INTO`, also what is still in the WAL."""
    file, copy, compact = (tmp_path / name for name in ("bot.db", "copy.db", "compact.db"))
    async with open_store(f"sqlite:///{file}", clock=clock, planner=plan_both) as store:
        deployment = await own(store, await create(store))
        await store.logs.append(deployment.id, ["a line"], fence=deployment.fence)
        with closing(sqlite3.connect(file)) as source:
            with closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            source.execute("VACUUM INTO ?", [str(compact)])
        await create(store, dokku_app="later")
    for restored in (copy, compact):
        async with open_store(f"sqlite:///{restored}", clock=clock, planner=plan_both) as store:
            (row,) = await store.recent()
            assert row.id == deployment.id
            assert await store.logs.read(row.id) == "a line\n"
            # Its owner's lease runs out there as everywhere.
            assert (await create(store, dokku_app="again")).phase is Phase.QUEUED


async def test_copy_of_a_postgresql_database_in_use(
    server: PostgresServer, clock: StillClock
) -> None:
    url, copy = server.new_database(), server.new_database()
    async with open_store(url, clock=clock, planner=plan_both, migrate=True) as store:
        deployment = await own(store, await create(store))
        await store.logs.append(deployment.id, ["a line"], fence=deployment.fence)
        server.dump(url, into=copy)
        await create(store, dokku_app="later")
    async with open_store(copy, clock=clock, planner=plan_both) as store:
        (row,) = await store.recent()
        assert row.id == deployment.id
        assert await store.logs.read(row.id) == "a line\n"
        await create(store, dokku_app="again")  # counters go on where they were
