"""Outside changes to an app: before a deployment starts, during it, and without an end."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from bot.bootstrap import Bot
from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from bot.simulators.dokku.model import JournalEntry
from tests.scenarios.conftest import QuickClock, World, open_world, shown
from tests.support.incidents import SETTLE, Incident, outside, push_outside, when_checking
from tests.support.message_parts import parts_of

BUILDING = "build step 4/"
OTHER = "ab" * 20


class ClockedBot:
    """A bot whose clock a test can advance."""

    def __init__(self, world: World, bot: Bot, clock: QuickClock) -> None:
        self.world = world
        self.dokku = world.simulators.dokku
        self._bot = bot
        self._clock = clock

    def advance(self, duration: timedelta) -> None:
        """Advance the bot's clock at once."""
        self._clock.leap(duration)
        self._bot.dispatcher.look_for_work()  # as it does every 5 s

    async def until_polls(self, begun: int, count: int) -> None:
        """Wait until the bot has asked for the records `count` times since then."""
        await self.dokku.until(lambda: asked(self.dokku.journal[begun:], "builds:list") >= count)


def asked(entries: list[JournalEntry], command: str) -> int:
    """How many times the bot sent this command."""
    return sum(
        one.details.get("command") == command and not one.details.get("outside") for one in entries
    )


def sent(world: World, command: str) -> bool:
    return asked(world.simulators.dokku.journal, command) > 0


@pytest.fixture
async def clocked(tmp_path: Path) -> AsyncIterator[ClockedBot]:
    clock = QuickClock()
    async with open_world(tmp_path) as world:
        bot = await world.start_bot(clock=clock)
        yield ClockedBot(world, bot, clock)


async def newest(world: World) -> Deployment:
    row = (await world.rows())[0]
    assert isinstance(row, Deployment)
    return row


async def hung_push(world: World) -> asyncio.Task[object]:
    """Start an outside push whose client died: it hangs with the deploy lock (recording m12)."""
    world.hold(BUILDING)
    push = world.simulators.dokku.outside_push_for_test("myapp", OTHER)
    await world.held()
    return push


@pytest.mark.usefixtures("patient_git")
async def test_waiting_message_names_the_outside_deploy_and_is_not_edited_for_its_age(
    clocked: ClockedBot,
) -> None:
    world = clocked.world
    await hung_push(world)
    await world.deploy()
    commit = "Fix the login redirect"  # it comes once git has read it
    message = await world.until_message("1st in line", "a git push outside the bot", commit)
    status = parts_of(message).facts["Status"]
    build = world.app.records[-1]
    assert f"(Dokku build {build.id}), running since " in status
    edits = len(world.slack.edits(message))
    await clocked.until_polls(len(clocked.dokku.journal), 3)
    assert len(world.slack.edits(message)) == edits
    assert parts_of(world.message).facts["Status"] == status
    world.let_go()
    await world.until_message("Deployed")


async def test_endless_outside_push_is_named_with_the_operators_commands(
    clocked: ClockedBot,
) -> None:
    world = clocked.world
    await hung_push(world)
    build = world.app.records[-1]
    await world.deploy()
    await world.until_message("1st in line", "a git push outside the bot")
    clocked.advance(timedelta(minutes=31))
    await world.until_message(
        "Queued", "running longer than a deployment may", f"builds:info myapp {build.id}"
    )
    clocked.advance(timedelta(hours=2))
    await world.until_message("Failed:", "it waited too long in the queue")
    row = await newest(world)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.EXPIRED, Live.PREVIOUS)
    # The clock of this world runs on while the test does.
    assert re.sub(r"2h 3\dm", "2h 31m", row.reason or "") == (
        f"It waited too long for a git push outside the bot (Dokku build {build.id}), which has "
        f"been running for 2h 31m. An operator can find its PID with `builds:info myapp "
        f"{build.id}` and, if that process is still this build, end it with `builds:cancel "
        "myapp`. The previous release is still serving."
    )
    assert "builds:cancel myapp" in shown(world.message)
    assert not sent(world, "builds:cancel")
    assert not sent(world, "git:sync")


async def test_suggested_operator_commands_free_the_app(clocked: ClockedBot) -> None:
    world = clocked.world
    push = await hung_push(world)
    await world.deploy()
    await world.until_message("1st in line", "a git push outside the bot")
    clocked.advance(timedelta(minutes=31))
    await world.until_message("end it with", "builds:cancel myapp")
    await outside_command_for_test(clocked.dokku, "builds:cancel myapp")
    await push
    world.let_go()
    await world.until_message("Deployed")
    row = await newest(world)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


async def test_dead_build_with_a_reused_pid_blocks_only_until_the_deployment_expires(
    clocked: ClockedBot,
) -> None:
    """Dokku shows it as running while any process has its PID."""
    world = clocked.world
    push = await hung_push(world)
    clocked.dokku.kill_dokku_for_test("myapp")
    await asyncio.gather(push, return_exceptions=True)
    dead = world.app.records[-1]
    clocked.dokku.reuse_pid_for_test("myapp", dead.id)
    await world.deploy()
    await world.until_message("1st in line", "a git push outside the bot", dead.id)
    clocked.advance(timedelta(hours=2, minutes=1))
    await world.until_message("Failed:", "if that process is still this build")
    row = await newest(world)
    assert (row.failure, row.live) == (Failure.EXPIRED, Live.PREVIOUS)
    assert not sent(world, "builds:cancel")


