"""Approvals as people meet them: two people, their buttons, the thread, the form."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.deployments.model import Failure, Phase
from tests.scenarios.conftest import QuickClock, World, open_world, shown

APPROVE, REJECT = "deployment_approve", "deployment_reject"
SETTINGS = """
[apps.myapp]
approval = "second_person"
approvers = ["{grace}"]
"""


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        grace = world.slack.user("grace").id
        (tmp_path / "deploybot.toml").write_text(SETTINGS.format(grace=grace))
        await world.start_bot(clock=QuickClock())
        yield world


async def test_second_person_approves_the_commit_that_the_message_shows(guarded: World) -> None:
    await guarded.deploy("myapp main")
    message = await guarded.until_message("Awaiting approval by a second person", "Approve")
    grace = guarded.slack.user("grace")
    await guarded.replied(f"<@{grace.id}>", "asks to deploy", message=message)
    # The requester is never the second person.
    await guarded.click(APPROVE, message)
    await guarded.whispered("needs a second person")
    await guarded.click(APPROVE, message, user="grace")
    await guarded.until_message("Deployed", "Approved by")
    (row,) = await guarded.ended()
    assert row.sha == guarded.simulators.forge.sha("myapp", "main")
    assert row.approved_by.user == grace.id
    assert len(guarded.messages) == 1
    # A late click is answered to the clicker alone.
    await guarded.slack.click_stale_for_test(grace, message, action_id=APPROVE)
    await guarded.whispered("was already approved", user="grace")


@pytest.mark.usefixtures("patient_git")
async def test_moved_branch_is_shown_and_decided_on_again(guarded: World) -> None:
    await guarded.deploy("myapp main")
    message = await guarded.until_message("Awaiting approval", "Fix the login redirect", "Approve")
    old = guarded.simulators.forge.sha("myapp", "main")
    guarded.simulators.forge.commit("myapp", "Sneak in")
    new = guarded.simulators.forge.sha("myapp", "main")
    await guarded.click(APPROVE, message, user="grace")
    await guarded.whispered(f"moved from {old[:7]} to {new[:7]}", user="grace")
    # What is approved is described by its own subject, never by that of the commit before.
    moved = await guarded.until_message("Awaiting approval", new[:7], "moved from", "Sneak in")
    assert f'`{new[:7]}` "Sneak in"' in shown(moved)
    assert "2 commits since" in shown(moved)
    await guarded.click(APPROVE, user="grace")
    await guarded.until_message("Deployed")
    (row,) = await guarded.ended()
    assert row.sha == new


async def test_rejection_with_a_reason_ends_it(guarded: World) -> None:
    await guarded.deploy("myapp main")
    message = await guarded.until_message("Awaiting approval", "Reject")
    await guarded.click(REJECT, message, user="grace")
    view = await guarded.viewed("Reason", user="grace")
    assert "*Waiting to deploy myapp* `main` · `" in str(view.payload["blocks"][0])
    result = await guarded.slack.submit(
        guarded.slack.user("grace"), view, {"reason": "not on a Friday"}
    )
    assert result.acked, (result, view.errors)
    failed = await guarded.until_message("Failed:", "not on a Friday")
    assert "rejected" in shown(failed)
    await guarded.whispered("Nothing was sent to Dokku", user="grace")
    (row,) = await guarded.ended()
    assert (row.phase, row.failure) == (Phase.FAILED, Failure.REJECTED)
    assert row.started_at is None


async def test_nobody_else_approves_or_rejects(guarded: World) -> None:
    await guarded.deploy("myapp main")
    message = await guarded.until_message("Awaiting approval", "Reject")
    await guarded.click(APPROVE, message, user="alan")
    await guarded.whispered("You aren't allowed to approve deployments of myapp", user="alan")
    await guarded.click(REJECT, message, user="alan")
    view = await guarded.viewed("Reason", user="alan")
    alan = guarded.slack.user("alan")
    refusals = len(guarded.slack.ephemerals(alan))
    await guarded.slack.submit(alan, view)
    await guarded.slack.until(lambda: len(guarded.slack.ephemerals(alan)) > refusals)
    assert "aren't allowed" in shown(guarded.slack.ephemerals(alan)[-1])
    (row,) = await guarded.rows()
    assert row.phase is Phase.AWAITING_APPROVAL


async def test_approval_by_word_and_after_a_restart(guarded: World) -> None:
    await guarded.deploy("myapp main")
    await guarded.until_message("Awaiting approval")
    await guarded.stop_bot()
    await guarded.start_bot(clock=QuickClock())
    await guarded.deploy("approve myapp", user="grace")
    await guarded.whispered("Approved myapp", user="grace")
    await guarded.until_message("Deployed")


async def test_requester_confirms_with_one_click(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        (tmp_path / "deploybot.toml").write_text('[apps.myapp]\napproval = "confirm"\n')
        await world.start_bot(clock=QuickClock())
        await world.deploy("myapp main")
        await world.until_message("Awaiting approval by the requester")
        await world.click(APPROVE)
        await world.until_message("Deployed")
