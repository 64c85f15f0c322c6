"""The recordings replayed through the whole bot: output, timing, exit status, answers.

Each recording is a row of docs/verdicts.md, and the live message must show that row's result.
PLAYED_ELSEWHERE names the recordings that other files replay.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.deployments.verdict.decisions import ReadAgain, WatchRelease
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.stability import NextLook
from bot.deployments.verdict.wording import beside_facts, sentence_of
from bot.simulators.dokku.recordings import NEWEST
from bot.simulators.dokku.recordings import OLD_VERSION as OLD
from bot.simulators.dokku.refs import HashedRefs
from bot.simulators.dokku.replay import Recording
from bot.slack.render.text import one_line
from tests.scenarios.conftest import World, open_world
from tests.verdicts.answers import ask, ended
from tests.verdicts.rows import ROWS as EVERY_ROW
from tests.verdicts.rows import Row

SPEED = 50.0
SHA = "c0ffee" + "0" * 34
"""Of recordings in which no commit was recorded."""
HEADLINES = {
    Phase.SUCCEEDED: "Deployed",
    Phase.FAILED: "Failed",
    Phase.CANCELLED: "Cancelled",
}
EVENTS = {"silence_begins", "waits_for_loss", "waits_for_cancel"}
STAYED_UP = "The new release is running and has stayed up."
Key = tuple[str, str, bool]
"""Recording, step, and whether someone cancels where the recorded client was lost."""


def key_of(row: Row) -> Key | None:
    """None: the recording does not show the row's result."""
    if row.recording is None or row.step is None or row.model is not None:
        return None
    question = row.question
    hangs_up = (
        isinstance(question, Evidence) and question.exit_status is None and question.cancel_asked
    )
    return row.recording, row.step, hangs_up


ROWS: Mapping[Key, Row] = {key: row for row in EVERY_ROW if (key := key_of(row)) is not None}
PLAYED_ELSEWHERE = {"i_app_missing", "j_second_deploy_while_running", "k_two_apps_at_once"}
"""A missing app in test_recorded_queue.py, two deploys of one app at once in
test_replayed_refusals.py, two apps at once in test_replayed_together.py."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recorded deploy."""

    recording: Recording
    attempt: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    repo: str | None = None
    """None: the recorded one."""
    version: str = NEWEST
    hangs_up: bool = False
    """Someone presses Cancel when the recorded client was lost."""

    @property
    def key(self) -> Key:
        """The key of its row."""
        return f"{self.version}/{self.recording.scenario}", self.recording.deploys[0], self.hangs_up

    @property
    def row(self) -> Row:
        """Its row of the verdict table."""
        return ROWS[self.key]

    def result(self) -> tuple[Phase, Failure | None, Live, str]:
        """The row's result; after a good end, that of the stability check."""
        answer = ask(self.row.question)
        if isinstance(answer, WatchRelease | ReadAgain | NextLook) or self.attempt > 1:
            return Phase.SUCCEEDED, None, Live.NEW, STAYED_UP
        result = ended(answer)
        assert result is not None
        return result.phase, result.failure, result.live, sentence_of(result)


CHECKS = "m3_ssh_lost_kill9_mid_checks"
DOCKER = "n2_dockerd_killed_mid_build"
DUO = "t_worker_zero_web_skip"
CHANGES = "f2_build_if_changes_after_failed_build"
BESIDE = frozenset({"mwua9aibcjoo9t"})
"""The deploy of m2 that still ran when g and h were recorded."""


def simple(scenario: str, *deploys: str) -> tuple[Case, ...]:
    return tuple(Case(recording=Recording(scenario=scenario, deploys=(one,))) for one in deploys)


def old(scenario: str, *deploys: str, first: bool = False, **more: Any) -> Case:
    """On a Dokku that keeps no build records."""
    recording = Recording(scenario=scenario, deploys=deploys or ("deploy",), first=first)
    return Case(recording=recording, version=OLD, **more)


