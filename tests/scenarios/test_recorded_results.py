"""Recorded lines on the simulated Dokku's model, combined in other ways than they were recorded.

test_replayed_results.py replays the recordings themselves, test_model_rows.py shows the rows of
docs/verdicts.md that nobody recorded. Here the simulated Dokku assembles the recorded lines for
cases in between: first deploys that fail, two process types, disabled checks. Further results:
test_results.py (a good deploy, a failed build, failed checks, a crash after 1 s, a missing ref and
repository, silence, cancels before the switch) and test_late.py (the second start after a lost
connection, late verdicts). The bot never uses `--build-if-changes`, so it has no no-op deploys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.deployments.verdict.wording import LIVE, beside_facts
from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from bot.slack.render.text import one_line
from tests.scenarios.conftest import ONE_APP, World, open_world
from tests.support.incidents import (
    BUILDING,
    CHECKING,
    HEADLINES,
    NEW_APP,
    SWITCHED,
    Incident,
    behaving,
    crash_previous_release,
    fall_silent_for_good,
    held,
    in_turn,
    lose_connection,
    outside,
    press_cancel,
    scale,
    until_stopped,
    when_checking,
)

End = tuple[Phase, Failure | None, Live]

MODEL = "on the model"
LONG_SETTLE = {"DEPLOYBOT_SETTLE": "3"}
UP: End = (Phase.SUCCEEDED, None, Live.NEW)
STAYED_UP = "The new release is running and has stayed up."


@dataclass(frozen=True, kw_only=True)
class Case:
    """One deployment of `myapp`, and its result."""

    name: str
    recording: str
    play: Incident
    end: End
    says: str
    first: bool = False
    """The app was never deployed before."""
    scale: Mapping[str, int] = field(default_factory=lambda: {"web": 1})
    settings: Mapping[str, str] = field(default_factory=dict)


async def without_checks(world: World) -> None:
    world.app.checks_enabled = False
    await world.deploy()


async def scaled_to_nothing(world: World) -> None:
    await outside_command_for_test(world.simulators.dokku, "ps:scale myapp web=0")
    await world.deploy()


async def first_by_full_sha(world: World) -> None:
    await world.deploy(f"myapp {world.simulators.forge.sha('myapp')}")


WEB_AND_WORKER = {"web": 1, "worker": 1}
CASES = (
    # --- success
    Case(
        name="a build that is silent for 25 s",
        recording="m11",
        play=behaving("silent_build"),
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="a first deploy by its full commit",
        recording="r2",
        play=first_by_full_sha,
        first=True,
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="checks are off",
        recording="u",
        play=without_checks,
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="web and worker",
        recording="t",
        play=behaving("ok"),
        scale=WEB_AND_WORKER,
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="no process is scaled up",
        recording="t",
        play=scaled_to_nothing,
        end=(Phase.SUCCEEDED, None, Live.NONE),
        says="Released, but no process is scaled up, so nothing is serving.",
    ),
    Case(
        name="skip-deploy before anything was deployed",
        recording="t",
        play=behaving("skip_deploy"),
        first=True,
        end=(Phase.FAILED, Failure.NOT_DEPLOYED, Live.NONE),
        says="Dokku's command succeeded, but released nothing. Nothing is serving.",
    ),
    # --- the stability check
    Case(
        name="each process lives 20 s",
        recording="u, inspect_d",
        play=behaving("crash_20s"),
        end=(Phase.FAILED, Failure.CRASHED, Live.NEW),
        says="web.1 does not stay up. The new release is still in place.",
    ),
    Case(
        name="someone restarts the new release",
        recording="inspect_b",
        play=when_checking(outside("ps:restart myapp")),
        settings=LONG_SETTLE,
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="someone changes its configuration during the build",
        recording="inspect_e",
        play=held(BUILDING, outside("config:set myapp COLOUR=blue")),
        end=UP,
        says=STAYED_UP,
    ),
    # --- failure
    Case(
        name="the checks of a first deploy fail",
        recording="d",
        play=behaving("checks_fail"),
        first=True,
        end=(Phase.FAILED, Failure.HEALTHCHECK_FAILED, Live.NONE),
        says="The health checks failed: Failure in name='web health': "
        "unexpected status code: 500. Nothing is serving.",
    ),
    Case(
        name="a ref that is missing for a first deploy",
        recording="g",
        play=behaving("ref_missing", "myapp " + "ab" * 20),
        first=True,
        end=(Phase.FAILED, Failure.REF_NOT_FOUND, Live.NONE),
        says="The repository has no such branch, tag or commit: error: pathspec",
    ),
    Case(
        name="the repository's port is closed",
        recording="h",
        play=behaving("repo_refused"),
        end=(Phase.FAILED, Failure.REPO_UNREACHABLE, Live.PREVIOUS),
        says="Dokku could not read the repository: fatal: unable to connect to",
    ),
    Case(
        name="the repository does not exist for the bot",
        recording="h",
        play=behaving("repo_denied"),
        end=(Phase.FAILED, Failure.REPO_UNREACHABLE, Live.PREVIOUS),
        says="access denied or repository not exported",
    ),
    Case(
        name="the postdeploy task of a first deploy fails",
        recording=MODEL,
        play=behaving("postdeploy_fails"),
        first=True,
        end=(Phase.FAILED, Failure.RELEASE_FAILED, Live.NEW),
        says="The new release is serving.",
    ),
    Case(
        name="Dokku's processes are killed in the build",
        recording="n1",
        play=behaving("dokku_killed"),
        end=(Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS),
        says="Dokku's command was killed on the server, for example by a reboot or because "
        "memory ran out. "
        "The previous release is still serving.",
    ),
    Case(
        name="the docker daemon dies in the build",
        recording="n2",
        play=behaving("docker_killed"),
        end=(Phase.FAILED, Failure.BUILD_FAILED, Live.UNKNOWN),
        says="The build failed: ERROR: failed to receive status: rpc error",
    ),
    Case(
        name="someone restarts the previous release while the build fails",
        recording="inspect_b",
        play=held("Building myapp", outside("ps:restart myapp"), "build_fails"),
        end=(Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS),
        says="The previous release is serving; it was restarted in the meantime by ps:restart.",
    ),
    Case(
        name="the previous release is itself restarting while the build fails",
        recording=MODEL,
        play=held("Building myapp", crash_previous_release, "build_fails"),
        end=(Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS),
        says="The previous release is still in place, but is restarting.",
    ),
    # --- cancelled
    Case(
        name="a cancel after the switch",
        recording="l3",
        play=held(SWITCHED, in_turn(press_cancel, until_stopped)),
        end=(Phase.CANCELLED, None, Live.NEW),
        says="Cancelled, but too late. The new release is serving.",
    ),
    # --- the connection is lost
    Case(
        name="lost without a sign, and Dokku's command ends by itself",
        recording="m6, on the model",
        play=held(BUILDING, fall_silent_for_good),
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="lost in the checks",
        recording="m3",
        play=held(CHECKING, lose_connection),
        end=(Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS),
        says="Dokku's command died with it. The previous release is still serving.",
    ),
    Case(
        name="lost after the switch",
        recording="m4",
        play=held(SWITCHED, lose_connection),
        end=(Phase.FAILED, Failure.INTERRUPTED, Live.NEW),
        says="Dokku's command died with it. The new release is serving.",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_result_follows_the_evidence(tmp_path: Path, case: Case) -> None:
    async with open_world(tmp_path, apps=NEW_APP if case.first else ONE_APP) as world:
        await scale(world, case.scale)
        await world.start_bot(None, None, **case.settings)
        await case.play(world)
        phase, failure, live = case.end
        await world.until_message(HEADLINES[phase], "myapp", LIVE[live])
        (row,) = await world.rows()
        assert isinstance(row, Deployment)
        assert case.says in (row.reason or "")
        beside = beside_facts(row.reason or "", failure=failure, live=live)
        await world.until_message(one_line(beside))
        assert (row.phase, row.failure, row.live) == (phase, failure, live)
