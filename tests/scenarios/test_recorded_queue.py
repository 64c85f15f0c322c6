"""Deploys during outside pushes, of the same commit, and with a silent connection."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from tests.scenarios.conftest import QuickClock, World, open_world

BUILDING = "build step 4/"
OTHER = "ab" * 20


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[World]:
    """A bot that soon gives up on a server that only returns errors."""
    async with open_world(tmp_path) as opened:
        await opened.start_bot(
            timing={"max_poll_errors": 2, "poll_timeout": timedelta(seconds=2)}, clock=QuickClock()
        )
        yield opened


async def newest(world: World) -> Deployment:
    row = (await world.rows())[0]
    assert isinstance(row, Deployment)
    return row


async def result_of(world: World) -> tuple[Phase, Failure | None, Live | None]:
    row = await newest(world)
    return row.phase, row.failure, row.live


async def outside_push(world: World) -> asyncio.Task[object]:
    """Start an outside push and hold it in its build."""
    world.hold(BUILDING)
    push = world.simulators.dokku.outside_push_for_test("myapp", OTHER)
    await world.held()
    return push


async def test_deployment_waits_for_an_outside_push_and_names_it(world: World) -> None:
    push = await outside_push(world)
    await world.deploy()
    await world.until_message("Queued", "waiting for", "git push")
    world.let_go()
    await push
    await world.until_message("Deployed")
    assert await result_of(world) == (Phase.SUCCEEDED, None, Live.NEW)


async def test_start_refused_by_the_deploy_lock_keeps_its_position(
    world: World, dokku_may_start: asyncio.Event
) -> None:
    """Recording j: it fetches, prints the lock's sentence and exits 1; nothing else ran."""
    await world.deploy()
    await world.until_message("Starting")
    push = await outside_push(world)
    dokku_may_start.set()
    await world.until_message("Queued", "waiting for")
    assert world.simulators.dokku.holding("myapp")
    world.let_go()
    await push
    await world.until_message("Deployed")
    assert await result_of(world) == (Phase.SUCCEEDED, None, Live.NEW)
    assert len(world.messages) == 1
    (live,) = world.simulators.dokku.live("myapp").values()
    assert live.sha == (await newest(world)).sha


async def test_cancel_after_a_refused_outside_push_closes_the_connection(quick: World) -> None:
    """Recording l4: the refusal empties the lock file, and Dokku finds nothing to cancel."""
    quick.hold(BUILDING)
    await quick.deploy()
    await quick.held()
    dokku = quick.simulators.dokku
    dokku.outside_push_for_test("myapp", OTHER)
    await dokku.until(lambda: any(one.event == "lock_refused" for one in dokku.journal))
    await quick.until_message("Deploying", "Cancel")
    await quick.click("deployment_cancel")
    await dokku.until(lambda: all(run.output.closed for run in quick.app.runs))
    quick.let_go()
    await quick.until_message("Cancelled", "live now: the previous release")
    assert await result_of(quick) == (Phase.CANCELLED, None, Live.PREVIOUS)


async def test_same_commit_is_deployed_again(world: World) -> None:
    """Recording f: every step is cached, and the image is the one that already serves."""
    await world.deploy()
    await world.until_message("Deployed")
    (first,) = world.simulators.dokku.live("myapp").values()
    world.now_behaves("cached")
    await world.deploy()
    await world.posted(2)
    await world.until_message("Deployed", "live now: the new release")
    assert await result_of(world) == (Phase.SUCCEEDED, None, Live.NEW)
    (second,) = world.simulators.dokku.live("myapp").values()
    assert (first.sha, second.container_id != first.container_id) == (second.sha, True)


async def test_app_destroyed_just_before_the_start_is_not_found(
    hasty: World, dokku_may_start: asyncio.Event
) -> None:
    """Recording i: exit status 20, and every query gets the same answer."""
    await hasty.deploy()
    await hasty.until_message("Starting")
    hasty.simulators.dokku.apps.pop("myapp")
    dokku_may_start.set()
    await hasty.until_message("Failed", "App myapp does not exist")
    assert await result_of(hasty) == (Phase.FAILED, Failure.APP_NOT_FOUND, Live.UNKNOWN)


async def test_temporarily_silent_connection_is_not_lost(world: World) -> None:
    """Recording m5: nothing passes, nothing breaks, and every byte arrives in the end."""
    world.hold(BUILDING)
    await world.deploy()
    await world.held()
    await world.until_message("Building")
    server = world.simulators.server
    server.stall_for_test()
    dokku = world.simulators.dokku
    begun = len(dokku.journal)
    world.let_go()
    await dokku.until(lambda: any(one.event == "finalized" for one in dokku.journal[begun:]))
    server.heal_for_test()
    await world.until_message("Deployed")
    row = await newest(world)
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)
    assert world.bot is not None
    log = await world.bot.service.queries.store.logs.read(row.id)
    assert "=====> Application deployed" in log
