"""A database that is missing, goes away, or comes back."""

import itertools
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.deployments.model import Phase
from bot.errors import ConfigError, DatabaseDown
from bot.readiness import Readiness
from bot.store.engine import open_store, revisions, upgrade
from bot.store.leases import hold
from tests.contract.store.stories import LEASE, StillClock, create, move, own, plan_both
from tests.support.postgres import PostgresServer, postgres_server


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with postgres_server() as running:
        yield running


async def test_stopped_server_is_down_and_used_again_once_it_is_back(
    own_server: PostgresServer, clock: StillClock
) -> None:
    url = own_server.new_schema()
    async with open_store(url, clock=clock, planner=plan_both, migrate=True) as store:
        deployment = await own(store, await create(store))
        own_server.stop()
        for attempt in (
            store.database.check_writes(),
            store.leases.renew("one", LEASE, []),
            store.unfinished(),
        ):
            with pytest.raises(DatabaseDown):
                await attempt
        with pytest.raises(DatabaseDown) as lost:
            await move(store, deployment, Phase.STARTING)
        assert lost.value.nothing_written
        with pytest.raises(DatabaseDown, match="PostgreSQL cannot be reached"):
            await upgrade(url)
        with pytest.raises(DatabaseDown):
            async with open_store(url, clock=clock, planner=plan_both):
                pytest.fail("it opened")
        own_server.start()
        assert await store.get(deployment.id) is not None
        assert await store.leases.renew("one", LEASE, [deployment.id]) == {deployment.id}
        assert (await move(store, deployment, Phase.STARTING)).phase is Phase.STARTING


async def test_suspended_replica_keeps_nothing_from_the_others(
    server: PostgresServer, clock: StillClock
) -> None:
    """Stopped in the middle of a transaction, it would hold its locks for as long as it likes."""
    url = server.new_schema()
    async with (
        open_store(url, clock=clock, planner=plan_both, migrate=True, wait_s=1.0) as stopped,
        open_store(url, clock=clock, planner=plan_both) as other,
    ):
        deployment = await own(stopped, await create(stopped))
        held: list[frozenset[str]] = []

        async def stop_in_a_transaction() -> None:
            async with stopped.database.write() as tx:
                await hold(tx.connection, deployment.id, deployment.fence)
                held.append(await other.leases.renew("one", LEASE, [deployment.id]))
                await hold(tx.connection, deployment.id, deployment.fence)

        with pytest.raises(DatabaseDown) as lost:
            await stop_in_a_transaction()
        assert held == [{deployment.id}]
        assert lost.value.nothing_written


