"""Corrections of results that could not be proven at first."""

from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.followup.late_verdicts import REPLACED
from bot.deployments.model import Failure, Live, Phase
from bot.errors import DatabaseDown, StaleState
from tests.support.builders import (
    NEW,
    NOW,
    OLD_SHA,
    SHA,
    a_container,
    containers,
)
from tests.support.fake_dokku import DOWN, FakeDokku
from tests.support.lost_deployments import (
    LOST,
    a_lost_deployment,
    a_newer_deployment,
    an_idle_rig,
    build_fails,
    build_succeeds,
    late_look,
    put,
)
from tests.support.memory_store import MemoryStore
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_successful_build_is_corrected_after_the_settle_time() -> None:
    rig = an_idle_rig(a_lost_deployment())
    build_succeeds(rig.dokku)
    await rig.late.look()
    await rig.passes(rig.timing.settle.total_seconds() - 1)
    assert rig.row().live is Live.UNKNOWN
    await rig.passes(5)
    row = rig.row()
    assert (row.phase, row.failure, row.live) == (Phase.SUCCEEDED, None, Live.NEW)
    assert row.corrected_from == {"status": "failed", "failure": "lost_contact", "live": "unknown"}
    assert (row.sha, row.build_id) == (SHA, "b1")
    assert row.after == containers(NEW)
    assert row.evidence is not None
    assert row.finished_at == a_lost_deployment().finished_at
    assert rig.store.actions(row.id) == ["corrected"]
    ((_, event),) = rig.store.events
    assert (event.type, event.corrected_from) == ("deployment.corrected", row.corrected_from)
    tracked = rig.cache.get(row.id)
    assert tracked is not None
    assert tracked.deployment == row


@in_virtual_time
async def test_failed_build_is_corrected_with_its_log() -> None:
    rig = an_idle_rig(a_lost_deployment())
    build_fails(rig.dokku)
    row = await late_look(rig)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS)
    assert "npm ci failed" in (row.reason or "")
    ((_, event),) = rig.store.events
    assert any("npm ci failed" in line for line in event.log_tail)
    assert any("npm ci failed" in line for line in rig.store.logs[row.id])


@in_virtual_time
async def test_running_build_is_not_corrected_yet() -> None:
    rig = an_idle_rig(a_lost_deployment())
    assert (await late_look(rig)).live is Live.UNKNOWN
    assert rig.store.actions(rig.row().id) == []
    build_fails(rig.dokku)
    assert (await late_look(rig)).live is Live.PREVIOUS


@in_virtual_time
async def test_result_is_corrected_once() -> None:
    rig = an_idle_rig(a_lost_deployment())
    build_fails(rig.dokku)
    await late_look(rig)
    await late_look(rig)
    assert rig.store.actions(rig.row().id) == ["corrected"]
    assert len(rig.store.events) == 1


@in_virtual_time
async def test_unreadable_containers_prove_nothing() -> None:
    rig = an_idle_rig(a_lost_deployment())
    build_fails(rig.dokku)
    rig.dokku.now = None
    assert (await late_look(rig)).live is Live.UNKNOWN
    assert rig.store.actions(rig.row().id) == []


@in_virtual_time
async def test_release_that_crashes_while_watched_is_corrected_to_crashed() -> None:
    rig = an_idle_rig(a_lost_deployment())
    build_succeeds(rig.dokku)
    await rig.late.look()
    await rig.passes(5)
    rig.dokku.now = containers(a_container(NEW.id, image=NEW.image, restarts=1))
    await rig.passes(30)
    row = rig.row()
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.CRASHED, Live.NEW)


@in_virtual_time
async def test_unconfirmed_time_limit_stays_timed_out_when_proven() -> None:
    rig = an_idle_rig(a_lost_deployment(failure=Failure.TIMED_OUT))
    rig.dokku.set_status("b1", BuildStatus.CANCELED, -1)
    row = await late_look(rig)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)


@in_virtual_time
async def test_correction_offers_the_newest_earlier_proven_commit_for_rollback() -> None:
    rig = an_idle_rig(
        a_lost_deployment(),
        a_lost_deployment(
            id="EARLIER",
            request_key="earlier",
            phase=Phase.SUCCEEDED,
            failure=None,
            live=Live.NEW,
            sha=OLD_SHA,
            created_at=NOW - timedelta(hours=1),
        ),
    )
    build_succeeds(rig.dokku)
    assert (await late_look(rig)).rollback_sha == OLD_SHA


