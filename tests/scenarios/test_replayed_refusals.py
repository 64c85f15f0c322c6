"""Recording j on both versions, played through the whole bot: a start that the lock refuses.

Its text, rhythm and exit status are the recorded ones; the deploy that holds the lock is the
model's, for it began before ours could be asked for.
"""

import asyncio
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Live, Phase
from bot.simulators.dokku.recordings import VERSIONS
from bot.simulators.dokku.refs import HashedRefs
from bot.simulators.dokku.replay import Recording
from tests.scenarios.conftest import SPEED, open_world
from tests.support.asked_rules import AskedRules, asked
from tests.support.plays import BUILDING
from tests.verdicts.rows import ROWS, Row

__all__ = ["asked"]

SCENARIO, STEP = "j_second_deploy_while_running", "second"


def row_of(version: str) -> Row:
    wanted = f"{version}/{SCENARIO}", STEP
    (found,) = [row for row in ROWS if (row.recording, row.step) == wanted and row.model is None]
    return found


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_refused_start_keeps_its_place(
    tmp_path: Path, asked: AskedRules, dokku_may_start: asyncio.Event, version: str
) -> None:
    async with open_world(tmp_path, apps=(), speed=SPEED, version=version) as world:
        dokku = world.stage.dokku
        dokku.refs = HashedRefs()
        app = dokku.replay(Recording(scenario=SCENARIO, deploys=(STEP,)))
        (tmp_path / "deploybot.toml").write_text(f'[apps.{app.name}]\nrepo = "{app.repo}"\n')
        await world.start_bot()
        await world.deploy(f"{app.name} {'c0ffee' + '0' * 34}")
        await world.until_message("Starting")
        world.hold(BUILDING, app.name)
        theirs = dokku.outside_push_for_test(app.name, "ab" * 20)
        await world.held(app.name)
        dokku_may_start.set()
        await world.until_message("Queued", "waits for")
        assert asked.show(row_of(version))
        world.let_go(app.name)
        await theirs
        await world.until_message("Deployed", "The new release runs and stayed up.")
        (row,) = await world.rows(app.name)
        assert isinstance(row, Deployment)
        assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)
