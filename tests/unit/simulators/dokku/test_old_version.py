"""Dokku 0.35.20: no build records, builds on stderr, a lock file that ends with its build."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import RunState
from bot.simulators.dokku.recordings import TRANSCRIPTS, load

if TYPE_CHECKING:
    from tests.unit.simulators.dokku.conftest import Client

LogIn = Callable[[], Awaitable["Client"]]
OLD, NEW, NEWER = "a" * 40, "b" * 40, "c" * 40


@pytest.fixture
async def host() -> AsyncIterator[DokkuHost]:
    made = DokkuHost(speed=500, version="0.35.20")
    yield made
    assert made.complaints == []


def test_unrecorded_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no recordings of Dokku 0\.30\.0"):
        DokkuHost(version="0.30.0")


async def test_good_deploy(client: "Client", host: DokkuHost, app: str) -> None:
    done = await client.sync(app)
    assert done.exit == 0
    assert "\x1b[1G=====> Application deployed:\n" in done.out
    assert "build step 2/5" in done.err
    assert "build step" not in done.out
    (container,) = await client.containers(app)
    assert f"Start of {app} container output ({container['Id'][:12]} web.1)" in done.out
    assert (await client.metadata(app)).endswith(NEW)
    assert {one.sha for one in host.live(app).values()} == {NEW}


async def test_no_build_records(client: "Client", app: str) -> None:
    for command in (f"builds:list {app}", f"builds:cancel {app}"):
        done = await client.run(command)
        assert done.exit == 1
        assert done.err.startswith(f" !     `{command}` is not a dokku command.\n")


async def test_failed_build_releases_the_lock(client: "Client", host: DokkuHost, app: str) -> None:
    host.apps[app].next_outcome = "build_fails"
    done = await client.sync(app)
    assert (done.exit, done.err.endswith(" !     App build failed\n")) == (1, True)
    assert " !     Retagging old image" in done.err
    assert (await client.run(f"apps:report {app} --app-locked")).out == "false\n"
    assert {one.sha for one in host.live(app).values()} == {OLD}


async def test_failed_checks(client: "Client", host: DokkuHost, app: str) -> None:
    host.apps[app].next_outcome = "checks_fail"
    done = await client.sync(app)
    assert (done.exit, "Could not start due to 1 failed checks (web.1)" in done.err) == (1, True)
    assert {one.sha for one in host.live(app).values()} == {OLD}


async def test_second_deploy_is_refused_on_stderr(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.hold_for_test(app, at="build step 2/")
    first = await client.start(f"git:sync --build {app} https://git.example/x.git {NEW}")
    await host.until(lambda: host.holding(app))
    second = await client.sync(app, NEWER)
    assert (second.exit, "deploy lock in place. Exiting..." in second.err) == (1, True)
    assert (await client.run(f"apps:locked {app}")).out == "Deploy lock exists\n"
    host.release_for_test(app)
    assert (await client.finish(first)).exit == 0


async def test_reports_have_the_old_keys(client: "Client", app: str) -> None:
    report = (await client.run(f"apps:report {app} --format json")).json
    assert list(report) == [
        "app-created-at",
        "app-deploy-source",
        "app-deploy-source-metadata",
        "app-dir",
        "app-locked",
    ]
    state = (await client.run(f"ps:report {app} --format json")).json["status-web.1"]
    assert (
        f"       Status web 1:                  {state}\n"
        in (await client.run(f"ps:report {app}")).out
    )


async def test_outside_restart_during_a_deploy(client: "Client", host: DokkuHost, app: str) -> None:
    (before,) = await client.containers(app)
    await outside_command_for_test(host, f"ps:restart {app}")
    (after,) = await client.containers(app)
    assert before["Id"] != after["Id"]
    assert before["Image"] == after["Image"]


def plain(text: str, app: str) -> set[str]:
    """Bring lines to one form: what differs between runs is the same for all."""
    text = re.sub(r"(?:git|https?)://[^\s#']+", "URL", text)
    text = re.sub(r"URL#\S+", "URL#REF", text)
    text = re.sub(r"\b[0-9a-f]{7}\.\.[0-9a-f]{7}\b", "RANGE", text)
    text = re.sub(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{12})\b", "ID", text)
    text = re.sub(r"\b\d{10}\b|(?<=upcoming-)\d+", "N", text)
    return {re.sub(rf"\b{app}\b", "APP", line) for line in text.splitlines()}


@pytest.mark.parametrize("outcome", ["ok", "build_fails", "checks_fail"])
async def test_every_printed_line_is_recorded(
    client: "Client", host: DokkuHost, app: str, outcome: str
) -> None:
    recorded: set[str] = set()
    for path in (TRANSCRIPTS / "0.35.20").glob("*.json"):
        for step in json.loads(path.read_text())["steps"]:
            text = "".join(part for _, _, part in step.get("chunks") or [])
            recorded |= plain(text, "(?<!-)old(?! image| container shutdown| containers in)")
    host.apps[app].next_outcome = outcome
    done = await client.sync(app)
    printed = plain(done.out, app) | plain(done.err, app)
    assert sorted(printed - recorded) == []


async def lose_at(host: DokkuHost, client: "Client", app: str, phase: str) -> None:
    """Start a deploy, abort its connection in that phase, and wait until it has died."""
    host.hold_for_test(app, at=phase)
    await client.start(f"git:sync --build {app} https://git.example/acme/{app}.git {NEW}")
    await host.until(lambda: host.holding(app))
    client.connection.abort()
    run = host.apps[app].runs[0]
    await host.until(lambda: run.output.closed)
    host.release_for_test(app)
    await host.until(lambda: not host.apps[app].runs)


async def test_client_killed_in_the_build_frees_the_lock(
    log_in: LogIn, host: DokkuHost, app: str
) -> None:
    recorded = load("0.35.20", "m1_ssh_lost_kill9_mid_build")
    before = json.loads(recorded["apps_report_json"].stdout)
    first = await log_in()
    (was,) = await first.containers(app)
    await lose_at(host, first, app, "build step 2/")
    client = await log_in()
    report = (await client.run(f"apps:report {app} --format json")).json
    assert list(report) == list(before)
    assert (report["app-locked"], before["app-locked"]) == ("false", "false")
    assert report["app-deploy-source-metadata"].endswith(OLD)
    locked = await client.run(f"apps:locked {app}")
    assert (locked.exit, locked.err) == (
        recorded["not_locked"].exit_status,
        recorded["not_locked"].stderr,
    )
    assert (await client.run(f"git:report {app} --git-sha")).out == f"{NEW}\n"
    assert [one["Id"] for one in await client.containers(app)] == [was["Id"]]
    assert (await client.sync(app)).exit == 0


async def test_client_killed_in_post_deploy_leaves_both_releases_up(
    log_in: LogIn, host: DokkuHost, app: str
) -> None:
    (recorded,) = json.loads(load("0.35.20", "inspect_c_interrupted_post_deploy")["inspect"].stdout)
    assert re.fullmatch(r"/insp3\.web\.1\.upcoming-\d+", recorded["Name"])
    first = await log_in()
    (was,) = await first.containers(app)
    await lose_at(host, first, app, "Running post-deploy")
    client = await log_in()
    (now,) = await client.containers(app)
    assert now["Id"] != was["Id"]
    assert re.fullmatch(rf"/{app}\.web\.1\.upcoming-\d+", now["Name"])
    assert (await client.metadata(app)).endswith(OLD)
    assert (await client.run(f"apps:report {app} --app-locked")).out == "false\n"
    both = [one for one in host.apps[app].containers if one.state is RunState.RUNNING]
    assert {one.id for one in both} == {was["Id"], now["Id"]}


async def test_lock_is_taken_between_fetch_and_build(
    client: "Client", host: DokkuHost, app: str
) -> None:
    locked = f"apps:report {app} --app-locked"
    for phase, held in (("Fetching remote code", "false\n"), ("Cleaning up", "true\n")):
        host.hold_for_test(app, at=phase)
        deploy = await client.start(f"git:sync --build {app} https://git.example/x.git {NEW}")
        await host.until(lambda: host.holding(app))
        assert (await client.run(locked)).out == held
        host.release_for_test(app)
        assert (await client.finish(deploy)).exit == 0


async def test_success_frees_the_lock_before_it_sets_the_source(
    client: "Client", host: DokkuHost, app: str
) -> None:
    assert (await client.sync(app)).exit == 0
    events = [one.event for one in host.journal if one.app == app]
    assert events.index("finalized") < len(events) - events[::-1].index("metadata_set") - 1


async def test_git_report_shows_head_and_branch(
    client: "Client", host: DokkuHost, app: str
) -> None:
    recorded = load("0.35.20", "a_first_deploy_ok")["git_report_before"].stdout
    assert "Git deploy branch:             master" in recorded
    host.create_app("fresh")
    assert (await client.run("git:report fresh --git-deploy-branch")).out == "master\n"
    assert (await client.run("git:report fresh --git-sha")).out == "HEAD\n"
    await client.sync(app)
    assert (await client.run(f"git:report {app} --git-sha")).out == f"{NEW}\n"
