"""What is live now: every way in which the containers can differ from those left last."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import AppReport, BuildRecord, BuildStatus, Container, Containers
from bot.deployments.live.compare import (
    LiveEvidence,
    LiveState,
    Match,
    compare_live,
    find_base,
    find_unproven,
    is_good,
    previous_commit,
    released_commit,
)
from bot.deployments.model import Deployment, Failure, Live, Phase
from tests.support.builders import (
    METADATA,
    NEW,
    NEW_WORKER,
    NOW,
    OLD,
    OLD_SHA,
    OLD_WORKER,
    OTHER_RELEASE,
    RESTARTED_NEW,
    RESTARTED_OLD,
    SHA,
    a_deployment,
    a_snapshot,
    containers,
)

NONE = Containers()
EXITED = replace(NEW, state="exited")
GONE = replace(NEW, state="missing", image="")


def ended(minutes: int = 0, **changes: Any) -> Deployment:
    """A good deployment that left NEW, started `minutes` after NOW."""
    given_: dict[str, Any] = {
        "id": f"01ROW{minutes:03}",
        "request_key": str(minutes),
        "phase": Phase.SUCCEEDED,
        "live": Live.NEW,
        "sha": SHA,
        "started_at": NOW + timedelta(minutes=minutes),
        "after": containers(NEW),
        "build_id": f"b{minutes:03}",
    }
    return a_deployment(**(given_ | changes))


def failed(minutes: int, live: Live | None, failure: Failure, **changes: Any) -> Deployment:
    return ended(minutes, phase=Phase.FAILED, failure=failure, live=live, **changes)


def record(
    id_: str,
    status: BuildStatus = BuildStatus.SUCCEEDED,
    source: str = "ps:rebuild",
    exit_code: int | None = None,
) -> BuildRecord:
    return BuildRecord(id=id_, app="web", status=status, source=source, exit_code=exit_code)


def live_state(**evidence: Any) -> LiveState:
    return compare_live(LiveEvidence(**evidence))


def match(now: Containers | None, *started: Deployment, **facts: Any) -> Match:
    return live_state(started=started, containers=now, **facts).match


@pytest.mark.parametrize(
    ("left", "now", "expected"),
    [
        (containers(NEW), containers(NEW), Match.AS_LEFT),
        (containers(NEW), containers(replace(NEW, restarts=3)), Match.AS_LEFT),
        (containers(NEW, NEW_WORKER), containers(NEW, NEW_WORKER), Match.AS_LEFT),
        (NONE, NONE, Match.AS_LEFT),
        (containers(EXITED), NONE, Match.AS_LEFT),
        (containers(NEW), containers(RESTARTED_NEW), Match.RESTARTED),
        (containers(NEW, NEW_WORKER), containers(NEW), Match.RESTARTED),
        (containers(NEW), containers(NEW, NEW_WORKER), Match.RESTARTED),
        (containers(OLD, NEW), containers(RESTARTED_OLD, RESTARTED_NEW), Match.RESTARTED),
        (containers(NEW), containers(OTHER_RELEASE), Match.REPLACED),
        (containers(NEW), containers(OLD), Match.REPLACED),
        (containers(NEW, NEW_WORKER), containers(NEW, OLD_WORKER), Match.REPLACED),
        (NONE, containers(OTHER_RELEASE), Match.STARTED),
        (containers(GONE), containers(OTHER_RELEASE), Match.STARTED),
        (containers(NEW), NONE, Match.STOPPED),
        (containers(NEW), containers(EXITED), Match.STOPPED),
        (containers(NEW), containers(GONE), Match.STOPPED),
        (containers(NEW), None, Match.UNREADABLE),
    ],
)
def test_current_containers_are_compared_with_those_left_last(
    left: Containers, now: Containers | None, expected: Match
) -> None:
    state = live_state(started=[ended(after=left)], containers=now)
    assert state.match is expected
    same = expected in {Match.AS_LEFT, Match.RESTARTED}
    assert state.commit == (SHA if same else None)
    proven, _ = previous_commit([ended(after=left)], now, AppReport())
    stopped = now is not None and bool(now.listed) and now.ids <= left.ids
    assert proven == (SHA if stopped else state.commit if now and now.listed else None)


def test_exited_container_of_another_image_does_not_count_as_replaced() -> None:
    dead = replace(OTHER_RELEASE, state="exited", process="worker.1")
    assert match(containers(NEW, dead), ended()) is Match.RESTARTED


def test_only_processes_of_another_image_are_listed() -> None:
    now = containers(NEW, OLD_WORKER)
    state = live_state(started=[ended(after=containers(NEW, NEW_WORKER))], containers=now)
    assert state.replaced_processes == ("worker.1",)


def test_without_a_verified_deployment_nothing_is_proven() -> None:
    state = live_state(containers=containers(NEW))
    assert (state.match, state.base, state.commit) == (Match.NEVER, None, None)
    kept = failed(0, Live.PREVIOUS, Failure.BUILD_FAILED)
    assert match(containers(NEW), kept) is Match.NEVER


def test_result_previous_points_back_to_the_deployment_before() -> None:
    good = ended(0)
    kept = failed(1, Live.PREVIOUS, Failure.BUILD_FAILED, sha=OLD_SHA, after=containers(OLD))
    state = live_state(started=[kept, good], containers=containers(NEW))
    assert (state.match, state.base, state.commit) == (Match.AS_LEFT, good, SHA)
    assert (state.newest, state.last_good, state.unproven) == (kept, good, None)


def test_later_unproven_deployment_makes_other_containers_uncertain() -> None:
    good = ended(0)
    lost = failed(1, Live.UNKNOWN, Failure.LOST_CONTACT, sha=OLD_SHA, after=None)
    kept = failed(2, Live.PREVIOUS, Failure.BUILD_FAILED)
    started = [kept, lost, good]
    assert find_unproven(started) is lost
    assert match(containers(NEW), *started) is Match.AS_LEFT
    assert match(containers(RESTARTED_NEW), *started) is Match.RESTARTED
    for now in (containers(OTHER_RELEASE), NONE):
        assert match(now, *started) is Match.UNCERTAIN
    assert match(containers(OTHER_RELEASE), lost) is Match.UNCERTAIN
    assert find_unproven([ended(3), *started]) is None


def test_unread_containers_at_the_end_make_the_state_uncertain() -> None:
    blind = ended(1, after=None)
    state = live_state(started=[blind, ended(0)], containers=containers(NEW))
    assert (state.match, state.base, state.commit) == (Match.UNCERTAIN, blind, None)
    assert previous_commit([blind], NONE, AppReport()) == (None, None)


def test_running_deployment_may_have_caused_any_change() -> None:
    running = ended(1, phase=Phase.RELEASING, live=None, after=None)
    started = [running, ended(0)]
    facts = {"unfinished": [running]}
    assert match(containers(NEW), *started, **facts) is Match.AS_LEFT
    for now in (containers(OTHER_RELEASE), containers(RESTARTED_NEW), NONE):
        assert match(now, *started, **facts) is Match.CHANGING
    assert match(containers(OTHER_RELEASE), running, **facts) is Match.CHANGING
    assert match(None, *started, **facts) is Match.UNREADABLE


def test_running_and_waiting_deployments_are_kept_apart() -> None:
    running = ended(1, phase=Phase.BUILDING, live=None)
    waits = [a_deployment(id="01W1"), a_deployment(id="01W2")]
    state = live_state(unfinished=[running, *waits])
    assert state.running is running
    assert list(state.waiting) == waits


@pytest.mark.parametrize(
    ("row", "commit"),
    [
        (ended(), SHA),
        (failed(0, Live.NEW, Failure.CRASHED), SHA),
        (failed(0, Live.NEW, Failure.RELEASE_FAILED), SHA),
        (ended(0, phase=Phase.CANCELLED), SHA),
        (failed(0, Live.NEW, Failure.INTERNAL), None),
        (failed(0, Live.NEW, Failure.INTERRUPTED), SHA),
        (failed(0, Live.MIXED, Failure.RELEASE_FAILED), None),
        (ended(0, live=Live.NONE), None),
        (ended(0, sha=None), None),
    ],
)
def test_commit_is_named_only_if_certain(row: Deployment, commit: str | None) -> None:
    assert released_commit(row) == commit
    assert find_base([row]) is row
    good = row.phase is Phase.SUCCEEDED and row.live is Live.NEW and row.sha is not None
    assert is_good(row) is good
    if row.live is Live.NEW:
        assert previous_commit([row], row.after, AppReport()) == (commit, commit)


@pytest.mark.parametrize(
    ("made", "now", "expected"),
    [
        # It failed late, was cancelled too late, was interrupted or crashes: its containers run.
        (failed(1, Live.NEW, Failure.RELEASE_FAILED), NEW, (SHA, SHA)),
        (ended(1, phase=Phase.CANCELLED), NEW, (SHA, SHA)),
        (failed(1, Live.NEW, Failure.INTERRUPTED), NEW, (SHA, SHA)),
        (failed(1, Live.NEW, Failure.CRASHED), replace(NEW, restarts=11), (SHA, SHA)),
        (failed(1, Live.NONE, Failure.CRASHED, after=containers(EXITED)), EXITED, (SHA, SHA)),
        (failed(1, Live.NEW, Failure.RELEASE_FAILED), RESTARTED_NEW, (SHA, SHA)),
        # It built and started nothing: Dokku's record names it all the same.
        (
            failed(1, Live.PREVIOUS, Failure.NOT_DEPLOYED, after=containers(OLD)),
            OLD,
            (OLD_SHA,) * 2,
        ),
        # Another release, and one that this bot made before.
        (failed(1, Live.NEW, Failure.RELEASE_FAILED), OTHER_RELEASE, (None, "f" * 40)),
        (failed(1, Live.NEW, Failure.RELEASE_FAILED), OLD, (OLD_SHA, OLD_SHA)),
        # What runs is certain, its commit is not.
        (failed(1, Live.NEW, Failure.INTERNAL), NEW, (None, "f" * 40)),
        (failed(1, Live.MIXED, Failure.RELEASE_FAILED), NEW, (None, None)),
    ],
)
def test_previous_commit_is_the_one_whose_containers_run(
    made: Deployment, now: Container, expected: tuple[str | None, str | None]
) -> None:
    started = [made, ended(0, sha=OLD_SHA, after=containers(OLD))]
    report = AppReport(metadata=f"https://git.example/acme/web.git#{'f' * 40}")
    assert previous_commit(started, containers(now), report) == expected


def test_nothing_is_called_previous_where_nothing_is_left() -> None:
    report = AppReport(metadata=METADATA)
    assert previous_commit([ended()], NONE, report) == (None, None)
    assert previous_commit([], NONE, report) == (None, SHA)
    assert previous_commit([ended()], None, report) == (None, SHA)


def test_replacing_release_may_be_one_proven_before() -> None:
    first = ended(0, sha=OLD_SHA, after=containers(OLD, OLD_WORKER))
    started = [ended(1), first]
    now = containers(RESTARTED_OLD)
    state = live_state(started=started, containers=now, report=AppReport(metadata=METADATA))
    assert (state.proven_before, state.according_to_dokku) == (OLD_SHA, SHA)
    mixed = containers(RESTARTED_OLD, replace(OTHER_RELEASE, process="worker.1"))
    assert live_state(started=started, containers=mixed).proven_before is None
    bad = replace(first, phase=Phase.FAILED, failure=Failure.CRASHED)
    assert live_state(started=[ended(1), bad], containers=now).proven_before is None
    assert live_state(started=started, containers=containers(NEW)).proven_before is None


def test_crashing_processes_are_listed() -> None:
    left = containers(replace(NEW, restarts=1), NEW_WORKER)
    now = containers(replace(NEW, restarts=1), replace(NEW_WORKER, restarts=2))
    assert live_state(started=[ended(after=left)], containers=now).crashing == ("worker.1",)
    again = containers(replace(NEW, restarts=1, state="restarting"), NEW_WORKER)
    assert live_state(started=[ended(after=left)], containers=again).crashing == ("web.1",)
    stranger = containers(replace(OTHER_RELEASE, restarts=1))
    assert live_state(containers=stranger).crashing == ("web.1",)


def test_outside_changes_are_listed_newest_first() -> None:
    own = ended(2, build_id="b002", live=Live.PREVIOUS, phase=Phase.FAILED)
    records = [
        record("b009"),
        record("b008", BuildStatus.ABANDONED, "ps:restart"),
        record("b007", BuildStatus.ABANDONED, "git:sync"),
        record("b006", BuildStatus.FAILED, "git:sync", -1),
        record("b005", BuildStatus.FAILED, "git:sync", 1),
        record("b004", source="git-hook"),
        record("b002", BuildStatus.FAILED),
        record("b001", source="git-hook"),
        record("b000", source="git-hook"),
    ]
    evidence = LiveEvidence(
        started=[own, ended(1)], containers=containers(OTHER_RELEASE), records=records[::-1]
    )
    assert [one.id for one in compare_live(evidence).outside_changes] == ["b009", "b008", "b005"]
    still = replace(evidence, containers=containers(NEW))
    assert compare_live(still).outside_changes == ()


def test_without_own_build_record_the_snapshot_separates_old_from_new_records() -> None:
    snapshot = a_snapshot(builds=frozenset({"b000"}))
    row = ended(build_id=None, before=snapshot)
    records = [record("b001"), record("b000")]
    evidence = LiveEvidence(started=[row], containers=containers(OTHER_RELEASE), records=records)
    assert [one.id for one in compare_live(evidence).outside_changes] == ["b001"]
    blind = replace(evidence, started=[ended(build_id=None)])
    assert compare_live(blind).outside_changes == ()


def test_running_outside_build_is_named_but_never_our_own_build() -> None:
    runs = record("b009", BuildStatus.RUNNING, "git-hook")
    evidence = LiveEvidence(started=[ended()], containers=containers(NEW), records=[runs])
    assert compare_live(evidence).outside_build is runs
    own = ended(1, build_id="b009", phase=Phase.BUILDING, live=None)
    assert compare_live(replace(evidence, started=[own, ended()])).outside_build is None
    starting = ended(1, build_id=None, phase=Phase.STARTING, live=None)
    assert compare_live(replace(evidence, unfinished=[starting])).outside_build is None


def test_without_build_records_the_deploy_lock_is_reported() -> None:
    locked = AppReport(locked=True)
    evidence = LiveEvidence(started=[ended()], containers=containers(NEW), report=locked)
    assert compare_live(evidence).locked
    assert not compare_live(replace(evidence, records=[])).locked
    assert not compare_live(replace(evidence, report=AppReport())).locked
    assert not compare_live(replace(evidence, report=None)).locked
    running = ended(1, phase=Phase.BUILDING, live=None)
    assert not compare_live(replace(evidence, unfinished=[running])).locked


CONTAINERS = st.builds(
    Container,
    id=st.sampled_from(["a" * 12, "b" * 12, "c" * 12]),
    process=st.sampled_from(["web.1", "worker.1"]),
    image=st.sampled_from(["sha256:1", "sha256:2", ""]),
    state=st.sampled_from(["running", "restarting", "exited", "missing"]),
    restarts=st.integers(0, 2),
)
READS = st.none() | st.lists(CONTAINERS, max_size=3).map(
    lambda all_: Containers(listed=tuple(all_))
)


@st.composite
def histories(draw: st.DrawFn) -> list[Deployment]:
    """Rows in any state, the last start first; at most the newest one runs."""
    rows = []
    for minutes in range(draw(st.integers(0, 4))):
        phase = draw(st.sampled_from([Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED]))
        rows.append(
            ended(
                minutes,
                phase=phase,
                live=draw(st.sampled_from(list(Live))),
                failure=draw(st.sampled_from(list(Failure))) if phase is Phase.FAILED else None,
                sha=draw(st.sampled_from([SHA, OLD_SHA, None])),
                after=draw(READS),
            )
        )
    return rows[::-1]


@given(started=histories(), now=READS, running=st.booleans())
def test_commit_is_live_only_on_containers_or_images_that_its_deployment_left(
    started: list[Deployment], now: Containers | None, running: bool
) -> None:
    own = ended(9, phase=Phase.BUILDING, live=None, after=None)
    evidence = LiveEvidence(
        started=[own, *started] if running else started,
        unfinished=[own] if running else [],
        containers=now,
    )
    state = compare_live(evidence)
    assert (state.match is Match.UNREADABLE) is (now is None)
    if state.commit is None:
        return
    base = state.base
    assert base is not None
    assert now is not None
    assert base.after is not None
    assert (base.sha, base.live) == (state.commit, Live.NEW)
    assert all(one.live in {Live.PREVIOUS, Live.UNKNOWN} for one in started[: started.index(base)])
    for one in now.listed:
        known = one.id in base.after.ids or one.image in base.after.images
        assert known or one.state in {"exited", "missing"}


@given(started=histories(), now=READS)
def test_proven_previous_commit_is_never_another_than_the_live_one(
    started: list[Deployment], now: Containers | None
) -> None:
    proven, previous = previous_commit(started, now, AppReport())
    assert previous == proven
    state = live_state(started=started, containers=now)
    if state.commit is not None and now is not None and now.listed and state.commit != proven:
        assert not any(one.state in {"running", "restarting"} for one in now.listed)
