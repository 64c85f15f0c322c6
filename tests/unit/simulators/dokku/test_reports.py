"""Reports and records: shapes, filters, errors, retention, following a log."""

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest

from bot.simulators.dokku.host import DokkuHost

if TYPE_CHECKING:
    from tests.unit.simulators.dokku.conftest import Client

OLD, NEW, NEWER = "a" * 40, "b" * 40, "c" * 40


async def test_version(client: "Client") -> None:
    assert (await client.run("version")).out == "dokku version 0.38.27\n"


async def test_apps_list(client: "Client", app: str, fresh: str) -> None:
    assert (await client.run("apps:list")).out == f"=====> My Apps\n{fresh}\n{app}\n"
    assert (await client.run("apps:list && version")).out == f"=====> My Apps\n{fresh}\n{app}\n"
    assert (await client.run(f"apps:exists {app}")).exit == 0


@pytest.mark.parametrize(
    "command",
    [
        "apps:exists",
        "apps:report",
        "apps:locked",
        "ps:report",
        "ps:inspect",
        "ps:restart",
        "ps:scale",
        "builds:list",
        "builds:cancel",
        "builds:output",
        "git:report",
        "logs",
        "config:set",
    ],
)
async def test_missing_app_is_refused(client: "Client", command: str) -> None:
    done = await client.run(f"{command} ghost")
    assert (done.exit, done.out, done.err) == (20, "", " !     App ghost does not exist\n")


async def test_unknown_commands_are_refused_and_become_complaints(
    client: "Client", host: DokkuHost
) -> None:
    done = await client.run("nosuchcommand web")
    assert (done.exit, done.out) == (1, "")
    assert done.err == (
        " !     `nosuchcommand web` is not a dokku command.\n"
        " !     See `dokku help` for a list of available commands.\n"
    )
    assert (await client.run("apps:list; version")).exit == 1
    assert (await client.run("apps:report 'web")).exit == 1
    assert len(host.complaints) == 3
    host.complaints.clear()


async def test_unmodelled_commands_become_complaints(
    client: "Client", host: DokkuHost, app: str
) -> None:
    for command in (f"apps:unlock {app}", f"ps:start {app}", f"git:sync --force {app} x y"):
        assert (await client.run(command)).exit == 1
    assert len(host.complaints) == 3
    host.complaints.clear()


async def test_app_report_has_short_and_long_keys(client: "Client", app: str) -> None:
    report = (await client.run(f"apps:report {app} --format json")).json
    assert report["locked"] == report["app-locked"] == "false"
    assert report["deploy-source"] == report["app-deploy-source"] == "git-sync"
    assert all(isinstance(value, str) for value in report.values())
    text = (await client.run(f"apps:report {app}")).out
    assert text.startswith(f"=====> {app} app information\n       App created at: ")
    assert f"       App dir:                         /home/dokku/{app}\n" in text
    unknown = await client.run(f"apps:report {app} --no-such-flag")
    assert (unknown.exit, unknown.out) == (1, "")
    assert "Invalid flag passed, valid flags: --app-created-at" in unknown.err


async def test_app_report_of_all_apps(client: "Client", app: str, fresh: str) -> None:
    lines = (await client.run("apps:report --format json")).out.splitlines()
    folders = [json.loads(line)["app-dir"] for line in lines]
    assert folders == [f"/home/dokku/{fresh}", f"/home/dokku/{app}"]


async def test_process_report(client: "Client", host: DokkuHost, app: str) -> None:
    (container,) = await client.containers(app)
    report = (await client.run(f"ps:report {app} --format json")).json
    state = f"running (CID: {container['Id'][:11]})"
    assert report["status-web.1"] == state
    assert (report["deployed"], report["processes"], report["running"]) == ("true", "1", "true")
    assert (await client.run(f"ps:report {app} --status-web.1")).out == f"{state}\n"
    assert (await client.run(f"ps:report {app} --running")).out == "true\n"
    text = (await client.run(f"ps:report {app}")).out
    assert f"       Status web 1:                     {state}\n" in text
    assert host.live(app)["web.1"].container_id == container["Id"]


async def test_build_list(client: "Client", host: DokkuHost, app: str, fresh: str) -> None:
    assert (await client.run(f"builds:list {fresh}")).out == "No builds recorded for this app\n"
    assert (await client.builds(fresh)) == []
    host.apps[app].next_outcome = "build_fails"
    await client.sync(app)
    await client.sync(fresh)
    newest, oldest = await client.builds(app)
    assert newest["id"] > oldest["id"]
    assert re.fullmatch("[0-9a-z]{14}", newest["id"])
    assert newest["log_path"] == f"/var/lib/dokku/data/builds/{app}/{newest['id']}.log"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", newest["started_at"])
    head, first, second = (await client.run(f"builds:list {app}")).out.splitlines()
    assert head.split() == ["Build", "ID", "Kind", "Status", "PID", "Source", "Started", "Duration"]
    assert first.split()[:3] == [newest["id"], "build", "abandoned"]
    assert second.split()[:3] == [oldest["id"], "build", "succeeded"]
    assert first.index("git:sync") == second.index("git:sync") == head.index("Source")
    everywhere = await client.builds()
    assert [one["id"] for one in everywhere] == [newest["id"]]
    for status, found in (("abandoned", 1), ("succeeded", 1), ("failed", 0), ("running", 0)):
        listed = (await client.run(f"builds:list {app} --status {status} --format json")).json
        assert len(listed) == found
    assert (await client.run(f"builds:list {app} --kind deploy --format json")).json == []


