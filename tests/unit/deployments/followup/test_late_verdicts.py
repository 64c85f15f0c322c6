"""Corrections of results that could not be proven at first."""

from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.followup.late_verdicts import REPLACED
from bot.deployments.model import Deployment, Failure, Live, LogFacts, Phase
from bot.deployments.timing import Timing
from bot.errors import DatabaseDown, StaleState
from tests.support.builders import (
    METADATA,
    NEW,
    NOW,
    OLD_SHA,
    SHA,
    a_container,
    a_snapshot,
    containers,
)
from tests.support.fake_dokku import DOWN, GOOD, FakeDokku, read_facts
from tests.support.memory_store import MemoryStore
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time, settle

LOST = "Contact was lost."
SLOW_S = 5.0


def lost(**changes: Any) -> Deployment:
    """Return a started deployment that was reported as lost, with an unknown live state."""
    given: dict[str, Any] = {
        "phase": Phase.FAILED,
        "failure": Failure.LOST_CONTACT,
        "live": Live.UNKNOWN,
        "reason": LOST,
        "started_at": NOW - timedelta(minutes=10),
        "finished_at": NOW - timedelta(minutes=1),
        "created_at": NOW - timedelta(minutes=11),
        "before": a_snapshot(),
        "build_id": "b1",
    }
    return waiting(**(given | changes))


def newer(**changes: Any) -> Deployment:
    given: dict[str, Any] = {
        "id": "NEWER",
        "request_key": "newer",
        "phase": Phase.FAILED,
        "failure": Failure.BUILD_FAILED,
        "live": Live.PREVIOUS,
        "finished_at": NOW,
    }
    return waiting(**(given | changes))


def a_bot(*rows: Deployment, **options: Any) -> Rig:
    """Create a replica that does nothing by itself."""
    rig = a_rig(*rows, start=False, **options)
    rig.dokku.add_record("b1", BuildStatus.RUNNING, text=GOOD)
    return rig


def put(rig: Rig, row: Deployment) -> None:
    rig.store.rows[row.id] = row
    rig.store.leases[row.id] = rig.store.new_lease()


def deployed(dokku: FakeDokku) -> None:
    """Let the build succeed without the bot."""
    dokku.mark("b1", BuildStatus.SUCCEEDED, 0)
    dokku.now = containers(NEW)
    dokku.metadata = METADATA


def build_failed(dokku: FakeDokku) -> None:
    dokku.texts["b1"] = ("> fetching", "> building", "> error build_failed npm ci failed")
    dokku.mark("b1", BuildStatus.FAILED, 1)


async def look(rig: Rig, for_s: float = 30.0) -> Deployment:
    await rig.late.look()
    await rig.passes(for_s)
    return rig.row(lost().id)


@in_virtual_time
async def test_successful_build_is_corrected_after_the_settle_time() -> None:
    rig = a_bot(lost())
    deployed(rig.dokku)
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
    assert row.finished_at == lost().finished_at
    assert rig.store.actions(row.id) == ["corrected"]
    ((_, event),) = rig.store.events
    assert (event.type, event.corrected_from) == ("deployment.corrected", row.corrected_from)
    tracked = rig.cache.get(row.id)
    assert tracked is not None
    assert tracked.deployment == row


@in_virtual_time
async def test_failed_build_is_corrected_with_its_log() -> None:
    rig = a_bot(lost())
    build_failed(rig.dokku)
    row = await look(rig)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS)
    assert "npm ci failed" in (row.reason or "")
    ((_, event),) = rig.store.events
    assert any("npm ci failed" in line for line in event.log_tail)
    assert any("npm ci failed" in line for line in rig.store.logs[row.id])


@in_virtual_time
async def test_running_build_is_not_corrected_yet() -> None:
    rig = a_bot(lost())
    assert (await look(rig)).live is Live.UNKNOWN
    assert rig.store.actions(rig.row().id) == []
    build_failed(rig.dokku)
    assert (await look(rig)).live is Live.PREVIOUS


@in_virtual_time
async def test_result_is_corrected_once() -> None:
    rig = a_bot(lost())
    build_failed(rig.dokku)
    await look(rig)
    await look(rig)
    assert rig.store.actions(rig.row().id) == ["corrected"]
    assert len(rig.store.events) == 1


