"""Which record is ours, whose text counts, and what an operator is told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.execution.attempt import SECOND_ATTEMPT, last_attempt
from bot.deployments.model import Failure, Live, LogFacts, LogMarker, Phase
from bot.deployments.verdict.collector import EvidenceCollector, blind
from bot.deployments.verdict.decisions import Cause, Ended, LiveDetail
from bot.deployments.verdict.run_proof import candidates, own_record
from bot.deployments.verdict.wording import describe, reason_of
from tests.support.builders import (
    CONFIG_SET,
    DEPLOYED,
    METADATA,
    NEW,
    RESTARTED_NEW,
    SHA,
    a_record,
    a_snapshot,
    containers,
    evidence,
    facts,
)
from tests.support.fake_dokku import GOOD, FakeDokku
from tests.support.rig import waiting
from tests.support.virtual_time import LoopClock, in_virtual_time


def a_collector(dokku: FakeDokku) -> EvidenceCollector:
    return EvidenceCollector(dokku, clock=LoopClock(), look_again=timedelta(seconds=2))


STARTED = waiting(phase=Phase.RELEASING, before=a_snapshot(builds=frozenset({"old"})))


def test_a_record_is_ours_when_it_is_new_and_started_like_ours() -> None:
    records = [
        a_record(id_="b1"),
        replace(a_record(id_="p1"), source="git-hook"),
        a_record(id_="old"),
    ]
    assert STARTED.before is not None
    assert [one.id for one in candidates(records, STARTED.before)] == ["b1"]
    assert own_record(STARTED, records) == records[0]


def test_two_new_ones_are_none_and_a_known_id_decides() -> None:
    records = [a_record(id_="b2"), a_record(id_="b1")]
    assert own_record(STARTED, records) is None
    assert own_record(replace(STARTED, build_id="b1"), records) == records[1]
    assert own_record(replace(STARTED, build_id="gone"), records) is None


def test_without_a_snapshot_nothing_is_ours() -> None:
    assert own_record(replace(STARTED, before=None), [a_record()]) is None


@in_virtual_time
async def test_records_of_others_are_part_of_the_evidence() -> None:
    dokku = FakeDokku()
    dokku.add_record("old", BuildStatus.SUCCEEDED, source="git-hook")
    ours = dokku.add_record("b1", BuildStatus.SUCCEEDED)
    dokku.add_record("c1", BuildStatus.SUCCEEDED, source="config-redeploy", kind="deploy")
    for record, build_id in ((ours, None), (None, "b1")):
        found = await a_collector(dokku).read(
            replace(STARTED, build_id=build_id),
            LogFacts(),
            record,
            kept=[],
            cap_reached=False,
            last_word=False,
        )
        assert [one.id for one in found.evidence.others] == ["c1"]
        assert found.build_id == "b1"


def an_end(cause: str, live: Live) -> Ended:
    return Ended(
        rule="x",
        phase=Phase.FAILED,
        failure=Failure.INTERNAL,
        live=live,
        cause=Cause.NOT_STARTED,
        detail=cause,
        live_detail=LiveDetail.IN_CAUSE,
    )


def test_others_are_told_to_operators_and_to_people() -> None:
    seen = evidence(others=(CONFIG_SET,))
    assert describe(seen, "kept_running").endswith("; others: config-redeploy c1 succeeded")
    assert "others" not in describe(evidence(), "kept_running")
    verdict = an_end("It ended", Live.NEW)
    assert reason_of(verdict, seen, seen.after) == (
        "It ended. Others worked on the app meanwhile: config:set (Dokku build c1)."
    )
    assert "ps:scale" in reason_of(verdict, evidence(), containers(RESTARTED_NEW))


async def read(dokku: FakeDokku, heard: LogFacts | None, **changes: object) -> LogFacts:
    row = replace(STARTED, **changes)  # type: ignore[arg-type]  # test shorthand
    record = next(iter(dokku.records), None)
    found = await a_collector(dokku).read(
        row, heard, record, kept=["> building"], cap_reached=False, last_word=False
    )
    return found.evidence.output


@pytest.mark.parametrize(
    ("exit_status", "heard", "told", "markers"),
    [
        # We heard it all: nobody else is asked.
        (0, facts(LogMarker.RELEASING, phase=Phase.RELEASING), GOOD, {LogMarker.RELEASING}),
        # Nothing of a deploy was heard: its server kept the output to itself.
        (0, facts(), GOOD, DEPLOYED | {LogMarker.FETCHING}),
        # Our line was lost: Dokku's copy has the rest.
        (None, facts(LogMarker.FETCHING), GOOD, DEPLOYED | {LogMarker.FETCHING}),
        # Another process heard it.
        (0, None, GOOD, DEPLOYED | {LogMarker.FETCHING}),
        # Dokku's copy is gone: what was kept, or heard, counts.
        (0, None, (), {LogMarker.BUILDING}),
        (None, facts(LogMarker.FETCHING), (), {LogMarker.FETCHING}),
    ],
)
def test_whose_text_counts(
    exit_status: int | None,
    heard: LogFacts | None,
    told: tuple[str, ...],
    markers: frozenset[LogMarker],
) -> None:
    @in_virtual_time
    async def run() -> None:
        dokku = FakeDokku()
        dokku.add_record("b1", BuildStatus.SUCCEEDED, text=told)
        output = await read(dokku, heard, exit_status=exit_status)
        assert output.markers - {LogMarker.DEPLOYING} == set(markers) - {LogMarker.DEPLOYING}

    run()


@pytest.mark.parametrize(
    ("told", "kept", "log"),
    [
        # What was a secret when the line was heard still is, whether or not it is known now.
        (["a sesame b", "end"], ["a [redacted] b"], ["a [redacted] b", "end"]),
        (["a sesame b"], ["a [redacted] b"], None),
        # Masked more than what was kept, and whole where that is cut off.
        (["x [redacted]", "building it"], ["x open-sesame", "bui"], "told"),
        (["x sesame y", "end"], ["other [redacted] line"], "told"),
        (["x sesame", "end"], ["x [redacted] y"], "told"),
        (["same"], ["same", "and more"], None),
    ],
)
def test_dokkus_text_is_masked_at_least_as_the_kept_one(
    told: list[str], kept: list[str], log: list[str] | str | None
) -> None:
    @in_virtual_time
    async def run() -> None:
        dokku = FakeDokku()
        dokku.add_record("b1", BuildStatus.SUCCEEDED, text=tuple(told))
        found = await a_collector(dokku).read(
            STARTED, None, dokku.records[0], kept=kept, cap_reached=False, last_word=False
        )
        assert found.log == (told if log == "told" else log)

    run()


@in_virtual_time
async def test_a_build_that_runs_has_no_whole_text_yet() -> None:
    dokku = FakeDokku()
    dokku.add_record("b1", text=GOOD)
    await read(dokku, None)
    assert "build_output" not in dokku.asked


@in_virtual_time
async def test_a_commit_is_asked_for_once_it_was_fetched() -> None:
    dokku = FakeDokku(fetched=SHA)
    reader = a_collector(dokku)
    row = replace(STARTED, sha=None, exit_status=0)
    found = await reader.read(
        row, facts(LogMarker.BUILDING), None, kept=(), cap_reached=False, last_word=False
    )
    assert (found.sha, found.evidence.expected) == (SHA, METADATA)
    found = await reader.read(row, facts(), None, kept=(), cap_reached=False, last_word=False)
    assert (found.sha, found.evidence.expected) == (None, None)


@in_virtual_time
async def test_a_good_end_leaves_nothing_to_cancel() -> None:
    reader = a_collector(FakeDokku())
    row = replace(STARTED, phase=Phase.CHECKING, exit_status=0)
    found = await reader.read(row, facts(), None, kept=(), cap_reached=True, last_word=False)
    assert not found.evidence.cap_reached


@in_virtual_time
async def test_what_was_started_has_a_snapshot() -> None:
    with pytest.raises(ValueError, match="snapshot"):
        await read(FakeDokku(), None, before=None)
    assert (
        await a_collector(FakeDokku()).record_with_output(replace(STARTED, before=None), ["a"])
        is None
    )


def test_blind_evidence_knows_our_own_line_alone() -> None:
    seen = blind(replace(STARTED, exit_status=1), facts(LogMarker.BUILD_FAILED), cap_reached=True)
    assert (seen.exit_status, seen.record, seen.after, seen.report) == (1, None, None, None)
    assert seen.last_word
    assert blind(replace(STARTED, before=None), facts(), cap_reached=False).before.builds is None


def test_why_the_server_could_not_be_asked_is_told_where_nothing_else_is_known() -> None:
    seen = evidence(after=None, unanswered="Its key changed. Mend it so.")
    lost = an_end("Lost", Live.UNKNOWN)
    told = "Lost. The server could not be asked: Its key changed. Mend it so."
    assert reason_of(lost, seen, None) == told
    assert reason_of(lost, replace(seen, unanswered=None), None) == "Lost."
    proven = replace(lost, live=Live.PREVIOUS)
    assert reason_of(proven, seen, containers(NEW)) == "Lost."


def test_an_operator_sees_the_rule_and_what_it_rests_on() -> None:
    line = describe(evidence(after=containers(NEW)), "kept_running")
    assert line.startswith("rule kept_running; exit status 0; record succeeded (None); ")
    assert f"web.1 {NEW.id} running" in line
    assert "containers unreadable" in describe(evidence(after=None), "x")
    assert "record none; containers none; markers none" in describe(
        evidence(record=None, after=containers(), output=facts()), "x"
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("one\n", ["one"]),
        ("one\n\ntwo\n", ["one", "", "two"]),
        ("with\u2028one\x0cin it\n", ["with\u2028one\x0cin it"]),
        (f"first\n\n{SECOND_ATTEMPT}\n\nsecond\n", ["second"]),
        (f"first\n\n{SECOND_ATTEMPT}\n\n", []),
    ],
)
def test_the_last_attempt_of_a_log(text: str, lines: list[str]) -> None:
    assert list(last_attempt(text)) == lines
