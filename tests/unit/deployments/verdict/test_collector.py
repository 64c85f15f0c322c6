"""What the collector reads, which copy of the output counts, and how evidence is described."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, LogFacts, LogMarker, Phase
from bot.deployments.verdict.collector import EvidenceCollector, blind
from bot.deployments.verdict.decisions import Cause, Ended, LiveDetail
from bot.deployments.verdict.wording import describe, reason_of
from tests.support.builders import (
    CONFIG_SET,
    DEPLOYED,
    METADATA,
    NEW,
    RESTARTED_NEW,
    SHA,
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


@in_virtual_time
async def test_outside_records_are_part_of_the_evidence() -> None:
    dokku = FakeDokku()
    dokku.add_record("old", BuildStatus.SUCCEEDED, source="git-hook")
    own_record = dokku.add_record("b1", BuildStatus.SUCCEEDED)
    dokku.add_record("c1", BuildStatus.SUCCEEDED, source="config-redeploy", kind="deploy")
    for record, build_id in ((own_record, None), (None, "b1")):
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


def a_result(cause: str, live: Live) -> Ended:
    return Ended(
        rule="x",
        phase=Phase.FAILED,
        failure=Failure.INTERNAL,
        live=live,
        cause=Cause.NOT_STARTED,
        detail=cause,
        live_detail=LiveDetail.IN_CAUSE,
    )


def test_outside_changes_are_in_evidence_and_reason() -> None:
    seen = evidence(others=(CONFIG_SET,))
    assert describe(seen, "kept_running").endswith("; others: config-redeploy c1 succeeded")
    assert "others" not in describe(evidence(), "kept_running")
    verdict = a_result("It ended", Live.NEW)
    assert reason_of(verdict, seen, seen.after) == (
        "It ended. Meanwhile, outside this bot: config:set (Dokku build c1)."
    )
    assert "ps:scale" in reason_of(verdict, evidence(), containers(RESTARTED_NEW))


async def read(dokku: FakeDokku, streamed: LogFacts | None, **changes: object) -> LogFacts:
    row = replace(STARTED, **changes)  # type: ignore[arg-type]  # test shorthand
    record = next(iter(dokku.records), None)
    found = await a_collector(dokku).read(
        row, streamed, record, kept=["> building"], cap_reached=False, last_word=False
    )
    return found.evidence.output


@pytest.mark.parametrize(
    ("exit_status", "streamed", "copy", "markers"),
    [
        # This process read all of it: Dokku's copy is not read.
        (0, facts(LogMarker.RELEASING, phase=Phase.RELEASING), GOOD, {LogMarker.RELEASING}),
        # No output of a deploy arrived: the server kept it to itself.
        (0, facts(), GOOD, DEPLOYED | {LogMarker.FETCHING}),
        # The connection was lost: Dokku's copy has the rest.
        (None, facts(LogMarker.FETCHING), GOOD, DEPLOYED | {LogMarker.FETCHING}),
        # Another process read it.
        (0, None, GOOD, DEPLOYED | {LogMarker.FETCHING}),
        # Dokku's copy is gone: the stored lines, or what was read, count.
        (0, None, (), {LogMarker.BUILDING}),
        (None, facts(LogMarker.FETCHING), (), {LogMarker.FETCHING}),
    ],
)
def test_output_comes_from_the_most_complete_source(
    exit_status: int | None,
    streamed: LogFacts | None,
    copy: tuple[str, ...],
    markers: frozenset[LogMarker],
) -> None:
    @in_virtual_time
    async def run() -> None:
        dokku = FakeDokku()
        dokku.add_record("b1", BuildStatus.SUCCEEDED, text=copy)
        output = await read(dokku, streamed, exit_status=exit_status)
        assert output.markers - {LogMarker.DEPLOYING} == set(markers) - {LogMarker.DEPLOYING}

    run()


@pytest.mark.parametrize(
    ("copy", "kept", "log"),
    [
        # A secret that was masked when the line was read stays masked.
        (["a sesame b", "end"], ["a [redacted] b"], ["a [redacted] b", "end"]),
        (["a sesame b"], ["a [redacted] b"], None),
        # Masked more than the stored lines, and complete where those are cut off.
        (["x [redacted]", "building it"], ["x open-sesame", "bui"], "copy"),
        (["x sesame y", "end"], ["other [redacted] line"], "copy"),
        (["x sesame", "end"], ["x [redacted] y"], "copy"),
        (["same"], ["same", "and more"], None),
    ],
)
def test_dokkus_output_is_masked_at_least_like_the_stored_one(
    copy: list[str], kept: list[str], log: list[str] | str | None
) -> None:
    @in_virtual_time
    async def run() -> None:
        dokku = FakeDokku()
        dokku.add_record("b1", BuildStatus.SUCCEEDED, text=tuple(copy))
        found = await a_collector(dokku).read(
            STARTED, None, dokku.records[0], kept=kept, cap_reached=False, last_word=False
        )
        assert found.log == (copy if log == "copy" else log)

    run()


@in_virtual_time
async def test_output_of_a_running_build_is_not_read() -> None:
    dokku = FakeDokku()
    dokku.add_record("b1", text=GOOD)
    await read(dokku, None)
    assert "build_output" not in dokku.asked


@in_virtual_time
async def test_commit_is_read_only_after_the_fetch() -> None:
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
async def test_time_limit_is_ignored_while_checking() -> None:
    reader = a_collector(FakeDokku())
    row = replace(STARTED, phase=Phase.CHECKING, exit_status=0)
    found = await reader.read(row, facts(), None, kept=(), cap_reached=True, last_word=False)
    assert not found.evidence.cap_reached


@in_virtual_time
async def test_reading_needs_a_snapshot() -> None:
    with pytest.raises(ValueError, match="snapshot"):
        await read(FakeDokku(), None, before=None)
    assert (
        await a_collector(FakeDokku()).record_with_output(replace(STARTED, before=None), ["a"])
        is None
    )


def test_blind_evidence_holds_only_the_output() -> None:
    seen = blind(replace(STARTED, exit_status=1), facts(LogMarker.BUILD_FAILED), cap_reached=True)
    assert (seen.exit_status, seen.record, seen.after, seen.report) == (1, None, None, None)
    assert seen.last_word
    assert blind(replace(STARTED, before=None), facts(), cap_reached=False).before.builds is None


def test_unanswered_server_is_named_only_when_live_state_is_unknown() -> None:
    seen = evidence(after=None, unanswered="Its key changed. Mend it so.")
    lost = a_result("Lost", Live.UNKNOWN)
    sentence = "Lost. The server could not be queried: Its key changed. Mend it so."
    assert reason_of(lost, seen, None) == sentence
    assert reason_of(lost, replace(seen, unanswered=None), None) == "Lost."
    proven = replace(lost, live=Live.PREVIOUS)
    assert reason_of(proven, seen, containers(NEW)) == "Lost."


def test_description_names_the_rule_and_its_evidence() -> None:
    line = describe(evidence(after=containers(NEW)), "kept_running")
    assert line.startswith("rule kept_running; exit status 0; record succeeded (None); ")
    assert f"web.1 {NEW.id} running" in line
    assert "containers unreadable" in describe(evidence(after=None), "x")
    assert "record none; containers none; markers none" in describe(
        evidence(record=None, after=containers(), output=facts()), "x"
    )