@in_virtual_time
async def test_unreadable_containers_prove_nothing() -> None:
    rig = a_bot(lost())
    build_failed(rig.dokku)
    rig.dokku.now = None
    assert (await look(rig)).live is Live.UNKNOWN
    assert rig.store.actions(rig.row().id) == []


@in_virtual_time
async def test_release_that_crashes_while_watched_is_corrected_to_crashed() -> None:
    rig = a_bot(lost())
    deployed(rig.dokku)
    await rig.late.look()
    await rig.passes(5)
    rig.dokku.now = containers(a_container(NEW.id, image=NEW.image, restarts=1))
    await rig.passes(30)
    row = rig.row()
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.CRASHED, Live.NEW)


@in_virtual_time
async def test_unconfirmed_time_limit_stays_timed_out_when_proven() -> None:
    rig = a_bot(lost(failure=Failure.TIMED_OUT))
    rig.dokku.mark("b1", BuildStatus.CANCELED, -1)
    row = await look(rig)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)


@in_virtual_time
async def test_correction_offers_the_newest_earlier_proven_commit_for_rollback() -> None:
    rig = a_bot(
        lost(),
        lost(
            id="EARLIER",
            request_key="earlier",
            phase=Phase.SUCCEEDED,
            failure=None,
            live=Live.NEW,
            sha=OLD_SHA,
            created_at=NOW - timedelta(hours=1),
        ),
    )
    deployed(rig.dokku)
    assert (await look(rig)).rollback_sha == OLD_SHA


@in_virtual_time
async def test_deployment_replaced_by_a_newer_one_stays_unproven() -> None:
    rig = a_bot(lost(), newer(started_at=NOW))
    build_failed(rig.dokku)
    row = await look(rig)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.LOST_CONTACT, Live.UNKNOWN)
    assert row.reason == f"{LOST} {REPLACED}"
    assert row.late_over
    await look(rig)
    assert rig.store.actions(row.id) == ["left_unproven"]
    assert rig.store.events == []
    assert rig.dokku.asked == []


@in_virtual_time
async def test_newer_deployment_that_never_started_replaces_nothing() -> None:
    rig = a_bot(lost(), newer(started_at=None))
    build_failed(rig.dokku)
    assert (await look(rig)).live is Live.PREVIOUS


@in_virtual_time
async def test_deployment_replaced_during_a_look_is_not_corrected() -> None:
    rig = a_bot(lost())
    deployed(rig.dokku)
    await rig.late.look()
    await rig.passes(5)
    put(rig, newer(started_at=NOW))
    await rig.passes(30)
    row = rig.row(lost().id)
    assert (row.live, row.late_over) == (Live.UNKNOWN, True)
    assert rig.store.actions(row.id) == ["left_unproven"]


@in_virtual_time
async def test_looks_end_after_two_hours() -> None:
    rig = a_bot(lost(finished_at=NOW - timedelta(hours=2, seconds=1)))
    build_failed(rig.dokku)
    assert (await look(rig)).live is Live.UNKNOWN
    assert rig.dokku.asked == []


@pytest.mark.parametrize("question", ["builds", "report", "keeps_records"])
@in_virtual_time
async def test_unanswered_server_is_asked_again_next_time(question: str) -> None:
    rig = a_bot(lost())
    build_failed(rig.dokku)
    rig.dokku.fail(question, DOWN)
    assert (await look(rig)).live is Live.UNKNOWN
    assert rig.store.owner(rig.row().id) is None
    assert (await look(rig)).live is Live.PREVIOUS


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
    rig = a_bot(lost())
    build_failed(rig.dokku)
    rig.store.fail(method, error)
    assert (await look(rig)).live is Live.UNKNOWN
    assert rig.store.owner(rig.row().id) is None
    assert (await look(rig)).live is Live.PREVIOUS


@in_virtual_time
async def test_deleted_row_is_not_looked_at() -> None:
    rig = a_bot(lost())
    await rig.late.look()
    del rig.store.rows[lost().id]
    await rig.passes(30)
    assert rig.dokku.asked == []


@in_virtual_time
async def test_only_one_of_two_replicas_corrects() -> None:
    store = MemoryStore(a_bot().clock)
    put(one := a_bot(store=store), lost())
    two = a_bot(store=store, dokku=one.dokku)
    build_failed(one.dokku)
    await two.late.look()
    await look(one)
    await look(two)
    assert store.actions(lost().id) == ["corrected"]
    assert store.owner(lost().id) is None