@contextmanager
def full_disk(file: Path) -> Iterator[None]:
    """This file does not grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_full_disk_is_down_although_reading_works(tmp_path: Path, clock: StillClock) -> None:
    file = tmp_path / "bot.db"
    readiness = Readiness(seconds=itertools.count(0, 60).__next__)
    async with open_store(f"sqlite:///{file}", clock=clock, planner=plan_both) as store:
        readiness.store = store
        assert (await readiness.check()).parts["database"] is None
        with full_disk(Path(f"{file}-wal")):
            assert await store.unfinished() == []
            why = (await readiness.check()).parts["database"]
            assert why is not None
            assert why.startswith("the database cannot be used: d")
        assert (await readiness.check()).parts["database"] is None


async def test_what_a_full_disk_refused_is_written_afterwards(
    tmp_path: Path, clock: StillClock
) -> None:
    file = tmp_path / "bot.db"
    async with open_store(f"sqlite:///{file}", clock=clock, planner=plan_both) as store:
        running = await move(store, await own(store, await create(store)), Phase.STARTING)
        with full_disk(Path(f"{file}-wal")):
            for attempt in (
                create(store, dokku_app="refused"),
                store.logs.append(running.id, ["a line"], fence=running.fence),
                move(store, running, Phase.BUILDING),
                store.leases.renew("one", LEASE, [running.id]),
            ):
                with pytest.raises(DatabaseDown):
                    await attempt
        assert await store.leases.renew("one", LEASE, [running.id]) == {running.id}
        await store.logs.append(running.id, ["a line"], fence=running.fence)
        assert (await move(store, running, Phase.BUILDING)).phase is Phase.BUILDING
        assert await store.logs.read(running.id) == "a line\n"
        assert len(await store.recent()) == 1
        assert len(await store.audit_of(running.id)) == 3


async def test_connection_lost_during_a_write_writes_nothing(
    server: PostgresServer, clock: StillClock
) -> None:
    url = server.new_schema()
    async with open_store(url, clock=clock, planner=plan_both, migrate=True) as store:
        deployment = await own(store, await create(store))
        schema = url.rpartition("=")[2]
        server.run_sql(
            f"SET search_path = {schema}; CREATE FUNCTION cut() RETURNS trigger AS"
            " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END'"
            " LANGUAGE plpgsql; CREATE TRIGGER cut BEFORE INSERT ON audit"
            " FOR EACH ROW WHEN (NEW.action = 'moved') EXECUTE FUNCTION cut()"
        )
        with pytest.raises(DatabaseDown):
            await move(store, deployment, Phase.STARTING)
        server.run_sql(f"DROP TRIGGER cut ON {schema}.audit")
        row = await store.get(deployment.id)
        assert row is not None
        assert row.phase is Phase.QUEUED
        assert (await move(store, deployment, Phase.STARTING)).phase is Phase.STARTING


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("postgresql://postgres@/nowhere?host={folder}", 'database "nowhere" does not exist'),
        ("postgresql://nobody@/postgres?host={folder}", 'role "nobody" does not exist'),
    ],
)
async def test_refused_login_is_a_config_error(
    server: PostgresServer, wrong: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        await revisions(wrong.format(folder=server.folder))
    assert caught.value.setting == "DATABASE_URL"


async def test_user_without_rights_is_a_config_error(server: PostgresServer) -> None:
    url = server.new_schema()
    server.run_sql("CREATE ROLE guest LOGIN")
    with pytest.raises(ConfigError, match=r"permission denied|no schema") as caught:
        await upgrade(url.replace("postgres@", "guest@"))
    assert "right to create" in caught.value.fix


async def test_unreachable_server_is_down_and_not_a_config_error(clock: StillClock) -> None:
    # Port 1 of the loopback: nobody listens there.
    url = "postgresql://bot:hidden-word@127.0.0.1:1/deploybot"
    with pytest.raises(DatabaseDown) as caught:
        async with open_store(url, clock=clock, planner=plan_both):
            pytest.fail("it opened")
    assert "hidden-word" not in str(caught.value)


async def test_file_that_is_not_a_database_is_a_config_error(
    tmp_path: Path, clock: StillClock
) -> None:
    file = tmp_path / "x.db"
    file.write_text("no database at all, " * 100)
    for migrate in (True, False):
        with pytest.raises(ConfigError, match="file is not a database"):
            async with open_store(
                f"sqlite:///{file}", clock=clock, planner=plan_both, migrate=migrate
            ):
                pytest.fail("it opened")


async def test_unopenable_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unable to open database file"):
        await upgrade(f"sqlite:///{tmp_path}")


async def test_file_locked_for_too_long_is_down(tmp_path: Path, clock: StillClock) -> None:
    file = tmp_path / "x.db"
    url = f"sqlite:///{file}"
    async with open_store(url, clock=clock, planner=plan_both, wait_s=0.05) as store:
        deployment = await create(store)
        holder = sqlite3.connect(file, isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseDown, match="locked"):
                await own(store, deployment)
            assert await store.get(deployment.id) == deployment
            with pytest.raises(DatabaseDown, match="locked"):
                await upgrade(url, wait_s=0.05)
            holder.execute("ROLLBACK")
        finally:
            holder.close()
        assert (await own(store, deployment)).fence == 1


async def test_new_file_locked_by_another_process_is_down(
    tmp_path: Path, clock: StillClock
) -> None:
    file = tmp_path / "x.db"
    holder = sqlite3.connect(file, isolation_level=None)
    try:
        for hold in ("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"):
            holder.execute(hold)
            with pytest.raises(DatabaseDown, match="locked"):
                async with open_store(
                    f"sqlite:///{file}", clock=clock, planner=plan_both, wait_s=0.05
                ):
                    pytest.fail("it opened")
            holder.execute("ROLLBACK")
    finally:
        holder.close()


def test_process_prints_only_the_errors(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    file.write_text("no database at all, " * 100)
    program = (
        "import asyncio, sys; from bot.errors import ConfigError;"
        "from bot.store.engine import upgrade\n"
        "for url in sys.argv[1:]:\n"
        "    try: asyncio.run(upgrade(url))\n"
        "    except ConfigError as err: print(err, file=sys.stderr)"
    )
    urls = (f"sqlite:///{file}", f"sqlite:///{tmp_path}")
    done = subprocess.run(
        [sys.executable, "-c", program, *urls], capture_output=True, text=True, check=True
    )
    not_a_database, not_opened = done.stderr.splitlines()
    assert "not a database" in not_a_database
    assert "open" in not_opened
