"""Recording j of both versions, replayed through the whole bot: the deploy lock refuses a start.

Output, timing and exit status are the recorded ones. The deploy that holds the lock is the
model's: it must begin before the recorded one can be requested.
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
from tests.support.incidents import BUILDING
from tests.verdicts.rows import ROWS, Row

__all__ = ["asked"]

SCENARIO, STEP = "j_second_deploy_while_running", "second"


def row_of(version: str) -> Row:
    wanted = f"{version}/{SCENARIO}", STEP
    (found,) = [row for row in ROWS if (row.recording, row.step) == wanted and row.model is None]
    return found


@pytest.mark.parametrize("version", VERSIONS)
async def test_refused_start_keeps_its_position(
    tmp_path: Path, asked: AskedRules, dokku_may_start: asyncio.Event, version: str
) -> None:
    async with open_world(tmp_path, apps=(), speed=SPEED, version=version) as world:
        dokku = world.simulators.dokku
        dokku.refs = HashedRefs()
        app = dokku.replay(Recording(scenario=SCENARIO, deploys=(STEP,)))
        (tmp_path / "deploybot.toml").write_text(f'[apps.{app.name}]\nrepo = "{app.repo}"\n')
        await world.start_bot()
        await world.deploy(f"{app.name} {'c0ffee' + '0' * 34}")
        await world.until_message("Starting")
        world.hold(BUILDING, app.name)
        other = dokku.outside_push_for_test(app.name, "ab" * 20)
        await world.held(app.name)
        dokku_may_start.set()
        await world.until_message("Queued", "waiting for")
        assert asked.show(row_of(version))
        world.let_go(app.name)
        await other
        await world.until_message("Deployed", "live now: the new release")
        (row,) = await world.rows(app.name)
        assert isinstance(row, Deployment)
        assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)
