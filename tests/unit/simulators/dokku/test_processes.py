"""Restarts, scaling, stopping, crash loops: what happens to the containers."""

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import RunState

if TYPE_CHECKING:
    from tests.unit.simulators.dokku.conftest import Client

OLD, NEW, NEWER = "a" * 40, "b" * 40, "c" * 40


def line(app: str, sha: str = NEW) -> str:
    return f"git:sync --build {app} https://git.example/acme/{app}.git {sha}"


async def test_restart_keeps_the_image_and_leaves_an_abandoned_record(
    client: "Client", host: DokkuHost, app: str
) -> None:
    (before,) = await client.containers(app)
    done = await client.run(f"ps:restart {app}")
    (after,) = await client.containers(app)
    assert (done.exit, "Application deployed" in done.out) == (0, False)
    assert before["Id"] != after["Id"]
    assert before["Image"] == after["Image"]
    newest = (await client.builds(app))[0]
    assert (newest["source"], newest["kind"], newest["display_status"]) == (
        "ps:restart",
        "deploy",
        "abandoned",
    )


async def test_restart_after_failed_checks_starts_the_bad_image(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "checks_fail"
    await client.sync(app)
    done = await client.run(f"ps:restart {app}")
    assert done.exit == 1
    assert done.out.count("Failure in name='web health'") == 2
    assert {one.sha for one in host.live(app).values()} == {OLD}


async def test_restart_after_a_failed_build_reports_the_wrong_commit(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "build_fails"
    await client.sync(app)
    done = await client.run(f"ps:restart {app}")
    assert (done.exit, f"rev={NEW}" in done.out) == (0, True)
    assert {one.sha for one in host.live(app).values()} == {OLD}
    assert (await client.run(f"apps:report {app} --app-locked")).out == "true\n"


async def test_rebuild_builds_the_head_and_keeps_the_metadata(
    client: "Client", host: DokkuHost, app: str
) -> None:
    await client.sync(app, flag="")
    done = await client.run(f"ps:rebuild {app}")
    assert done.exit == 0
    assert {one.sha for one in host.live(app).values()} == {NEW}
    assert (await client.metadata(app)).endswith(OLD)
    newest = (await client.builds(app))[0]
    assert (newest["source"], newest["kind"], newest["status"]) == (
        "ps:rebuild",
        "build",
        "succeeded",
    )


async def test_rebuild_during_a_deploy_is_refused(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.hold_for_test(app, at="build step 2/")
    deploy = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    done = await client.run(f"ps:rebuild {app}")
    assert done.exit == 1
    assert done.out.count(f"{app} currently has a deploy lock in place. Exiting...") == 2
    host.release_for_test(app)
    assert (await client.finish(deploy)).exit == 0


async def test_config_set_during_a_deploy(client: "Client", host: DokkuHost, app: str) -> None:
    host.hold_for_test(app, at="-----> Releasing")
    deploy = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    host.hold_for_test(app, at="build step 9/")
    config = await client.run(f"config:set {app} FOO=1")
    assert config.exit == 0
    done = await client.finish(deploy)
    assert done.exit == 0
    assert {one.sha for one in host.live(app).values()} == {NEW}
    sources = {one["source"]: one["status"] for one in await client.builds(app)}
    assert sources == {"git:sync": "succeeded", "config-redeploy": "succeeded"}


async def test_config_set_prints_values_and_redeploys(
    client: "Client", host: DokkuHost, app: str
) -> None:
    quiet = await client.run(f"config:set --no-restart {app} A=2")
    assert quiet.out == "-----> Setting config vars\n       A:  2\n"
    assert len(await client.builds(app)) == 1
    loud = await client.run(f"config:unset {app} A")
    assert loud.out.startswith(f"-----> Unsetting A\n-----> Restarting app {app}\n")
    assert loud.out.endswith(
        f"=====> Application deployed:\n       http://{app}.dokku.example:5000\n\n"
    )
    assert {one.sha for one in host.live(app).values()} == {OLD}


async def test_scaling_replaces_containers_without_a_record(
    client: "Client", host: DokkuHost, app: str
) -> None:
    (before,) = await client.containers(app)
    up = await client.run(f"ps:scale {app} web=2")
    assert (up.exit, up.out.splitlines()[0]) == (0, f"-----> Scaling {app} processes: web=2")
    two = await client.containers(app)
    assert [one["Config"]["Labels"]["com.dokku.dyno"] for one in two] == ["web.1", "web.2"]
    assert before["Id"] not in {one["Id"] for one in two}
    assert {one["Image"] for one in two} == {before["Image"]}
    down = await client.run(f"ps:scale {app} web=1")
    assert "Scheduling orphaned container shutdown in 60 seconds (web.2)" in down.out
    assert len(await client.containers(app)) == 1
    assert len(await client.builds(app)) == 1
    shown = (await client.run(f"ps:scale {app}")).out
    assert shown == f"-----> Scaling for {app}\nproctype: qty\n--------: ---\nweb:  1\n"


async def test_scaling_to_zero(client: "Client", host: DokkuHost, app: str) -> None:
    done = await client.run(f"ps:scale {app} web=0")
    assert done.exit == 0
    assert done.err == f" !     No web listeners specified for {app}\n"
    assert host.live(app) == {}
    assert (await client.run(f"ps:report {app} --running")).out == "false\n"


async def test_stop_and_start(client: "Client", host: DokkuHost, app: str) -> None:
    (before,) = await client.containers(app)
    assert (await client.run(f"ps:stop {app}")).out == f"-----> Stopping {app}\n"
    report = (await client.run(f"ps:report {app} --format json")).json
    assert (report["running"], report["restore"], report["deployed"]) == ("false", "false", "true")
    (stopped,) = await client.containers(app)
    assert (stopped["Id"], stopped["State"]["Status"]) == (before["Id"], "exited")
    assert host.live(app) == {}
    start = await client.run(f"ps:start {app}")
    assert (start.exit, start.err) == (
        0,
        " !     App has been detected as not running, releasing\n",
    )
    assert {one.sha for one in host.live(app).values()} == {OLD}
    newest = (await client.builds(app))[0]
    assert (newest["source"], newest["status"]) == ("deploy", "succeeded")


@pytest.mark.parametrize("checks", ["enable", "disable"])
async def test_crash_loop_deploys_and_docker_gives_up_after_ten_restarts(
    client: "Client", host: DokkuHost, app: str, checks: str
) -> None:
    await client.run(f"checks:{checks} {app}")
    host.apps[app].next_outcome = "crash_1s"
    done = await client.sync(app)
    assert (done.exit, "=====> Application deployed:" in done.out) == (0, True)
    assert ("Zero downtime is disabled" in done.out) == (checks == "disable")
    container = host.apps[app].listed["web.1"]
    assert container.restart_count > 0
    await host.until(lambda: container.state is RunState.EXITED)
    assert container.restart_count == 10
    (inspected,) = await client.containers(app)
    assert inspected["RestartCount"] == 10
    assert (inspected["State"]["Status"], inspected["State"]["ExitCode"]) == ("exited", 42)
    assert (await client.run(f"ps:report {app} --running")).out == "false\n"
    assert host.live(app) == {}
    crashes = [one for one in host.journal if one.event == "crashed"]
    pauses = [
        (back.at - gone.at).total_seconds()
        for gone, back in zip(
            crashes, [one for one in host.journal if one.event == "restarted"], strict=True
        )
    ]
    assert pauses[-1] > 51
    assert pauses[-2] > 25


@pytest.mark.parametrize("host", [60], indirect=True)
async def test_restarting_container_is_reported_as_running(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "crash_1s"
    await client.sync(app)
    container = host.apps[app].listed["web.1"]
    await host.until(lambda: container.restart_count == 10)
    report = (await client.run(f"ps:report {app} --format json")).json
    assert report["running"] == "true"
    assert report["status-web.1"].startswith("restarting (CID: ")
    (inspected,) = await client.containers(app)
    state = inspected["State"]
    assert (state["Status"], state["Running"], state["Restarting"]) == ("restarting", True, True)


async def test_exited_container_is_missing_after_the_next_build(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "crash_1s"
    await client.sync(app)
    container = host.apps[app].listed["web.1"]
    await host.until(lambda: container.state is RunState.EXITED)
    host.hold_for_test(app, at="build step 2/")
    deploy = await client.start(line(app, NEWER))
    await host.until(lambda: host.holding(app))
    inspected = await client.run(f"ps:inspect {app}")
    assert (inspected.exit, inspected.out) == (1, "[]\n")
    assert f"No such container: {container.id}" in inspected.err
    state = (await client.run(f"ps:report {app} --status-web.1")).out
    assert state == f"missing (CID: {container.id[:11]})\n"
    host.release_for_test(app)
    assert (await client.finish(deploy)).exit == 0


@pytest.mark.parametrize("host", [60], indirect=True)
async def test_container_that_lives_20_seconds_looks_healthy(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "crash_20s"
    done = await client.sync(app)
    assert done.exit == 0
    container = host.apps[app].listed["web.1"]
    await host.until(lambda: container.restart_count >= 2 and container.state is RunState.RUNNING)
    (inspected,) = await client.containers(app)
    assert inspected["Id"] == container.id
    assert inspected["RestartCount"] >= 2
    started = [one.at for one in host.journal if one.event == "restarted"]
    assert 19 < (started[1] - started[0]).total_seconds() < 60
    begun = datetime.fromisoformat(inspected["State"]["StartedAt"][:26] + "+00:00")
    created = datetime.fromisoformat(inspected["Created"][:26] + "+00:00")
    assert (begun - created).total_seconds() > 40


async def test_stopped_container_keeps_its_upcoming_name(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "crash_1s"
    done = await client.sync(app)
    (container,) = await client.containers(app)
    failed = f" !     Failed to rename container {app}.web.1.upcoming-" in done.out
    assert (".upcoming-" in container["Name"]) == failed


async def test_old_containers_stop_first_without_checks(
    client: "Client", host: DokkuHost, app: str
) -> None:
    assert (await client.run(f"checks:disable {app}")).out == (
        f"-----> Disabling zero downtime for app ({app})\n"
    )
    (before,) = await client.containers(app)
    host.hold_for_test(app, at="Stopping ")
    deploy = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    host.release_for_test(app)
    done = await client.finish(deploy)
    assert f"       Stopping {before['Id']} (web)\n" in done.out
    assert "container output" not in done.out
    empty = [one for one in host.journal if one.event == "live" and not one.details]
    assert len(empty) == 1
    assert {one.sha for one in host.live(app).values()} == {NEW}
