"""A replay prints and answers what was recorded; text is equal byte for byte."""

import json
from typing import TYPE_CHECKING

import pytest

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.recordings import NEWEST, load
from bot.simulators.dokku.replay import Recording

if TYPE_CHECKING:
    from tests.unit.simulators.dokku.conftest import Client

SHA = "b" * 40
FIELDS = ("id", "status", "display_status", "exit_code", "source", "pid")


@pytest.mark.parametrize(
    ("scenario", "deploy", "builds", "processes"),
    [
        ("b_redeploy_ok", "deploy", "builds_list_json_41.927", "ps_report_json_42.861"),
        ("c_redeploy_build_fails", "deploy", "builds_list_json_after", "ps_report_json_10.31"),
        ("d_redeploy_healthcheck_fails", "deploy", "builds_list_json_24.828", None),
        ("h_repo_missing", "refused", "builds_list_json_0.52", None),
    ],
)
async def test_replay_gives_recorded_text_result_and_answers(
    client: "Client",
    host: DokkuHost,
    scenario: str,
    deploy: str,
    builds: str,
    processes: str | None,
) -> None:
    steps = load(NEWEST, scenario)
    app = host.replay(Recording(scenario=scenario, deploys=(deploy,)))
    done = await client.run(f"git:sync --build {app.name} {app.repo} {SHA}")
    recorded = steps[deploy]
    assert done.exit == recorded.exit_status
    assert done.out + done.err == "".join(text for _, _, text in recorded.chunks)
    shown = [{key: one.get(key) for key in FIELDS} for one in await client.builds(app.name)]
    seen = json.loads(steps[builds].stdout)
    assert shown == [{key: one.get(key) for key in FIELDS} for one in seen]
    if processes is not None:
        report = (await client.run(f"ps:report {app.name} --format json")).json
        listed = json.loads(steps[processes].stdout)
        assert report["status-web.1"] == listed["status-web.1"]


async def test_replay_starts_from_the_recorded_state(client: "Client", host: DokkuHost) -> None:
    app = host.replay(Recording(scenario="b_redeploy_ok"))
    (built,) = await client.builds(app.name)
    assert built["status"] == "succeeded"
    before = json.loads(load(NEWEST, "b_redeploy_ok")["apps_report_json_0.081"].stdout)
    assert await client.metadata(app.name) == before["app-deploy-source-metadata"]


async def test_containers_match_the_recorded_report(client: "Client", host: DokkuHost) -> None:
    app = host.replay(Recording(scenario="inspect_d_crash_loops", deploys=("deploy_1s",)))
    await client.run(f"git:sync --build {app.name} {app.repo} {SHA}")
    (shown,) = await client.containers(app.name)
    (seen,) = json.loads(load(NEWEST, "inspect_d_crash_loops")["restarting"].stdout)
    assert (shown["Id"], shown["Image"]) == (seen["Id"], seen["Image"])
    assert seen["RestartCount"] == 8
    assert shown["RestartCount"] >= 8  # recorded time goes on


async def test_recorded_time_stops_until_the_client_is_gone(
    client: "Client", host: DokkuHost
) -> None:
    app = host.replay(
        Recording(scenario="m1_ssh_lost_kill9_mid_build", deploys=("deploy", "again"))
    )
    deploy = await client.start(f"git:sync --build {app.name} {app.repo} {SHA}")
    await host.until(lambda: any(one.event == "waits_for_loss" for one in host.journal))
    assert (await client.builds(app.name))[0]["display_status"] == "running"
    deploy.close()
    await host.until(lambda: not app.runs)
    assert (await client.builds(app.name))[0]["display_status"] == "abandoned"
    done = await client.run(f"git:sync --build {app.name} {app.repo} {SHA}")
    assert done.out.count("=====> Application deployed:") == 1


async def test_app_follows_the_model_after_its_recorded_deploys(
    client: "Client", host: DokkuHost
) -> None:
    app = host.replay(Recording(scenario="c_redeploy_build_fails"))
    line = f"git:sync --build {app.name} {app.repo} {SHA}"
    assert (await client.run(line)).exit == 1
    assert (await client.run(line)).exit == 0
