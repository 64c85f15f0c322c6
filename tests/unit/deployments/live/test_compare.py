"""What is live now: every way in which the containers of now can stand to the last end."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import AppReport, BuildRecord, BuildStatus, Container, Containers
from bot.deployments.live.compare import (
    Facts,
    Match,
    base_of,
    is_good,
    proven_commit,
    released_commit,
    stand,
    unproven_of,
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
    RESTARTED_NEW,
    RESTARTED_OLD,
    SHA,
    STRANGER,
    a_deployment,
    a_snapshot,
    containers,
)

NONE = Containers()
EXITED = replace(NEW, state="exited")
GONE = replace(NEW, state="missing", image="")


def ended(minutes: int = 0, **changes: Any) -> Deployment:
    """A good end that left NEW, started so many minutes after NOW."""
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


def match(now: Containers | None, *started: Deployment, **facts: Any) -> Match:
    return stand(Facts(started=started, containers=now, **facts)).match


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
        (containers(NEW), containers(STRANGER), Match.REPLACED),
        (containers(NEW), containers(OLD), Match.REPLACED),
        (containers(NEW, NEW_WORKER), containers(NEW, OLD_WORKER), Match.REPLACED),
        (NONE, containers(STRANGER), Match.STARTED),
        (containers(GONE), containers(STRANGER), Match.STARTED),
        (containers(NEW), NONE, Match.STOPPED),
        (containers(NEW), containers(EXITED), Match.STOPPED),
        (containers(NEW), containers(GONE), Match.STOPPED),
        (containers(NEW), None, Match.UNREADABLE),
    ],
)
def test_containers_are_compared_with_those_of_the_last_end(
    left: Containers, now: Containers | None, expected: Match
) -> None:
    standing = stand(Facts(started=[ended(after=left)], containers=now))
    assert standing.match is expected
    same = expected in {Match.AS_LEFT, Match.RESTARTED}
    assert standing.commit == (SHA if same else None)
    assert proven_commit([ended(after=left)], now) == standing.commit


def test_a_container_that_died_beside_others_of_another_image_is_no_stranger() -> None:
    dead = replace(STRANGER, state="exited", process="worker.1")
    assert match(containers(NEW, dead), ended()) is Match.RESTARTED


def test_only_the_strangers_are_named() -> None:
    now = containers(NEW, OLD_WORKER)
    standing = stand(Facts(started=[ended(after=containers(NEW, NEW_WORKER))], containers=now))
    assert standing.strangers == ("worker.1",)


def test_without_an_end_that_left_something_nothing_is_proven() -> None:
    standing = stand(Facts(containers=containers(NEW)))
    assert (standing.match, standing.base, standing.commit) == (Match.NEVER, None, None)
    kept = failed(0, Live.PREVIOUS, Failure.BUILD_FAILED)
    assert match(containers(NEW), kept) is Match.NEVER


def test_an_end_that_kept_the_previous_release_says_nothing_of_its_own() -> None:
    good = ended(0)
    kept = failed(1, Live.PREVIOUS, Failure.BUILD_FAILED, sha=OLD_SHA, after=containers(OLD))
    standing = stand(Facts(started=[kept, good], containers=containers(NEW)))
    assert (standing.match, standing.base, standing.commit) == (Match.AS_LEFT, good, SHA)
    assert (standing.newest, standing.last_good, standing.unproven) == (kept, good, None)


def test_a_later_end_that_could_not_be_proven_is_told_where_it_matters() -> None:
    good = ended(0)
    lost = failed(1, Live.UNKNOWN, Failure.LOST_CONTACT, sha=OLD_SHA, after=None)
    kept = failed(2, Live.PREVIOUS, Failure.BUILD_FAILED)
    started = [kept, lost, good]
    assert unproven_of(started) is lost
    assert match(containers(NEW), *started) is Match.AS_LEFT
    assert match(containers(RESTARTED_NEW), *started) is Match.RESTARTED
    for now in (containers(STRANGER), NONE):
        assert match(now, *started) is Match.UNCERTAIN
    assert match(containers(STRANGER), lost) is Match.UNCERTAIN
    assert unproven_of([ended(3), *started]) is None


def test_an_end_whose_containers_were_not_read_cannot_be_compared_with() -> None:
    blind = ended(1, after=None)
    standing = stand(Facts(started=[blind, ended(0)], containers=containers(NEW)))
    assert (standing.match, standing.base, standing.commit) == (Match.UNCERTAIN, blind, None)
    assert proven_commit([blind], NONE) is None


def test_while_a_deployment_of_ours_runs_nobody_else_is_blamed() -> None:
    running = ended(1, phase=Phase.RELEASING, live=None, after=None)
    started = [running, ended(0)]
    facts = {"unfinished": [running]}
    assert match(containers(NEW), *started, **facts) is Match.AS_LEFT
    for now in (containers(STRANGER), containers(RESTARTED_NEW), NONE):
        assert match(now, *started, **facts) is Match.CHANGING
    assert match(containers(STRANGER), running, **facts) is Match.CHANGING
    assert match(None, *started, **facts) is Match.UNREADABLE


def test_what_runs_and_what_waits_are_told_apart() -> None:
    running = ended(1, phase=Phase.BUILDING, live=None)
    waits = [a_deployment(id="01W1"), a_deployment(id="01W2")]
    standing = stand(Facts(unfinished=[running, *waits]))
    assert standing.running is running
    assert list(standing.waiting) == waits


@pytest.mark.parametrize(
    ("row", "commit"),
    [
        (ended(), SHA),
        (failed(0, Live.NEW, Failure.CRASHED), SHA),
        (failed(0, Live.NEW, Failure.RELEASE_FAILED), SHA),
        (ended(0, phase=Phase.CANCELLED), SHA),
        (failed(0, Live.NEW, Failure.INTERNAL), None),
        (failed(0, Live.NEW, Failure.INTERRUPTED), None),
        (failed(0, Live.MIXED, Failure.RELEASE_FAILED), None),
        (ended(0, live=Live.NONE), None),
        (ended(0, sha=None), None),
    ],
)
def test_a_commit_is_named_only_where_it_is_certain(row: Deployment, commit: str | None) -> None:
    assert released_commit(row) == commit
    assert base_of([row]) is row
    good = row.phase is Phase.SUCCEEDED and row.live is Live.NEW and row.sha is not None
    assert is_good(row) is good
    assert proven_commit([row], row.after) == (SHA if good else None)


def test_another_release_may_be_one_that_was_proven_before() -> None:
    first = ended(0, sha=OLD_SHA, after=containers(OLD, OLD_WORKER))
    started = [ended(1), first]
    now = containers(RESTARTED_OLD)
    standing = stand(Facts(started=started, containers=now, report=AppReport(metadata=METADATA)))
    assert (standing.seen_before, standing.according_to_dokku) == (OLD_SHA, SHA)
    mixed = containers(RESTARTED_OLD, replace(STRANGER, process="worker.1"))
    assert stand(Facts(started=started, containers=mixed)).seen_before is None
    bad = replace(first, phase=Phase.FAILED, failure=Failure.CRASHED)
    assert stand(Facts(started=[ended(1), bad], containers=now)).seen_before is None
    assert stand(Facts(started=started, containers=containers(NEW))).seen_before is None


def test_processes_that_crash_are_named() -> None:
    left = containers(replace(NEW, restarts=1), NEW_WORKER)
    now = containers(replace(NEW, restarts=1), replace(NEW_WORKER, restarts=2))
    assert stand(Facts(started=[ended(after=left)], containers=now)).crashing == ("worker.1",)
    again = containers(replace(NEW, restarts=1, state="restarting"), NEW_WORKER)
    assert stand(Facts(started=[ended(after=left)], containers=again)).crashing == ("web.1",)
    stranger = containers(replace(STRANGER, restarts=1))
    assert stand(Facts(containers=stranger)).crashing == ("web.1",)


def test_records_of_others_since_that_end_are_named_newest_first() -> None:
    ours = ended(2, build_id="b002", live=Live.PREVIOUS, phase=Phase.FAILED)
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
    facts = Facts(started=[ours, ended(1)], containers=containers(STRANGER), records=records[::-1])
    assert [one.id for one in stand(facts).foreign] == ["b009", "b008", "b005"]
    still = replace(facts, containers=containers(NEW))
    assert stand(still).foreign == ()


def test_without_a_record_of_our_own_the_snapshot_tells_what_was_there_before() -> None:
    snapshot = a_snapshot(builds=frozenset({"b000"}))
    row = ended(build_id=None, before=snapshot)
    records = [record("b001"), record("b000")]
    facts = Facts(started=[row], containers=containers(STRANGER), records=records)
    assert [one.id for one in stand(facts).foreign] == ["b001"]
    blind = replace(facts, started=[ended(build_id=None)])
    assert stand(blind).foreign == ()


def test_a_build_of_others_that_runs_is_named_but_never_our_own() -> None:
    runs = record("b009", BuildStatus.RUNNING, "git-hook")
    facts = Facts(started=[ended()], containers=containers(NEW), records=[runs])
    assert stand(facts).foreign_running is runs
    ours = ended(1, build_id="b009", phase=Phase.BUILDING, live=None)
    assert stand(replace(facts, started=[ours, ended()])).foreign_running is None
    starting = ended(1, build_id=None, phase=Phase.STARTING, live=None)
    assert stand(replace(facts, unfinished=[starting])).foreign_running is None


def test_without_records_only_the_lock_tells_of_others() -> None:
    locked = AppReport(locked=True)
    facts = Facts(started=[ended()], containers=containers(NEW), report=locked)
    assert stand(facts).locked
    assert not stand(replace(facts, records=[])).locked
    assert not stand(replace(facts, report=AppReport())).locked
    assert not stand(replace(facts, report=None)).locked
    running = ended(1, phase=Phase.BUILDING, live=None)
    assert not stand(replace(facts, unfinished=[running])).locked


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
def test_a_commit_is_called_live_only_on_the_containers_that_its_own_end_left(
    started: list[Deployment], now: Containers | None, running: bool
) -> None:
    ours = ended(9, phase=Phase.BUILDING, live=None, after=None)
    facts = Facts(
        started=[ours, *started] if running else started,
        unfinished=[ours] if running else [],
        containers=now,
    )
    standing = stand(facts)
    assert (standing.match is Match.UNREADABLE) is (now is None)
    if standing.commit is None:
        return
    base = standing.base
    assert base is not None
    assert now is not None
    assert base.after is not None
    assert (base.sha, base.live) == (standing.commit, Live.NEW)
    assert all(one.live in {Live.PREVIOUS, Live.UNKNOWN} for one in started[: started.index(base)])
    for one in now.listed:
        known = one.id in base.after.ids or one.image in base.after.images
        assert known or one.state in {"exited", "missing"}


@given(started=histories(), now=READS)
def test_what_is_proven_is_what_stands_and_ended_well(
    started: list[Deployment], now: Containers | None
) -> None:
    proven = proven_commit(started, now)
    standing = stand(Facts(started=started, containers=now))
    if proven is not None:
        assert proven == standing.commit
        assert standing.base is not None
        assert is_good(standing.base)
    elif standing.commit is not None:
        assert standing.base is not None
        assert not is_good(standing.base)
