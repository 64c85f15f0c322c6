"""The results of deploys, as recorded."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import RunState

if TYPE_CHECKING:
    from tests.unit.simulators.dokku.conftest import Client

OLD, NEW, NEWER = "a" * 40, "b" * 40, "c" * 40


def shas(host: DokkuHost, app: str) -> dict[str, str]:
    return {dyno: one.sha for dyno, one in host.live(app).items()}


async def test_first_deploy_serves(client: "Client", host: DokkuHost, fresh: str) -> None:
    assert host.live(fresh) == {}
    done = await client.sync(fresh, "main")
    assert (done.exit, done.err) == (0, "")
    assert "=====> Application deployed:" in done.out
    assert "Detected branch, setting deploy-branch to main" in done.out
    sha = host.refs.resolve(f"https://git.example/acme/{fresh}.git", "main")
    assert await client.metadata(fresh) == f"https://git.example/acme/{fresh}.git#{sha}"
    (record,) = await client.builds(fresh)
    assert (record["status"], record["exit_code"], record["source"]) == ("succeeded", 0, "git:sync")
    (container,) = await client.containers(fresh)
    assert f"({container['Id'][:12]} web.1)" in done.out
    assert container["Name"] == f"/{fresh}.web.1"
    assert shas(host, fresh) == {"web.1": sha}


async def test_first_deploy_by_sha_sets_no_deploy_branch(client: "Client", fresh: str) -> None:
    done = await client.sync(fresh)
    assert done.exit == 0
    assert "Detected branch" not in done.out
    report = (await client.run(f"git:report {fresh} --format json")).json
    assert (report["deploy-branch"], report["sha"]) == ("", NEW)


async def test_redeploy_replaces_the_containers(
    client: "Client", host: DokkuHost, app: str
) -> None:
    (before,) = await client.containers(app)
    done = await client.sync(app)
    (after,) = await client.containers(app)
    assert done.exit == 0
    assert (before["Id"] == after["Id"], before["Image"] == after["Image"]) == (False, False)
    assert f"Start of {app} container output ({after['Id'][:12]} web.1)" in done.out
    assert f"({after['Id'][:12]}) to {app}.web.1" in done.out
    assert f"Found previous container(s) ({before['Id'][:12]})" in done.out
    assert shas(host, app) == {"web.1": NEW}
    old = next(one for one in host.apps[app].containers if one.id == before["Id"])
    await host.until(lambda: old.state is RunState.EXITED)


async def test_same_commit_gives_a_new_container_of_the_same_image(
    client: "Client", host: DokkuHost, app: str
) -> None:
    (before,) = await client.containers(app)
    await client.sync(app, OLD)
    (after,) = await client.containers(app)
    assert before["Id"] != after["Id"]
    assert before["Image"] == after["Image"]
    host.same_files_for_test(NEWER, OLD)
    await client.sync(app, NEWER)
    (other,) = await client.containers(app)
    assert other["Image"] == before["Image"]
    assert shas(host, app) == {"web.1": NEWER}


async def test_failed_build_leaves_the_old_release_and_a_stale_lock(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "build_fails"
    (before,) = await client.containers(app)
    done = await client.sync(app)
    assert done.exit == 1
    assert done.out.endswith(" !     App build failed\n")
    assert " !     Retagging old image" in done.out
    newest = (await client.builds(app))[0]
    assert (newest["status"], newest["display_status"]) == ("running", "abandoned")
    assert "exit_code" not in newest
    assert (await client.run(f"apps:report {app} --app-locked")).out == "true\n"
    assert (await client.run(f"git:report {app} --git-sha")).out == f"{NEW}\n"
    assert (await client.metadata(app)).endswith(OLD)
    assert (await client.containers(app))[0]["Id"] == before["Id"]
    assert shas(host, app) == {"web.1": OLD}
    assert (await client.sync(app, NEWER)).exit == 0
    assert [one["status"] for one in await client.builds(app)][:2] == ["succeeded", "failed"]
    assert (await client.builds(app))[1]["exit_code"] == -1
    assert (await client.run(f"apps:locked {app}")).exit == 1


async def test_failed_first_build_leaves_nothing(
    client: "Client", host: DokkuHost, fresh: str
) -> None:
    host.apps[fresh].behaviour = "build_fails"
    done = await client.sync(fresh)
    assert done.exit == 1
    assert f" !     Removing invalid image tag dokku/{fresh}:latest" in done.out
    report = (await client.run(f"ps:report {fresh} --format json")).json
    assert (report["deployed"], report["processes"]) == ("false", "0")
    assert not [key for key in report if key.startswith("status-")]
    assert host.live(fresh) == {}


@pytest.mark.parametrize("name", ["app", "fresh"])
async def test_failed_checks_keep_the_old_release_and_tag_the_bad_build(
    client: "Client", host: DokkuHost, name: str, request: pytest.FixtureRequest
) -> None:
    app: str = request.getfixturevalue(name)
    host.apps[app].next_outcome = "checks_fail"
    before = shas(host, app)
    done = await client.sync(app)
    assert done.exit == 1
    assert "Could not start due to 1 failed checks (web.1)" in done.out
    assert "Application deployed" not in done.out
    newest = (await client.builds(app))[0]
    assert (newest["status"], newest["exit_code"]) == ("failed", 1)
    assert (await client.run(f"apps:locked {app}")).exit == 1
    assert shas(host, app) == before
    image = host.apps[app].image
    assert image is not None
    assert (image.sha, image.healthy) == (NEW, False)
    assert "not found" not in (await client.run(f"ps:report {app}")).out


async def test_if_changes_skips_an_unchanged_commit(client: "Client", app: str) -> None:
    await client.sync(app)
    done = await client.sync(app, flag="--build-if-changes")
    assert done.exit == 0
    assert done.out.endswith("       Skipping build as no changes were detected\n")
    assert (await client.builds(app))[0]["display_status"] == "abandoned"
    assert (await client.run(f"apps:locked {app}")).exit == 1


async def test_if_changes_skips_a_commit_whose_build_failed(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "build_fails"
    await client.sync(app)
    done = await client.sync(app, flag="--build-if-changes")
    assert (done.exit, "Skipping build as no changes" in done.out) == (0, True)
    assert shas(host, app) == {"web.1": OLD}


async def test_sync_without_build_only_moves_the_repository(
    client: "Client", host: DokkuHost, app: str
) -> None:
    done = await client.sync(app, flag="")
    assert done.exit == 0
    assert "-----> Cleaning up" not in done.out
    assert (await client.run(f"git:report {app} --git-sha")).out == f"{NEW}\n"
    assert shas(host, app) == {"web.1": OLD}


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("app", 128, f"fatal: {NEW}^{{commit}}: not a valid SHA1\n"),
        ("fresh", 1, f"error: pathspec '{NEW}' did not match any file(s) known to git\n"),
    ],
)
async def test_missing_ref_is_refused(
    client: "Client",
    host: DokkuHost,
    name: str,
    status: int,
    text: str,
    request: pytest.FixtureRequest,
) -> None:
    app: str = request.getfixturevalue(name)
    host.apps[app].next_outcome = "ref_missing"
    done = await client.sync(app)
    assert (done.exit, done.out.endswith(text)) == (status, True)
    assert (await client.builds(app))[0]["display_status"] == "abandoned"


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        ("repo_unreachable", "Could not resolve host: git.example\n"),
        ("repo_refused", "errno=Connection refused\n\n"),
        ("repo_denied", "access denied or repository not exported: /myapp.git\n"),
    ],
)
async def test_unreachable_repository_is_reported(
    client: "Client", host: DokkuHost, app: str, outcome: str, text: str
) -> None:
    host.apps[app].next_outcome = outcome
    done = await client.sync(app)
    assert (done.exit, done.out.endswith(text)) == (128, True)
    assert (await client.run(f"git:report {app} --git-sha")).out == f"{OLD}\n"


async def test_missing_app_leaves_no_record(client: "Client", app: str) -> None:
    done = await client.sync("ghost")
    assert (done.exit, done.out, done.err) == (20, "", " !     App ghost does not exist\n")
    assert (await client.run("git:sync --build")).err == " !     App  does not exist\n"
    missing = await client.run(f"git:sync --build {app}")
    assert (missing.exit, missing.err) == (1, " !     Missing GIT_REMOTE parameter\n")


async def test_second_deploy_is_refused_and_empties_the_lock_file(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.hold_for_test(app, at="build step 2/")
    first = await client.start(f"git:sync --build {app} https://git.example/acme/{app}.git {NEW}")
    await host.until(lambda: host.holding(app))
    host.apps[app].next_outcome = None
    second = await client.sync(app, NEWER)
    assert second.exit == 1
    assert second.out.endswith(
        f" !     {app} currently has a deploy lock in place. Exiting...\n"
        " !     Run 'apps:unlock' to release the existing deploy lock\n"
    )
    assert host.apps[app].lock_file == ""
    displayed = [one["display_status"] for one in await client.builds(app)]
    assert displayed[:2] == ["running", "abandoned"]
    host.release_for_test(app)
    assert (await client.finish(first)).exit == 0
    assert shas(host, app) == {"web.1": NEW}


async def test_two_apps_deploy_at_once(client: "Client", host: DokkuHost, app: str) -> None:
    host.create_app("other", deployed_sha=OLD)
    both = await asyncio.gather(client.sync(app), client.sync("other"))
    assert [one.exit for one in both] == [0, 0]
    assert shas(host, app) == shas(host, "other") == {"web.1": NEW}


async def test_skip_deploy_succeeds_and_starts_nothing(
    client: "Client", host: DokkuHost, app: str
) -> None:
    assert (await client.run(f"ps:set {app} skip-deploy true")).out == (
        "=====> Setting skip-deploy to true\n"
    )
    (before,) = await client.containers(app)
    done = await client.sync(app)
    assert done.exit == 0
    assert done.out.endswith("-----> Skipping deployment\n\n")
    assert "Application deployed" not in done.out
    assert (await client.builds(app))[0]["status"] == "succeeded"
    assert (await client.metadata(app)).endswith(NEW)
    assert (await client.containers(app))[0]["Id"] == before["Id"]
    assert shas(host, app) == {"web.1": OLD}
    assert (await client.run(f"ps:report {app} --ps-computed-skip-deploy")).out == "true\n"


async def test_deploy_without_scaled_processes_runs_nothing(
    client: "Client", host: DokkuHost
) -> None:
    host.create_app("idle", deployed_sha=OLD, scale={"web": 0})
    done = await client.sync("idle")
    assert (done.exit, "=====> Application deployed:" in done.out) == (0, True)
    report = (await client.run("ps:report idle --format json")).json
    assert (report["deployed"], report["processes"], report["running"]) == ("true", "0", "false")
    inspected = await client.run("ps:inspect idle")
    assert (inspected.exit, inspected.out) == (1, "")
    assert "requires at least 1 argument" in inspected.err
    assert host.live("idle") == {}


async def test_web_and_worker_are_switched_one_after_the_other(
    client: "Client", host: DokkuHost
) -> None:
    host.create_app("duo", deployed_sha=OLD, scale={"web": 1, "worker": 1})
    host.hold_for_test("duo", at="Attempting pre-flight checks (worker.1)")
    deploy = await client.start(f"git:sync --build duo https://git.example/acme/duo.git {NEW}")
    await host.until(lambda: host.holding("duo"))
    assert shas(host, "duo") == {"web.1": NEW, "worker.1": OLD}
    host.release_for_test("duo")
    assert (await client.finish(deploy)).exit == 0
    assert shas(host, "duo") == {"web.1": NEW, "worker.1": NEW}
    dynos = [one["Config"]["Labels"]["com.dokku.dyno"] for one in await client.containers("duo")]
    assert dynos == ["web.1", "worker.1"]


async def test_order_of_events_in_a_good_deploy(
    client: "Client", host: DokkuHost, app: str
) -> None:
    await client.sync(app)
    events = [one.event for one in host.journal if one.app == app]
    begin = events.index("record_begun", events.index("live") + 1)
    seen = [
        one
        for one in events[begin:]
        if one
        in {
            "record_begun",
            "fetched",
            "lock_taken",
            "image_tagged",
            "container_started",
            "live",
            "finalized",
            "metadata_set",
            "run_ended",
        }
    ]
    assert seen == [
        "record_begun",
        "fetched",
        "lock_taken",
        "image_tagged",
        "container_started",
        "live",
        "finalized",
        "metadata_set",
        "run_ended",
    ]


async def test_run_can_be_held_before_its_exit(client: "Client", host: DokkuHost, app: str) -> None:
    host.hold_for_test(app, at="before_exit")
    deploy = await client.start(f"git:sync --build {app} https://git.example/acme/{app}.git {NEW}")
    await host.until(lambda: host.holding(app))
    assert (await client.builds(app))[0]["status"] == "succeeded"
    assert (await client.metadata(app)).endswith(NEW)
    assert deploy.exit_status is None
    host.release_for_test(app)
    assert (await client.finish(deploy)).exit == 0


async def test_command_output_is_the_build_log(client: "Client", app: str) -> None:
    done = await client.sync(app)
    build_id = (await client.builds(app))[0]["id"]
    assert (await client.run(f"builds:output {app} {build_id}")).out == done.out


async def test_outside_push(client: "Client", host: DokkuHost, app: str) -> None:
    await host.outside_push_for_test(app, NEWER)
    newest = (await client.builds(app))[0]
    assert (newest["source"], newest["status"]) == ("git-hook", "succeeded")
    report = (await client.run(f"apps:report {app} --format json")).json
    assert (report["deploy-source"], report["deploy-source-metadata"]) == ("git-push", NEWER)
    assert shas(host, app) == {"web.1": NEWER}


async def test_outcomes_by_commit(client: "Client", host: DokkuHost, app: str) -> None:
    host.apps[app].commit_behaviours[NEW] = "build_fails"
    assert (await client.sync(app, NEW)).exit == 1
    assert (await client.sync(app, NEWER)).exit == 0


async def test_dokku_killed_in_the_build(client: "Client", host: DokkuHost, app: str) -> None:
    host.apps[app].next_outcome = "dokku_killed"
    done = await client.sync(app)
    assert (done.exit, done.signal) == (-1, "KILL")
    assert "build step 4/" in done.out
    newest = (await client.builds(app))[0]
    assert newest["display_status"] == "abandoned"
    cancelled = await client.run(f"builds:cancel {app}")
    assert cancelled.out == "-----> Build was already terminated, marking failed\n"
    newest = (await client.builds(app))[0]
    assert (newest["status"], newest["exit_code"]) == ("failed", -1)
    assert (await client.run(f"apps:locked {app}")).exit == 1
    assert shas(host, app) == {"web.1": OLD}
    assert (await client.sync(app)).exit == 0


async def test_docker_killed_in_the_build(client: "Client", host: DokkuHost, app: str) -> None:
    host.apps[app].next_outcome = "docker_killed"
    done = await client.sync(app)
    assert done.exit == 1
    assert done.out.endswith(" !     App build failed\n")
    report = (await client.run(f"ps:report {app} --format json")).json
    assert (report["running"], report["status-web.1"].split()[0]) == ("false", "missing")
    assert (await client.run(f"ps:inspect {app}")).exit == 1
    assert shas(host, app) == {"web.1": OLD}
    again = await client.sync(app, NEWER)
    assert (again.exit, "Cannot connect to the Docker daemon" in again.out) == (1, True)
    host.revive_docker_for_test()
    assert (await client.run(f"ps:report {app} --running")).out == "true\n"
    assert (await client.sync(app, NEWER)).exit == 0
