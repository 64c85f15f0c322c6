"""Recording k replayed through the whole bot: two apps of one server deploy at once."""

from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Live, Phase
from bot.deployments.verdict.decisions import WatchRelease
from bot.simulators.dokku.refs import HashedRefs
from bot.simulators.dokku.replay import Recording
from tests.scenarios.conftest import open_world
from tests.support.asked_rules import AskedRules, asked
from tests.verdicts.answers import ask
from tests.verdicts.rows import ROWS, Row

__all__ = ["asked"]

SCENARIO = "k_two_apps_at_once"
SPEED = 50.0
STAYED_UP = "The new release is running and has stayed up."
RECORDINGS = (
    Recording(
        scenario=SCENARIO,
        before=("m2_ssh_channel_closed_mid_build", "ps_report_json_94.577"),
    ),
    Recording(scenario=SCENARIO, deploys=("deploy_web2",), first=True),
)


def rows() -> list[Row]:
    return [row for row in ROWS if row.recording == f"0.38.27/{SCENARIO}"]


def test_both_recordings_have_a_row() -> None:
    assert [row.step for row in rows()] == [recording.deploys[0] for recording in RECORDINGS]


@pytest.mark.parametrize("first", [0, 1])
async def test_two_apps_deploy_at_once(tmp_path: Path, asked: AskedRules, first: int) -> None:
    async with open_world(tmp_path, apps=(), speed=SPEED) as world:
        dokku = world.simulators.dokku
        dokku.refs = HashedRefs()
        apps = [dokku.replay(recording) for recording in RECORDINGS]
        (tmp_path / "deploybot.toml").write_text(
            "".join(f'[apps.{app.name}]\nrepo = "{app.repo}"\n' for app in apps)
        )
        await world.start_bot()
        for app in (apps[first], apps[1 - first]):
            await world.deploy(f"{app.name} {dokku.replays[app.name].sha}")
        await dokku.until(lambda: all(app.runs for app in apps))
        for app in apps:
            (row,) = await world.ended(len(apps), app.name)
            assert isinstance(row, Deployment)
            assert (row.phase, row.live, row.reason) == (Phase.SUCCEEDED, Live.NEW, STAYED_UP)
    assert [row for row in rows() if not asked.show(row)] == []
    assert {ask(row.question) for row in rows()} == {WatchRelease(rule="new_release_seen")}
