"""The deploy's line breaks in every way and in every phase: the end is the true one, or it resumes.

What dies with its client, and what does not, is as recorded (m1 to m8, m11, m13).
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
from tests.scenarios.conftest import FREQUENT_EDITS, HURRIED_SSH, World, open_world, shown
from tests.support.bot_processes import an_app
from tests.support.incidents import BUILDING, FETCHING, HELD_AT

Break = Callable[[World], Awaitable[None]]
End = tuple[Phase, Failure | None, Live, int]
"""Phase, failure, live, attempts."""

ONCE_MORE: End = (Phase.SUCCEEDED, None, Live.NEW, 2)
AT_ONCE: End = (Phase.SUCCEEDED, None, Live.NEW, 1)
INTERRUPTED: End = (Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS, 1)
TOO_LATE: End = (Phase.FAILED, Failure.INTERRUPTED, Live.NEW, 1)


async def told(world: World, why: str) -> None:
    """A message says why the server cannot be asked: at least one question has met the fault."""
    await world.slack.until(lambda: any(why in shown(one) for one in world.messages))


async def reset(world: World) -> None:
    """Both sides learn at once that it is over."""
    await world.simulators.server.drop_connections_for_test()


async def switch_off(world: World) -> None:
    """The server is gone, and no packet says so: half open."""
    world.simulators.server.forget_server_for_test()


async def forget(world: World) -> None:
    """Ours is reset, and the server does not hear of it: its deploy lives on."""
    world.simulators.server.forget_clients_for_test()


async def restart_server(world: World) -> None:
    """All is cut, and nothing listens for a while."""
    server = world.simulators.server
    await server.refuse_connections_for_test()
    await server.drop_connections_for_test()
    await told(world, "refused the connection")
    await server.accept_connections_for_test()


async def black_out(world: World) -> None:
    """No packet passes for a while, then all do."""
    world.simulators.server.stall_for_test()
    await told(world, "did not answer within")
    world.simulators.server.heal_for_test()


async def lead_astray(world: World) -> None:
    """All is cut, and for a while another server answers in its place."""
    server = world.simulators.server
    server.change_host_key_for_test(asyncssh.generate_private_key("ssh-ed25519"))
    await server.drop_connections_for_test()
    await told(world, "host key that is not among the known ones")
    server.change_host_key_for_test(None)


async def lock_out(world: World) -> None:
    """All is cut, and for a while the bot's key is not taken."""
    server = world.simulators.server
    server.refuse_key_for_test()
    await server.drop_connections_for_test()
    await told(world, "refused the bot's SSH key")
    server.refuse_key_for_test(refuse=False)


async def give_no_channel(world: World) -> None:
    """What is open stays so; no question passes for a while."""
    server = world.simulators.server
    server.limit_sessions_for_test(0)
    await told(world, "had no channel free")
    server.limit_sessions_for_test()


PATIENT = {
    "poll_interval": timedelta(milliseconds=300),
    "poll_timeout": timedelta(milliseconds=900),
    "max_poll_errors": 1000,
    "record_wait": timedelta(milliseconds=600),
}


IMPATIENT_DEPLOYS = replace(HURRIED_SSH, deploy_alive_s=0.3, deploy_alive_count=3)
"""A deploy's connection is given up after a second of silence: nothing else shows its death.

Without a byte and without a record there is no deploy that could be seen to be over.
"""


@pytest.fixture
def ssh_limits() -> SshLimits:
    return HURRIED_SSH


@pytest.fixture
async def patient(tmp_path: Path, ssh_limits: SshLimits) -> AsyncIterator[World]:
    """Contact is never given up: what is tested is how it goes on."""
    apps = [an_app(name) for name in ("myapp", *HELD_AT)]
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS, apps=apps) as world:
        world.ssh_limits = ssh_limits
        await world.start_bot(timing=PATIENT)
        yield world


async def the_end(world: World, app: str = "myapp") -> tuple[End, Deployment]:
    (row,) = await world.rows(app)
    assert isinstance(row, Deployment)
    assert row.live is not None
    return (row.phase, row.failure, row.live, row.attempt), row


