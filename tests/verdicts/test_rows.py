"""The verdict table: every row gives what it says, and its recording shows the same."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest

from bot.deployments.model import LogFacts
from bot.deployments.verdict.decisions import Cause, LiveDetail
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.wording import sentence_of
from bot.dokku.log_markers import LogReader
from bot.dokku.stream import OutputReader
from bot.redaction import Redactor
from bot.simulators.dokku.recordings import TRANSCRIPTS
from tests.verdicts.answers import ask, cause, ended, outcome
from tests.verdicts.codes import question
from tests.verdicts.golden import PATH
from tests.verdicts.rows import MORE_ROWS, ROWS, Row
from tools.docs.verdicts_page import verdicts_page

EVERY_ROW = (*ROWS, *MORE_ROWS)
MOST_WORDS = 20
RECORDED = [row for row in ROWS if row.step is not None and isinstance(row.question, Evidence)]


def name(row: Row) -> str:
    return f"{row.recording}:{row.step}"


def recorded(row: Row) -> dict[str, Any]:
    path = TRANSCRIPTS / f"{row.recording}.json"
    steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
    return dict(next(one for one in steps if one["name"] == row.step))


def facts_of(command: Mapping[str, Any]) -> LogFacts:
    """What the bot's reader makes of a recorded deploy."""
    app = next((word for word in command["argv"][1:] if not word.startswith("--")), "web")
    output, log = OutputReader(Redactor(())), LogReader(app)
    streamed = "".join(text for _, _, text in command.get("chunks") or ())
    text = streamed or command.get("stdout", "") + command.get("stderr", "")
    log.feed(output.feed(text.encode()))
    log.feed(output.finish())
    return log.facts


# One test for each row and not three: pytest itself takes more time than a row.
@pytest.mark.parametrize("row", EVERY_ROW, ids=lambda row: row.read)
def test_row_gives_its_outcome_its_error_line_and_a_whole_sentence(row: Row) -> None:
    answer = ask(row.question)
    assert (outcome(answer), cause(answer)) == (row.gives, row.cause)
    assert row.read.endswith(".")
    result = ended(answer)
    if result is not None:
        assert sentence_of(result).endswith(".")
        # Behind processes that are down comes Docker's own reason.
        if not result.down:
            assert result.detail == (row.text or "")


def test_more_rows_repeat_no_row() -> None:
    # By every field: equal containers may differ in why they are down.
    asked = {repr(row.question) for row in MORE_ROWS}
    assert len(asked) == len(MORE_ROWS)
    assert not asked & {repr(row.question) for row in ROWS}


def test_every_rule_has_a_row() -> None:
    golden = json.loads(PATH.read_text(encoding="utf-8"))
    decided = (golden[one]["letters"].values() for one in ("decisions", "watches"))
    rules = {one.split()[-1] for one in chain(*decided)} | {"before_start"}
    assert {row.gives.split()[-1] for row in ROWS} == rules


def test_every_cause_has_a_row() -> None:
    results = [result for row in EVERY_ROW if (result := ended(ask(row.question))) is not None]
    # The bot's own fault is no rule's.
    assert {one.cause for one in results} == set(Cause) - {Cause.OWN_FAULT}
    assert {one.live_detail for one in results} == set(LiveDetail)


@pytest.mark.parametrize(
    "see",
    [
        "0 succeeded/0 deployed",
        "0 succeeded/0 deployed old>new nonsense",
        "0 succeeded/0 deployed old>new nonsense=new",
        "watch new>new cancel_asked",
    ],
)
def test_unknown_code_is_refused(see: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        question(see, None)


def test_every_named_recording_exists() -> None:
    named = {row.recording for row in ROWS if row.recording}
    assert {one for one in named if not (TRANSCRIPTS / f"{one}.json").is_file()} == set()


@pytest.mark.parametrize("row", RECORDED, ids=name)
def test_exit_status_is_as_recorded(row: Row) -> None:
    assert isinstance(row.question, Evidence)
    command = recorded(row)
    sent = "exit_signal" in command or (command["exit"] is not None and command["exit"] >= 0)
    # A client that closed its channel itself received no exit status, though one was sent.
    closed_by_client = row.recording == "0.38.27/m2_ssh_channel_closed_mid_build"
    received = command["exit"] if sent and not closed_by_client else None
    assert row.question.exit_status == received


@pytest.mark.parametrize("row", RECORDED, ids=name)
def test_recorded_output_gives_the_same_result(row: Row) -> None:
    assert isinstance(row.question, Evidence)
    facts = facts_of(recorded(row))
    output = replace(
        row.question.output, markers=facts.markers, error=facts.error, trouble=facts.trouble
    )
    assert row.question.output.markers <= facts.markers
    assert ask(replace(row.question, output=output)) == ask(row.question)


def test_page_shows_every_row() -> None:
    page = verdicts_page()
    assert {row.read for row in ROWS if row.read not in page} == set()
    played = [row for row in ROWS if row.model]
    assert page.count("| model |") == sum(row.recording is None for row in played)
    assert page.count("| model, as in `") == sum(row.recording is not None for row in played)
    assert page.count("| recording `") == sum(bool(row.recording and not row.model) for row in ROWS)
    assert page.count("| rules alone: ") == sum(row.alone is not None for row in ROWS)


def test_table_cells_are_short() -> None:
    cells = [
        cell
        for line in verdicts_page().splitlines()
        if line.startswith("|")
        for cell in line.split("|")
    ]
    assert [cell for cell in cells if len(cell.split()) > MOST_WORDS] == []
