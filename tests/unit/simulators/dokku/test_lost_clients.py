"""A deploy dies with its client, at its next line; a silent loss kills nothing."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncssh
import pytest

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.sshd import DokkuServer

if TYPE_CHECKING:
    from tests.unit.simulators.dokku.conftest import Client

LogIn = Callable[[], Awaitable["Client"]]
OLD, NEW, NEWER = "a" * 40, "b" * 40, "c" * 40


def line(app: str, sha: str = NEW) -> str:
    return f"git:sync --build {app} https://git.example/acme/{app}.git {sha}"


def ended(host: DokkuHost, app: str) -> bool:
    return any(one.event == "run_ended" and one.app == app for one in host.journal)


async def lose_at(host: DokkuHost, client: "Client", app: str, phase: str) -> None:
    """Start a deploy, abort its connection in that phase, and wait until it has died."""
    host.hold_for_test(app, at=phase)
    await client.start(line(app))
    await host.until(lambda: host.holding(app))
    client.connection.abort()
    run = host.apps[app].runs[0]
    await host.until(lambda: run.output.closed)
    host.release_for_test(app)
    await host.until(lambda: ended(host, app))


async def test_loss_in_the_build_leaves_an_abandoned_record_and_a_stale_lock(
    log_in: LogIn, host: DokkuHost, app: str
) -> None:
    await lose_at(host, await log_in(), app, "build step 2/")
    client = await log_in()
    newest = (await client.builds(app))[0]
    assert (newest["status"], newest["display_status"]) == ("running", "abandoned")
    assert (await client.run(f"apps:report {app} --app-locked")).out == "true\n"
    log = (await client.run(f"builds:output {app} {newest['id']}")).out
    assert log.endswith("build step 3/8 of version 3\n")
    assert {one.sha for one in host.live(app).values()} == {OLD}
    assert (await client.sync(app)).exit == 0


async def test_loss_in_the_checks_is_recorded_and_the_old_release_serves(
    log_in: LogIn, host: DokkuHost, app: str
) -> None:
    await lose_at(host, await log_in(), app, "Executing 2 healthchecks")
    client = await log_in()
    newest = (await client.builds(app))[0]
    assert (newest["status"], newest["exit_code"]) == ("failed", 141)
    assert (await client.run(f"apps:locked {app}")).exit == 1
    assert {one.sha for one in host.live(app).values()} == {OLD}


async def test_loss_in_post_deploy_leaves_the_new_release_serving(
    log_in: LogIn, host: DokkuHost, app: str
) -> None:
    await lose_at(host, await log_in(), app, "Running post-deploy")
    client = await log_in()
    newest = (await client.builds(app))[0]
    assert (newest["status"], newest["exit_code"]) == ("failed", 141)
    assert (await client.metadata(app)).endswith(OLD)
    (container,) = await client.containers(app)
    assert container["Name"].startswith(f"/{app}.web.1.upcoming-")
    assert {one.sha for one in host.live(app).values()} == {NEW}
    old = host.apps[app].containers[0]
    assert (old.image.sha, old.name) == (OLD, f"{app}.web.1")
    again = await client.sync(app, NEWER)
    assert again.exit == 0
    assert f"Found previous container(s) ({old.id[:12]}) named {app}.web.1" in again.out


async def test_closed_channel_kills_the_deploy(log_in: LogIn, host: DokkuHost, app: str) -> None:
    client = await log_in()
    host.hold_for_test(app, at="build step 2/")
    deploy = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    run = host.apps[app].runs[0]
    deploy.close()
    await host.until(lambda: run.output.closed)
    host.release_for_test(app)
    await host.until(lambda: ended(host, app))
    assert (await client.builds(app))[0]["display_status"] == "abandoned"


@pytest.mark.parametrize("host", [30], indirect=True)
async def test_silent_build_lives_until_it_prints_again(
    log_in: LogIn, host: DokkuHost, app: str
) -> None:
    host.apps[app].next_outcome = "silent_build"
    first = await log_in()
    await first.start(line(app))
    runs = host.apps[app].runs
    await host.until(lambda: runs and b"build step 1/" in host.apps[app].records[-1].log)
    (run,) = runs
    first.connection.abort()
    await host.until(lambda: run.output.closed)
    assert host.apps[app].records[-1].display_status == "running"
    await host.until(lambda: ended(host, app))
    assert host.apps[app].records[-1].display_status == "abandoned"


async def test_dropped_connections_kill_the_deploy(
    log_in: LogIn, host: DokkuHost, server: DokkuServer, app: str
) -> None:
    client = await log_in()
    host.hold_for_test(app, at="build step 2/")
    deploy = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    run = host.apps[app].runs[0]
    await server.drop_connections_for_test()
    await host.until(lambda: run.output.closed and server.connections == 0)
    result = await client.finish(deploy)
    assert (result.exit, result.signal) == (None, None)
    host.release_for_test(app)
    await host.until(lambda: ended(host, app))
    assert (await (await log_in()).builds(app))[0]["display_status"] == "abandoned"


async def test_healed_stall_loses_nothing(
    log_in: LogIn, host: DokkuHost, server: DokkuServer, app: str
) -> None:
    client = await log_in()
    host.hold_for_test(app, at="build step 2/")
    deploy = await client.start(line(app))
    await host.until(lambda: host.holding(app))
    server.stall_for_test()
    host.release_for_test(app)
    await host.until(lambda: ended(host, app))
    assert deploy.exit_status is None
    server.heal_for_test()
    done = await client.finish(deploy)
    assert done.exit == 0
    assert done.out.encode() == bytes(host.apps[app].records[-1].log)


async def test_client_that_gives_up_in_a_stall_kills_the_deploy_once_healed(
    log_in: LogIn, host: DokkuHost, server: DokkuServer, app: str
) -> None:
    client = await log_in()
    host.hold_for_test(app, at="build step 2/")
    await client.start(line(app))
    await host.until(lambda: host.holding(app))
    run = host.apps[app].runs[0]
    server.stall_for_test()
    client.connection.abort()
    assert not run.output.closed
    server.heal_for_test()
    await host.until(lambda: run.output.closed)
    host.release_for_test(app)
    await host.until(lambda: ended(host, app))
    assert host.apps[app].records[-1].display_status == "abandoned"


async def test_loss_with_a_pty(log_in: LogIn, host: DokkuHost, app: str) -> None:
    client = await log_in()
    host.hold_for_test(app, at="build step 2/")
    await client.connection.create_process(line(app), encoding=None, term_type="xterm")
    await host.until(lambda: host.holding(app))
    run = host.apps[app].runs[0]
    client.connection.abort()
    await host.until(lambda: run.output.closed)
    host.release_for_test(app)
    await host.until(lambda: ended(host, app))
    assert host.apps[app].records[-1].display_status == "abandoned"


async def test_client_that_does_not_read_stalls_a_flood(
    log_in: LogIn, host: DokkuHost, app: str
) -> None:
    client = await log_in()
    host.apps[app].next_outcome = "flood"
    process = await client.connection.create_process(
        line(app), encoding=None, stdin=asyncssh.DEVNULL, window=65536
    )
    record_log = host.apps[app].records
    await host.until(lambda: len(record_log) > 1 and len(record_log[-1].log) > 100_000)
    process.close()
    await host.until(lambda: ended(host, app), timeout_s=20)
    assert len(record_log[-1].log) < 20_000_000


@pytest.mark.parametrize("outcome", ["flood", "no_newline", "garbage"])
async def test_floods_and_garbage_arrive_completely(
    log_in: LogIn, host: DokkuHost, app: str, outcome: str
) -> None:
    client = await log_in()
    host.apps[app].next_outcome = outcome
    process = await client.start(line(app))
    size = 0
    while part := await process.stdout.read(1 << 20):
        size += len(part)
    await process.wait()
    log = host.apps[app].records[-1].log
    assert (process.exit_status, size) == (0, len(log))
    assert size > {"flood": 49_000_000, "no_newline": 5_000_000, "garbage": 0}[outcome]
    assert (b"\xff\xfe" in log) == (outcome == "garbage")
