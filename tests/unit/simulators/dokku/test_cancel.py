"""`builds:cancel`: what it kills, what it leaves, and when it kills nothing."""

from typing import TYPE_CHECKING

import pytest

from bot.simulators.dokku.host import DokkuHost

if TYPE_CHECKING:
    from tests.unit.simulators.dokku.conftest import Client

OLD, NEW, NEWER = "a" * 40, "b" * 40, "c" * 40


def line(app: str, sha: str = NEW) -> str:
    return f"git:sync --build {app} https://git.example/acme/{app}.git {sha}"


@pytest.mark.parametrize(
    ("phase", "serves"),
    [
        ("build step 3/", OLD),
        ("Executing 2 healthchecks", OLD),
        ("Running post-deploy", NEW),
    ],
)
async def test_cancelled_deploy(
    client: "Client", host: DokkuHost, app: str, phase: str, serves: str
) -> None:
    host.hold_for_test(app, at=phase)
    deploy = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    (before,) = await client.containers(app)
    cancelled = await client.run(f"builds:cancel {app}")
    assert (cancelled.exit, cancelled.out) == (0, "-----> Killing app deploy\n")
    newest = (await client.builds(app))[0]
    assert (newest["status"], newest["exit_code"]) == ("canceled", -1)
    assert "finished_at" in newest
    assert (await client.run(f"apps:locked {app}")).exit == 1
    done = await client.finish(deploy)
    assert (done.exit, done.err) == (141, "")
    assert phase in done.out
    assert {one.sha for one in host.live(app).values()} == {serves}
    (after,) = await client.containers(app)
    assert after["Id"] == before["Id"]
    assert (".upcoming-" in after["Name"]) == (serves == NEW)
    assert (await client.metadata(app)).endswith(OLD)
    host.release_for_test(app)
    assert (await client.sync(app, NEWER)).exit == 0
    assert (await client.builds(app))[1]["status"] == "canceled"


async def test_container_that_never_served_is_stopped(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.hold_for_test(app, at="Executing 2 healthchecks")
    deploy = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    upcoming = host.apps[app].containers[-1]
    assert (upcoming.image.sha, upcoming.state.value) == (NEW, "running")
    await client.run(f"builds:cancel {app}")
    await client.finish(deploy)
    assert upcoming.state.value == "exited"


async def test_nothing_to_cancel(client: "Client", app: str) -> None:
    done = await client.run(f"builds:cancel {app}")
    assert (done.exit, done.out) == (0, "-----> App not currently deploying\n")


async def test_fetch_holds_no_lock_so_it_cannot_be_cancelled(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.hold_for_test(app, at="Fetching remote code")
    deploy = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    assert (await client.run(f"builds:cancel {app}")).out == "-----> App not currently deploying\n"
    host.release_for_test(app)
    assert (await client.finish(deploy)).exit == 0


async def test_refused_second_deploy_makes_the_first_uncancellable(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.hold_for_test(app, at="build step 2/")
    first = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    assert (await client.sync(app, NEWER)).exit == 1
    for command in (f"builds:cancel {app}", f"builds:output {app} current"):
        answer = await client.run(command)
        assert (answer.exit, answer.out) == (0, "-----> No matching app deploy found\n")
    host.release_for_test(app)
    assert (await client.finish(first)).exit == 0


async def test_cancel_clears_a_stale_lock(client: "Client", host: DokkuHost, app: str) -> None:
    host.apps[app].next_outcome = "build_fails"
    await client.sync(app)
    answer = await client.run(f"builds:cancel {app}")
    assert answer.out == "-----> Build was already terminated, marking failed\n"
    assert (await client.run(f"apps:locked {app}")).exit == 1


async def test_cancel_of_a_build_already_marked_failed(
    client: "Client", host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "build_fails"
    await client.sync(app)
    build_id = (await client.builds(app))[0]["id"]
    assert (await client.run(f"config:set {app} A=1")).exit == 0
    answer = await client.run(f"builds:cancel {app}")
    assert answer.out == f"-----> Build {build_id} is no longer running (status=failed)\n"


async def test_ssh_signals_are_ignored(client: "Client", host: DokkuHost, app: str) -> None:
    host.hold_for_test(app, at="build step 2/")
    deploy = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    deploy.send_signal("TERM")
    deploy.send_signal("INT")
    deploy.send_break(100)
    assert (await client.builds(app))[0]["display_status"] == "running"
    host.release_for_test(app)
    assert (await client.finish(deploy)).exit == 0
