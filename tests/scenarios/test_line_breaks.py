"""The deploy's line breaks in every way and in every phase: the end is the true one, or it resumes.

What dies with its client, and what does not, is as recorded (m1 to m8, m11, m13).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from tests.scenarios.conftest import World, open_world, shown
from tests.support.bot_processes import an_app

pytestmark = pytest.mark.usefixtures("hurried")

BUILDING = "build step 4/"
PHASES = {
    "fetching": "Fetching remote code",
    "building": BUILDING,
    "checked": "Attempting pre-flight checks",
    "switched": "Triggering early",
    "ending": "before_exit",
}
"""App -> the line behind which its deploy stands."""

Break = Callable[[World], Awaitable[None]]
End = tuple[Phase, Failure | None, Live, int]
"""Phase, failure, live, attempts."""

ONCE_MORE: End = (Phase.SUCCEEDED, None, Live.NEW, 2)
AT_ONCE: End = (Phase.SUCCEEDED, None, Live.NEW, 1)
INTERRUPTED: End = (Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS, 1)
TOO_LATE: End = (Phase.FAILED, Failure.INTERRUPTED, Live.NEW, 1)


async def seen_stale(world: World) -> None:
    await world.slack.until(lambda: any("stale" in shown(one) for one in world.messages))


async def reset(world: World) -> None:
    """Both sides learn at once that it is over."""
    await world.stage.server.drop_connections_for_test()


async def switch_off(world: World) -> None:
    """The server is gone, and no packet says so: half open."""
    world.stage.server.forget_server_for_test()


async def forget(world: World) -> None:
    """Ours is reset, and the server does not hear of it: its deploy lives on."""
    world.stage.server.forget_clients_for_test()


async def restart_server(world: World) -> None:
    """All is cut, and nothing listens for a while."""
    server = world.stage.server
    await server.refuse_connections_for_test()
    await server.drop_connections_for_test()
    await seen_stale(world)
    await server.accept_connections_for_test()


async def black_out(world: World) -> None:
    """No packet passes for a while, then all do."""
    world.stage.server.stall_for_test()
    await seen_stale(world)
    world.stage.server.heal_for_test()


PATIENT = {
    "poll_interval": timedelta(milliseconds=300),
    "poll_timeout": timedelta(milliseconds=900),
    "max_poll_errors": 1000,
    "record_wait": timedelta(milliseconds=600),
}


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[World]:
    """Contact is never given up: what is tested is how it goes on."""
    apps = [an_app(name) for name in ("myapp", *PHASES)]
    async with open_world(tmp_path, apps=apps) as world:
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
        (forget, (AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE)),
        (black_out, (AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE)),
    ],
)
async def test_all_lines_break(patient: World, break_line: Break, ends: tuple[End, ...]) -> None:
    """Five deploys stand in five phases at that moment, the last one at its very end."""
    for app, at in PHASES.items():
        patient.hold(at, app)
        await patient.deploy(f"{app} main")
    for app in PHASES:
        await patient.held(app)
    await break_line(patient)
    for app in PHASES:
        patient.let_go(app)
    await patient.ended(len(PHASES))
    for app, end in zip(PHASES, ends, strict=True):
        told, row = await the_end(patient, app)
        assert (app, told) == (app, end)
        live = {one.sha for one in patient.stage.dokku.live(app).values()}
        assert live == {row.sha if row.live is Live.NEW else row.previous_sha}
        if row.failure is Failure.INTERRUPTED:
            assert "connection or the bot died during the deployment" in (row.reason or "")
            serves = "The new release is" if row.live is Live.NEW else "previous release is still"
            assert serves in (row.reason or "")
    assert len(patient.messages) == len(PHASES)


@pytest.mark.parametrize("break_line", [reset, switch_off, forget])
async def test_a_line_that_breaks_while_the_new_release_is_watched(
    tmp_path: Path, break_line: Break
) -> None:
    async with open_world(tmp_path) as world:
        await world.start_bot(timing=PATIENT | {"settle": timedelta(seconds=3)})
        await world.deploy()
        await world.until_message("Checking")
        await break_line(world)
        await world.ended()
        told, _ = await the_end(world)
    assert told == AT_ONCE


async def test_a_command_that_the_server_never_ran_is_sent_again(patient: World) -> None:
    """All was cut as it arrived: Dokku has no record of it, so nothing ran."""
    server, dokku = patient.stage.server, patient.stage.dokku
    server.loses = "git:sync"
    await patient.deploy()
    await dokku.until(lambda: server.lost, timeout_s=20)
    server.loses = None
    server.drop_newest_for_test()
    await patient.ended()
    told, _ = await the_end(patient)
    assert told == ONCE_MORE
    await patient.replied("Starting myapp again, once")


def _has_noted(world: World, entries: int) -> bool:
    return len(world.stage.dokku.journal) >= entries


async def test_the_questions_line_is_no_business_of_the_deploy(patient: World) -> None:
    patient.hold(BUILDING)
    await patient.deploy()
    await patient.held()
    server, dokku = patient.stage.server, patient.stage.dokku
    drop = server.drop_oldest_for_test
    for _ in range(3):
        seen = len(dokku.journal) + 1
        drop()
        await dokku.until(partial(_has_noted, patient, seen))
        drop = server.drop_newest_for_test  # the next questions' line is younger than the deploy's
    patient.let_go()
    await patient.ended()
    told, _ = await the_end(patient)
    assert told == AT_ONCE
