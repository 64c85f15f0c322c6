"""Verdicts about deploys whose client was killed, as recorded on Dokku 0.35."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bot.deployments.dokku_facts import AppReport, Container, Containers, Snapshot
from bot.deployments.verdict.evidence import Evidence
from bot.dokku.log_markers import LogReader
from bot.dokku.reports import read_app_report, read_containers, read_process_report
from bot.dokku.stream import OutputReader
from bot.redaction import Redactor
from bot.simulators.dokku.recordings import TRANSCRIPTS
from tests.verdicts.answers import ask, cause, outcome

SHA = "437ab007b9320926d69bbfb05320d413e3b7442e"
"""What was being built when the client was killed (`git:report --git-sha`)."""
MASK = Redactor(()).text

Steps = dict[str, dict[str, Any]]


def recorded(scenario: str) -> Steps:
    path = TRANSCRIPTS / "0.35.20" / f"{scenario}.json"
    return {step["name"]: step for step in json.loads(path.read_text(encoding="utf-8"))["steps"]}


def lost(steps: Steps, before: Containers, after: Containers, report: AppReport) -> Evidence:
    """The connection died with its client; what was printed before was read."""
    _, _, app, repo, _ = steps["deploy"]["argv"]
    output, log = OutputReader(Redactor(())), LogReader(app)
    text = "".join(part for _, _, part in steps["deploy"]["chunks"])
    log.feed(output.feed(text.encode()))
    return Evidence(
        exit_status=None,
        keeps_records=False,
        record=None,
        output=log.facts,
        before=Snapshot(builds=None, report=report, containers=before),
        after=after,
        report=report,
        expected=f"{repo}#{SHA}",
        lock_was_free=True,
    )


@pytest.fixture
def in_the_build() -> Evidence:
    steps = recorded("m1_ssh_lost_kill9_mid_build")
    assert steps["git_sha"]["stdout"].strip() == SHA
    report = read_app_report(steps["apps_report_json"]["stdout"], MASK)
    assert not report.locked
    shown = read_process_report(steps["ps_report"]["stdout"], MASK)
    # The recording has only the short ids, which did not change.
    serving = Containers(
        listed=tuple(
            Container(id=f"{short}0", process=process, image="old", state=shown.states[process])
            for process, short in shown.short_ids.items()
        )
    )
    return lost(steps, serving, serving, report)


@pytest.fixture
def in_post_deploy() -> Evidence:
    steps = recorded("inspect_c_interrupted_post_deploy")
    before = read_containers(steps["inspect_before"]["stdout"], str)
    after = read_containers(steps["inspect"]["stdout"], str)
    return lost(steps, before, after, AppReport())


def test_client_killed_in_the_build_starts_again(in_the_build: Evidence) -> None:
    found = outcome(ask(in_the_build))
    assert found == "start_again failed interrupted previous ended_without_telling"


def test_client_disconnecting_in_the_build_cancels(in_the_build: Evidence) -> None:
    found = outcome(ask(replace(in_the_build, cancel_asked=True)))
    assert found == "end cancelled - previous cancelled"
    found = outcome(ask(replace(in_the_build, cap_reached=True)))
    assert found == "end failed timed_out previous cancelled"


def test_client_killed_in_post_deploy_leaves_the_new_release(in_post_deploy: Evidence) -> None:
    found = outcome(ask(in_post_deploy))
    assert found == "end failed interrupted new ended_without_telling"


def test_client_disconnecting_in_post_deploy_cancels_too_late(in_post_deploy: Evidence) -> None:
    found = ask(replace(in_post_deploy, cancel_asked=True))
    assert outcome(found) == "end cancelled - new cancelled"
    assert cause(found) == "cancelled_too_late by_lock"
