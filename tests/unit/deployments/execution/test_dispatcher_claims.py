"""Claims, leases, retries with pauses, and unexpected errors of the dispatcher."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.states import ENDINGS
from bot.errors import DatabaseDown, StaleState, StoreError
from tests.support.builders import SHA
from tests.support.fake_dokku import DOWN, FakeDokku
from tests.support.memory_store import MemoryStore
from tests.support.rig import LONG, SERVER, Rig, a_rig, waiting
from tests.support.virtual_time import LoopClock, in_virtual_time


def count_looks(rig: Rig) -> int:
    return rig.dokku.asked.count("builds")


@in_virtual_time
async def test_outside_build_is_checked_once_per_poll() -> None:
    dokku = FakeDokku()
    dokku.add_record("foreign", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(100)
    assert 5 <= count_looks(rig) <= 21
    assert rig.progress().waits_for == "a git push outside this bot (Dokku build foreign)"
    assert rig.row().phase is Phase.QUEUED
    dokku.mark("foreign", BuildStatus.SUCCEEDED)
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_age_of_outside_build_stays_stable_across_looks() -> None:
    dokku = FakeDokku()
    dokku.add_record("foreign", source="git-hook", duration=timedelta(minutes=3))
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(3)
    blocker = rig.progress().blocker
    assert blocker is not None
    assert blocker.since is not None
    assert abs(rig.clock.now() - blocker.since - timedelta(minutes=3)) < timedelta(seconds=4)
    changes = list(rig.announcer.changes)
    for second in range(4, 60):
        # Dokku rounds to seconds: two looks rarely give the same start.
        dokku.records[0] = replace(
            dokku.records[0], duration=timedelta(minutes=3, seconds=second + second % 2)
        )
        await rig.passes(1)
    assert rig.progress().blocker == blocker
    assert rig.announcer.changes == changes


@in_virtual_time
async def test_stuck_outside_build_is_reported_once() -> None:
    dokku = FakeDokku()
    dokku.add_record("foreign", source="git-hook", duration=timedelta(minutes=29))
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(3)
    assert rig.progress().blocker is not None
    before = len(rig.announcer.changes)
    await rig.passes(120)
    blocker = rig.progress().blocker
    assert blocker is not None
    assert blocker.stuck
    assert len(rig.announcer.changes) == before + 1


@in_virtual_time
async def test_start_clears_the_blocker() -> None:
    dokku = FakeDokku()
    dokku.add_record("foreign", source="git-hook", duration=timedelta(minutes=3))
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(3)
    dokku.mark("foreign", BuildStatus.SUCCEEDED)
    await rig.begun()
    assert (rig.progress().waits_for, rig.progress().blocker) == (None, None)


@in_virtual_time
async def test_old_dokku_blocker_names_only_the_lock() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=False, locked=True))
    row = await rig.until_ended(within_s=3 * 3600)
    assert row.failure is Failure.EXPIRED
    assert (row.reason or "").startswith(
        "It waited too long for another deploy outside this bot (Dokku shows only its lock)."
    )
    assert "`apps:unlock` would not stop it" in (row.reason or "")


@in_virtual_time
async def test_refused_start_is_retried_with_pauses() -> None:
    rig = a_rig(waiting())
    for number in range(1, 4):
        stream = await rig.dokku.stream(number)
        stream.say("> fetching", "> error locked web currently has a deploy lock in place.")
        await rig.passes(1)
        stream.end(1)
        await rig.until_phase(Phase.QUEUED)
    assert rig.clock.monotonic() > 10
    row = rig.row()
    assert (row.phase, row.attempt) == (Phase.QUEUED, 1)
    (await rig.dokku.stream(4)).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED
    assert rig.store.told(row.id).count("deployment.started") == 1


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
    dokku.add_record("foreign", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku)
    rig.store.fail("release")
    await rig.passes(30)
    dokku.mark("foreign", BuildStatus.SUCCEEDED)
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
async def test_blocked_deployment_starts_soon_after_the_blocker_ends() -> None:
    dokku = FakeDokku()
    dokku.add_record("foreign", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku, timing={"poll_interval": timedelta(seconds=1)})
    await rig.passes(11.5)
    dokku.mark("foreign", BuildStatus.SUCCEEDED)
    await asyncio.wait_for(dokku.stream(), 2)


@in_virtual_time
async def test_earlier_deployment_of_the_bot_is_not_an_outside_build() -> None:
    earlier = waiting(
        id="01EARLIER", phase=Phase.FAILED, live=Live.UNKNOWN, build_id="b0", request_key="e"
    )
    dokku = FakeDokku()
    dokku.add_record("b0")
    rig = a_rig(earlier, waiting(), dokku=dokku)
    await rig.passes(3)
    waits_for = rig.progress(waiting().id).waits_for or ""
    assert waits_for.startswith("an earlier deployment with an unknown result")


@in_virtual_time
async def test_queue_positions_are_shown_and_move_up() -> None:
    rows = [waiting(id=f"01ROW{n}", request_key=f"r{n}") for n in range(3)]
    rig = a_rig(*rows)
    (await rig.begun()).say("> fetching")
    await rig.passes(6)
    shown = [(rig.progress(row.id).place, rig.progress(row.id).waits_for) for row in rows]
    assert shown == [
        (None, None),
        (1, "the deployment before it"),
        (2, "the deployment before it"),
    ]
    rig.dokku.streams[0].succeed()
    await rig.until_ended(rows[0].id, within_s=60)
    await rig.dokku.stream(2)
    await rig.passes(6)
    assert rig.progress(rows[1].id).place is None
    assert rig.progress(rows[2].id).place == 1


@in_virtual_time
async def test_expired_deployment_names_its_blocker() -> None:
    dokku = FakeDokku()
    dokku.add_record("foreign", source="git-hook", duration=timedelta(seconds=10))
    rig = a_rig(waiting(), dokku=dokku)
    rig.store.fail("save", times=0)
    row = await rig.until_ended(within_s=3 * 3600)
    assert (row.failure, row.live) == (Failure.EXPIRED, Live.PREVIOUS)
    assert (row.reason or "").startswith(
        "It waited too long for a git push outside this bot (Dokku build foreign), which has been "
        "running for 2h 0m. An operator can find its PID with `builds:info web foreign`"
    )
    assert (row.reason or "").endswith(
        "end it with `builds:cancel web`. The previous release is still serving."
    )


@in_virtual_time
async def test_cancelled_queued_deployment_ends_at_the_next_look() -> None:
    """Requested from a shell, so this process gets no notice of it."""
    rig = a_rig(waiting(id="01FIRST"), waiting(id="01NEXT", request_key="next"))
    await rig.begun()
    await rig.store.ask_cancel("01NEXT", rig.row("01NEXT").requested_by, rig.clock.now())
    row = await rig.until_ended("01NEXT", within_s=6)
    assert (row.phase, row.failure, row.live) == (Phase.CANCELLED, None, Live.PREVIOUS)
    assert row.reason == "Cancelled while queued. The previous release is still serving."
    (ended,) = [one for of, one in rig.store.audit if of == "01NEXT" and one.action == "cancelled"]
    assert ended.actor == row.requested_by
    assert rig.row("01FIRST").phase not in ENDINGS


@in_virtual_time
async def test_removed_server_ends_its_queued_deployments() -> None:
    gone = waiting(id="01GONE", server="removed")
    here = waiting(request_key="other")
    rig = a_rig(gone, here)
    (await rig.begun()).succeed()
    assert (await rig.until_ended(here.id, within_s=60)).phase is Phase.SUCCEEDED
    row = await rig.until_ended(gone.id, within_s=120)
    assert (row.failure, row.live) == (Failure.SERVER_UNREACHABLE, Live.UNKNOWN)
    assert "removed" in (row.reason or "")
    assert SERVER in rig.servers.names()


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
async def test_dead_server_does_not_delay_other_servers_during_expiry() -> None:
    dead = [
        waiting(id=f"01DEAD{n}", server="dead", dokku_app=f"app{n}", request_key=f"dead {n}")
        for n in range(20)
    ]
    rig = a_rig(*dead, start=False, timing={"queue_ttl": -LONG})
    rig.servers.known["dead"] = FakeDokku(hanging={"containers", "builds"})
    rig.start()
    await rig.passes(1)
    fresh = waiting(id="01FRESH", request_key="fresh", queued_at=rig.clock.now() + 2 * LONG)
    rig.store.rows[fresh.id] = fresh
    rig.store.leases[fresh.id] = rig.store.new_lease()
    rig.dispatcher.look_for_work()
    await asyncio.wait_for(rig.dokku.stream(), 5)


@in_virtual_time
async def test_abandoned_start_tries_leave_nothing_in_memory() -> None:
    rig = a_rig(waiting())
    rig.dokku.down = DOWN
    await rig.passes(2)
    row = rig.row()
    await rig.service.cancel(row.id, actor=row.requested_by, through="button")
    await rig.passes(60)
    assert rig.row().phase is Phase.CANCELLED
    assert rig.dispatcher._retries._all == {}
    assert rig.dispatcher._workers == {}


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
    dokku.add_record("foreign", source="git-hook")
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
    dokku.add_record("foreign", source="git-hook")
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
    assert store.told(one.row().id) == ["deployment.started", "deployment.finished"]


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
    rig.dokku.mark("b1", BuildStatus.FAILED, 1)
    row = await rig.until_ended(within_s=120)
    assert row.phase is Phase.FAILED
    assert row.sha == SHA


@pytest.mark.parametrize("error", [StaleState("it changed"), DatabaseDown("away")])
@in_virtual_time
async def test_expiry_that_was_not_written_is_retried(error: StoreError) -> None:
    dokku = FakeDokku()
    dokku.add_record("foreign", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(2 * LONG.total_seconds() - 5)
    rig.store.fail("save", error)
    row = await rig.until_ended(within_s=60)
    assert row.failure is Failure.EXPIRED


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