CASES = (
    # --- good ends
    Case(recording=Recording(scenario="a_first_deploy_ok", first=True)),
    Case(recording=Recording(scenario="r2_first_deploy_by_full_sha", first=True)),
    Case(recording=Recording(scenario=DUO, deploys=("deploy_two_types",), first=True)),
    Case(recording=Recording(scenario=DUO, deploys=("deploy_skip",), first=True)),
    Case(
        recording=Recording(
            scenario=DUO, deploys=("deploy_nothing",), before=(DUO, "ps_report_json_nothing")
        )
    ),
    *simple(DUO, "deploy_web_0"),
    *simple("b_redeploy_ok", "deploy"),
    *simple("f_noop_same_commit", "deploy_again", "build_if_changes", "without_build"),
    *simple(CHANGES, "build_if_changes"),
    *simple("inspect_a_redeploy", "deploy", "same_commit", "same_files", "back"),
    *simple("r_rollback_sha_tag_branch", "full_sha"),
    # --- the release is watched
    Case(
        recording=Recording(scenario="inspect_b_foreign_restarts"),
        settings={"DEPLOYBOT_SETTLE": "1"},
    ),
    *simple("inspect_e_foreign_in_our_deploy", "config_set_in_build", "restart_at_release"),
    *simple("u_crashloop", "deploy_1s"),
    *simple("inspect_d_crash_loops", "deploy_1s", "deploy_20s"),
    # --- bad ends
    *simple("c_redeploy_build_fails", "deploy"),
    *simple("d_redeploy_healthcheck_fails", "deploy"),
    *simple("inspect_b_foreign_restarts", "build_fails", "checks_fail"),
    *simple("n1_dokku_killed_mid_build", "deploy"),
    *(
        Case(
            recording=Recording(
                scenario=DOCKER, deploys=(step,), before=(DOCKER, "ps_report_json_20.924")
            )
        )
        for step in ("deploy", "deploy_while_down")
    ),
    Case(recording=Recording(scenario="e_first_deploy_build_fails", first=True)),
    Case(recording=Recording(scenario="g_ref_missing", ended=BESIDE)),
    Case(recording=Recording(scenario="g_ref_missing", deploys=("first_deploy",), first=True)),
    *(
        Case(recording=Recording(scenario="h_repo_missing", deploys=(step,), ended=BESIDE))
        for step in ("not_exported", "refused", "no_such_host", "ssh_refused")
    ),
    # The bot's settings would refuse the recorded repository, so another one is named.
    Case(
        recording=Recording(scenario="h_repo_missing", deploys=("no_url",), ended=BESIDE),
        repo="https://git.example/acme/gone.git",
    ),
    # --- cancelled
    Case(recording=Recording(scenario="l1_cancel_mid_build", cancelled_s=5.551)),
    Case(recording=Recording(scenario="l5_ssh_signal_and_ctrl_c", cancelled_s=12.907)),
    Case(recording=Recording(scenario="l3_cancel_post_deploy", cancelled_s=17.273)),
    # --- the connection is lost, or silent
    Case(recording=Recording(scenario="m5_ssh_blackhole_40s_mid_build", silent_s=(4.83, 45.74))),
    Case(
        recording=Recording(scenario="m1_ssh_lost_kill9_mid_build", deploys=("deploy", "again")),
        attempt=2,
    ),
    Case(
        recording=Recording(
            scenario="m2_ssh_channel_closed_mid_build", deploys=("deploy", "again"), lost_s=7.429
        ),
        attempt=2,
    ),
    Case(recording=Recording(scenario="m8_pty_client_killed"), attempt=2),
    Case(recording=Recording(scenario="m11_ssh_lost_during_silent_build"), attempt=2),
    Case(recording=Recording(scenario="m13_short_keepalive_in_blackout"), attempt=2),
    Case(recording=Recording(scenario="m6_ssh_blackhole_forever")),
    Case(recording=Recording(scenario=CHECKS)),
    Case(
        recording=Recording(
            scenario="m4_ssh_lost_kill9_post_deploy", before=(CHECKS, "ps_report_json_100.304")
        )
    ),
    Case(recording=Recording(scenario="inspect_c_interrupted_post_deploy")),
    # --- a Dokku without build records
    old("a_first_deploy_ok", first=True),
    old("b_redeploy_ok"),
    old("c_redeploy_build_fails"),
    old("d_redeploy_healthcheck_fails"),
    old("m1_ssh_lost_kill9_mid_build", "deploy", "again", attempt=2),
    old("m1_ssh_lost_kill9_mid_build", hangs_up=True),
    old("inspect_c_interrupted_post_deploy"),
    old("inspect_c_interrupted_post_deploy", hangs_up=True),
)


def name(case: Case) -> str:
    recording, step, hangs_up = case.key
    return f"{recording}:{step}{':cancelled' if hangs_up else ''}"


def test_every_recorded_row_is_replayed() -> None:
    played = Counter(case.key for case in CASES)
    here = [key for key in ROWS if key[0].partition("/")[2] not in PLAYED_ELSEWHERE]
    assert played == Counter(here)


@pytest.mark.parametrize("case", CASES, ids=name)
async def test_recorded_deploy_ends_as_its_row_says(tmp_path: Path, case: Case) -> None:
    async with open_world(tmp_path, apps=(), speed=SPEED, version=case.version) as world:
        dokku = world.simulators.dokku
        dokku.refs = HashedRefs()
        app = dokku.replay(case.recording)
        repo = case.repo or app.repo
        (tmp_path / "deploybot.toml").write_text(f'[apps.{app.name}]\nrepo = "{repo}"\n')
        await world.start_bot(None, None, **case.settings)
        client = asyncio.create_task(_be_its_client(world, hangs_up=case.hangs_up))
        try:
            await world.deploy(f"{app.name} {dokku.replays[app.name].sha or SHA}")
            phase, failure, live, reason = case.result()
            beside = beside_facts(reason, failure=failure, live=live)
            await world.until_message(HEADLINES[phase], app.name, one_line(beside))
        finally:
            client.cancel()
            await asyncio.gather(client, return_exceptions=True)
        (row,) = await world.rows(app.name)
        assert isinstance(row, Deployment)
        assert (row.phase, row.failure, row.live) == (phase, failure, live)
        assert reason in (row.reason or "")
        assert row.attempt == case.attempt


async def _be_its_client(world: World, *, hangs_up: bool) -> None:
    """Do what the recorded client did: it vanished, received nothing, or cancelled."""
    dokku, server = world.simulators.dokku, world.simulators.server

    def events() -> set[str]:
        return {one.event for one in dokku.journal}

    await dokku.until(lambda: events() & EVENTS)
    if "silence_begins" in events():
        server.stall_for_test()
        await dokku.until(lambda: "silence_ends" in events())
        server.heal_for_test()
    elif "waits_for_loss" in events() and not hangs_up:
        await server.drop_connections_for_test()
    else:
        await world.until_message("Deploying", "Cancel")
        await world.click("deployment_cancel")
