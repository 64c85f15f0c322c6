"""How a Dokku proves that a deploy runs or is dead: by its build records, or by its deploy lock."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import BuildRecord, BuildStatus
from bot.deployments.model import Deployment, LogMarker, Phase
from bot.deployments.timing import Timing
from bot.deployments.verdict.outside_changes import UNRECORDED
from bot.deployments.verdict.run_proof import (
    BuildRecords,
    DeployLock,
    LockEvidence,
    Polled,
    RunProof,
    candidates,
    left_no_trace,
    own_record,
    proof_for,
)
from bot.errors import DokkuError
from tests.support.builders import PUSH, a_record, a_snapshot, facts
from tests.support.fake_dokku import DOWN, FakeDokku
from tests.support.rig import waiting
from tests.support.virtual_time import LoopClock, in_virtual_time

TIMING = Timing()
LOCK = TIMING.lock
STARTED = waiting(phase=Phase.RELEASING, before=a_snapshot(builds=frozenset({"old"})))
STARTED_ON_OLD_DOKKU = replace(STARTED, before=a_snapshot(builds=None))

RECORDS = st.lists(
    st.builds(
        lambda number, source: replace(PUSH, id=f"{number:02}", source=source),
        st.integers(0, 9),
        st.sampled_from(["git:sync", "git-hook", "ps:restart"]),
    ),
    unique_by=lambda one: one.id,
)
IDS = st.frozensets(st.integers(0, 9).map("{:02}".format))


def by_records(dokku: FakeDokku) -> BuildRecords:
    return BuildRecords(dokku, clock=LoopClock(), timing=TIMING)


def by_lock(dokku: FakeDokku) -> DeployLock:
    return DeployLock(dokku, clock=LoopClock(), timing=TIMING)


# --- which record is this deployment's


def test_own_record_is_new_and_started_by_git_sync() -> None:
    records = [
        a_record(id_="b1"),
        replace(a_record(id_="p1"), source="git-hook"),
        a_record(id_="old"),
    ]
    assert STARTED.before is not None
    assert [one.id for one in candidates(records, STARTED.before)] == ["b1"]
    assert own_record(STARTED, records) == records[0]


def test_known_id_decides_between_two_candidates() -> None:
    records = [a_record(id_="b2"), a_record(id_="b1")]
    assert own_record(STARTED, records) is None
    assert own_record(replace(STARTED, build_id="b1"), records) == records[1]
    assert own_record(replace(STARTED, build_id="gone"), records) is None


def test_without_a_snapshot_no_record_is_own() -> None:
    assert own_record(replace(STARTED, before=None), [a_record()]) is None


@given(RECORDS, IDS)
def test_candidates_are_new_git_sync_records(
    records: list[BuildRecord], known: frozenset[str]
) -> None:
    found = candidates(records, a_snapshot(builds=known))
    new = {one.id for one in records if one.source == "git:sync"} - known
    assert [one.id for one in found] == [one.id for one in records if one.id in new]


@given(RECORDS, IDS)
def test_own_record_is_the_only_candidate(
    records: list[BuildRecord], known: frozenset[str]
) -> None:
    row = replace(STARTED, before=a_snapshot(builds=known))
    found = candidates(records, a_snapshot(builds=known))
    assert own_record(row, records) == (found[0] if len(found) == 1 else None)


@given(RECORDS, IDS)
def test_trace_is_missing_only_in_a_complete_list_without_candidates(
    records: list[BuildRecord], known: frozenset[str]
) -> None:
    row = replace(STARTED, before=a_snapshot(builds=known))
    listed = {one.id for one in records}
    if left_no_trace(row, records):
        assert candidates(records, a_snapshot(builds=known)) == []
        assert known & listed or not (known | listed)


def test_list_that_keeps_an_earlier_record_is_complete() -> None:
    old, push, own = a_record(id_="old"), replace(PUSH, id="p1"), a_record(id_="b1")
    assert left_no_trace(STARTED, [old])
    assert left_no_trace(STARTED, [push, old])
    assert not left_no_trace(STARTED, [own, old])
    assert not left_no_trace(STARTED, [push])
    assert not left_no_trace(STARTED, [])


def test_first_deploy_without_any_record_left_no_trace() -> None:
    first = replace(STARTED, before=a_snapshot(builds=frozenset()))
    assert left_no_trace(first, [])
    assert not left_no_trace(first, [PUSH])


@pytest.mark.parametrize("row", [replace(STARTED, before=None), STARTED_ON_OLD_DOKKU])
def test_missing_trace_needs_known_records(row: Deployment) -> None:
    assert not left_no_trace(row, [])


# --- polls


@pytest.mark.parametrize("status", BuildStatus)
def test_record_decides_whether_the_command_is_over(status: BuildStatus) -> None:
    polled = Polled(record=a_record(status), lock_free=True)
    assert polled.is_over(facts(LogMarker.BUILDING)) is (status is not BuildStatus.RUNNING)


def test_free_lock_ends_only_a_command_that_was_building() -> None:
    free, held = Polled(record=None, lock_free=True), Polled(record=None)
    assert free.is_over(facts(LogMarker.BUILDING))
    assert not free.is_over(facts(LogMarker.FETCHING))
    assert not held.is_over(facts(LogMarker.BUILDING))


def test_proof_follows_the_dokku_that_it_was_started_on() -> None:
    def kind(row: Deployment) -> type[RunProof]:
        return type(proof_for(row.before, FakeDokku(), clock=LoopClock(), timing=TIMING))

    assert kind(STARTED) is BuildRecords
    assert kind(STARTED_ON_OLD_DOKKU) is DeployLock
    assert kind(replace(STARTED, before=None)) is BuildRecords


@in_virtual_time
async def test_poll_returns_the_own_record_and_outside_records() -> None:
    dokku = FakeDokku()
    own = dokku.add_record("b1")
    push = dokku.add_record("p1", source="git-hook")
    polled = await by_records(dokku).poll(STARTED)
    assert (polled.record, polled.others) == (own, (push,))


@in_virtual_time
async def test_poll_of_old_dokku_reads_only_the_lock() -> None:
    dokku = FakeDokku(keeps=False, locked=True)
    proof = by_lock(dokku)
    assert await proof.poll(STARTED_ON_OLD_DOKKU) == Polled(record=None, lock_free=False)
    dokku.locked = False
    assert await proof.poll(STARTED_ON_OLD_DOKKU) == Polled(record=None, lock_free=True)
    assert dokku.asked == ["report", "report"]


# --- what is in the way of a start


@in_virtual_time
async def test_running_record_is_in_the_way_unless_known() -> None:
    running = a_record(BuildStatus.RUNNING, id_="b1")
    proof = by_records(FakeDokku())
    assert await proof.in_the_way("web", [running]) == running
    assert await proof.in_the_way("web", [running], {"b1"}) is None


@in_virtual_time
async def test_held_lock_is_in_the_way_on_old_dokku() -> None:
    dokku = FakeDokku(keeps=False, locked=True)
    assert await by_lock(dokku).in_the_way("web", []) == UNRECORDED
    dokku.locked = False
    assert await by_lock(dokku).in_the_way("web", []) is None


# --- whether a start was sent

PATIENCE = timedelta(seconds=3)


@in_virtual_time
async def test_start_with_a_record_was_sent() -> None:
    dokku = FakeDokku()
    dokku.add_record("b1")
    assert await by_records(dokku).was_sent(STARTED, PATIENCE)
    assert dokku.asked == ["keeps_records", "builds"]


@in_virtual_time
async def test_start_whose_record_appears_in_time_was_sent() -> None:
    dokku = FakeDokku()
    asyncio.get_running_loop().call_later(2, dokku.add_record, "b1")
    assert await by_records(dokku).was_sent(STARTED, PATIENCE)
    assert 2 <= LoopClock().monotonic() < 3


@in_virtual_time
async def test_start_without_a_record_was_not_sent() -> None:
    dokku = FakeDokku()
    dokku.add_record("old")
    dokku.add_record("p1", source="git-hook")
    assert not await by_records(dokku).was_sent(STARTED, PATIENCE)
    assert LoopClock().monotonic() >= PATIENCE.total_seconds()


@in_virtual_time
async def test_start_without_a_record_is_asked_about_at_least_once() -> None:
    dokku = FakeDokku()
    assert not await by_records(dokku).was_sent(STARTED, -PATIENCE)
    assert dokku.asked == ["keeps_records", "builds"]


@in_virtual_time
async def test_start_that_cannot_be_checked_counts_as_sent() -> None:
    dokku = FakeDokku()
    assert await by_records(dokku).was_sent(replace(STARTED, before=None), PATIENCE)
    assert await by_lock(dokku).was_sent(STARTED_ON_OLD_DOKKU, PATIENCE)
    assert dokku.asked == []


@in_virtual_time
async def test_unanswered_question_about_a_start_raises() -> None:
    with pytest.raises(DokkuError):
        await by_records(FakeDokku(down=DOWN)).was_sent(STARTED, PATIENCE)


# --- what the deploy lock shows of a lost connection


@in_virtual_time
async def test_free_lock_is_confirmed_after_a_pause() -> None:
    dokku = FakeDokku(keeps=False)
    shown = await by_lock(dokku).lock_evidence(STARTED_ON_OLD_DOKKU, ended_at=0.0)
    assert shown == LockEvidence(was_free=True, lost_long=False)
    assert LoopClock().monotonic() >= LOCK.stays_free.total_seconds()
    assert dokku.asked == ["report"]


@in_virtual_time
async def test_lock_freed_soon_after_the_loss_counts() -> None:
    dokku = FakeDokku(keeps=False, locked=True)
    freed_at = LOCK.dies_within.total_seconds() / 2
    asyncio.get_running_loop().call_later(freed_at, setattr, dokku, "locked", False)
    shown = await by_lock(dokku).lock_evidence(STARTED_ON_OLD_DOKKU, ended_at=0.0)
    assert shown.was_free
    assert LoopClock().monotonic() >= freed_at + LOCK.stays_free.total_seconds()


@in_virtual_time
async def test_lock_held_after_the_loss_is_given_up() -> None:
    dokku = FakeDokku(keeps=False, locked=True)
    shown = await by_lock(dokku).lock_evidence(STARTED_ON_OLD_DOKKU, ended_at=0.0)
    assert shown == LockEvidence()
    over_s = LOCK.dies_within.total_seconds()
    assert over_s <= LoopClock().monotonic() < over_s + 1


@pytest.mark.parametrize("ended_at", [None, -LOCK.dies_within.total_seconds()])
@in_virtual_time
async def test_held_lock_is_asked_once_when_waiting_is_pointless(ended_at: float | None) -> None:
    dokku = FakeDokku(keeps=False, locked=True)
    shown = await by_lock(dokku).lock_evidence(STARTED_ON_OLD_DOKKU, ended_at)
    assert shown == LockEvidence()
    assert dokku.asked == ["report"]


@pytest.mark.parametrize(
    ("lost_for_s", "lost_long"),
    [
        (LOCK.fetch_lives_on.total_seconds() - 1, False),
        (LOCK.fetch_lives_on.total_seconds(), True),
    ],
)
@in_virtual_time
async def test_silent_fetch_counts_as_dead_after_its_longest_life(
    lost_for_s: float, lost_long: bool
) -> None:
    shown = await by_lock(FakeDokku(keeps=False)).lock_evidence(STARTED_ON_OLD_DOKKU, -lost_for_s)
    assert shown == LockEvidence(was_free=True, lost_long=lost_long)


@in_virtual_time
async def test_open_connection_is_never_lost_long() -> None:
    await asyncio.sleep(2 * LOCK.fetch_lives_on.total_seconds())
    shown = await by_lock(FakeDokku(keeps=False)).lock_evidence(STARTED_ON_OLD_DOKKU, None)
    assert shown == LockEvidence(was_free=True, lost_long=False)


@in_virtual_time
async def test_known_exit_status_needs_no_lock() -> None:
    dokku = FakeDokku(keeps=False)
    row = replace(STARTED_ON_OLD_DOKKU, exit_status=1)
    assert await by_lock(dokku).lock_evidence(row, ended_at=0.0) == LockEvidence()
    assert dokku.asked == []


@in_virtual_time
async def test_build_records_need_no_lock() -> None:
    dokku = FakeDokku(locked=True)
    assert await by_records(dokku).lock_evidence(STARTED, ended_at=0.0) == LockEvidence()
    assert dokku.asked == []
