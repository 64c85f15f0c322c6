"""Connections break in every way and in every phase: the result is true, or the deploy resumes.

What dies with its client and what does not follows recordings m1 to m8, m11 and m13.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import asyncssh
import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.dokku.limits import SshLimits
from tests.scenarios.conftest import (
    FREQUENT_EDITS,
    HURRIED_SSH,
    QuickClock,
    World,
    open_world,
    shown,
)
from tests.support.bot_processes import an_app
from tests.support.incidents import BUILDING, FETCHING, HELD_AT, SETTLE

Break = Callable[[World], Awaitable[None]]
Result = tuple[Phase, Failure | None, Live, int]
"""Phase, failure, live, attempts."""

SECOND: Result = (Phase.SUCCEEDED, None, Live.NEW, 2)
FIRST: Result = (Phase.SUCCEEDED, None, Live.NEW, 1)
INTERRUPTED: Result = (Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS, 1)
RELEASED: Result = (Phase.FAILED, Failure.INTERRUPTED, Live.NEW, 1)
DIED = (SECOND, SECOND, INTERRUPTED, RELEASED, FIRST)
"""In the five phases of `HELD_AT`, if the deploys die with their connections."""
DIED_IN_BOTH = (SECOND, RELEASED)
EVERY_PHASE = tuple(HELD_AT)
BOTH = ("building", "switched")
"""One phase in which a deploy that died is started again, and one in which it cannot be."""


async def until_message_says(world: World, why: str) -> None:
    """Wait until a message says why queries fail: at least one has met the fault."""
    await world.slack.until(lambda: any(why in shown(one) for one in world.messages))


async def reset(world: World) -> None:
    """Both sides notice at once."""
    await world.simulators.server.drop_connections_for_test()


async def leave_half_open(world: World) -> None:
    """The server is gone and no packet says so: the connection is half open."""
    await world.simulators.server.forget_server_for_test()


async def reset_bot_side(world: World) -> None:
    """The bot's side is reset and the server does not notice: its deploy continues."""
    world.simulators.server.forget_clients_for_test()


async def restart_server(world: World) -> None:
    """All connections are cut, and nothing listens for a while."""
    server = world.simulators.server
    await server.refuse_connections_for_test()
    await server.drop_connections_for_test()
    await until_message_says(world, "refused the connection")
    await server.accept_connections_for_test()


async def black_out(world: World) -> None:
    """No packet passes for a while, then all do."""
    world.simulators.server.stall_for_test()
    await until_message_says(world, "did not answer within")
    world.simulators.server.heal_for_test()


async def answer_from_another_server(world: World) -> None:
    """All connections are cut, and another server answers for a while."""
    server = world.simulators.server
    server.change_host_key_for_test(asyncssh.generate_private_key("ssh-ed25519"))
    await server.drop_connections_for_test()
    await until_message_says(world, "host key that is not among the known ones")
    server.change_host_key_for_test(None)


async def refuse_key(world: World) -> None:
    """All connections are cut, and the bot's key is refused for a while."""
    server = world.simulators.server
    server.refuse_key_for_test()
    await server.drop_connections_for_test()
    await until_message_says(world, "refused the bot's SSH key")
    server.refuse_key_for_test(refuse=False)


async def refuse_channels(world: World) -> None:
    """Open connections stay open; no query passes for a while."""
    server = world.simulators.server
    server.limit_sessions_for_test(0)
    await until_message_says(world, "had no channel free")
    server.limit_sessions_for_test()


PATIENT = {
    "poll_interval": timedelta(milliseconds=200),
    "poll_timeout": timedelta(milliseconds=600),
    "max_poll_errors": 1000,
    "record_wait": timedelta(milliseconds=600),
}


IMPATIENT_DEPLOYS = replace(HURRIED_SSH, deploy_alive_s=0.3, deploy_alive_count=3)
"""A deploy's connection is given up after a second of silence.

Without output and without a build record, nothing else shows that it is dead.
"""


@pytest.fixture
def ssh_limits() -> SshLimits:
    return HURRIED_SSH


@pytest.fixture
async def patient(tmp_path: Path, ssh_limits: SshLimits) -> AsyncIterator[World]:
    """A bot that never gives up contact: the tests are about how it resumes."""
    apps = [an_app(name) for name in ("myapp", *HELD_AT)]
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS, apps=apps) as world:
        world.ssh_limits = ssh_limits
        await world.start_bot(timing=PATIENT)
        yield world


async def result_of(world: World, app: str = "myapp") -> tuple[Result, Deployment]:
    (row,) = await world.rows(app)
    assert isinstance(row, Deployment)
    assert row.live is not None
    return (row.phase, row.failure, row.live, row.attempt), row


