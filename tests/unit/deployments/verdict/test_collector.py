"""What the collector reads, which copy of the output counts, and how evidence is described."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import LogFacts, LogMarker, Phase
from bot.deployments.verdict.collector import EvidenceCollector, blind
from tests.support.builders import (
    DEPLOYED,
    METADATA,
    SHA,
    a_snapshot,
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
