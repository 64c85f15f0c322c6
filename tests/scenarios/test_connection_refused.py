"""During a deploy another server answers, or the server refuses the bot.

A deployment with a working connection continues. If its connection is cut too, it is reported as
lost, with the reason and what to do, and corrected once the server accepts the bot again.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.simulators.dokku.sshd import DokkuServer
from bot.simulators.patience import stretched
from tests.scenarios.conftest import FREQUENT_EDITS, HURRIED_SSH, World, open_world
from tests.support.bot_processes import an_app
from tests.support.incidents import HELD_AT

CORRECTED = {
    "fetching": (Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS),
    "building": (Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS),
    "checked": (Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS),
    "switched": (Phase.FAILED, Failure.INTERRUPTED, Live.NEW),
    "ending": (Phase.SUCCEEDED, None, Live.NEW),
}
"""Results once the server can be queried again: the deploys died with their connections."""
EVERY_PHASE = tuple(HELD_AT)
TWO = ("building", "ending")
"""The least and the most that a correction can say; why no login worked changes nothing of it."""
MAX_STARTUPS = b"Exceeded MaxStartups\r\n"
IMPATIENT: dict[str, Any] = {
    "poll_interval": timedelta(milliseconds=200),
    "poll_timeout": timedelta(seconds=2),
    "max_poll_errors": 3,
    "late_interval": timedelta(milliseconds=300),
}
"""A poll lasts for three login attempts, so that it can report their errors."""
Switch = Callable[[DokkuServer], None]


def show_another_key(server: DokkuServer) -> None:
    server.change_host_key_for_test(asyncssh.generate_private_key("ssh-ed25519"))


def show_its_key(server: DokkuServer) -> None:
    server.change_host_key_for_test(None)


def refuse_key(server: DokkuServer) -> None:
    server.refuse_key_for_test()


def accept_key(server: DokkuServer) -> None:
    server.refuse_key_for_test(refuse=False)


def turn_logins_away(server: DokkuServer) -> None:
    server.turn_away_for_test(MAX_STARTUPS)


def accept_logins(server: DokkuServer) -> None:
    server.turn_away_for_test(None)


def close_channels(server: DokkuServer) -> None:
    server.limit_sessions_for_test(0)


def open_channels(server: DokkuServer) -> None:
    server.limit_sessions_for_test()


def asked(world: World) -> int:
    """How many queries the server got."""
    return [one.event for one in world.simulators.dokku.journal].count("asked")


@pytest.mark.parametrize(
    ("shut", "open_again", "phases", "words"),
    [
        (
            show_another_key,
            show_its_key,
            EVERY_PHASE,
            ("host key that is not among the known ones", "ssh-keyscan", "into known_hosts"),
        ),
        (refuse_key, accept_key, TWO, ("refused the bot's SSH key", "dokku ssh-keys:add")),
        (turn_logins_away, accept_logins, TWO, ("too many logins at once",)),
        (close_channels, open_channels, TWO, ("The server could not be queried",)),
    ],
)
async def test_all_connections_are_cut_and_new_ones_fail(
    tmp_path: Path,
    shut: Switch,
    open_again: Switch,
    phases: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    apps = [an_app(name) for name in phases]
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS, apps=apps) as world:
        world.ssh_limits = HURRIED_SSH
        await world.start_bot(timing=IMPATIENT)
        server = world.simulators.server
        for app in phases:
            world.hold(HELD_AT[app], app)
            await world.deploy(f"{app} main")
        for app in phases:
            await world.held(app)
        shut(server)
        await server.drop_connections_for_test()
        # What came just before the cut is still answered, and written to the journal.
        dokku = world.simulators.dokku
        await dokku.until(lambda: not dokku.pending_queries)
        before = asked(world)
        await world.ended(len(phases))
        for app in phases:
            (row,) = await world.rows(app)
            assert (row.failure, row.live) == (Failure.LOST_CONTACT, Live.UNKNOWN)
            assert [word for word in words if word not in row.reason] == []
        assert asked(world) == before, "an unknown server gets no query"
        for app in phases:
            world.let_go(app)
        await world.simulators.dokku.until(lambda: not any(map(world.runs, phases)))
        open_again(server)
        await world.ended(2 * len(phases))
        for app in phases:
            (row,) = await world.rows(app)
            assert (app, row.phase, row.failure, row.live) == (app, *CORRECTED[app])
            assert row.corrected_from["failure"] == "lost_contact"
            assert "could not be queried" not in row.reason
            live = {one.sha for one in world.simulators.dokku.live(app).values()}
            assert live == {row.sha if row.live is Live.NEW else row.previous_sha}


async def test_deploy_continues_while_only_questions_reach_another_server(tmp_path: Path) -> None:
    """Its connection was opened before and leads to the known server."""
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        world.ssh_limits = HURRIED_SSH
        await world.start_bot(timing=IMPATIENT | {"max_poll_errors": 1000})
        server = world.simulators.server
        world.hold()
        await world.deploy()
        await world.held()
        show_another_key(server)
        server.drop_oldest_for_test()
        await world.until_message("Building", "No contact with", "into known_hosts")
        world.let_go()
        await world.until_message("Ended, reading what is live", "into known_hosts")
        show_its_key(server)
        (row,) = await world.ended()
        assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)


@pytest.mark.parametrize(
    ("shut", "open_again", "why"),
    [
        (refuse_key, accept_key, "refused the bot's SSH key"),
        (close_channels, open_channels, "had no channel free"),
    ],
)
async def test_unreadable_live_state_says_why_and_is_corrected(
    tmp_path: Path, shut: Switch, open_again: Switch, why: str
) -> None:
    """No query passes, but the deploy's output arrives: it is not lost, and its result counts."""
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        world.ssh_limits = HURRIED_SSH
        await world.start_bot(timing=IMPATIENT)
        server = world.simulators.server
        world.now_behaves("build_fails")
        world.hold()
        await world.deploy()
        await world.held()
        shut(server)
        server.drop_oldest_for_test()
        world.let_go()
        (row,) = await world.ended()
        assert (row.failure, row.live) == (Failure.BUILD_FAILED, Live.UNKNOWN)
        assert row.reason.startswith("The build failed")
        assert why in row.reason
        open_again(server)
        (row,) = await world.ended(2)
        assert (row.failure, row.live) == (Failure.BUILD_FAILED, Live.PREVIOUS)
        assert "could not be queried" not in row.reason


