"""Recorded lines on the simulated Dokku's model, combined in other ways than they were recorded.

test_replayed_results.py replays the recordings themselves, test_model_rows.py shows the rows of
docs/verdicts.md that nobody recorded. Here the simulated Dokku assembles the recorded lines for
cases in between: first deploys that fail, disabled checks, a silent build. Further results:
test_results.py and test_late.py (the second start after a lost connection, late verdicts). The bot
never uses `--build-if-changes`, so it has no no-op deploys.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.deployments.verdict.wording import LIVE, beside_facts
from bot.slack.render.text import one_line
from tests.scenarios.conftest import ONE_APP, World, open_world
from tests.support.incidents import (
    BUILDING,
    HEADLINES,
    NEW_APP,
    Incident,
    behaving,
    crash_previous_release,
    fall_silent_for_good,
    held,
    outside,
)

End = tuple[Phase, Failure | None, Live]

MODEL = "on the model"
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


async def without_checks(world: World) -> None:
    world.app.checks_enabled = False
    await world.deploy()


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
        name="checks are off",
        recording="u",
        play=without_checks,
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
        name="the postdeploy task of a first deploy fails",
        recording=MODEL,
        play=behaving("postdeploy_fails"),
        first=True,
        end=(Phase.FAILED, Failure.RELEASE_FAILED, Live.NEW),
        says="The new release is serving.",
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
    # --- the connection is lost
    Case(
        name="lost without a sign, and Dokku's command ends by itself",
        recording="m6, on the model",
        play=held(BUILDING, fall_silent_for_good),
        end=UP,
        says=STAYED_UP,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_result_follows_the_evidence(tmp_path: Path, case: Case) -> None:
    async with open_world(tmp_path, apps=NEW_APP if case.first else ONE_APP) as world:
        await world.start_bot()
        await case.play(world)
        phase, failure, live = case.end
        await world.until_message(HEADLINES[phase], "myapp", LIVE[live])
        (row,) = await world.rows()
        assert isinstance(row, Deployment)
        assert case.says in (row.reason or "")
        beside = beside_facts(row.reason or "", failure=failure, live=live)
        await world.until_message(one_line(beside))
        assert (row.phase, row.failure, row.live) == (phase, failure, live)
