"""What is learnt after an end that could not be proven."""

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
    """Started, and called lost: nobody could tell how it ended."""
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
    """A replica that does nothing but what a test asks it."""
    rig = a_rig(*rows, start=False, **options)
    rig.dokku.add_record("b1", BuildStatus.RUNNING, text=GOOD)
    return rig


def put(rig: Rig, row: Deployment) -> None:
    rig.store.rows[row.id] = row
    rig.store.leases[row.id] = rig.store.new_lease()


def deployed(dokku: FakeDokku) -> None:
    """The build went on without us, and well."""
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
async def test_a_build_that_ended_well_is_watched_and_then_called_deployed() -> None:
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
async def test_a_build_that_failed_is_told_with_its_last_lines_and_its_whole_log() -> None:
    rig = a_bot(lost())
    build_failed(rig.dokku)
    row = await look(rig)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS)
    assert "npm ci failed" in (row.reason or "")
    ((_, event),) = rig.store.events
    assert any("npm ci failed" in line for line in event.log_tail)
    assert any("npm ci failed" in line for line in rig.store.logs[row.id])


@in_virtual_time
async def test_what_still_runs_is_no_verdict_and_is_looked_at_again() -> None:
    rig = a_bot(lost())
    assert (await look(rig)).live is Live.UNKNOWN
    assert rig.store.actions(rig.row().id) == []
    build_failed(rig.dokku)
    assert (await look(rig)).live is Live.PREVIOUS


@in_virtual_time
async def test_an_end_is_corrected_once() -> None:
    rig = a_bot(lost())
    build_failed(rig.dokku)
    await look(rig)
    await look(rig)
    assert rig.store.actions(rig.row().id) == ["corrected"]
    assert len(rig.store.events) == 1


@in_virtual_time
async def test_containers_that_cannot_be_read_prove_nothing() -> None:
    rig = a_bot(lost())
    build_failed(rig.dokku)
    rig.dokku.now = None
    assert (await look(rig)).live is Live.UNKNOWN
    assert rig.store.actions(rig.row().id) == []


@in_virtual_time
async def test_a_release_that_crashes_while_it_is_watched_is_told_so() -> None:
    rig = a_bot(lost())
    deployed(rig.dokku)
    await rig.late.look()
    await rig.passes(5)
    rig.dokku.now = containers(a_container(NEW.id, image=NEW.image, restarts=1))
    await rig.passes(30)
    row = rig.row()
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.CRASHED, Live.NEW)


@in_virtual_time
async def test_a_cap_that_nobody_could_confirm_keeps_its_word() -> None:
    rig = a_bot(lost(failure=Failure.TIMED_OUT))
    rig.dokku.mark("b1", BuildStatus.CANCELED, -1)
    row = await look(rig)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)


@in_virtual_time
async def test_the_way_back_is_the_newest_commit_proven_before_it() -> None:
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
async def test_one_that_a_newer_one_replaced_stays_and_says_so() -> None:
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
async def test_a_newer_one_that_was_never_started_replaces_nothing() -> None:
    rig = a_bot(lost(), newer(started_at=None))
    build_failed(rig.dokku)
    assert (await look(rig)).live is Live.PREVIOUS


@in_virtual_time
async def test_one_that_is_replaced_while_it_is_looked_at_is_not_corrected() -> None:
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
async def test_looks_end_after_their_time() -> None:
    rig = a_bot(lost(finished_at=NOW - timedelta(hours=2, seconds=1)))
    build_failed(rig.dokku)
    assert (await look(rig)).live is Live.UNKNOWN
    assert rig.dokku.asked == []


@pytest.mark.parametrize("question", ["builds", "report", "keeps_records"])
@in_virtual_time
async def test_a_server_that_does_not_answer_is_asked_again_next_time(question: str) -> None:
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
async def test_a_database_that_does_not_answer_is_asked_again_next_time(
    method: str, error: Exception
) -> None:
    rig = a_bot(lost())
    build_failed(rig.dokku)
    rig.store.fail(method, error)
    assert (await look(rig)).live is Live.UNKNOWN
    assert rig.store.owner(rig.row().id) is None
    assert (await look(rig)).live is Live.PREVIOUS


@in_virtual_time
async def test_a_row_that_vanished_is_nothing_to_look_at() -> None:
    rig = a_bot(lost())
    await rig.late.look()
    del rig.store.rows[lost().id]
    await rig.passes(30)
    assert rig.dokku.asked == []


@in_virtual_time
async def test_two_replicas_look_one_after_the_other_and_one_of_them_tells() -> None:
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
async def test_a_dead_server_delays_no_look_at_another() -> None:
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
    # Nor is the dead one asked again while a question is open.
    assert dead.asked.count("builds") == 1
    await rig.passes(200)
    assert rig.store.owner("DEAD") is None
    await rig.late.look()
    await rig.passes(1)
    assert dead.asked.count("builds") == 2


@in_virtual_time
async def test_what_the_stream_tells_at_last_is_told_at_once() -> None:
    rig = a_bot(lost())
    rig.dokku.keeps = False
    deployed(rig.dokku)
    # The same content again: nothing but the stream can tell whose container it is.
    rig.dokku.now = containers(a_container(NEW.id))
    assert (await look(rig)).live is Live.UNKNOWN
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    assert (rig.row().phase, rig.row().live) == (Phase.SUCCEEDED, Live.NEW)
    assert rig.row().exit_status == 0


@in_virtual_time
async def test_what_the_stream_tells_during_a_look_is_not_forgotten() -> None:
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
async def test_what_the_stream_told_is_kept_while_the_server_is_away() -> None:
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
async def test_what_is_proven_or_left_is_not_asked_about_again(row: Deployment) -> None:
    rig = a_bot(row)
    deployed(rig.dokku)
    await rig.late.stream_ended(row, 0, read_facts(GOOD))
    await look(rig)
    assert rig.row() == row
    assert rig.dokku.asked == []


@in_virtual_time
async def test_a_stream_of_a_row_that_is_gone_tells_nobody() -> None:
    rig = a_bot()
    await rig.late.stream_ended(lost(), 0, LogFacts())
    await settle()
    assert rig.dokku.asked == []


@in_virtual_time
async def test_what_streams_told_leaves_memory_with_the_end() -> None:
    rig = a_bot(lost())
    rig.dokku.keeps = False
    deployed(rig.dokku)
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    await look(rig)
    assert rig.late._stream_ends == {}


@pytest.mark.parametrize("heard", [True, False])
@in_virtual_time
async def test_a_line_that_brought_nothing_and_left_no_record_had_begun_nothing(
    heard: bool,
) -> None:
    rig = a_bot(
        lost(build_id=None, finished_at=NOW - Timing().sent_lives_on - timedelta(seconds=1))
    )
    rig.dokku.records.clear()
    if heard:
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
async def test_no_record_alone_does_not_say_that_nothing_began(changes: dict[str, Any]) -> None:
    rig = a_bot(lost(**{"build_id": None} | changes))
    rig.dokku.records.clear()
    assert (await look(rig)).live is Live.UNKNOWN


@in_virtual_time
async def test_a_line_that_brought_something_had_begun() -> None:
    rig = a_bot(lost(build_id=None, finished_at=NOW - timedelta(hours=1)))
    rig.dokku.records.clear()
    rig.store.logs[lost().id] = ["> fetching"]
    assert (await look(rig)).live is Live.UNKNOWN
