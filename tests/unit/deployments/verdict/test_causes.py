"""Dokku's texts on docs/verdicts.md: each is in the recordings of its rows, or says why not."""

import json
import re
from typing import Any

import pytest

from bot.deployments.model import Failure, LogFacts, LogMarker
from bot.dokku.log_markers import LogReader
from bot.dokku.output import OutputReader
from bot.redaction import Redactor
from bot.simulators.dokku.recordings import FAILED_TASK_COMMAND, TASK_FAILED, TRANSCRIPTS, step
from tests.support.verdicts import named
from tests.verdicts.causes import CAUSES, Cause, rows_of
from tests.verdicts.rows import Ended
from tools.docs.verdicts_page import verdicts_page

NEVER_OURS = [cause for cause in CAUSES if not cause.rows]


def name(cause: Cause) -> str:
    return f"{cause.exits}: {cause.says}"


def steps_of(recording: str) -> dict[str, dict[str, Any]]:
    steps = json.loads((TRANSCRIPTS / f"{recording}.json").read_text(encoding="utf-8"))["steps"]
    return {one["name"]: one for one in steps}


def printed(command: dict[str, Any]) -> str:
    streamed = "".join(text for _, _, text in command.get("chunks") or ())
    return streamed or (command.get("stdout") or "") + (command.get("stderr") or "")


def pattern(cause: Cause) -> str:
    """`X` alone stands for what differs."""
    return r"\S.*".join(re.escape(part) for part in re.split(r"\bX\b", cause.says))


@pytest.mark.parametrize("cause", CAUSES, ids=name)
def test_every_text_has_its_row_or_a_reason(cause: Cause) -> None:
    assert cause.rows or cause.not_met
    assert all(isinstance(row, Ended) for row in rows_of(cause))


@pytest.mark.parametrize("cause", CAUSES, ids=name)
def test_the_rows_show_the_text_and_the_exit_status(cause: Cause) -> None:
    for row in rows_of(cause):
        assert isinstance(row, Ended)
        status = row.evidence.exit_status
        known = re.fullmatch(r"\d+", cause.exits)
        assert str(status) == cause.exits if known else status in {None, -1}
        if cause.says.startswith("("):
            continue
        said = row.evidence.output.error or ""
        if row.recording and row.step:
            said = printed(steps_of(row.recording)[row.step])
        assert re.search(pattern(cause), said), row.read


def test_the_page_shows_every_text() -> None:
    page = verdicts_page()
    assert [cause.says for cause in CAUSES if cause.says not in page] == []
    assert page.count("*not met:*") == sum(cause.not_met is not None for cause in CAUSES)


def test_no_deploy_of_a_recording_says_what_is_never_met() -> None:
    found = []
    for path in sorted(TRANSCRIPTS.glob("*/*.json")):
        for one in json.loads(path.read_text(encoding="utf-8"))["steps"]:
            if one["argv"][0] == "git:sync":
                said = printed(one)
                found += [each.says for each in NEVER_OURS if re.search(pattern(each), said)]
    assert found == []


def facts_of(text: str) -> LogFacts:
    output, log = OutputReader(Redactor(())), LogReader("web")
    log.feed(output.feed(text.encode()))
    log.feed(output.finish())
    return log.facts


def test_an_unknown_command_is_read_as_a_refusal() -> None:
    facts = facts_of(steps_of("0.38.27/i_app_missing")["nosuchcommand"]["stderr"])
    assert named(facts, 1)[0] is Failure.REFUSED


def test_a_release_task_is_read_as_a_predeploy_task() -> None:
    begun = "".join(
        line.text.replace("{{app}}", "web")
        for line in step("0.38.27", "b_redeploy_ok", "deploy").lines
        if line.text.startswith(("-----> Building", "-----> Releasing"))
    )
    read = {}
    for task in ("predeploy", "release"):
        facts = facts_of(begun + TASK_FAILED.format(task=task, command=FAILED_TASK_COMMAND))
        read[task] = facts.markers, named(facts, 1)[0]
    assert LogMarker.RELEASE_FAILED in read["release"][0]
    assert read["release"] == read["predeploy"]
