"""Dokku 0.35, which keeps no build records: what it can prove, and what the message says it cannot.

Its only evidence is exit status, output, containers and the recorded source.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.operations.check import run_checks
from bot.simulators.environment import DemoApp
from tests.scenarios.conftest import World, open_world, shown
from tests.support.bot_processes import an_app, open_processes
from tests.support.incidents import die_at_the_next_line, lose_connection
from tests.support.patience import stretched

OLD = "0.35.20"
NO_RECORDS = "This Dokku version keeps no build records"
BY_LOCK = "(inferred from the released deploy lock)."
BUILDING = "build step 4/"
SWITCHED = "Running post-deploy"
WITHIN_S = 10.0
"""A cancel is confirmed within this time."""
NEW_APP = (DemoApp(name="myapp", behaviour="ok", hint="", commits=("Only one",), live=False),)


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


async def test_good_redeploy_is_proven_by_its_containers(old: World) -> None:
    await old.deploy()
    result = await result_of(old, "Deployed", "live now: the new release")
    assert result == (Phase.SUCCEEDED, None, Live.NEW)
    assert NO_RECORDS not in shown(old.message)


async def test_check_states_the_limits_of_this_version(tmp_path: Path) -> None:
    async with open_world(tmp_path, version=OLD) as world:
        found = {one.what: one for one in await run_checks(environ=world.environ, folder=tmp_path)}
        server = found["dokku default"]
        assert server.ok
        assert "Dokku 0.35.20" in server.found
        assert server.fix.startswith(
            "Tested with recordings of this version. Dokku before 0.38 keeps no build"
        )


async def test_first_deploy(tmp_path: Path) -> None:
    async with open_world(tmp_path, apps=NEW_APP, version=OLD) as world:
        await world.start_bot()
        await world.deploy()
        assert await result_of(world, "Deployed") == (Phase.SUCCEEDED, None, Live.NEW)


async def test_failed_build(old: World) -> None:
    old.now_behaves("build_fails")
    await old.deploy()
    result = await result_of(
        old, "Failed", "compile error: missing semicolon", "live now: the previous release"
    )
    assert result == (Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS)


async def test_failed_checks(old: World) -> None:
    old.now_behaves("checks_fail")
    await old.deploy()
    result = await result_of(
        old, "Failed", "unexpected status code: 500", "live now: the previous release"
    )
    assert result == (Phase.FAILED, Failure.HEALTHCHECK_FAILED, Live.PREVIOUS)


async def test_running_deployment_states_the_limits_of_this_version(old: World) -> None:
    await old.deploy_until(BUILDING)
    await old.until_message("Building", f"{NO_RECORDS}. If the connection is lost")
    old.let_go()
    await old.until_message("Deployed")


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


async def test_cancel_during_the_build_is_proven_by_the_released_lock(old: World) -> None:
    await old.deploy_until(BUILDING)
    await old.until_message("Building")
    await old.click("deployment_cancel")
    began = time.monotonic()
    await die_at_the_next_line(old)
    result = await result_of(
        old, "Cancelled", "Cancelled, and stopped", BY_LOCK, "live now: the previous release"
    )
    assert result == (Phase.CANCELLED, None, Live.PREVIOUS)
    assert time.monotonic() - began < stretched(WITHIN_S)


async def test_cancel_after_the_switch_is_too_late(old: World) -> None:
    await old.deploy_until(SWITCHED)
    await old.until_message("Deploying", "Cancel")
    await old.click("deployment_cancel")
    await die_at_the_next_line(old)
    result = await result_of(old, "Cancelled", "too late", BY_LOCK, "live now: the new release")
    assert result == (Phase.CANCELLED, None, Live.NEW)


async def test_deployment_is_stopped_at_the_cap(tmp_path: Path) -> None:
    async with open_world(tmp_path, version=OLD) as world:
        await world.start_bot(DEPLOYBOT_MAX_DURATION="2s")
        await world.deploy_until(BUILDING)
        await die_at_the_next_line(world)
        result = await result_of(world, "Failed", "longer than allowed and was stopped", BY_LOCK)
        assert result == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)


async def test_connection_lost_during_the_build_causes_a_second_start(old: World) -> None:
    await old.deploy_until(BUILDING)
    await lose_connection(old)
    await die_at_the_next_line(old)
    assert await result_of(old, "Deployed") == (Phase.SUCCEEDED, None, Live.NEW)
    (row,) = await old.rows()
    assert row.attempt == 2
    await old.replied("The connection to the server was lost before the release.")


async def test_connection_lost_after_the_switch_is_interrupted(old: World) -> None:
    await old.deploy_until(SWITCHED)
    await lose_connection(old)
    await die_at_the_next_line(old)
    result = await result_of(old, "Failed", BY_LOCK, "live now: the new release")
    assert result == (Phase.FAILED, Failure.INTERRUPTED, Live.NEW)


async def test_bot_killed_during_the_build_starts_it_again(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp"), version=OLD) as it:
        bot = await it.start()
        await it.held("myapp", at=BUILDING)
        await it.until_says("myapp", "Building")
        await it.kill(bot)
        await die_at_the_next_line(it.world)
        await it.start()
        await it.until_says("myapp", "Deployed")
        assert it.starts("myapp") == 2
        assert it.live_sha("myapp") == it.world.simulators.forge.sha("myapp")
        assert len(it.messages_of("myapp")) == 1


async def test_connection_lost_after_the_release_is_a_success(old: World) -> None:
    await old.deploy_until("before_exit")
    await lose_connection(old)
    old.let_go()
    assert await result_of(old, "Deployed") == (Phase.SUCCEEDED, None, Live.NEW)