async def test_build_info(client: "Client", app: str) -> None:
    await client.sync(app)
    newest = (await client.builds(app))[0]
    info = await client.run(f"builds:info {app} {newest['id']} --format json")
    assert info.json == newest
    text = (await client.run(f"builds:info {app} {newest['id']}")).out
    assert text.startswith(f"Build ID:   {newest['id']}\nApp:        {app}\n")
    assert "Exit Code:  0\n" in text
    unknown = await client.run(f"builds:info {app} nosuchid")
    assert unknown.err == f" !     No build record found for {app}/nosuchid\n"
    assert unknown.exit == 1
    silent = await client.run(f"builds:output {app} nosuchid")
    assert (silent.exit, silent.out, silent.err) == (0, "", "")
    report = (await client.run(f"builds:report {app} --format json")).json
    assert (report["build-id"], report["build-status"]) == (newest["id"], "succeeded")
    assert (
        f"Build id:                      {newest['id']}\n"
        in (await client.run(f"builds:report {app}")).out
    )


async def test_dead_build_with_a_reused_pid_looks_running(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "build_fails"
    await client.sync(app)
    build_id = (await client.builds(app))[0]["id"]
    host.reuse_pid_for_test(app, build_id)
    assert (await client.builds(app))[0]["display_status"] == "running"


@pytest.mark.slow
async def test_twenty_finished_records_are_kept(
    client: "Client", host: DokkuHost, app: str
) -> None:
    for number in range(21):
        await client.run(f"config:set {app} A={number}")
    records = await client.builds(app)
    assert len(records) == 20
    assert {one["source"] for one in records} == {"config-redeploy"}
    host.apps[app].next_outcome = "build_fails"
    await client.sync(app)
    records = await client.builds(app)
    assert (len(records), records[0]["display_status"]) == (21, "abandoned")


async def test_followed_log_continues_past_the_end_of_the_build(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.hold_for_test(app, at="build step 2/")
    deploy = await client.start(f"git:sync --build {app} https://git.example/acme/{app}.git {NEW}")
    await host.until(lambda: host.holding(app))
    build_id = (await client.builds(app))[0]["id"]
    follower = await client.start(f"builds:output {app} {build_id}")
    current = await client.start(f"builds:output {app} current")
    async with asyncio.timeout(10):
        seen = await follower.stdout.readuntil(b"build step 2/8 of version 3\n")
    host.release_for_test(app)
    done = await client.finish(deploy)
    async with asyncio.timeout(10):
        seen += await follower.stdout.readuntil(b"dokku.example:5000\n")
        assert (await current.stdout.readuntil(b"dokku.example:5000\n")) == seen
    assert done.out == seen.decode() + "\n"
    assert (follower.exit_status, current.exit_status) == (None, None)
    assert (await client.run(f"builds:output {app} current")).out == (
        "-----> App not currently deploying\n"
    )


async def test_followed_log_begins_with_the_last_1000_lines(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.hold_for_test(app, at="build step 2/")
    await client.start(f"git:sync --build {app} https://git.example/acme/{app}.git {NEW}")
    await host.until(lambda: host.holding(app))
    record = host.apps[app].records[-1]
    record.log += b"".join(b"line %d\n" % number for number in range(1500))
    follower = await client.start(f"builds:output {app} {record.id}")
    async with asyncio.timeout(10):
        seen = await follower.stdout.readuntil(b"line 1499\n")
    assert seen.splitlines()[0] == b"line 500"
    host.release_for_test(app)


async def test_logs(client: "Client", host: DokkuHost, app: str, fresh: str) -> None:
    host.create_app("duo", deployed_sha=OLD, scale={"web": 1, "worker": 1})
    lines = (await client.run("logs duo --num 3")).out.splitlines()
    assert len(lines) == 3
    assert re.match(r"\x1b\[36m\S+Z app\[web\.1\]:\x1b\[0m listening on 5000", lines[0])
    assert lines[1].startswith("\x1b[33m")
    quiet = (await client.run("logs duo --num 5 --quiet --ps web")).out
    assert quiet == f"labweb web starting version=2 rev={OLD} pid=7\nlistening on 5000\n"
    never = await client.run(f"logs {fresh} --num 10")
    assert (never.exit, never.err) == (1, f" !     App {fresh} has not been deployed\n")


async def test_environment_is_masked_as_dokku_does(client: "Client", app: str) -> None:
    await client.run(f"config:set --no-restart {app} API_TOKEN=topsecret DOKKU_LAB=clear")
    await client.run(f"ps:restart {app}")
    (container,) = await client.containers(app)
    environment = container["Config"]["Env"]
    assert environment[:2] == ["API_TOKEN=XXXXXX", "DOKKU_LAB=clear"]
    assert "GIT_REV=XXXXXX" in environment
    assert container["Config"]["Labels"]["com.dokku.app-name"] == app
    assert container["Config"]["Image"] == f"dokku/{app}:latest"
    assert container["Config"]["Hostname"] == container["Id"][:12]
