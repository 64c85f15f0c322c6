"""Deployments in the queue: blockers, positions, expiry, cancel requests."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.states import ENDINGS
from bot.errors import DatabaseDown, StaleState, StoreError
from tests.support.fake_dokku import DOWN, FakeDokku
from tests.support.rig import LONG, SERVER, Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time, set_wall_clock


def count_looks(rig: Rig) -> int:
    return rig.dokku.asked.count("builds")


@in_virtual_time
async def test_outside_build_is_checked_once_per_poll() -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(100)
    assert 5 <= count_looks(rig) <= 21
    assert rig.progress().waits_for == "a git push outside the bot (Dokku build p1)"
    assert rig.row().phase is Phase.QUEUED
    dokku.set_status("p1", BuildStatus.SUCCEEDED)
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_age_of_outside_build_stays_stable_across_looks() -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook", duration=timedelta(minutes=3))
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
    dokku.add_record("p1", source="git-hook", duration=timedelta(minutes=29))
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(3)
    assert rig.progress().blocker is not None
    before = len(rig.announcer.changes)
    await rig.passes(120)
    blocker = rig.progress().blocker
    assert blocker is not None
    assert blocker.stuck
    assert len(rig.announcer.changes) == before + 1


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
@in_virtual_time
async def test_clock_that_is_set_ends_no_waiting_earlier_or_later(jump: timedelta) -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(LONG.total_seconds())
    set_wall_clock(jump)
    await rig.passes(LONG.total_seconds() - 10)
    assert rig.row().phase is Phase.QUEUED
    row = await rig.until_ended(within_s=30)
    assert row.failure is Failure.EXPIRED


@in_virtual_time
async def test_start_clears_the_blocker() -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook", duration=timedelta(minutes=3))
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(3)
    dokku.set_status("p1", BuildStatus.SUCCEEDED)
    await rig.begun()
    assert (rig.progress().waits_for, rig.progress().blocker) == (None, None)


@pytest.mark.slow
@in_virtual_time
async def test_old_dokku_blocker_names_only_the_lock() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=False, locked=True))
    row = await rig.until_ended(within_s=3 * 3600)
    assert row.failure is Failure.EXPIRED
    assert (row.reason or "").startswith(
        "It waited too long for another deploy outside the bot (Dokku shows only its lock)."
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
    assert rig.store.event_types(row.id).count("deployment.started") == 1


@in_virtual_time
async def test_blocked_deployment_starts_soon_after_the_blocker_ends() -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku, timing={"poll_interval": timedelta(seconds=1)})
    await rig.passes(11.5)
    dokku.set_status("p1", BuildStatus.SUCCEEDED)
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
        (1, "the deployment ahead of it"),
        (2, "the deployment ahead of it"),
    ]
    rig.dokku.streams[0].succeed()
    await rig.until_ended(rows[0].id, within_s=60)
    await rig.dokku.stream(2)
    await rig.passes(6)
    assert rig.progress(rows[1].id).place is None
    assert rig.progress(rows[2].id).place == 1


@pytest.mark.slow
@in_virtual_time
async def test_expired_deployment_names_its_blocker() -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook", duration=timedelta(seconds=10))
    rig = a_rig(waiting(), dokku=dokku)
    rig.store.fail("save", times=0)
    row = await rig.until_ended(within_s=3 * 3600)
    assert (row.failure, row.live) == (Failure.EXPIRED, Live.PREVIOUS)
    assert (row.reason or "").startswith(
        "It waited too long for a git push outside the bot (Dokku build p1), which has been "
        "running for 2h 0m. An operator can find its PID with `builds:info web p1`"
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
    await rig.cancel()
    await rig.passes(60)
    assert rig.row().phase is Phase.CANCELLED
    assert rig.dispatcher._retries._all == {}
    assert rig.dispatcher._workers == {}


@pytest.mark.parametrize("error", [StaleState("it changed"), DatabaseDown("away")])
@in_virtual_time
async def test_expiry_that_was_not_written_is_retried(error: StoreError) -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook")
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(2 * LONG.total_seconds() - 5)
    rig.store.fail("save", error)
    row = await rig.until_ended(within_s=60)
    assert row.failure is Failure.EXPIRED
