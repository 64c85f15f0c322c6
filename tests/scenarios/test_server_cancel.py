"""A build that lives on without the bot's connection, and who ends it on the server."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.deployments.model import Live, Phase
from bot.dokku.limits import SshLimits
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import FREQUENT_EDITS, World, open_world, shown

BUTTON, YES = "deployment_server_cancel", "answer_server_cancel"
SETTINGS = """
[apps.myapp]
approvers = ["{grace}"]
"""


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[World]:
    """Grace is the only approver. Logs are read as soon as they are silent for a moment."""
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        (tmp_path / "deploybot.toml").write_text(
            SETTINGS.format(grace=world.slack.user("grace").id)
        )
        world.ssh_limits = SshLimits(quiet_s=0.3, followed_s=2)
        await world.start_bot(timing={"log_grows_within": timedelta(milliseconds=500)})
        yield world


async def lose_the_line(world: World) -> Message:
    """Lose the connection of a silent build so that the server does not notice."""
    await world.deploy_until("build step 4/")
    message = await world.until_message("Building", "Dokku build")
    world.simulators.server.forget_clients_for_test()
    await world.slack.until(lambda: BUTTON in message.buttons)
    return message


def sent(world: World, command: str) -> int:
    entries = world.simulators.dokku.journal
    return sum(str(one.details.get("command", "")).startswith(command) for one in entries)


async def question(world: World) -> Any:
    grace = world.slack.user("grace")

    def asked() -> Message | None:
        found = [one for one in world.slack.ephemerals(grace) if YES in one.buttons]
        return found[-1] if found else None

    return await world.slack.until(asked)


async def test_approver_ends_a_build_whose_line_was_lost_and_the_next_one_starts(
    guarded: World,
) -> None:
    first = await lose_the_line(guarded)
    (build,) = [one for one in guarded.app.records if one.status == "running"]
    await guarded.deploy("myapp main")
    await guarded.slack.until(
        lambda: len(guarded.messages) == 2 and BUTTON in guarded.message.buttons
    )
    waiting = guarded.message
    assert "The build ahead goes on although the connection to it was lost" in shown(waiting)

    await guarded.click(BUTTON, waiting)  # ada may deploy, and is no approver
    await guarded.whispered("Only approvers of myapp can do that")

    await guarded.click(BUTTON, waiting, user="grace")
    asked = await question(guarded)
    text = shown(asked)
    assert f"Cancel Dokku build `{build.id}` of *myapp*?" in text
    assert "By Dokku's record it has run for" in text
    assert "Its log has not grown since the first look at" in text
    assert "a dead build is shown as running while another process has its PID" in text
    assert not sent(guarded, "builds:cancel")

    await guarded.click(YES, asked, user="grace")
    await guarded.whispered(f"Cancelling Dokku build {build.id} on the server", user="grace")
    await guarded.slack.until(lambda: "Cancelled" in shown(first))
    assert build.status == "canceled"
    assert sent(guarded, "builds:cancel") == 1
    guarded.let_go()
    await guarded.until_message("Deployed")
    second, cancelled = await guarded.rows()
    assert (cancelled.phase, cancelled.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert cancelled.cancel.by.user == guarded.slack.user("grace").id
    assert (second.phase, second.live) == (Phase.SUCCEEDED, Live.NEW)

    # Late clicks are answered to the clicker alone, and send nothing.
    for target, action in ((asked, YES), (waiting, BUTTON)):
        grace = guarded.slack.user("grace")
        await guarded.slack.click_stale_for_test(grace, target, action_id=action)
    await guarded.whispered("its record says canceled. Nothing was sent", user="grace")
    assert sent(guarded, "builds:cancel") == 1


async def test_cancelled_build_that_goes_on_printing_is_ended_by_the_bot(guarded: World) -> None:
    first = await lose_the_line(guarded)
    await guarded.click("deployment_cancel", first)
    dokku = guarded.simulators.dokku
    await guarded.until_message("cancel requested", "once its log grows")
    looks = sent(guarded, "builds:output")
    await dokku.until(lambda: sent(guarded, "builds:output") > looks + 2)
    assert not sent(guarded, "builds:cancel")  # silent: another process may have its PID
    guarded.hold("build step 6/")  # it prints up to there
    await guarded.slack.until(lambda: "Cancelled" in shown(first))
    assert sent(guarded, "builds:cancel") == 1
    (row,) = await guarded.rows()
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert row.cancel.by.user == guarded.ada.id
