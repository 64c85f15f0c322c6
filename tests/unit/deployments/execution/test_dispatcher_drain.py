"""SIGTERM: nothing new starts, running deployments may finish, the rest is handed over."""

import asyncio

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Live, Phase
from bot.errors import DatabaseDown
from tests.support.fake_dokku import BUILDING, FakeDokku
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_idle_drain_returns_at_once() -> None:
    rig = a_rig()
    await rig.passes(3)
    began = rig.clock.monotonic()
    assert await rig.stop() == 0
    assert rig.clock.monotonic() == began


@in_virtual_time
async def test_running_deployment_may_finish_during_drain() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stopping = asyncio.create_task(rig.dispatcher.drain(25))
    await rig.passes(5)
    stream.succeed()
    assert await stopping == 0
    assert (rig.row().phase, rig.row().live) == (Phase.SUCCEEDED, Live.NEW)
    assert rig.clock.monotonic() < 20


@in_virtual_time
async def test_drain_hands_over_a_long_deployment_with_its_whole_log() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    stopping = asyncio.create_task(rig.dispatcher.drain(25))
    await rig.passes(24.9)
    stream.say("the last line before the hand-over")
    assert await stopping == 1
    row = rig.row()
    assert row.phase is Phase.BUILDING
    assert rig.store.owner(row.id) is None
    assert "the last line before" in await rig.store.logs.read(row.id)
    assert not stream.closed
    assert rig.dispatcher._workers == {}


@in_virtual_time
async def test_message_says_shortly_before_that_it_is_handed_over() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    shown: list[bool] = []

    async def show() -> None:
        shown.append(rig.progress().handed_over)

    stopping = asyncio.create_task(rig.dispatcher.drain(25, show))
    await rig.passes(22)
    assert not rig.progress().handed_over
    await rig.passes(1.5)
    assert rig.progress().handed_over
    assert rig.store.owner(rig.row().id) is not None
    assert await stopping == 1
    assert shown == [True]


@in_virtual_time
async def test_next_process_takes_over_at_once_after_drain() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    assert await rig.stop(timeout_s=1) == 1
    again = a_rig(store=rig.store, dokku=rig.dokku)
    await again.passes(3)
    assert again.dispatcher.active == 1
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    (await rig.dokku.stream(2)).succeed()
    row = await again.until_ended(within_s=60)
    assert (row.phase, row.attempt) == (Phase.SUCCEEDED, 2)


@in_virtual_time
async def test_drain_claims_no_new_deployment() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stopping = asyncio.create_task(rig.dispatcher.drain(25))
    await rig.passes(1)
    other = waiting(id="01OTHER", dokku_app="other", request_key="other")
    rig.store.rows[other.id] = other
    rig.store.leases[other.id] = rig.store.new_lease()
    rig.dispatcher.look_for_work()
    await rig.passes(10)
    stream.succeed()
    await stopping
    assert rig.row(other.id).phase is Phase.QUEUED
    assert len(rig.dokku.streams) == 1
    assert rig.store.owner(other.id) is None


@in_virtual_time
async def test_deployment_still_preparing_keeps_its_position() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(answer_s=0.3))
    await rig.passes(0.4)
    assert rig.dispatcher.active == 1
    assert await rig.stop() == 0
    assert rig.row().phase is Phase.QUEUED
    assert rig.store.owner(rig.row().id) is None
    assert rig.dokku.streams == []


@in_virtual_time
async def test_hanging_preparation_does_not_delay_the_drain() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(hanging={"report"}))
    await rig.passes(2)
    began = rig.clock.monotonic()
    assert await rig.stop() == 1
    assert rig.clock.monotonic() - began <= 1.5
    assert rig.row().phase is Phase.QUEUED
    assert rig.store.owner(rig.row().id) is None


@in_virtual_time
async def test_drain_at_any_moment_neither_repeats_nor_loses_a_start() -> None:
    for steps in range(60):
        rig = a_rig(waiting())
        for _ in range(steps):
            await asyncio.sleep(0.02)
        await rig.stop(timeout_s=0)
        begun = len(rig.dokku.streams)
        if begun:
            rig.dokku.streams[0].lose()
            await rig.passes(1)
            rig.dokku.set_status("b1", BuildStatus.ABANDONED)
        again = a_rig(store=rig.store, dokku=rig.dokku)
        (await rig.dokku.stream(begun + 1)).succeed()
        row = await again.until_ended(within_s=120)
        assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
        assert row.attempt == 1 + begun
        events = rig.store.event_types(row.id)
        assert events.count("deployment.started") == 1
        assert events.count("deployment.finished") == 1
        await again.stop()


@in_virtual_time
async def test_database_outage_does_not_delay_the_drain() -> None:
    rig: Rig = a_rig(waiting())
    (await rig.begun()).say(*BUILDING)
    await rig.passes(5)
    rig.store.fail("release", DatabaseDown("away"), times=9)
    rig.store.down = True
    began = rig.clock.monotonic()
    assert await rig.stop(timeout_s=5) == 1
    assert rig.clock.monotonic() - began < 8
    rig.store.down = False
    rig.store.failing.clear()
    await rig.passes(20)
    again = a_rig(store=rig.store, dokku=rig.dokku)
    await again.passes(3)
    assert again.dispatcher.active == 1


@in_virtual_time
async def test_drain_does_not_wait_for_a_lost_deployment() -> None:
    rig = a_rig(waiting())
    (await rig.begun()).say(*BUILDING)
    await rig.passes(5)
    rig.dokku.hanging.add("builds")
    await rig.until_ended(within_s=200)
    began = rig.clock.monotonic()
    assert await rig.stop() == 0
    assert rig.clock.monotonic() - began < 2
