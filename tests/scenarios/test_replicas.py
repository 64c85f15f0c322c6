"""Three real processes on one PostgreSQL: killed, stopped, cut off and continued."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import shown
from tests.support.bot_process import BotProcess, Command
from tests.support.bot_processes import Processes, an_app, open_processes
from tests.support.postgres import NoPostgres, PostgresServer, postgres_server

BUILD = "build step 4/"


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    try:
        with postgres_server() as running:
            yield running
    except NoPostgres as err:
        pytest.fail(str(err))


async def start_replicas(it: Processes, url: str, count: int = 3) -> list[BotProcess]:
    upgraded = await BotProcess.start(
        Command("db", "upgrade"),
        {**it.world.environ, "DATABASE_URL": url},
        folder=it.world.folder,
    )
    assert await upgraded.ended() == 0, upgraded.last_lines
    replicas = [await it.begin(DATABASE_URL=url) for _ in range(count)]
    for one in replicas:
        assert await one.ready(), one.last_lines
    return replicas


def drives(postgres: PostgresServer, url: str, process: BotProcess) -> bool:
    """Whether it owns the only running deployment."""
    owner = query(
        postgres,
        url,
        "SELECT l.replica FROM leases l JOIN deployments d ON d.id = l.deployment_id"
        " WHERE d.phase NOT IN ('succeeded', 'failed', 'cancelled')",
    )
    return f"-{process.pid}-" in owner


def query(postgres: PostgresServer, url: str, statement: str) -> str:
    schema = url.rpartition("=")[2]
    return postgres.run_sql(f"SET search_path = {schema}; {statement}").strip()


async def test_replicas_that_are_killed_stopped_and_continued(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.new_schema()
    async with open_processes(tmp_path, an_app("killed"), an_app("stopped")) as it:
        simulators = it.world.simulators
        replicas = await start_replicas(it, url)

        # Any replica may have got the request; one of them drives it, and is killed.
        await it.held("killed", at=BUILD)
        await it.until_says("killed", "Building")
        (killed,) = [one for one in replicas if drives(postgres, url, one)]
        await it.kill(killed)
        simulators.dokku.release_for_test("killed")
        await it.until_says("killed", "Deployed")
        assert it.starts("killed") == 2, "dead before its release: once more, in the same message"
        assert len(it.messages_of("killed")) == 1

        # SIGSTOP: the lease runs out, another replica ends it; the former owner comes back.
        await it.held("stopped", at=BUILD)
        await it.until_says("stopped", "Building")
        living = [one for one in replicas if one is not killed]
        (stopped,) = [one for one in living if drives(postgres, url, one)]
        (other,) = [one for one in living if one is not stopped]
        stopped.send_signal(signal.SIGSTOP)
        # Its edits show that it took over; what it reads is on the server.
        await simulators.slack.until(lambda: drives(postgres, url, other))
        simulators.dokku.release_for_test("stopped")
        said = await it.until_says("stopped", "Deployed")
        stopped.send_signal(signal.SIGCONT)
        assert await stopped.ready()
        assert shown(it.messages_of("stopped")[0]) == said, "it edited a message that it lost"
        assert it.starts("stopped") == 1

        for app in ("killed", "stopped"):
            (end,) = await it.until_webhooks(app)
            assert end["status"] == "succeeded"
            assert it.live_sha(app) == simulators.forge.sha(app)
        sent = "SELECT count(*) FROM outbox WHERE lane LIKE 'webhook:%' AND kind LIKE '%.finished'"
        assert query(postgres, url, sent) == "2"


async def test_database_that_goes_away_and_comes_back(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """Requests are refused with a sentence; what runs is kept in memory and written afterwards."""
    url = postgres.new_schema()
    async with open_processes(tmp_path, an_app("myapp"), an_app("refused")) as it:
        (one, *_rest) = await start_replicas(it, url)
        await it.held("myapp", at=BUILD)
        await it.until_says("myapp", "Building")
        postgres.stop()
        slack = it.world.slack
        await it.world.deploy("refused main")
        it.world.simulators.dokku.release_for_test("myapp")
        await slack.until(
            lambda: any("database" in shown(one) for one in slack.ephemerals(slack.user("ada")))
        )
        postgres.start()
        await it.until_says("myapp", "Deployed")
        assert it.starts("myapp") == 1
        assert it.starts("refused") == 0
        (end,) = await it.until_webhooks("myapp")
        assert end["status"] == "succeeded"
        assert one.running


async def test_replica_that_drains_leaves_slack_to_the_other_one(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.new_schema()
    async with open_processes(tmp_path, an_app("myapp")) as it:
        slack, dokku = it.world.slack, it.world.simulators.dokku
        replicas = await start_replicas(it, url, count=2)
        await it.held("myapp", at=BUILD)
        await it.until_says("myapp", "Building")
        listen = "SELECT count(*) FROM replicas WHERE listens"
        # Nothing announces a heartbeat; the message is refreshed meanwhile.
        await slack.until(lambda: query(postgres, url, listen) == "2")
        (draining,) = [one for one in replicas if drives(postgres, url, one)]
        draining.send_signal(signal.SIGTERM)
        await slack.until(lambda: slack.open_connections == 1)
        for _ in range(3):
            await it.world.deploy("queue")
        await slack.until(lambda: len(slack.ephemerals(it.world.ada)) >= 3)
        said = [shown(one) for one in slack.ephemerals(it.world.ada)]
        assert all("myapp" in one and "restarted" not in one for one in said), said
        dokku.release_for_test("myapp")
        assert await draining.ended() == 0
        await it.until_says("myapp", "Deployed")