@in_virtual_time
async def test_dead_server_does_not_delay_looks_at_another() -> None:
    rig = a_bot(lost(id="DEAD", request_key="dead", server="staging", reason=""))
    dead = FakeDokku()
    dead.hanging = {"builds"}
    rig.servers.known["staging"] = dead
    began = rig.clock.monotonic()
    await rig.late.look()
    assert rig.clock.monotonic() == began
    await rig.passes(30)
    put(rig, lost())
    build_failed(rig.dokku)
    assert (await look(rig, for_s=1)).live is Live.PREVIOUS
    # The dead server is not asked again while a question is open.
    assert dead.asked.count("builds") == 1
    await rig.passes(200)
    assert rig.store.owner("DEAD") is None
    await rig.late.look()
    await rig.passes(1)
    assert dead.asked.count("builds") == 2


@in_virtual_time
async def test_ended_stream_corrects_at_once() -> None:
    rig = a_bot(lost())
    rig.dokku.keeps = False
    deployed(rig.dokku)
    # The image did not change: only the stream shows whose container it is.
    rig.dokku.now = containers(a_container(NEW.id))
    assert (await look(rig)).live is Live.UNKNOWN
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    assert (rig.row().phase, rig.row().live) == (Phase.SUCCEEDED, Live.NEW)
    assert rig.row().exit_status == 0


@in_virtual_time
async def test_stream_that_ends_during_a_look_is_still_used() -> None:
    rig = a_bot(lost())
    rig.dokku.keeps = False
    deployed(rig.dokku)
    rig.dokku.answer_s = SLOW_S
    await rig.late.look()
    await rig.passes(SLOW_S)
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    await rig.passes(60)
    assert (rig.row().phase, rig.row().live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_facts_of_the_stream_are_kept_during_a_server_outage() -> None:
    rig = a_bot(lost())
    rig.dokku.keeps = False
    deployed(rig.dokku)
    rig.dokku.down = DOWN
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    assert rig.row().live is Live.UNKNOWN
    rig.dokku.down = None
    assert (await look(rig)).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("row", [lost(live=Live.PREVIOUS), lost(late_over=True)])
@in_virtual_time
async def test_proven_or_abandoned_result_is_not_read_again(row: Deployment) -> None:
    rig = a_bot(row)
    deployed(rig.dokku)
    await rig.late.stream_ended(row, 0, read_facts(GOOD))
    await look(rig)
    assert rig.row() == row
    assert rig.dokku.asked == []


@in_virtual_time
async def test_stream_of_a_deleted_row_is_ignored() -> None:
    rig = a_bot()
    await rig.late.stream_ended(lost(), 0, LogFacts())
    await settle()
    assert rig.dokku.asked == []


@in_virtual_time
async def test_stream_facts_leave_memory_after_the_correction() -> None:
    rig = a_bot(lost())
    rig.dokku.keeps = False
    deployed(rig.dokku)
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    await look(rig)
    assert rig.late._stream_ends == {}


@pytest.mark.parametrize("stream_ended", [True, False])
@in_virtual_time
async def test_no_output_and_no_record_prove_it_never_began(
    stream_ended: bool,
) -> None:
    rig = a_bot(
        lost(build_id=None, finished_at=NOW - Timing().sent_lives_on - timedelta(seconds=1))
    )
    rig.dokku.records.clear()
    if stream_ended:
        await rig.late.stream_ended(rig.row(), None, LogFacts())
    row = await look(rig)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS)


@pytest.mark.parametrize(
    "changes",
    [
        {"finished_at": NOW - Timing().sent_lives_on + timedelta(seconds=60)},
        {"finished_at": NOW - timedelta(hours=1), "build_id": "b0"},
        {"finished_at": NOW - timedelta(hours=1), "started_at": None},
    ],
    ids=["too early to say", "it had a record once", "it was never on its way"],
)
@in_virtual_time
async def test_missing_record_alone_does_not_prove_it_never_began(changes: dict[str, Any]) -> None:
    rig = a_bot(lost(**{"build_id": None} | changes))
    rig.dokku.records.clear()
    assert (await look(rig)).live is Live.UNKNOWN


@in_virtual_time
async def test_any_stored_output_proves_it_began() -> None:
    rig = a_bot(lost(build_id=None, finished_at=NOW - timedelta(hours=1)))
    rig.dokku.records.clear()
    rig.store.logs[lost().id] = ["> fetching"]
    assert (await look(rig)).live is Live.UNKNOWN
