"""Logins that are slow, turned away or refused, and missing channels."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.dokku.limits import SshLimits
from tests.scenarios.conftest import FREQUENT_EDITS, HURRIED_SSH, World, open_world

SOON = {"start_window": timedelta(milliseconds=900)}
"""Three tries in 0.9 s."""
MAX_STARTUPS = b"Exceeded MaxStartups\r\n"
"""What OpenSSH sends instead of its version to a login over the limit."""


@pytest.fixture
def ssh_limits() -> SshLimits:
    return HURRIED_SSH


@pytest.fixture
async def hasty(tmp_path: Path, ssh_limits: SshLimits) -> AsyncIterator[World]:
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        world.ssh_limits = ssh_limits
        await world.start_bot(timing=SOON)
        await world.simulators.dokku.until(lambda: world.simulators.server.connections == 1)
        yield world


async def result_of(world: World) -> Deployment:
    (row,) = await world.ended()
    assert isinstance(row, Deployment)
    return row


def assert_not_started(world: World, row: Deployment) -> None:
    assert (row.phase, row.failure) == (Phase.FAILED, Failure.SERVER_UNREACHABLE)
    assert row.started_at is None
    live = {one.sha for one in world.simulators.dokku.live("myapp").values()}
    assert world.simulators.forge.sha("myapp") not in live


def assert_deployed(row: Deployment) -> None:
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)


async def test_slow_login_is_waited_for(hasty: World) -> None:
    hasty.simulators.server.slow_logins_for_test(1.5)
    await hasty.deploy()
    assert_deployed(await result_of(hasty))


SHORT_LOGINS = pytest.mark.parametrize("ssh_limits", [replace(HURRIED_SSH, connect_s=0.5)])


@SHORT_LOGINS
async def test_unanswered_logins_fail_the_deployment(hasty: World) -> None:
    hasty.simulators.server.swallow_connections_for_test()
    await hasty.deploy()
    row = await result_of(hasty)
    assert_not_started(hasty, row)
    assert "did not answer within 0.5 s" in (row.reason or "")


@SHORT_LOGINS
async def test_login_is_repeated_after_a_black_hole(hasty: World) -> None:
    server = hasty.simulators.server
    server.swallow_connections_for_test()
    await hasty.deploy()
    await hasty.until_message("waiting for the server (try 1 of 3)")
    await server.accept_connections_for_test()
    assert_deployed(await result_of(hasty))


async def test_server_restarting_during_the_login_is_waited_for(tmp_path: Path) -> None:
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        world.ssh_limits = HURRIED_SSH
        await world.start_bot(timing={"start_window": timedelta(seconds=6)})
        server = world.simulators.server
        await world.simulators.dokku.until(lambda: server.connections == 1)
        server.slow_logins_for_test(60)
        await world.deploy()
        await world.simulators.dokku.until(lambda: server.connections == 2)
        await server.refuse_connections_for_test()
        await server.drop_connections_for_test()
        await world.until_message("waiting for the server (try 1 of 3)")
        server.slow_logins_for_test(0)
        await server.accept_connections_for_test()
        assert_deployed(await result_of(world))


@pytest.mark.parametrize("farewell", [b"", MAX_STARTUPS])
async def test_login_over_max_startups_is_repeated(tmp_path: Path, farewell: bytes) -> None:
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        # Long enough that the server accepts logins again before the last try on a busy machine.
        world.ssh_limits = HURRIED_SSH
        await world.start_bot(timing={"start_window": timedelta(seconds=6)})
        server = world.simulators.server
        await world.simulators.dokku.until(lambda: server.connections == 1)
        server.turn_away_for_test(farewell)
        await world.deploy()
        await world.simulators.dokku.until(lambda: server.network.turned_away)
        server.turn_away_for_test(None)
        assert_deployed(await result_of(world))


@pytest.mark.parametrize("farewell", [b"", MAX_STARTUPS])
async def test_logins_always_over_max_startups_fail_the_deployment(
    hasty: World, farewell: bytes
) -> None:
    hasty.simulators.server.turn_away_for_test(farewell)
    await hasty.deploy()
    row = await result_of(hasty)
    assert_not_started(hasty, row)
    assert "hung up during the login: it has too many logins at once" in (row.reason or "")


async def test_key_refused_later_fails_at_once(hasty: World) -> None:
    hasty.simulators.server.refuse_key_for_test()
    await hasty.deploy()
    row = await result_of(hasty)
    assert_not_started(hasty, row)
    assert "refused the bot's SSH key for the user dokku" in (row.reason or "")
    assert "dokku ssh-keys:add" in (row.reason or "")


async def test_changed_host_key_fails_at_once(hasty: World) -> None:
    hasty.simulators.server.change_host_key_for_test(asyncssh.generate_private_key("ssh-ed25519"))
    await hasty.deploy()
    row = await result_of(hasty)
    assert_not_started(hasty, row)
    assert "host key that is not among the known ones" in (row.reason or "")
    assert "ssh-keyscan" in (row.reason or "")


async def test_deploy_command_refused_by_the_server_is_not_a_start(hasty: World) -> None:
    server = hasty.simulators.server
    server.refuse_command_for_test("git:sync")
    await hasty.deploy()
    row = await result_of(hasty)
    assert_not_started(hasty, row)
    assert "let the bot log in but would not run the deploy" in (row.reason or "")


async def test_questions_refused_by_the_server_fail_the_deployment(hasty: World) -> None:
    hasty.simulators.server.refuse_command_for_test("")
    await hasty.deploy()
    row = await result_of(hasty)
    assert_not_started(hasty, row)
    assert "would not run `" in (row.reason or "")


async def test_one_channel_is_enough(hasty: World) -> None:
    hasty.simulators.server.limit_sessions_for_test(1)
    await hasty.deploy()
    assert_deployed(await result_of(hasty))


async def test_no_channel_means_an_unreachable_server(tmp_path: Path) -> None:
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        world.simulators.server.limit_sessions_for_test(0)
        world.ssh_limits = HURRIED_SSH
        await world.start_bot(timing=SOON | {"start_tries": 1})
        await world.deploy()
        row = await result_of(world)
        assert_not_started(world, row)
        assert "had no channel free" in (row.reason or "")


@pytest.mark.parametrize("fault", ["key", "turned away", "no command"])
async def test_fault_of_the_question_connection_does_not_affect_the_deploy(
    tmp_path: Path, fault: str
) -> None:
    """The deploy's connection is still read; its result is proven once queries pass again."""
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        world.ssh_limits = HURRIED_SSH
        await world.start_bot(timing={"max_poll_errors": 1000})
        await _deploy_through(world, fault)


async def _deploy_through(hasty: World, fault: str) -> None:
    server = hasty.simulators.server
    hasty.hold()
    await hasty.deploy()
    await hasty.held()
    await hasty.until_message("Building")
    match fault:
        case "key":
            server.refuse_key_for_test()
        case "turned away":
            server.turn_away_for_test(MAX_STARTUPS)
        case _:
            server.refuse_command_for_test("")
    server.drop_oldest_for_test()
    await hasty.until_message("stale")
    hasty.let_go()
    await hasty.simulators.dokku.until(
        lambda: (
            {one.sha for one in hasty.simulators.dokku.live("myapp").values()}
            == {hasty.simulators.forge.sha("myapp")}
        ),
    )
    server.refuse_key_for_test(refuse=False)
    server.turn_away_for_test(None)
    server.refuse_command_for_test(None)
    assert_deployed(await result_of(hasty))