async def test_deployment_waits_for_an_outside_restart_and_names_it(clocked: ClockedBot) -> None:
    """It takes no lock: Dokku would run both at once and mix code and settings."""
    world = clocked.world
    world.hold("Attempting pre-flight")
    restart = outside_command_for_test(clocked.dokku, "ps:restart myapp")
    await world.held()
    await world.deploy()
    await world.until_message("1st in line", "a ps:restart outside the bot")
    assert not sent(world, "git:sync")
    world.let_go()
    await restart
    await world.until_message("Deployed")


async def test_outside_push_before_start_requeues(
    world: World, dokku_may_start: asyncio.Event
) -> None:
    """Dokku refuses the start. The refusal emptied its lock file, so nothing may be cancelled."""
    journal = world.simulators.dokku.journal
    begun = len(journal)
    await world.deploy()
    await world.until_message("Starting")
    push = await hung_push(world)
    outside = world.app.records[-1]
    dokku_may_start.set()
    await world.until_message("Queued", "1st in line", "a git push outside the bot (Dokku build")
    assert world.simulators.dokku.holding("myapp")
    assert not sent(world, "builds:cancel")
    world.let_go()
    await push
    assert outside.status == "succeeded"
    await world.until_message("Deployed")
    row = await newest(world)
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)
    assert row.build_id != outside.id
    events = [one.event for one in journal[begun:] if one.event.startswith("lock_")]
    assert events == ["lock_taken", "lock_refused", "lock_taken"]
    assert not sent(world, "builds:cancel")


# --- during a deployment


async def test_outside_config_change_during_a_deployment_is_reported(
    clocked: ClockedBot,
) -> None:
    """Recording inspect_e: it takes no lock and starts whichever image has the tag."""
    world = clocked.world
    world.hold(BUILDING)
    await world.deploy()
    await world.held()
    await outside_command_for_test(clocked.dokku, "config:set myapp COLOUR=blue")
    outside = world.app.records[-1]
    noted = f"Meanwhile, outside the bot: config:set (Dokku build {outside.id})."
    await world.until_message("Building", noted)
    world.let_go()
    await world.until_message("Deployed", "live now: the new release", noted)
    row = await newest(world)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert (row.evidence or "").endswith(f"others: config-redeploy {outside.id} succeeded")


async def test_restarted_bot_still_reports_outside_changes(
    tmp_path: Path,
) -> None:
    """It is read again from Dokku's records and stored with the result."""
    async with open_world(tmp_path) as world:
        await world.start_bot(clock=QuickClock())
        world.hold(BUILDING)
        await world.deploy()
        await world.held()
        await outside_command_for_test(world.simulators.dokku, "ps:restart myapp")
        world.hold("before_exit")  # it continues up to there
        await world.simulators.dokku.until(
            lambda: (
                world.app.records[-2].status == "succeeded"
                and world.simulators.dokku.holding("myapp")
            )
        )
        await world.simulators.server.drop_connections_for_test()
        await world.stop_bot()
        world.let_go()
        await world.start_bot(clock=QuickClock())
        await world.until_message("Deployed", "Meanwhile, outside the bot: ps:restart")
        await world.stop_bot()
        await world.start_bot(clock=QuickClock())
        assert "ps:restart" in ((await newest(world)).reason or "")
        await world.stop_bot()
        assert "Meanwhile, outside the bot: ps:restart" in shown(world.message)


async def test_outside_restart_of_the_previous_release_is_part_of_the_reason(
    clocked: ClockedBot,
) -> None:
    world = clocked.world
    world.now_behaves("build_fails")
    world.hold("Building myapp")
    await world.deploy()
    await world.held()
    await outside_command_for_test(clocked.dokku, "ps:restart myapp")
    world.let_go()
    await world.until_message(
        "Failed", "The previous release is serving; it was restarted in the meantime by ps:restart."
    )
    assert "Meanwhile, outside the bot" not in shown(world.message)


@asynccontextmanager
async def checking(folder: Path, incident: Incident) -> AsyncIterator[World]:
    """A deployment in whose stability check something happened; its settle time is over then."""
    async with open_world(folder) as world:
        timing = {"heartbeat": timedelta(milliseconds=300)}
        settle = f"{SETTLE.total_seconds()}"
        await world.start_bot(timing, QuickClock(speed=1), DEPLOYBOT_SETTLE=settle)
        await when_checking(incident)(world)
        yield world


async def test_outside_scaling_is_reported_without_a_build_record(tmp_path: Path) -> None:
    async with checking(tmp_path, outside("ps:scale myapp web=2")) as world:
        await world.until_message("Deployed", "by a command that Dokku keeps no record of")
        row = await newest(world)
        assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


async def test_refused_outside_push_is_shown_only_in_the_evidence(
    clocked: ClockedBot,
) -> None:
    world = clocked.world
    world.hold(BUILDING)
    await world.deploy()
    await world.held()
    await clocked.dokku.outside_push_for_test("myapp", OTHER)
    refused = world.app.records[-1]
    await clocked.until_polls(len(clocked.dokku.journal), 2)
    world.let_go()
    await world.until_message("Deployed", "live now: the new release")
    assert "Others" not in shown(world.message)
    assert f"git-hook {refused.id} " in ((await newest(world)).evidence or "")


async def test_outside_push_during_the_stability_check_is_named(tmp_path: Path) -> None:
    async with checking(tmp_path, push_outside) as world:
        await world.until_message("Failed", "It was replaced by git push before it was confirmed")
        row = await newest(world)
        assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.UNKNOWN)
