"""Claims, leases, several replicas, and unexpected errors of the dispatcher."""

import asyncio

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, Phase
from bot.errors import DatabaseDown
from tests.support.builders import SHA
from tests.support.fake_dokku import FakeDokku
from tests.support.memory_store import MemoryStore
from tests.support.rig import a_rig, waiting
from tests.support.virtual_time import LoopClock, in_virtual_time


@in_virtual_time
async def test_claim_during_heartbeat_is_not_treated_as_lost() -> None:
    rig = a_rig(start=False)
    rig.start()
    row = waiting()
    rig.store.rows[row.id] = row
    rig.store.leases[row.id] = rig.store.new_lease()
    beat = asyncio.create_task(rig.dispatcher.heartbeat())
    rig.dispatcher.look_for_work()
    await beat
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("beats", range(12))
def test_heartbeat_at_any_step_of_a_claim_keeps_the_deployment(beats: int) -> None:
    @in_virtual_time
    async def run() -> None:
        rig = a_rig(waiting())
        for _ in range(beats):
            await asyncio.sleep(0)
        await rig.dispatcher.heartbeat()
        (await rig.begun()).succeed()
        assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED

    run()


@in_virtual_time
async def test_unreleased_lease_does_not_block_forever() -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku)
    rig.store.fail("release")
    await rig.passes(30)
    dokku.set_status("p1", BuildStatus.SUCCEEDED)
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=120)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_claim_with_unreadable_row_is_retried() -> None:
    rig = a_rig(waiting())
    rig.store.fail("get")
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=120)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_two_heartbeats_during_a_claim_leave_it_alone() -> None:
    for steps in range(12):
        rig = a_rig(waiting())
        for _ in range(steps):
            await asyncio.sleep(0)
        await asyncio.gather(rig.dispatcher.heartbeat(), rig.dispatcher.heartbeat())
        (await asyncio.wait_for(rig.dokku.stream(), 2)).succeed()
        assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED
        await rig.stop()


@in_virtual_time
async def test_removed_server_ends_its_running_deployment_as_unknown() -> None:
    rig = a_rig(waiting())
    await rig.begun()
    await rig.passes(5)
    await rig.crash()
    again = a_rig(store=rig.store, dokku=rig.dokku, start=False)
    again.servers.known.clear()
    again.start()
    row = await again.until_ended(within_s=600)
    assert (row.failure, row.live) == (Failure.LOST_CONTACT, Live.UNKNOWN)


@in_virtual_time
async def test_looking_for_work_survives_an_unexpected_error() -> None:
    rig = a_rig(start=False)
    rig.start()
    rig.store.fail("unfinished", RuntimeError("a bug"))
    await rig.passes(1)
    row = waiting()
    rig.store.rows[row.id] = row
    rig.store.leases[row.id] = rig.store.new_lease()
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_rows_of_another_replica_stay_fresh_and_leave_memory() -> None:
    one = a_rig(waiting())
    stream = await one.begun()
    two = a_rig(store=one.store, dokku=one.dokku)
    await two.passes(6)
    stream.say("> fetching", "> building")
    await one.until_phase(Phase.BUILDING)
    await two.passes(6)
    tracked = two.cache.get(one.row().id)
    assert tracked is not None
    assert tracked.deployment.phase is Phase.BUILDING
    stream.succeed()
    await one.until_ended(within_s=60)
    await two.passes(6)
    tracked = two.cache.get(one.row().id)
    assert tracked is not None
    assert tracked.deployment.phase is Phase.SUCCEEDED
    assert two.cache.active() == []
    assert two.announcer.changes == []
    await two.passes(400)
    assert two.cache.get(one.row().id) is None


@in_virtual_time
async def test_result_from_another_process_updates_the_message() -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(3)
    other = a_rig(store=rig.store, dokku=dokku, start=False)
    row = rig.row()
    await other.service.cancel(row.id, actor=row.requested_by, through="cli")
    await rig.passes(12)
    tracked = rig.cache.get(row.id)
    assert tracked is not None
    assert tracked.deployment.phase is Phase.CANCELLED
    assert (row.id, 0) in rig.announcer.changes


@in_virtual_time
async def test_deleted_row_leaves_memory() -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(3)
    row = rig.row()
    del rig.store.rows[row.id]
    await rig.passes(12)
    assert rig.cache.get(row.id) is None


@in_virtual_time
async def test_two_replicas_never_drive_one_deployment() -> None:
    store = MemoryStore(LoopClock())
    dokku = FakeDokku()
    one = a_rig(waiting(), store=store, dokku=dokku)
    two = a_rig(store=store, dokku=dokku)
    stream = await one.begun()
    await one.passes(60)
    assert one.dispatcher.active + two.dispatcher.active == 1
    stream.succeed()
    await one.until_ended(within_s=60)
    await one.passes(60)
    assert len(dokku.streams) == 1
    assert store.event_types(one.row().id) == ["deployment.started", "deployment.finished"]


@in_virtual_time
async def test_database_outage_of_a_minute_loses_nothing() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    await rig.passes(5)
    rig.store.down = True
    stream.say("> fetching", "> building")
    await rig.passes(60)
    stream.succeed()
    await rig.passes(60)
    rig.store.down = False
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert "> building\n" in await rig.store.logs.read(row.id)


@in_virtual_time
async def test_worker_stops_waiting_for_polls_after_losing_the_lease() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    await rig.passes(5)
    stream.lose()
    await rig.passes(15)
    rig.store.leases[rig.row().id].replica = "another"
    rig.store.leases[rig.row().id].fence += 1
    await rig.passes(15)
    assert rig.dispatcher._workers == {}


@in_virtual_time
async def test_database_outage_while_reading_evidence_still_reaches_a_result() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    await rig.passes(5)
    rig.store.fail("read_log", DatabaseDown("away"), times=3)
    stream.lose()
    await rig.passes(30)
    rig.dokku.set_status("b1", BuildStatus.FAILED, 1)
    row = await rig.until_ended(within_s=120)
    assert row.phase is Phase.FAILED
    assert row.sha == SHA


@in_virtual_time
async def test_own_fault_result_that_was_not_written_is_retried() -> None:
    rig = a_rig(waiting())
    rig.dokku.broken.add("report")
    rig.store.fail("save", RuntimeError("a bug"), times=2)
    row = await rig.until_ended(within_s=300)
    assert row.failure is Failure.INTERNAL


@in_virtual_time
async def test_only_the_owner_with_a_renewed_lease_shows_it() -> None:
    rig = a_rig(waiting())
    other = a_rig(store=rig.store, dokku=rig.dokku)
    assert not rig.dispatcher.shows(rig.row().id)
    stream = await rig.begun()
    assert rig.dispatcher.shows(rig.row().id)
    assert not other.dispatcher.shows(rig.row().id)
    rig.store.down = True
    await rig.passes(30)
    assert not rig.dispatcher.shows(rig.row().id)
    rig.store.down = False
    await rig.until(lambda: rig.dispatcher.shows(rig.row().id), within_s=10)
    stream.succeed()
    await rig.until_ended(within_s=60)
    await rig.passes(1)
    assert not rig.dispatcher.shows(rig.row().id)
