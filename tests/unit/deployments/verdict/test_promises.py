"""What no evidence may break; ends before the start; sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import AppReport, BuildStatus, Containers
from bot.deployments.model import Failure, Live, LogMarker, Phase
from bot.deployments.verdict.evidence import Evidence, live_from
from bot.deployments.verdict.rules import before_start
from bot.deployments.verdict.wording import as_sentence
from tests.support.builders import (
    METADATA,
    NEW,
    NEW_WORKER,
    OLD,
    OLD_METADATA,
    OLD_WORKER,
    RESTARTED_NEW,
    RESTARTED_OLD,
    STRANGER,
    a_container,
    a_record,
    a_snapshot,
    containers,
    facts,
)
from tests.support.verdicts import SERVES_NOTHING, SERVES_OLD, SERVES_UNKNOWN, end
from tests.verdicts.flat import Kind, decide, flat


@pytest.mark.parametrize(
    ("after", "live", "sentence"),
    [
        (None, Live.UNKNOWN, SERVES_UNKNOWN),
        (containers(), Live.NONE, SERVES_NOTHING),
        (containers(OLD), Live.PREVIOUS, SERVES_OLD),
        (containers(a_container(state="restarting")), Live.PREVIOUS, SERVES_OLD),
        (containers(a_container(state="exited")), Live.NONE, SERVES_NOTHING),
    ],
)
def test_an_end_before_the_start(after: Containers | None, live: Live, sentence: str) -> None:
    verdict = flat(before_start("It did not answer", after, failure=Failure.SERVER_UNREACHABLE))
    assert verdict == end(
        "before_start",
        Phase.FAILED,
        Failure.SERVER_UNREACHABLE,
        live,
        f"It did not answer. {sentence}",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a", "a."),
        ("a.", "a."),
        ("a?", "a?"),
        ("a!", "a!"),
        ("a: ", "a."),
        ("X: ", "X."),
        (": a", ": a."),
    ],
)
def test_a_sentence_ends_once(text: str, sentence: str) -> None:
    assert as_sentence(text) == sentence


ANY_CONTAINERS = st.none() | st.lists(
    st.sampled_from(
        [
            OLD,
            NEW,
            NEW_WORKER,
            OLD_WORKER,
            STRANGER,
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
        lambda markers, ours: facts(*markers, ours=tuple(ours)),
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
def test_a_success_is_never_given_without_its_evidence(given_: Evidence) -> None:
    verdict = decide(given_)
    good = verdict.kind is Kind.CHECK or verdict.phase is Phase.SUCCEEDED
    if not good:
        return
    told = given_.exit_status == 0 or (
        given_.exit_status is None
        and given_.record is not None
        and given_.record.status is BuildStatus.SUCCEEDED
    )
    assert told or not given_.keeps_records
    if verdict.phase is Phase.SUCCEEDED:
        assert given_.after is not None
        assert not given_.after.listed
        assert LogMarker.DEPLOYED in given_.output.markers
        assert given_.report is not None
        assert given_.report.metadata == given_.expected


@given(ANY_EVIDENCE)
def test_the_old_release_alone_is_never_a_success(given_: Evidence) -> None:
    if (
        live_from(given_.after, given_.output.named_containers, given_.before.containers)
        is Live.PREVIOUS
    ):
        verdict = decide(given_)
        assert verdict.kind is not Kind.CHECK
        assert verdict.phase is not Phase.SUCCEEDED


@given(ANY_EVIDENCE)
def test_every_end_says_what_is_live_in_a_sentence(given_: Evidence) -> None:
    verdict = decide(given_)
    if verdict.kind in {Kind.END, Kind.START_AGAIN}:
        assert verdict.phase is not None
        assert verdict.live is not None
        assert verdict.reason.endswith(".")
        assert (verdict.failure is not None) == (verdict.phase is Phase.FAILED)
