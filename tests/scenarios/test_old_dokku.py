"""Dokku 0.35, which keeps no build records: what it can prove, and what the message says it cannot.

Its only evidence is exit status, output, containers and the recorded source. Its results are in
test_replayed_results.py and test_model_rows.py, its cancels in test_cancel_phases.py.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.deployments.timing import LockTiming
from bot.operations.check import run_checks
from tests.scenarios.conftest import World, open_world, shown
from tests.support.bot_processes import an_app, open_processes
from tests.support.incidents import die_at_the_next_line, lose_connection

OLD = "0.35.20"
NO_RECORDS = "This Dokku version keeps no build records"
BUILDING = "build step 4/"


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[World]:
    """A running bot with Dokku 0.35 and `myapp` live at an older commit."""
    async with open_world(tmp_path, version=OLD) as opened:
        await opened.start_bot()
        yield opened


async def result_of(world: World, *words: str) -> tuple[Phase, Failure | None, Live | None]:
    await world.until_message("myapp", *words)
    row = (await world.rows())[0]
    assert isinstance(row, Deployment)
    return row.phase, row.failure, row.live


async def test_check_states_the_limits_of_this_version(tmp_path: Path) -> None:
    async with open_world(tmp_path, version=OLD) as world:
        found = {one.what: one for one in await run_checks(environ=world.environ, folder=tmp_path)}
        server = found["dokku default"]
        assert server.ok
        assert "Dokku 0.35.20" in server.found
        assert server.fix.startswith(
            "Tested with recordings of this version. Dokku before 0.38 keeps no build"
        )


async def test_running_deployment_states_the_limits_of_this_version(old: World) -> None:
    await old.deploy_until(BUILDING)
    await old.until_message("Building", f"{NO_RECORDS}. If the connection is lost")
    old.let_go()
    await old.until_message("Deployed")
    assert NO_RECORDS not in shown(old.message)


async def test_outside_deploy_is_waited_for(old: World) -> None:
    old.hold(BUILDING)
    push = old.simulators.dokku.outside_push_for_test("myapp", "ab" * 20)
    await old.held()
    await old.deploy()
    await old.until_message("Queued", "waiting for another deploy outside the bot")
    old.let_go()
    await push
    assert await result_of(old, "Deployed") == (Phase.SUCCEEDED, None, Live.NEW)


async def test_start_refused_by_the_old_lock_keeps_its_position(
    old: World, dokku_may_start: asyncio.Event
) -> None:
    await old.deploy()
    await old.until_message("Starting")
    old.hold(BUILDING)
    push = old.simulators.dokku.outside_push_for_test("myapp", "ab" * 20)
    await old.held()
    dokku_may_start.set()
    await old.until_message("Queued", "waiting for another deploy outside the bot")
    old.let_go()
    await push
    assert await result_of(old, "Deployed") == (Phase.SUCCEEDED, None, Live.NEW)


async def test_connection_lost_during_the_build_causes_a_second_start(old: World) -> None:
    await old.deploy_until(BUILDING)
    await lose_connection(old)
    await die_at_the_next_line(old)
    assert await result_of(old, "Deployed") == (Phase.SUCCEEDED, None, Live.NEW)
    (row,) = await old.rows()
    assert row.attempt == 2
    await old.replied("The connection to the server was lost before the release.")


async def test_bot_killed_during_the_build_starts_it_again(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp"), version=OLD) as it:
        bot = await it.start()
        await it.held("myapp", at=BUILDING)
        await it.until_says("myapp", "Building")
        await it.kill(bot)
        await die_at_the_next_line(it.world)
        # The only command is dead: none is left that the next process could take for dead too soon.
        lock = LockTiming(
            pause=timedelta(milliseconds=100),
            stays_free=timedelta(milliseconds=500),
            fetch_lives_on=timedelta(seconds=1),
        )
        await it.start(timing={"lock": lock})
        await it.until_says("myapp", "Deployed")
        assert it.starts("myapp") == 2
        assert it.live_sha("myapp") == it.world.simulators.forge.sha("myapp")
        assert len(it.messages_of("myapp")) == 1
