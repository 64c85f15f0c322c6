"""Which commit a rollback deploys, and every refusal."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import AppReport, Containers
from bot.deployments.live.compare import LiveEvidence, LiveState, compare_live
from bot.deployments.live.rollback import (
    RollbackTarget,
    check_commit,
    choose_given,
    choose_previous,
    choose_recorded,
    refuse_if_live_or_under_way,
    refuse_if_still_serving,
)
from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.errors import Declined
from tests.support.builders import NEW, NOW, OLD, OTHER_RELEASE, a_deployment, containers

FIRST, SECOND, THIRD = "a1b2c3d" + "1" * 33, "a1b2c3d" + "2" * 33, "fedcba9" + "3" * 33


def row(minutes: int, sha: str | None, **changes: Any) -> Deployment:
    given_: dict[str, Any] = {
        "id": f"01ROW{minutes:03}",
        "request_key": str(minutes),
        "phase": Phase.SUCCEEDED,
        "live": Live.NEW,
        "sha": sha,
        "started_at": NOW + timedelta(minutes=minutes),
        "after": containers(NEW),
    }
    return a_deployment(**(given_ | changes))


def state(*started: Deployment, now: Containers | None = None, **facts: Any) -> LiveState:
    return compare_live(LiveEvidence(started=started, containers=now, **facts))


@pytest.mark.parametrize("text", ["a1b2c3d", "A1B2C3D", FIRST, FIRST.upper()])
def test_commit_may_be_short_or_full_in_any_case(text: str) -> None:
    assert check_commit("web", text) == text.lower()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a1b2c3", "too short"),
        ("main", "is not a commit"),
        ("g" * 8, "is not a commit"),
        ("", "not a comm"),
    ],
)
def test_text_that_is_not_a_commit_is_declined(text: str, said: str) -> None:
    with pytest.raises(Declined, match=said):
        check_commit("web", text)


def test_given_commit_must_have_been_proven_live() -> None:
    good, now = row(0, FIRST), row(5, THIRD)
    target = choose_given("web", FIRST[:7], [good], state(now, good))
    assert (target.sha, target.deployment) == (FIRST, now)
    never = [
        row(1, FIRST, phase=Phase.FAILED, failure=Failure.BUILD_FAILED, live=Live.PREVIOUS),
        row(2, FIRST, phase=Phase.FAILED, failure=Failure.CRASHED),
        row(3, FIRST, live=Live.NONE),
        row(4, FIRST, phase=Phase.CANCELLED),
        row(5, FIRST, phase=Phase.BUILDING, live=None),
    ]
    with pytest.raises(Declined, match=f"never proved `{FIRST[:7]}` live for web"):
        choose_given("web", FIRST[:7], never, state(now))
    with pytest.raises(Declined, match=f"`/deploy web {FIRST}` deploys it like any"):
        choose_given("web", FIRST, [], state(now))


def test_ambiguous_short_commit_is_never_guessed() -> None:
    both = [row(0, FIRST), row(1, SECOND), row(2, FIRST)]
    with pytest.raises(Declined, match=f"could be `{FIRST}` or `{SECOND}`"):
        choose_given("web", FIRST[:7], both, state(*both))
    assert choose_given("web", FIRST[:8], both, state(*both)).sha == FIRST


def test_rollback_starts_from_the_last_deployment_that_changed_something() -> None:
    good = row(0, FIRST)
    changed = row(1, SECOND, rollback_sha=FIRST)
    kept = row(2, THIRD, phase=Phase.FAILED, live=Live.PREVIOUS, rollback_sha=SECOND)
    target = choose_previous("web", state(kept, changed, good))
    assert (target.sha, target.deployment) == (FIRST, changed)
    lost = row(3, THIRD, phase=Phase.FAILED, live=Live.UNKNOWN, rollback_sha=SECOND)
    target = choose_previous("web", state(lost, changed, good))
    assert (target.sha, target.deployment) == (SECOND, lost)


def test_rollback_from_an_outside_release_returns_to_the_last_proven_commit() -> None:
    changed = row(1, SECOND, rollback_sha=FIRST)
    target = choose_previous("web", state(changed, now=containers(OTHER_RELEASE)))
    assert (target.sha, target.deployment) == (SECOND, changed)
    crashed = row(1, SECOND, rollback_sha=FIRST, phase=Phase.FAILED, failure=Failure.CRASHED)
    assert choose_previous("web", state(crashed, now=containers(OTHER_RELEASE))).sha == FIRST


@pytest.mark.parametrize("started", [[], [row(0, FIRST)]])
def test_rollback_without_an_earlier_release_is_declined(started: list[Deployment]) -> None:
    with pytest.raises(Declined, match="No earlier release of web was proven live"):
        choose_previous("web", state(*started))


def test_rollback_to_the_live_commit_is_declined() -> None:
    good = row(0, FIRST)
    with pytest.raises(Declined, match=r"`a1b2c3d` is already live\. `/deploy web a1b2c3d`"):
        refuse_if_live_or_under_way("web", FIRST, state(good, now=containers(NEW)))
    with pytest.raises(Declined, match="already live as far as the bot knows"):
        refuse_if_live_or_under_way("web", FIRST, state(good))
    refuse_if_live_or_under_way("web", SECOND, state(good))
    refuse_if_live_or_under_way("web", FIRST, state(good, now=containers(OTHER_RELEASE)))
    lost = row(1, SECOND, phase=Phase.FAILED, live=Live.UNKNOWN, after=containers(OLD))
    refuse_if_live_or_under_way("web", FIRST, state(lost, good))
    crashed = row(1, FIRST, phase=Phase.FAILED, failure=Failure.CRASHED)
    refuse_if_live_or_under_way("web", FIRST, state(crashed))


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.BUILDING, Phase.CHECKING])
def test_rollback_to_a_commit_under_way_is_declined(phase: Phase) -> None:
    one = row(1, FIRST, phase=phase, live=None)
    with pytest.raises(Declined, match=f"already being deployed, by {one.id}"):
        refuse_if_live_or_under_way("web", FIRST, state(row(0, SECOND), unfinished=[one]))
    refuse_if_live_or_under_way("web", THIRD, state(row(0, SECOND), unfinished=[one]))


def test_rollback_does_not_wait_for_somebody_elses_approval() -> None:
    asked = row(1, FIRST, phase=Phase.AWAITING_APPROVAL, live=None)
    refuse_if_live_or_under_way("web", FIRST, state(row(0, SECOND), unfinished=[asked]))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([FIRST, SECOND, THIRD, None]),
            st.sampled_from(list(Live)),
            st.sampled_from([Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED]),
        ),
        max_size=6,
    ),
    st.integers(7, 40),
)
def test_given_commit_is_only_chosen_if_proven(
    ends: list[tuple[str | None, Live, Phase]], digits: int
) -> None:
    rows = [row(at, sha, live=live, phase=phase) for at, (sha, live, phase) in enumerate(ends)]
    proven = {one.sha for one in rows if (one.phase, one.live) == (Phase.SUCCEEDED, Live.NEW)}
    typed = FIRST[:digits]
    possible = {sha for sha in proven if sha and sha.startswith(typed)}
    try:
        chosen = choose_given("web", typed, rows, state(*reversed(rows)))
    except Declined:
        assert len(possible) != 1
    else:
        assert possible == {chosen.sha}


def test_commit_named_by_dokku_is_only_chosen_if_nothing_is_proven() -> None:
    first = row(1, SECOND, previous_sha=FIRST)
    target = choose_previous("web", state(first))
    assert (target.sha, target.verified) == (FIRST, False)
    proven = row(1, SECOND, previous_sha=FIRST, rollback_sha=THIRD)
    assert choose_previous("web", state(proven)).verified
    fixed = choose_recorded(proven, FIRST)
    assert fixed is not None
    assert not fixed.verified
    assert choose_recorded(proven, SECOND) is None
    same = row(1, SECOND, previous_sha=SECOND)
    assert choose_recorded(same) is None


def test_commit_named_by_dokku_is_never_the_live_one() -> None:
    kept = row(1, SECOND, phase=Phase.FAILED, live=Live.PREVIOUS, previous_sha=FIRST)
    unverified = RollbackTarget(sha=FIRST, deployment=kept, verified=False)
    with pytest.raises(Declined, match="`a1b2c3d` still serves"):
        refuse_if_still_serving(unverified, state(kept))
    lost = row(1, SECOND, phase=Phase.FAILED, live=Live.UNKNOWN, previous_sha=FIRST)
    unverified = RollbackTarget(sha=FIRST, deployment=lost, verified=False)
    report = AppReport(metadata=f"https://git.example/web.git#{FIRST}")
    with pytest.raises(Declined, match="is live already, according to Dokku's own record"):
        refuse_if_still_serving(unverified, state(lost, now=containers(OLD), report=report))
    refuse_if_still_serving(unverified, state(lost, now=containers(), report=report))
    refuse_if_still_serving(unverified, state(lost, now=containers(OLD)))
