"""PostgreSQL as managed services hand it out: behind pgbouncer, with libpq's parameters."""

import asyncio
import getpass
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bot.config.database_url import usable_postgres
from bot.errors import ConfigError
from bot.store.engine import open_store, upgrade
from tests.contract.store.stories import StillClock, plan_both, said
from tests.support.builders import a_deployment
from tests.support.postgres import PostgresServer

CLIENTS = 6
"""Twice as many as the pooler has connections to the server."""


@pytest.fixture
def pooled(server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database behind pgbouncer in transaction mode."""
    url = server.new_database()
    with server.pooler() as address:
        yield url.replace(str(server.folder), address)


async def test_clients_share_the_connections_of_a_pooler(pooled: str, clock: StillClock) -> None:
    await upgrade(pooled)
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(
                open_store(pooled, clock=clock, planner=plan_both, migrate=False)
            )
            for _ in range(CLIENTS)
        ]

        async def create_and_read(number: int) -> None:
            store = stores[number]
            for turn in range(5):
                place = f"{number}-{turn}"
                row = a_deployment(id=place, app=place, dokku_app=place, request_key=place)
                await store.create(row, said("requested"))
                assert await store.get(row.id) is not None
                await store.unfinished()

        await asyncio.gather(*(create_and_read(number) for number in range(CLIENTS)))

        assert len(await stores[0].unfinished()) == CLIENTS * 5


async def test_pooler_that_refuses_a_parameter_is_a_wrong_setting(
    pooled: str, clock: StillClock
) -> None:
    with pytest.raises(ConfigError, match="unsupported startup parameter: search_path"):
        async with open_store(
            f"{pooled}&search_path=other", clock=clock, planner=plan_both, migrate=True
        ):
            pass


LIBPQ = (
    "sslmode=prefer&channel_binding=require&connect_timeout=7&keepalives=1&keepalives_idle=30"
    "&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=9000&gssencmode=prefer"
    "&krbsrvname=postgres&fallback_application_name=bot&options=-c%20statement_timeout%3D30000"
    "&target_session_attrs=read-write&pgbouncer=true&connection_limit=1&sslsni=1"
    "&client_encoding=auto&ssl_min_protocol_version=TLSv1.2&load_balance_hosts=disable"
)


async def test_parameters_of_other_clients_do_not_keep_the_bot_out(
    server: PostgresServer, clock: StillClock
) -> None:
    url = usable_postgres(f"{server.new_schema()}&{LIBPQ}")

    async with open_store(url, clock=clock, planner=plan_both, migrate=True) as store:
        await store.database.check_writes()
        said = server.run_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name='bot'")
    assert int(said) > 0


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("made_up=1", 'unrecognized configuration parameter "made_up"'),
        ("statement_timeout=soon", 'invalid value for parameter "statement_timeout"'),
        ("ssl_min_protocol_version=9", "cannot be used: .*9"),
    ],
)
async def test_parameter_that_can_never_work_is_a_wrong_setting(
    server: PostgresServer, clock: StillClock, parameter: str, words: str
) -> None:
    url = server.new_schema().replace(f"host={server.folder}", "host=127.0.0.1&port=1")
    if "ssl" not in parameter:
        url = server.new_schema()
    with pytest.raises(ConfigError, match=words):
        async with open_store(f"{url}&{parameter}", clock=clock, planner=plan_both, migrate=True):
            pass


async def test_url_without_a_user_where_the_bot_has_no_name(
    server: PostgresServer, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.delenv("PGUSER", raising=False)
    url = server.new_schema().replace("postgres@", "")

    async with open_store(url, clock=clock, planner=plan_both, migrate=True) as store:
        await store.database.check_writes()


async def test_home_that_may_not_be_read_is_named(
    server: PostgresServer, clock: StillClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Path, "exists", refused)
    url = server.new_schema().replace(f"host={server.folder}", "host=127.0.0.1&port=1")

    with pytest.raises(ConfigError, match=r"postgresql.key cannot be read .* set HOME"):
        async with open_store(url, clock=clock, planner=plan_both, migrate=False):
            pass
