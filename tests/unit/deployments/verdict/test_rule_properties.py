"""What no evidence may break. Single cases are rows of tests/verdicts."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import AppReport, BuildStatus
from bot.deployments.model import Failure, Live, LogMarker, Phase
from bot.deployments.verdict.decisions import (
    Cause,
    Ended,
    LiveDetail,
    ReadAgain,
    StartAgain,
    WatchRelease,
)
from bot.deployments.verdict.evidence import (
    KILLED,
    PIPE_CLOSED,
    Evidence,
    live_from,
    own_containers,
    untouched,
)
from bot.deployments.verdict.named_failures import named_failure
from bot.deployments.verdict.rules import decide, own_fault
from bot.deployments.verdict.wording import sentence_of
from tests.support.builders import (
    METADATA,
    NEW,
    NEW_WORKER,
    OLD,
    OLD_METADATA,
    OLD_WORKER,
    OTHER_RELEASE,
    RESTARTED_NEW,
    RESTARTED_OLD,
    a_container,
    a_record,
    a_snapshot,
    containers,
    evidence,
    facts,
)
from tests.verdicts.answers import ended

NAMES_A_CAUSE = (
    LogMarker.APP_MISSING,
    LogMarker.REF_MISSING,
    LogMarker.REPO_UNREACHABLE,
    LogMarker.DOCKER_DOWN,
    LogMarker.NO_COMMAND,
    LogMarker.CHECKS_FAILED,
    LogMarker.BUILD_FAILED,
    LogMarker.REFUSED,
    LogMarker.RELEASE_FAILED,
)

ANY_CONTAINERS = st.none() | st.lists(
    st.sampled_from(
        [
            OLD,
            NEW,
            NEW_WORKER,
            OLD_WORKER,
            OTHER_RELEASE,
            RESTARTED_OLD,
            RESTARTED_NEW,
            a_container(NEW.id, image="sha256:new", state="restarting"),
            a_container(OLD.id, state="exited"),
        ]
    ),
    unique_by=lambda one: one.process,
    max_size=2,
).map(lambda listed: containers(*listed))

ANY_EVIDENCE = st.builds(
    Evidence,
    exit_status=st.sampled_from([None, 0, 1, 20, 128, 141, -1]),
    keeps_records=st.booleans(),
    record=st.none()
    | st.builds(a_record, st.sampled_from(BuildStatus), st.sampled_from([None, -1, 0, 1, 141])),
    output=st.builds(
        lambda markers, own: facts(*markers, own=tuple(own)),
        st.sets(st.sampled_from(LogMarker)),
        st.sets(st.sampled_from([NEW, NEW_WORKER])),
    ),
    before=ANY_CONTAINERS.map(a_snapshot),
    after=ANY_CONTAINERS,
    report=st.none()
    | st.sampled_from([METADATA, OLD_METADATA]).map(lambda text: AppReport(metadata=text)),
    expected=st.sampled_from([None, METADATA]),
    cancel_asked=st.booleans(),
    cap_reached=st.booleans(),
    last_word=st.booleans(),
)


@given(ANY_EVIDENCE)
def test_success_needs_its_evidence(given_: Evidence) -> None:
    answer = decide(given_)
    succeeded = isinstance(answer, Ended) and answer.phase is Phase.SUCCEEDED
    if not (succeeded or isinstance(answer, WatchRelease | ReadAgain)):
        return
    known = given_.exit_status == 0 or (
        given_.exit_status is None
        and given_.record is not None
        and given_.record.status is BuildStatus.SUCCEEDED
    )
    assert known or not given_.keeps_records
    if succeeded:
        assert given_.after is not None
        assert not given_.after.listed
        assert LogMarker.DEPLOYED in given_.output.markers
        assert given_.report is not None
        assert given_.report.metadata == given_.expected


@given(ANY_EVIDENCE)
def test_previous_release_is_never_a_success(given_: Evidence) -> None:
    named = given_.output.named_containers
    if live_from(given_.after, named, given_.before.containers) is Live.PREVIOUS:
        answer = decide(given_)
        assert not isinstance(answer, WatchRelease | ReadAgain)
        assert not isinstance(answer, Ended) or answer.phase is not Phase.SUCCEEDED


@given(ANY_EVIDENCE)
def test_every_result_says_what_is_live_in_a_sentence(given_: Evidence) -> None:
    answer = decide(given_)
    result = ended(answer)
    assert (result is not None) == isinstance(answer, Ended | StartAgain)
    if result is not None:
        assert sentence_of(result).endswith(".")
        assert (result.failure is not None) == (result.phase is Phase.FAILED)


@pytest.mark.parametrize("marker", NAMES_A_CAUSE)
def test_marker_names_the_cause_whatever_the_exit_status(marker: LogMarker) -> None:
    failure, cause = named_failure(facts(marker), 1)
    assert cause.value == marker.value
    assert named_failure(facts(marker), KILLED) == (failure, cause)
    assert named_failure(facts(marker), PIPE_CLOSED) == (failure, cause)


def test_exit_status_names_the_cause_if_no_marker_does() -> None:
    causes = {
        status: named_failure(facts(LogMarker.BUILDING), status)[1]
        for status in (1, KILLED, PIPE_CLOSED, None)
    }
    assert causes == {
        1: Cause.BUILD_FAILED,
        KILLED: Cause.KILLED,
        PIPE_CLOSED: Cause.CUT_OFF,
        None: Cause.BUILD_FAILED,
    }


def test_line_before_a_kill_is_not_its_reason() -> None:
    printed = replace(facts(LogMarker.BUILDING), error="ERROR: pip's resolver")
    killed = ended(decide(evidence(exit_status=KILLED, record=None, output=printed)))
    assert killed is not None
    assert (killed.cause, killed.detail) == (Cause.KILLED, "")
    failed = ended(decide(evidence(exit_status=1, record=None, output=printed)))
    assert failed is not None
    assert (failed.cause, failed.detail) == (Cause.BUILD_FAILED, "ERROR: pip's resolver")


def test_mixed_result_says_which_process_runs_which_release() -> None:
    """A second process of this deployment is known only by its image."""
    late = evidence(
        exit_status=1,
        output=facts(LogMarker.RELEASE_FAILED, own=(NEW,)),
        after=containers(NEW, OLD_WORKER),
    )
    answer = ended(decide(late))
    assert answer is not None
    assert answer.shares == ((Live.NEW, "web.1"), (Live.PREVIOUS, "worker.1"))
    twins = replace(late, after=containers(NEW, replace(NEW, id="beef" * 3, process="web.2"),
                                           OLD_WORKER))  # fmt: skip
    answer = ended(decide(twins))
    assert answer is not None
    assert (Live.NEW, "web.2") in answer.shares
    plain = ended(decide(replace(late, after=containers(OLD, OLD_WORKER))))
    assert plain is not None
    assert plain.shares == ()


def test_previous_release_that_restarted_once_is_restarting() -> None:
    crashed = replace(RESTARTED_OLD, restarts=1)
    answer = ended(decide(evidence(exit_status=1, after=containers(crashed))))
    assert answer is not None
    assert (answer.live, answer.live_detail) == (Live.PREVIOUS, LiveDetail.RESTARTING)


def test_earlier_restarts_of_the_previous_release_say_nothing() -> None:
    restarted = replace(OLD, restarts=2)
    before = a_snapshot(containers(restarted))
    answer = ended(decide(evidence(exit_status=1, before=before, after=containers(restarted))))
    assert answer is not None
    assert (answer.live, answer.live_detail) == (Live.PREVIOUS, LiveDetail.NONE)


def test_why_a_container_is_down_does_not_make_it_another_one() -> None:
    """A stored snapshot does not keep it."""
    down = replace(OLD, state="exited")
    now = replace(down, exit_code=1, problem="refused", oom_killed=True)
    before = a_snapshot(containers(down))
    assert untouched(evidence(exit_status=1, before=before, after=containers(now)), Live.NONE)


def test_own_fault_claims_nothing() -> None:
    assert own_fault() == Ended(
        rule="own_fault",
        phase=Phase.FAILED,
        failure=Failure.INTERNAL,
        live=Live.UNKNOWN,
        cause=Cause.OWN_FAULT,
    )


def test_own_containers_are_those_that_the_output_names() -> None:
    """If the output was lost on the way to a good end: those that replaced every previous one."""
    lost: dict[str, Any] = {"keeps_records": False, "exit_status": None, "output": facts()}
    both = containers(NEW, NEW_WORKER)
    assert own_containers(evidence(**lost, after=both)) == both.ids
    named = facts(own=(NEW,))
    assert own_containers(evidence(**(lost | {"output": named}), after=both)) == {NEW.id}
    of_old_image = a_container("7" * 12, image=OLD.image)
    for changes in (
        {"after": containers(NEW, of_old_image)},
        {"after": containers(NEW, OLD)},
        {"after": containers(a_container(OLD.id, image="sha256:other"))},
        {"after": containers()},
        {"after": None},
        {"after": both, "before": a_snapshot(None)},
        {"after": both, "keeps_records": True},
        {"after": both, "exit_status": 0},
        {"after": both, "report": AppReport(metadata=OLD_METADATA)},
        {"after": both, "expected": None},
    ):
        assert own_containers(evidence(**(lost | changes))) == frozenset()
