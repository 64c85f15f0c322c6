"""docs/verdicts.md: every rule has its row, and rows with a recording say what it says."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bot.deployments.model import LogFacts
from bot.dokku.log_markers import LogReader
from bot.dokku.output import OutputReader
from bot.redaction import Redactor
from bot.simulators.dokku.recordings import TRANSCRIPTS
from tests.verdicts.flat import Verdict, decide
from tests.verdicts.rows import Ended, Row
from tests.verdicts.table import SECTIONS
from tools.docs.verdicts_page import rule_of, verdict_of, verdicts_page

ROWS = [row for section in SECTIONS for row in section.rows]
PLAYED = [row for row in ROWS if isinstance(row, Ended) and row.step is not None]

RULES = {
    "before_start",
    "cancelled",
    "commit_not_confirmed",
    "end_seen_by_effect",
    "ended_without_telling",
    "failed",
    "failed_late",
    "good_end_not_said",
    "good_end_unreadable",
    "lock_held_by_another",
    "new_release_seen",
    "no_contact",
    "not_deployed",
    "nothing_scaled_up",
    "old_beside_new",
    "replaced_before_proof",
    "still_running",
}
"""What rules.py decides."""

STABILITY = {
    "crashed",
    "kept_running",
    "not_up",
    "old_again",
    "old_beside_new",
    "replaced",
    "stopped",
    "unreadable",
}
"""What stability.py decides."""


def name(row: Row) -> str:
    return f"{row.recording}:{row.step}"


def recorded(row: Row) -> dict[str, Any]:
    path = TRANSCRIPTS / f"{row.recording}.json"
    steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
    return dict(next(one for one in steps if one["name"] == row.step))


def facts_of(command: Mapping[str, Any]) -> LogFacts:
    """What our reader makes of a recorded deploy."""
    app = next((word for word in command["argv"][1:] if not word.startswith("--")), "web")
    output, log = OutputReader(Redactor(())), LogReader(app)
    streamed = "".join(text for _, _, text in command.get("chunks") or ())
    text = streamed or command.get("stdout", "") + command.get("stderr", "")
    log.feed(output.feed(text.encode()))
    log.feed(output.finish())
    return log.facts


def test_every_rule_has_a_row() -> None:
    assert {rule_of(row) for row in ROWS} == RULES | STABILITY | {None}


def test_every_recording_that_is_named_is_there() -> None:
    named = {row.recording for row in ROWS if row.recording}
    assert {one for one in named if not (TRANSCRIPTS / f"{one}.json").is_file()} == set()


@pytest.mark.parametrize("row", PLAYED, ids=name)
def test_the_recording_ends_as_the_row_says(row: Ended) -> None:
    command = recorded(row)
    sent = "exit_signal" in command or (command["exit"] is not None and command["exit"] >= 0)
    told = command["exit"] if sent else None
    # A client that closed its channel itself heard no exit status, though one was sent.
    closed_by_client = row.recording == "0.38.27/m2_ssh_channel_closed_mid_build"
    assert row.evidence.exit_status == (None if closed_by_client else told)


@pytest.mark.parametrize("row", PLAYED, ids=name)
def test_what_the_recording_states_gives_the_same_verdict(row: Ended) -> None:
    facts = facts_of(recorded(row))
    output = replace(row.evidence.output, markers=facts.markers, error=facts.error)
    assert row.evidence.output.markers <= facts.markers
    assert decide(replace(row.evidence, output=output)) == row.outcome()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.read)
def test_every_end_has_a_sentence_and_says_what_is_live(row: Row) -> None:
    verdict = verdict_of(row)
    assert row.read.endswith(".")
    if isinstance(verdict, Verdict) and verdict.phase is not None:
        assert verdict.reason.endswith(".")
        assert verdict.live is not None


def test_the_page_shows_every_row() -> None:
    page = verdicts_page()
    assert {row.read for row in ROWS if row.read not in page} == set()
    played = [row for row in ROWS if row.model]
    assert page.count("| model |") == sum(row.recording is None for row in played)
    assert page.count("| model, as in `") == sum(row.recording is not None for row in played)
    assert page.count("| recording `") == sum(bool(row.recording and not row.model) for row in ROWS)
    assert page.count("| rules alone: ") == sum(row.alone is not None for row in ROWS)
