"""Writes to the row of a deployment that this replica owns."""

import asyncio
from dataclasses import replace

import pytest

from bot.deployments.execution.owned import OwnedDeployment
from bot.deployments.model import Phase
from bot.errors import DatabaseDown, LeaseLost, StaleState, StoreError
from tests.support.memory_store import refused
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time


async def owned() -> tuple[Rig, OwnedDeployment]:
    rig = a_rig(waiting(), start=False)
    fence = await rig.store.leases.claim(rig.row().id, "one", rig.timing.lease)
    assert fence == 1
    rig.cache.put(rig.row())
    return rig, OwnedDeployment(replace(rig.row(), fence=fence), context=rig.context)


@in_virtual_time
async def test_write_waits_for_the_database() -> None:
    rig, deployment = await owned()
    rig.store.down = True
    writing = asyncio.create_task(deployment.move(Phase.STARTING, "starting"))
    await rig.passes(90)
    assert not writing.done()
    rig.store.down = False
    deployment.renewed(rig.clock.monotonic())
    assert (await writing).phase is Phase.STARTING
    assert rig.store.actions(deployment.id) == ["starting"]


@in_virtual_time
async def test_lost_answer_is_looked_up_instead_of_writing_twice() -> None:
    rig, deployment = await owned()
    rig.store.lose_answer("save")
    fresh = await deployment.move(Phase.STARTING, "starting")
    assert fresh.phase is Phase.STARTING
    assert rig.store.actions(deployment.id) == ["starting"]
    assert rig.store.calls.count("save") == 1


@in_virtual_time
async def test_write_that_failed_is_repeated() -> None:
    rig, deployment = await owned()
    rig.store.fail("save")
    await deployment.move(Phase.STARTING, "starting")
    assert rig.store.actions(deployment.id) == ["starting"]
    assert rig.store.calls.count("save") == 2


@in_virtual_time
async def test_refused_write_raises_at_once() -> None:
    rig, deployment = await owned()
    rig.store.fail("save", refused())
    with pytest.raises(StoreError):
        await deployment.record(build_id="b1")
    assert deployment.row.build_id is None


@in_virtual_time
async def test_lost_lease_stops_every_write() -> None:
    rig, deployment = await owned()
    await rig.store.leases.release(deployment.id, 1)
    with pytest.raises(LeaseLost):
        await deployment.move(Phase.STARTING, "starting")
    assert deployment.lost
    assert deployment.is_over()
    for write in (
        deployment.record(build_id="b1"),
        deployment.append_log(["a"]),
        deployment.confirm(),
    ):
        with pytest.raises(LeaseLost):
            await write
    with pytest.raises(LeaseLost):
        await deployment.ask(lambda store: store.get(deployment.id))
    assert rig.row().build_id is None


@in_virtual_time
async def test_suspended_owner_waits_and_shows_nothing() -> None:
    rig, deployment = await owned()
    await rig.passes(14.9)
    assert deployment.has_right()
    await rig.passes(0.1)
    assert not deployment.has_right()
    writing = asyncio.create_task(deployment.record(build_id="b1"))
    deployment.note(step="step 1 of 2")
    await rig.passes(60)
    assert not writing.done()
    assert rig.announcer.changes == []
    assert rig.progress().step == "step 1 of 2"
    deployment.renewed(rig.clock.monotonic() - 15)
    await rig.passes(1)
    assert not writing.done(), "the answer to that renewal came too late"
    deployment.renewed(rig.clock.monotonic())
    assert (await writing).build_id == "b1"
    await rig.passes(15)
    writing = asyncio.create_task(deployment.record(build_id="b2"))
    await rig.passes(1)
    deployment.lose()
    with pytest.raises(LeaseLost):
        await writing


@in_virtual_time
async def test_unreadable_cancel_request_is_read_next_time() -> None:
    rig, deployment = await owned()
    row = deployment.row
    await rig.store.ask_cancel(row.id, row.requested_by, rig.clock.now())
    rig.store.fail("get", DatabaseDown("away"))
    await deployment.refresh_cancel_request()
    assert deployment.row.cancel is None
    await deployment.refresh_cancel_request()
    assert deployment.row.cancel is not None


@in_virtual_time
async def test_confirm_reads_the_cancel_request_and_writes_nothing() -> None:
    rig, deployment = await owned()
    row = deployment.row
    await rig.store.ask_cancel(row.id, row.requested_by, rig.clock.now())
    assert (await deployment.confirm()).cancel is not None
    assert rig.store.actions(row.id) == ["cancel_asked"]


@in_virtual_time
async def test_reread_adopts_a_result_written_by_the_service() -> None:
    rig, deployment = await owned()
    await rig.service.cancel(deployment.id, actor=deployment.row.requested_by, through="button")
    with pytest.raises(StaleState):
        await deployment.move(Phase.STARTING, "starting")
    await deployment.reread()
    assert deployment.row.phase is Phase.CANCELLED
    assert deployment.is_over()


@in_virtual_time
async def test_deleted_row_changes_nothing() -> None:
    rig, deployment = await owned()
    row = deployment.row
    del rig.store.rows[row.id]
    await deployment.refresh_cancel_request()
    await deployment.reread()
    assert deployment.row == row
