"""The driver against the simulated Dokku: whole deploys, their facts and what is read after."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import LogFacts, LogMarker
from bot.dokku.connection import Connection
from bot.dokku.driver import Driver
from bot.dokku.limits import SshLimits
from bot.errors import CommandFailed, Declined, OutcomeUnknown, Unreachable, Withheld
from bot.redaction import Redactor
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.sshd import DokkuServer, open_dokku
from tests.support.ssh_targets import ssh_target

OLD, NEW = "a" * 40, "b" * 40
APP = "web"
REPO = f"https://git.example/acme/{APP}.git"


@pytest.fixture
async def host() -> AsyncIterator[DokkuHost]:
    host = DokkuHost(speed=200)
    host.create_app(APP, deployed_sha=OLD)
    host.create_app("fresh")
    yield host
    assert host.complaints == []


@pytest.fixture
async def simulated(host: DokkuHost) -> AsyncIterator[DokkuServer]:
    async with open_dokku(host) as opened:
        yield opened


@pytest.fixture
async def driver(simulated: DokkuServer) -> AsyncIterator[Driver]:
    target = ssh_target(
        port=simulated.port, pem=simulated.client_key_pem, known_hosts=simulated.known_hosts
    )
    limits = SshLimits(question_s=20, quiet_s=0.3)
    async with aclosing(Connection("production", target, limits=limits)) as connection:
        yield Driver(connection, redactor=Redactor())


async def deploy(driver: Driver, app: str = APP) -> tuple[int | None, LogFacts, list[str]]:
    stream = await driver.deploy(app, REPO, NEW)
    lines: list[str] = []
    async with asyncio.timeout(60):
        async for batch in stream.lines():
            lines += batch
    await stream.close()
    return stream.exit_status, stream.facts, lines


async def test_a_good_deploy_is_proven_by_its_own_containers(driver: Driver) -> None:
    before = await driver.containers(APP)
    known = {record.id for record in await driver.builds(APP)}
    status, facts, lines = await deploy(driver)
    after = await driver.containers(APP)
    assert status == 0
    assert before is not None
    assert after is not None
    assert after.ids == facts.named_containers
    assert not after.ids & before.ids
    assert all(one.running and one.restarts == 0 for one in after.listed)
    (record,) = [one for one in await driver.builds(APP) if one.id not in known]
    assert (record.status, record.exit_code) == (BuildStatus.SUCCEEDED, 0)
    report = await driver.report(APP)
    assert (report.repo, report.sha, report.locked) == (REPO, NEW, False)
    assert await driver.fetched_sha(APP) == NEW
    text, read_again = await driver.build_output(APP, record.id)
    assert list(text) == lines
    assert read_again == facts


@pytest.mark.parametrize(
    ("outcome", "status", "marker"),
    [
        ("build_fails", 1, LogMarker.BUILD_FAILED),
        ("checks_fail", 1, LogMarker.CHECKS_FAILED),
        ("ref_missing", 128, LogMarker.REF_MISSING),
        ("repo_unreachable", 128, LogMarker.REPO_UNREACHABLE),
        ("repo_refused", 128, LogMarker.REPO_UNREACHABLE),
        ("repo_denied", 128, LogMarker.REPO_UNREACHABLE),
        ("dokku_killed", -1, LogMarker.BUILDING),
    ],
)
async def test_a_failed_deploy_says_why_and_leaves_the_old_release(
    driver: Driver, host: DokkuHost, outcome: str, status: int, marker: LogMarker
) -> None:
    host.apps[APP].next_outcome = outcome
    before = await driver.containers(APP)
    ended, facts, _ = await deploy(driver)
    assert ended == status
    assert marker in facts.markers
    assert LogMarker.DEPLOYED not in facts.markers
    assert (facts.error is None) == (outcome == "dokku_killed")
    assert await driver.containers(APP) == before


async def test_nothing_is_sent_without_the_right_to(driver: Driver) -> None:
    """It is asked when the channel is open: a login may take longer than a lease."""
    known = await driver.builds(APP)
    with pytest.raises(Withheld):
        await driver.deploy(APP, REPO, NEW, may_send=lambda: False)
    with pytest.raises(Withheld):
        await driver.cancel_build(APP, may_send=lambda: False)
    assert await driver.builds(APP) == known


async def test_very_long_output_is_read_to_its_end(driver: Driver, host: DokkuHost) -> None:
    host.apps[APP].next_outcome = "no_newline"
    status, facts, lines = await deploy(driver)
    assert status == 0
    assert LogMarker.DEPLOYED in facts.markers
    assert sum(map(len, lines)) > 1_000_000


async def test_a_never_deployed_app_has_no_containers(driver: Driver) -> None:
    containers = await driver.containers("fresh")
    assert containers is not None
    assert containers.listed == ()
    assert await driver.builds("fresh") == []
    assert await driver.fetched_sha("fresh") is None


async def test_containers_are_unknown_while_docker_is_down(driver: Driver, host: DokkuHost) -> None:
    host.kill_docker_for_test()
    assert await driver.containers(APP) is None
    host.revive_docker_for_test()
    assert await driver.containers(APP) is not None


async def test_a_missing_app_is_named(driver: Driver) -> None:
    assert set(await driver.apps()) == {APP, "fresh"}
    with pytest.raises(CommandFailed) as caught:
        await driver.builds("ghost")
    assert caught.value.exit_status == 20
    status, facts, _ = await deploy(driver, "ghost")
    assert status == 20
    assert set(facts.markers) == {LogMarker.APP_MISSING}


async def test_a_cancel_ends_the_deploy(driver: Driver, host: DokkuHost) -> None:
    assert not await driver.cancel_build(APP)
    host.hold_for_test(APP, at="Building")
    stream = await driver.deploy(APP, REPO, NEW)
    await host.until(lambda: host.holding(APP))
    assert (await driver.builds(APP))[0].status is BuildStatus.RUNNING
    assert await driver.cancel_build(APP)
    async with asyncio.timeout(20):
        async for _ in stream.lines():
            pass
    assert stream.exit_status == 141
    assert (await driver.builds(APP))[0].status is BuildStatus.CANCELED
    await stream.close()


async def test_a_second_deploy_is_refused(driver: Driver, host: DokkuHost) -> None:
    host.hold_for_test(APP, at="Building")
    first = await driver.deploy(APP, REPO, NEW)
    await host.until(lambda: host.holding(APP))
    status, facts, _ = await deploy(driver)
    assert status == 1
    assert set(facts.markers) == {LogMarker.FETCHING, LogMarker.LOCKED}
    host.release_for_test(APP)
    async with asyncio.timeout(30):
        async for _ in first.lines():
            pass
    assert first.exit_status == 0
    await first.close()


async def test_dropped_connections_give_no_status_and_questions_continue(
    driver: Driver, host: DokkuHost, simulated: DokkuServer
) -> None:
    host.hold_for_test(APP, at="Building")
    stream = await driver.deploy(APP, REPO, NEW)
    await host.until(lambda: host.holding(APP))
    await driver.apps()
    await simulated.drop_connections_for_test()
    async with asyncio.timeout(20):
        async for _ in stream.lines():
            pass
    assert stream.exit_status is None
    assert APP in await driver.apps()
    host.release_for_test(APP)
    await host.until(host.apps[APP].sorted_records)
    await stream.close()


async def test_refused_key_differs_from_a_closed_port(
    driver: Driver, simulated: DokkuServer
) -> None:
    simulated.refuse_key_for_test()
    with pytest.raises(Unreachable, match="refused the bot's SSH key") as caught:
        await driver.deploy(APP, REPO, NEW)
    assert caught.value.final
    simulated.refuse_key_for_test(refuse=False)
    await simulated.refuse_connections_for_test()
    with pytest.raises(Unreachable, match="refused the connection") as caught:
        await driver.deploy(APP, REPO, NEW)
    assert not caught.value.final
    await simulated.accept_connections_for_test()
    assert (await deploy(driver))[0] == 0


async def test_stalled_server_makes_a_question_fail(simulated: DokkuServer, driver: Driver) -> None:
    assert APP in await driver.apps()
    quick = Driver(driver._connection, redactor=Redactor(), limits=SshLimits(question_s=0.5))
    simulated.stall_for_test()
    with pytest.raises((OutcomeUnknown, Unreachable), match="did not answer"):
        await quick.apps()
    assert quick.health is not None
    simulated.heal_for_test()


async def test_deploy_in_a_container_is_found_and_followed(driver: Driver, host: DokkuHost) -> None:
    host.create_app("runner", deployed_sha=OLD)
    host.hold_for_test(APP, at="build step 2/")
    name = await driver.run_detached(APP, REPO, NEW, runner="runner")
    await host.until(lambda: host.holding(APP))
    assert list(await driver.one_offs("runner")) == [name]
    build = (await driver.builds(APP))[0]
    assert build.status is BuildStatus.RUNNING
    assert await driver.build_head(APP, build.id) == f"{REPO}#{NEW}"

    first = await driver.follow(APP, build.id, ())
    seen = await anext(aiter(first.lines()))
    await first.close()
    assert host.apps[APP].runs, "closing it ends nothing"
    second = await driver.follow(APP, build.id, seen)
    host.release_for_test(APP)
    lines = [*seen]
    async with asyncio.timeout(60):
        async for batch in second.lines():
            lines += batch
    await second.close()
    assert lines == host.apps[APP].records[-1].log.decode().splitlines()
    assert second.exit_status is None
    assert LogMarker.DEPLOYED in second.facts.markers
    assert await driver.one_offs("runner") == {}
    assert await driver.build_head(APP, build.id) == f"{REPO}#{NEW}"


async def test_runner_that_does_not_exist_starts_nothing(driver: Driver, host: DokkuHost) -> None:
    before = len(host.apps[APP].records)
    with pytest.raises(Declined, match="has no app runner, which its setting `runner` names"):
        await driver.run_detached(APP, REPO, NEW, runner="runner")
    assert len(host.apps[APP].records) == before
    assert await driver.one_offs("runner") == {}


async def test_source_of_a_build_is_compared_unmasked(simulated: DokkuServer) -> None:
    target = ssh_target(
        port=simulated.port, pem=simulated.client_key_pem, known_hosts=simulated.known_hosts
    )
    async with aclosing(Connection("production", target)) as connection:
        driver = Driver(connection, redactor=Redactor([NEW]))
        await deploy(driver)
        build = (await driver.builds(APP))[0]
        lines, _ = await driver.build_output(APP, build.id)
        assert NEW not in "".join(lines)
        assert await driver.build_head(APP, build.id) == f"{REPO}#{NEW}"


async def test_log_of_a_living_build_is_read_and_left_again(
    driver: Driver, host: DokkuHost, simulated: DokkuServer
) -> None:
    """Dokku follows it for ever; each look must give its channel back."""
    simulated.limit_sessions_for_test(2)
    host.hold_for_test(APP, at="build step 2/")
    stream = await driver.deploy(APP, REPO, NEW)
    await host.until(lambda: host.holding(APP))
    (record,) = [one for one in await driver.builds(APP) if one.status is BuildStatus.RUNNING]
    first = await driver.log_end(APP, record.id)
    for _ in range(3):
        assert not (await driver.log_end(APP, record.id)).goes_on_from(first)
    host.hold_for_test(APP, at="build step 4/")
    await host.until(lambda: [one.details.get("at") for one in host.journal].count("build step 4/"))
    assert (await driver.log_end(APP, record.id)).goes_on_from(first)
    assert first.lines
    host.release_for_test(APP)
    await stream.close()
