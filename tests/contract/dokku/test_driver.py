"""The driver against an SSH server that answers with recordings."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from bot.deployments.dokku_facts import Containers
from bot.deployments.model import LogMarker
from bot.dokku.connection import Connection
from bot.dokku.driver import Driver
from bot.dokku.limits import SshLimits
from bot.dokku.servers import open_servers
from bot.errors import (
    CommandFailed,
    Declined,
    OddReport,
    OutcomeUnknown,
    Unreachable,
)
from bot.redaction import Redactor
from tests.contract.dokku.ssh_server import SshServer, until
from tests.unit.dokku.recordings import VERSIONS, Recording, deploys, questions

NEW, OLD = "0.38.27", "0.35.20"
REPO = "https://git.example/acme/web.git"
SHA = "b5d9cb9694436598f983cd87ef0260d68cc9fc2f"
SYNC = f"git:sync --build web {REPO} {SHA}"


@pytest.fixture
async def connection(server: SshServer) -> AsyncIterator[Connection]:
    server.replay("version", out=f"dokku version {NEW}\n")
    async with aclosing(Connection("production", server.target)) as connection:
        yield connection


@pytest.fixture
def driver(connection: Connection) -> Driver:
    limits = SshLimits(question_s=10, start_s=10)
    return Driver(connection, redactor=Redactor(["hunter2-is-secret"]), limits=limits)


def replay(server: SshServer, recording: Recording) -> None:
    server.replay(
        " ".join(recording.argv),
        out=recording.stdout,
        err="".join(text for pipe, text in recording.output if pipe == "err"),
        status=recording.exit or 0,
    )


def answer_of(version: str, command: str, scenario: str, status: int = 0) -> Recording:
    return next(
        one
        for one in questions(version, command)
        if (one.scenario, one.exit) == (scenario, status)
        and ("--format" in one.argv or command == "ps:inspect")
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_questions_are_answered_on_every_version(
    driver: Driver, server: SshServer, version: str
) -> None:
    app = {NEW: "web", OLD: "old"}[version]
    server.replay("version", out=f"dokku version {version}\n")
    server.replay("apps:list", out=f"=====> My Apps\nneverup\n{app}\n")
    replay(server, answer_of(version, "apps:report", "b_redeploy_ok"))
    server.replay(f"git:report {app} --git-sha", out=f"{SHA}\n")
    unset = {NEW: "\n", OLD: "master\n"}[version]
    server.replay(f"git:report {app} --git-computed-deploy-branch", out="master\n")
    server.replay(f"git:report {app} --git-deploy-branch", out=unset)
    server.replay(f"git:report {app} --git-global-deploy-branch", out=unset)
    server.replay(f"builds:list {app} --format json", out="[]\n")
    assert await driver.apps() == ["neverup", app]
    report = await driver.report(app)
    assert (report.source, report.locked) == ("git-sync", False)
    assert report.repo == f"git://git.example/{app}.git"
    assert await driver.fetched_sha(app) == SHA
    assert await driver.deploy_branch(app) == (None if version == NEW else "master")
    which = "computed-" if version == NEW else "global-"
    server.replay(f"git:report {app} --git-{which}deploy-branch", out="stable\n")
    assert await driver.deploy_branch(app) == "stable"
    assert await driver.keeps_records() == (version == NEW)
    assert await driver.builds(app) == []
    assert (await driver.cancel_build(app) if version == OLD else False) is False
    assert server.asked().count("version") == 1
    assert (f"builds:list {app} --format json" in server.asked()) == (version == NEW)
    assert driver.health is None


async def test_records_are_read(driver: Driver, server: SshServer) -> None:
    replay(server, answer_of(NEW, "builds:list", "n2_dockerd_killed_mid_build"))
    records = await driver.builds("web")
    assert records[0].status == "abandoned"
    assert records[1].status == "succeeded"


async def test_a_missing_app_is_exit_status_20(driver: Driver, server: SshServer) -> None:
    for command in ("apps:report ghost --format json", "ps:inspect ghost"):
        server.replay(command, err=" !     App ghost does not exist\n", status=20)
    for ask in (driver.report, driver.containers):
        with pytest.raises(CommandFailed, match="App ghost does not exist") as caught:
            await ask("ghost")
        assert caught.value.exit_status == 20


@pytest.mark.parametrize("version", VERSIONS)
async def test_containers_are_read(driver: Driver, server: SshServer, version: str) -> None:
    recording = next(one for one in questions(version, "ps:inspect") if one.exit == 0)
    replay(server, recording)
    containers = await driver.containers(recording.argv[1])
    assert containers is not None
    assert containers.ids


@pytest.mark.parametrize(
    ("inspect", "report", "expected"),
    [
        ("", '{"deployed":"false","processes":"0"}', Containers()),
        ("", '{"deployed":"true","processes":"0"}', Containers()),
        ("[]\n", '{"deployed":"true","processes":"1","status-web.1":"missing (CID: 0)"}', None),
        ("[]\n", '{"deployed":"true","processes":"1"}', None),
        ("", '{"deployed":"true","processes":"1","status-web.1":"running (CID: 0)"}', None),
    ],
)
async def test_no_containers_differs_from_unknown(
    driver: Driver, server: SshServer, inspect: str, report: str, expected: Containers | None
) -> None:
    server.replay("ps:inspect web", out=inspect, err="Usage: docker\n", status=1)
    server.replay("ps:report web --format json", out=report)
    assert await driver.containers("web") == expected


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("missing (CID: 540ab7324f8)", {("web.1", "540ab7324f89", "missing")}),
        ("running (CID: 111111111111)", None),
    ],
)
async def test_listed_container_missing_in_docker_is_down(
    driver: Driver,
    server: SshServer,
    listed: str,
    expected: set[tuple[str, str, str]] | None,
) -> None:
    full = "540ab7324f897d72f14ec47fe00f5a280e541d7520351ab4243532286a2efec7"
    said = f"Error response from daemon: No such container: {full}\n"
    server.replay("ps:inspect web", out="[]\n", err=f"{said} !     {said}\n", status=1)
    report = {"deployed": "true", "processes": "1", "status-web.1": listed}
    server.replay("ps:report web --format json", out=json.dumps(report))
    found = await driver.containers("web")
    seen = found and {(one.process, one.id, one.state) for one in found.listed}
    assert seen == expected


async def test_docker_down_does_not_mean_missing_containers(
    driver: Driver, server: SshServer
) -> None:
    said = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n"
    gone = f"Error: No such container: {'ab' * 32}\n"
    server.replay("ps:inspect web", out="[]\n", err=gone + said, status=1)
    report = {"deployed": "true", "processes": "1", "status-web.1": "missing (CID: abababababa)"}
    server.replay("ps:report web --format json", out=json.dumps(report))
    assert await driver.containers("web") is None


async def test_release_switched_between_two_questions_is_read_again(
    driver: Driver, server: SshServer
) -> None:
    recording = next(one for one in questions(VERSIONS[-1], "ps:inspect") if one.exit == 0)
    (server.folder / "good.out").write_text(recording.stdout)
    once = "if [ -e once ]; then cat good.out; exit 0; fi; touch once; exit 1"
    server.answer("ps:inspect web", once)
    report = {"deployed": "true", "processes": "1", "status-web.1": "running (CID: 540ab7324f8)"}
    server.replay("ps:report web --format json", out=json.dumps(report))
    containers = await driver.containers("web")
    assert containers is not None
    assert containers.ids


async def test_an_odd_inspect_answer_leaks_nothing(driver: Driver, server: SshServer) -> None:
    server.replay("ps:inspect web", out='[{"Config": {"Env": ["DOKKU_PASS=s3cr3t"]}}]')
    with pytest.raises(OddReport) as caught:
        await driver.containers("web")
    assert "s3cr3t" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_errors_are_redacted(driver: Driver, server: SshServer) -> None:
    server.replay("apps:list", err="boom TOKEN=abc hunter2-is-secret\n", status=1)
    with pytest.raises(CommandFailed) as caught:
        await driver.apps()
    assert "boom TOKEN=[redacted] [redacted]" in str(caught.value)
    assert "hunter2" not in f"{caught.value.stderr} {caught.value.stdout}"


async def test_invalid_arguments_are_never_sent(driver: Driver, server: SshServer) -> None:
    for bad in ("web;ls", "-x", "a b"):
        with pytest.raises(Declined):
            await driver.report(bad)
        with pytest.raises(Declined):
            await driver.deploy("web", REPO, bad)
    assert server.asked() in ([], ["version"])


async def test_a_build_log_is_read_with_its_facts(driver: Driver, server: SshServer) -> None:
    failed = next(one for one in deploys(NEW) if one.scenario == "c_redeploy_build_fails")
    server.replay("builds:output web mwu9", out=failed.stdout + "TOKEN=abc\n")
    lines, facts = await driver.build_output("web", "mwu9")
    assert lines[-1] == "TOKEN=[redacted]"
    assert LogMarker.BUILD_FAILED in facts.markers


CONFIG = "config:export --merged --format json web"
SESAME = "sesame-of-the-app"


async def test_the_apps_config_is_masked_in_its_logs_and_errors(
    driver: Driver, server: SshServer
) -> None:
    server.replay(CONFIG, out=json.dumps({"FEATURE": SESAME, "NODE_ENV": "production"}) + "\n")
    server.replay(SYNC, out=f"#8 1.0 {SESAME} in production\n")
    lines, status, _ = await collect(driver)
    assert (lines, status) == (["#8 1.0 [redacted] in production"], 0)
    server.replay("builds:output web mwu9", err=f"no {SESAME}\n", status=1)
    with pytest.raises(CommandFailed) as caught:
        await driver.build_output("web", "mwu9")
    assert SESAME not in f"{caught.value!r} {caught.value.stderr}"
    assert server.asked().index(CONFIG) < server.asked().index(SYNC)


async def test_the_config_is_asked_for_before_a_log_is_read_again(
    driver: Driver, server: SshServer
) -> None:
    server.replay(CONFIG, out=json.dumps({"FEATURE": SESAME}))
    server.replay("builds:output web mwu9", out=f"{SESAME}\n")
    lines, _ = await driver.build_output("web", "mwu9")
    assert lines == ["[redacted]"]
    assert server.asked() == [CONFIG, "builds:output web mwu9"]


@pytest.mark.parametrize(
    "script",
    [
        "echo ' !     You may not' >&2; exit 1",
        "echo '[1]'",
        "kill -9 $$",
        "sleep 20",
    ],
)
async def test_deploy_starts_if_the_config_cannot_be_read(
    connection: Connection, server: SshServer, script: str
) -> None:
    limits = SshLimits(start_s=10, secrets_s=0.3)
    driver = Driver(connection, redactor=Redactor(), limits=limits)
    server.answer(CONFIG, script)
    server.answer(SYNC, "echo PASSWORD=abc")
    lines, status, _ = await collect(driver)
    assert (lines, status) == (["PASSWORD=[redacted]"], 0)


async def collect(driver: Driver) -> tuple[list[str], int | None, frozenset[LogMarker]]:
    stream = await driver.deploy("web", REPO, SHA)
    lines: list[str] = []
    async with asyncio.timeout(60):
        async for batch in stream.lines():
            lines += batch
    await stream.close()
    return lines, stream.exit_status, stream.facts.markers


@pytest.mark.parametrize(
    "scenario", ["b_redeploy_ok", "c_redeploy_build_fails", "d_redeploy_healthcheck_fails"]
)
async def test_a_deploy_streams_its_lines_and_ends_with_its_status(
    driver: Driver, server: SshServer, scenario: str
) -> None:
    recording = next(one for one in deploys(NEW) if one.scenario == scenario)
    server.replay(SYNC, out=recording.stdout, status=recording.exit or 0)
    lines, status, markers = await collect(driver)
    assert status == recording.exit
    assert lines[0] == "       Fetching remote code for web from git://git.example/web.git#main"
    assert len(lines) == len(recording.stdout.splitlines())
    assert (LogMarker.DEPLOYED in markers) == (recording.exit == 0)


async def test_standard_error_is_part_of_the_stream(driver: Driver, server: SshServer) -> None:
    refused = next(one for one in deploys(OLD) if one.scenario.endswith("running_2"))
    server.answer(
        SYNC, "echo ' !     web currently has a deploy lock in place. Exiting...' >&2; exit 1"
    )
    assert refused.exit == 1
    _, status, markers = await collect(driver)
    assert status == 1
    assert set(markers) == {LogMarker.LOCKED}


async def test_a_killed_deploy_ends_with_minus_one(driver: Driver, server: SshServer) -> None:
    server.answer(SYNC, "echo begun; kill -9 $$")
    lines, status, _ = await collect(driver)
    assert (lines, status) == (["begun"], -1)


async def test_large_output_with_odd_bytes(driver: Driver, server: SshServer) -> None:
    """More than twice as much as SSH lets a server send before the client has read something."""
    line = f"#8 1.0 {'0123456789' * 17}"
    server.answer(
        SYNC,
        rf"printf '\377\376\n'; yes '{line}' | head -n 30000; head -c 1000000 /dev/zero"
        " | tr '\\0' x; echo; echo the end",
    )
    lines, status, _ = await collect(driver)
    assert status == 0
    assert lines[0] == "\ufffd\ufffd"
    assert lines.count(line) == 30_000
    assert sum(line.count("x") for line in lines) == 1_000_000
    assert lines[-1] == "the end"


async def test_lost_connection_ends_the_lines_without_a_status(
    driver: Driver, server: SshServer
) -> None:
    server.answer(SYNC, "echo begun; touch begun; sleep 60")
    stream = await driver.deploy("web", REPO, SHA)
    await until((server.folder / "begun").exists)
    lines: list[str] = []
    async with asyncio.timeout(20):
        async for batch in stream.lines():
            lines += batch
            server.signal(signal.SIGKILL)
    assert (lines, stream.exit_status) == (["begun"], None)
    await stream.close()


async def test_silent_server_is_given_up_by_keepalives(server: SshServer) -> None:
    server.answer(SYNC, "echo begun; touch begun; sleep 60")
    limits = SshLimits(deploy_alive_s=0.5, deploy_alive_count=2)
    async with aclosing(Connection("production", server.target, limits=limits)) as connection:
        stream = await Driver(connection, redactor=Redactor()).deploy("web", REPO, SHA)
        await until((server.folder / "begun").exists)
        before = stream.last_byte_at
        server.signal(signal.SIGSTOP)
        async with asyncio.timeout(20):
            batches = [batch async for batch in stream.lines()]
        assert stream.exit_status is None
        assert [line for batch in batches for line in batch] in ([], ["begun"])
        assert stream.last_byte_at >= before
        await stream.close()


async def test_close_ends_the_command_at_its_next_output(driver: Driver, server: SshServer) -> None:
    server.answer(
        SYNC,
        "trap 'touch died; exit' PIPE; touch begun;"
        " while :; do echo tick || { touch died; exit; }; sleep 0.05; done",
    )
    stream = await driver.deploy("web", REPO, SHA)
    await until((server.folder / "begun").exists)
    async with asyncio.timeout(5):
        await stream.close()
    assert stream.exit_status is None
    await until((server.folder / "died").exists)
    await stream.close()


async def test_questions_and_deploys_do_not_share_a_connection(
    server: SshServer, driver: Driver, connection: Connection
) -> None:
    server.answer(SYNC, "echo begun; sleep 60")
    server.replay("apps:list", out="=====> My Apps\nweb\n")
    stream = await driver.deploy("web", REPO, SHA)
    assert await driver.apps() == ["web"]
    assert connection._shared is not None
    connection._shared.ssh.abort()
    assert await driver.apps() == ["web"]
    batches: Sequence[str] = await anext(aiter(stream.lines()))
    assert batches == ["begun"]
    await stream.close()


async def test_a_deploy_that_cannot_log_in_starts_nothing(server: SshServer) -> None:
    target = replace(server.target, port=1)
    async with aclosing(Connection("production", target)) as connection:
        with pytest.raises(Unreachable, match="refused the connection"):
            await Driver(connection, redactor=Redactor()).deploy("web", REPO, SHA)
    assert server.asked() == []


async def test_hanging_question_is_unknown(connection: Connection, server: SshServer) -> None:
    await connection.warm_up()
    server.answer("apps:list", "sleep 60")
    hasty = Driver(connection, redactor=Redactor(), limits=SshLimits(question_s=0.5))
    with pytest.raises(OutcomeUnknown):
        await hasty.apps()
    assert hasty.health is not None
    driver = Driver(connection, redactor=Redactor(), limits=SshLimits(question_s=20))
    server.replay("apps:list", out="=====> My Apps\n")
    assert await driver.apps() == []
    # A new login may have found another Dokku.
    await driver.keeps_records()
    assert server.asked().count("version") == 1


async def test_all_servers_are_opened_and_closed(server: SshServer) -> None:
    server.replay("apps:list", out="=====> My Apps\nweb\n")
    counts: dict[str, int] = {}
    gone = replace(server.target, port=1)
    async with open_servers(
        {"production": server.target, "gone": gone},
        Redactor(),
        on_connections=counts.__setitem__,
    ) as servers:
        assert servers.names() == ["production", "gone"]
        assert await servers.get("production").apps() == ["web"]
        with pytest.raises(Unreachable):
            await servers.get("gone").apps()
        assert servers.health()["production"] is None
        assert "refused" in (servers.health()["gone"] or "")
        with pytest.raises(Unreachable, match="nope is not in the bot's settings"):
            await servers.get("nope").apps()
        assert counts["production"] == 1
    assert counts["production"] == 0
