"""Dokku's texts on docs/verdicts.md: each is in the recordings of its rows, or says why not."""

import json
import re
from typing import Any

import pytest

from bot.deployments.model import Failure, LogFacts, LogMarker
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.named_failures import named_failure
from bot.dokku.log_markers import LogReader
from bot.dokku.stream import OutputReader
from bot.redaction import Redactor
from bot.simulators.dokku.recordings import FAILED_TASK_COMMAND, TASK_FAILED, TRANSCRIPTS, step
from tests.verdicts.printed import PRINTED, Printed
from tools.docs.verdicts_page import verdicts_page

NEVER_MET = [one for one in PRINTED if not one.rows]


def name(text: Printed) -> str:
    return f"{text.exits}: {text.says}"


def steps_of(recording: str) -> dict[str, dict[str, Any]]:
    steps = json.loads((TRANSCRIPTS / f"{recording}.json").read_text(encoding="utf-8"))["steps"]
    return {one["name"]: one for one in steps}


def output_of(command: dict[str, Any]) -> str:
    streamed = "".join(text for _, _, text in command.get("chunks") or ())
    return streamed or (command.get("stdout") or "") + (command.get("stderr") or "")


def pattern(text: Printed) -> str:
    """A lone `X` stands for what differs."""
    return r"\S.*".join(re.escape(part) for part in re.split(r"\bX\b", text.says))


@pytest.mark.parametrize("text", PRINTED, ids=name)
def test_text_has_rows_or_a_reason(text: Printed) -> None:
    assert text.rows or text.not_met


@pytest.mark.parametrize("text", PRINTED, ids=name)
def test_rows_show_the_text_and_the_exit_status(text: Printed) -> None:
    for row in text.rows:
        assert isinstance(row.question, Evidence)
        status = row.question.exit_status
        known = re.fullmatch(r"\d+", text.exits)
        assert str(status) == text.exits if known else status in {None, -1}
        if text.says.startswith("("):
            continue
        printed = row.text or ""
        if row.recording and row.step:
            printed = output_of(steps_of(row.recording)[row.step])
        assert re.search(pattern(text), printed), row.read


def test_page_shows_every_text() -> None:
    page = verdicts_page()
    assert [text.says for text in PRINTED if text.says not in page] == []
    assert page.count("*not met:*") == sum(text.not_met is not None for text in PRINTED)


def test_no_recorded_deploy_prints_what_is_never_met() -> None:
    found = []
    for path in sorted(TRANSCRIPTS.glob("*/*.json")):
        for one in json.loads(path.read_text(encoding="utf-8"))["steps"]:
            if one["argv"][0] == "git:sync":
                printed = output_of(one)
                found += [text.says for text in NEVER_MET if re.search(pattern(text), printed)]
    assert found == []


def facts_of(text: str) -> LogFacts:
    output, log = OutputReader(Redactor(())), LogReader("web")
    log.feed(output.feed(text.encode()))
    log.feed(output.finish())
    return log.facts


def test_unknown_command_is_read_as_a_refusal() -> None:
    facts = facts_of(steps_of("0.38.27/i_app_missing")["nosuchcommand"]["stderr"])
    assert named_failure(facts, 1)[0] is Failure.REFUSED


def test_release_task_is_read_like_a_predeploy_task() -> None:
    begun = "".join(
        line.text.replace("{{app}}", "web")
        for line in step("0.38.27", "b_redeploy_ok", "deploy").lines
        if line.text.startswith(("-----> Building", "-----> Releasing"))
    )
    read = {}
    for task in ("predeploy", "release"):
        facts = facts_of(begun + TASK_FAILED.format(task=task, command=FAILED_TASK_COMMAND))
        read[task] = facts.markers, named_failure(facts, 1)[0]
    assert LogMarker.RELEASE_FAILED in read["release"][0]
    assert read["release"] == read["predeploy"]