@pytest.mark.parametrize(
    ("break_connection", "phases", "ends"),
    [
        (reset, EVERY_PHASE, DIED),
        (restart_server, EVERY_PHASE, DIED),
        (reset_bot_side, EVERY_PHASE, (FIRST,) * 5),
        (black_out, EVERY_PHASE, (FIRST,) * 5),
        # As the first two, noticed otherwise; in which phase changes nothing of that.
        (leave_half_open, BOTH, DIED_IN_BOTH),
        (answer_from_another_server, BOTH, DIED_IN_BOTH),
        (refuse_key, BOTH, DIED_IN_BOTH),
        (refuse_channels, BOTH, (FIRST,) * 2),
    ],
)
async def test_all_connections_break(
    patient: World, break_connection: Break, phases: tuple[str, ...], ends: tuple[Result, ...]
) -> None:
    """Deploys are held in several phases, the last one of five at its very end."""
    for app in phases:
        patient.hold(HELD_AT[app], app)
        await patient.deploy(f"{app} main")
    for app in phases:
        await patient.held(app)
    await break_connection(patient)
    for app in phases:
        patient.let_go(app)
    await patient.ended(len(phases))
    for app, end in zip(phases, ends, strict=True):
        seen, row = await result_of(patient, app)
        assert (app, seen) == (app, end)
        live = {one.sha for one in patient.simulators.dokku.live(app).values()}
        assert live == {row.sha if row.live is Live.NEW else row.previous_sha}
        if row.failure is Failure.INTERRUPTED:
            assert "bot stopped or its connection dropped during the deployment" in (
                row.reason or ""
            )
            serves = "The new release is" if row.live is Live.NEW else "previous release is still"
            assert serves in (row.reason or "")
    assert len(patient.messages) == len(phases)


EVERY_BREAK = (
    *(reset, leave_half_open, reset_bot_side, restart_server, black_out),
    *(answer_from_another_server, refuse_key, refuse_channels),
)


@pytest.mark.parametrize("break_connection", EVERY_BREAK)
async def test_connection_breaks_during_the_stability_check(
    tmp_path: Path, break_connection: Break
) -> None:
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        world.ssh_limits = HURRIED_SSH
        clock = QuickClock(speed=1)
        beat = timedelta(milliseconds=300)
        await world.start_bot(PATIENT | {"settle": SETTLE, "heartbeat": beat}, clock)
        await world.deploy()
        await world.until_message("Checking · watching")  # Dokku says "Checking" too
        await break_connection(world)
        # A poll gets an answer again before the next look.
        before = _asked(world)
        await world.simulators.dokku.until(lambda: _asked(world) > before)
        clock.skip(SETTLE)
        await world.ended()
        seen, _ = await result_of(world)
    assert seen == FIRST


@pytest.mark.parametrize("break_connection", EVERY_BREAK)
async def test_all_connections_break_before_the_containers_are_read(
    tmp_path: Path, break_connection: Break
) -> None:
    """The exit status is known, but the containers have not been read."""
    ends = {"good": FIRST, "bad": (Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS, 1)}
    apps = [an_app(name) for name in ends]
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS, apps=apps) as world:
        world.ssh_limits = HURRIED_SSH
        await world.start_bot(timing=PATIENT)
        server = world.simulators.server
        world.simulators.dokku.apps["bad"].behaviour = "build_fails"
        for app in ends:
            world.hold(FETCHING, app)
            await world.deploy(f"{app} main")
            await world.held(app)
        server.refuse_command_for_test("ps:inspect")
        for app in ends:
            world.let_go(app)
        await world.slack.until(partial(_all_read, world))
        await break_connection(world)
        server.refuse_command_for_test(None)
        await world.ended(len(ends))
        for app, end in ends.items():
            seen, _ = await result_of(world, app)
            assert (app, seen) == (app, end)


def _asked(world: World) -> int:
    """How many questions reached the server."""
    return [one.event for one in world.simulators.dokku.journal].count("asked")


def _all_read(world: World) -> bool:
    return all("reading what is live" in shown(one) for one in world.messages)


async def cut_newest(world: World) -> None:
    """Cut only the newest connection."""
    world.simulators.server.drop_newest_for_test()


@pytest.mark.parametrize("ssh_limits", [IMPATIENT_DEPLOYS])
@pytest.mark.parametrize(
    "break_connection",
    [
        cut_newest,
        leave_half_open,
        restart_server,
        black_out,
        answer_from_another_server,
        refuse_key,
    ],
)
async def test_command_that_never_ran_is_sent_again(
    patient: World, break_connection: Break
) -> None:
    """Everything was cut as it arrived: Dokku has no record of it, so nothing ran."""
    server, dokku = patient.simulators.server, patient.simulators.dokku
    server.lose_command_for_test("git:sync")
    await patient.deploy()
    await dokku.until(lambda: server.lost_lines)
    server.lose_command_for_test(None)
    await break_connection(patient)
    await patient.ended()
    seen, _ = await result_of(patient)
    assert seen == SECOND
    await patient.replied("Starting myapp again, once")


def _journal_has(world: World, entries: int) -> bool:
    return len(world.simulators.dokku.journal) >= entries


async def test_broken_question_connection_does_not_affect_the_deploy(patient: World) -> None:
    patient.hold(BUILDING)
    await patient.deploy()
    await patient.held()
    server, dokku = patient.simulators.server, patient.simulators.dokku
    drop = server.drop_oldest_for_test
    for _ in range(3):
        more = len(dokku.journal) + 1
        drop()
        await dokku.until(partial(_journal_has, patient, more))
        drop = (
            server.drop_newest_for_test
        )  # the next question connection is newer than the deploy's
    patient.let_go()
    await patient.ended()
    seen, _ = await result_of(patient)
    assert seen == FIRST