@in_virtual_time
async def test_deployment_replaced_by_a_newer_one_stays_unproven() -> None:
    rig = an_idle_rig(a_lost_deployment(), a_newer_deployment(started_at=NOW))
    build_fails(rig.dokku)
    row = await late_look(rig)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.LOST_CONTACT, Live.UNKNOWN)
    assert row.reason == f"{LOST} {REPLACED}"
    assert row.late_over
    await late_look(rig)
    assert rig.store.actions(row.id) == ["left_unproven"]
    assert rig.store.events == []
    assert rig.dokku.asked == []


@in_virtual_time
async def test_newer_deployment_that_never_started_replaces_nothing() -> None:
    rig = an_idle_rig(a_lost_deployment(), a_newer_deployment(started_at=None))
    build_fails(rig.dokku)
    assert (await late_look(rig)).live is Live.PREVIOUS


@in_virtual_time
async def test_deployment_replaced_during_a_look_is_not_corrected() -> None:
    rig = an_idle_rig(a_lost_deployment())
    build_succeeds(rig.dokku)
    await rig.late.look()
    await rig.passes(5)
    put(rig, a_newer_deployment(started_at=NOW))
    await rig.passes(30)
    row = rig.row(a_lost_deployment().id)
    assert (row.live, row.late_over) == (Live.UNKNOWN, True)
    assert rig.store.actions(row.id) == ["left_unproven"]


@in_virtual_time
async def test_looks_end_after_two_hours() -> None:
    rig = an_idle_rig(a_lost_deployment(finished_at=NOW - timedelta(hours=2, seconds=1)))
    build_fails(rig.dokku)
    assert (await late_look(rig)).live is Live.UNKNOWN
    assert rig.dokku.asked == []


@pytest.mark.parametrize("question", ["builds", "report", "keeps_records"])
@in_virtual_time
async def test_unanswered_server_is_asked_again_next_time(question: str) -> None:
    rig = an_idle_rig(a_lost_deployment())
    build_fails(rig.dokku)
    rig.dokku.fail(question, DOWN)
    assert (await late_look(rig)).live is Live.UNKNOWN
    assert rig.store.owner(rig.row().id) is None
    assert (await late_look(rig)).live is Live.PREVIOUS


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("unproven", DatabaseDown("away")),
        ("newer", DatabaseDown("away")),
        ("claim", DatabaseDown("away")),
        ("get", DatabaseDown("away")),
        ("correct", StaleState("it moved")),
        ("read_log", DatabaseDown("away")),
    ],
)
@in_virtual_time
async def test_database_error_is_retried_next_time(method: str, error: Exception) -> None:
    rig = an_idle_rig(a_lost_deployment())
    build_fails(rig.dokku)
    rig.store.fail(method, error)
    assert (await late_look(rig)).live is Live.UNKNOWN
    assert rig.store.owner(rig.row().id) is None
    assert (await late_look(rig)).live is Live.PREVIOUS


@in_virtual_time
async def test_deleted_row_is_not_looked_at() -> None:
    rig = an_idle_rig(a_lost_deployment())
    await rig.late.look()
    del rig.store.rows[a_lost_deployment().id]
    await rig.passes(30)
    assert rig.dokku.asked == []


@in_virtual_time
async def test_only_one_of_two_replicas_corrects() -> None:
    store = MemoryStore(an_idle_rig().clock)
    put(one := an_idle_rig(store=store), a_lost_deployment())
    two = an_idle_rig(store=store, dokku=one.dokku)
    build_fails(one.dokku)
    await two.late.look()
    await late_look(one)
    await late_look(two)
    assert store.actions(a_lost_deployment().id) == ["corrected"]
    assert store.owner(a_lost_deployment().id) is None


@in_virtual_time
async def test_dead_server_does_not_delay_looks_at_another() -> None:
    rig = an_idle_rig(a_lost_deployment(id="DEAD", request_key="dead", server="staging", reason=""))
    dead = FakeDokku()
    dead.hanging = {"builds"}
    rig.servers.known["staging"] = dead
    began = rig.clock.monotonic()
    await rig.late.look()
    assert rig.clock.monotonic() == began
    await rig.passes(30)
    put(rig, a_lost_deployment())
    build_fails(rig.dokku)
    assert (await late_look(rig, for_s=1)).live is Live.PREVIOUS
    # The dead server is not asked again while a question is open.
    assert dead.asked.count("builds") == 1
    await rig.passes(200)
    assert rig.store.owner("DEAD") is None
    await rig.late.look()
    await rig.passes(1)
    assert dead.asked.count("builds") == 2