async def test_questions_on_a_half_open_connection_move_to_a_new_one(tmp_path: Path) -> None:
    """Only that connection is dead, as with a firewall that dropped its state."""
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        world.ssh_limits = HURRIED_SSH
        # On a busy machine, more than 3 polls may end before the dead connection is replaced.
        poll_timeout = stretched(timedelta(seconds=1))
        await world.start_bot(
            timing=IMPATIENT | {"max_poll_errors": 1000, "poll_timeout": poll_timeout}
        )
        server, dokku = world.simulators.server, world.simulators.dokku
        world.hold()
        await world.deploy()
        await world.held()
        await world.until_message("Building", "Dokku build")
        dokku.delay_answers_for_test(0.5)
        await dokku.until(partial(_has_asked, world, asked(world) + 1))
        server.forget_server_of_oldest_for_test()
        dokku.delay_answers_for_test(0)
        # The deploy's, the dead one (its last query may still run) and its replacement.
        await dokku.until(lambda: server.connections == 3)
        await dokku.until(partial(_has_asked, world, asked(world) + 3))
        await world.until_message("Building", "checked")
        world.let_go()
        (row,) = await world.ended()
        assert isinstance(row, Deployment)
        assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)


def _has_asked(world: World, count: int) -> bool:
    return asked(world) >= count