@pytest.mark.parametrize(
    ("break_line", "ends"),
    [
        (reset, (ONCE_MORE, ONCE_MORE, INTERRUPTED, TOO_LATE, AT_ONCE)),
        (switch_off, (ONCE_MORE, ONCE_MORE, INTERRUPTED, TOO_LATE, AT_ONCE)),
        (restart_server, (ONCE_MORE, ONCE_MORE, INTERRUPTED, TOO_LATE, AT_ONCE)),
        (lead_astray, (ONCE_MORE, ONCE_MORE, INTERRUPTED, TOO_LATE, AT_ONCE)),
        (lock_out, (ONCE_MORE, ONCE_MORE, INTERRUPTED, TOO_LATE, AT_ONCE)),
        (give_no_channel, (AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE)),
        (forget, (AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE)),
        (black_out, (AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE)),
    ],
)
async def test_all_connections_break(
    patient: World, break_line: Break, ends: tuple[End, ...]
) -> None:
    """Five deploys stand in five phases at that moment, the last one at its very end."""
    for app, at in HELD_AT.items():
        patient.hold(at, app)
        await patient.deploy(f"{app} main")
    for app in HELD_AT:
        await patient.held(app)
    await break_line(patient)
    for app in HELD_AT:
        patient.let_go(app)
    await patient.ended(len(HELD_AT))
    for app, end in zip(HELD_AT, ends, strict=True):
        seen, row = await the_end(patient, app)
        assert (app, seen) == (app, end)
        live = {one.sha for one in patient.simulators.dokku.live(app).values()}
        assert live == {row.sha if row.live is Live.NEW else row.previous_sha}
        if row.failure is Failure.INTERRUPTED:
            assert "bot stopped or its connection dropped during the deployment" in (
                row.reason or ""
            )
            serves = "The new release is" if row.live is Live.NEW else "previous release is still"
            assert serves in (row.reason or "")
    assert len(patient.messages) == len(HELD_AT)


EVERY_BREAK = (
    *(reset, switch_off, forget, restart_server, black_out),
    *(lead_astray, lock_out, give_no_channel),
)


@pytest.mark.parametrize("break_line", EVERY_BREAK)
async def test_connection_breaks_during_the_stability_check(
    tmp_path: Path, break_line: Break
) -> None:
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        world.ssh_limits = HURRIED_SSH
        await world.start_bot(timing=PATIENT | {"settle": timedelta(seconds=2)})
        await world.deploy()
        await world.until_message("Checking · watching")  # Dokku says "Checking" too
        await break_line(world)
        await world.ended()
        seen, _ = await the_end(world)
    assert seen == AT_ONCE


@pytest.mark.parametrize("break_line", EVERY_BREAK)
async def test_all_connections_break_before_the_containers_are_read(
    tmp_path: Path, break_line: Break
) -> None:
    """The command has told its exit status, and the containers have not been read."""
    ends = {"good": AT_ONCE, "bad": (Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS, 1)}
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
        await break_line(world)
        server.refuse_command_for_test(None)
        await world.ended(len(ends))
        for app, end in ends.items():
            seen, _ = await the_end(world, app)
            assert (app, seen) == (app, end)


def _all_read(world: World) -> bool:
    return all("reading what is live" in shown(one) for one in world.messages)


async def cut_the_deploy_s(world: World) -> None:
    """The line that was opened last, and no other."""
    world.simulators.server.drop_newest_for_test()


@pytest.mark.parametrize("ssh_limits", [IMPATIENT_DEPLOYS])
@pytest.mark.parametrize(
    "break_line",
    [cut_the_deploy_s, switch_off, restart_server, black_out, lead_astray, lock_out],
)
async def test_command_that_never_ran_is_sent_again(patient: World, break_line: Break) -> None:
    """All was cut as it arrived: Dokku has no record of it, so nothing ran."""
    server, dokku = patient.simulators.server, patient.simulators.dokku
    server.lose_command_for_test("git:sync")
    await patient.deploy()
    await dokku.until(lambda: server.lost_lines)
    server.lose_command_for_test(None)
    await break_line(patient)
    await patient.ended()
    seen, _ = await the_end(patient)
    assert seen == ONCE_MORE
    await patient.replied("Starting myapp again, once")


def _has_noted(world: World, entries: int) -> bool:
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
        await dokku.until(partial(_has_noted, patient, more))
        drop = server.drop_newest_for_test  # the next questions' line is younger than the deploy's
    patient.let_go()
    await patient.ended()
    seen, _ = await the_end(patient)
    assert seen == AT_ONCE
