"""The buttons of the live message: when they are there, what they do, late clicks."""

from bot.deployments.model import Phase, Trigger
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import World

LOG, CANCEL, DETAILS = "deployment_log", "deployment_cancel", "deployment_details"
RETRY, ROLLBACK = "deployment_retry", "deployment_rollback"
UNVERIFIED = "deployment_rollback_unverified"


async def test_cancel_asks_first_and_then_stops_the_build(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    message = await quick.until_message("Building", "Cancel")
    declined = await quick.slack.click(quick.ada, message, action_id=CANCEL, confirm=False)
    assert not declined.sent
    await quick.click(CANCEL, user="grace")
    await quick.whispered("Cancelling myapp", user="grace")
    (row,) = await quick.ended()
    assert row.phase is Phase.CANCELLED
    assert row.cancel.by.user == quick.slack.user("grace").id
    await quick.until_message("Cancelled:")
    assert quick.slack.ephemerals(quick.ada) == []


async def test_cancel_removes_a_waiting_deployment_from_the_queue(quick: World) -> None:
    quick.hold()
    await quick.deploy("myapp main")
    await quick.held()
    await quick.deploy("myapp v1.0")
    await quick.posted(2)
    await quick.click(CANCEL)
    await quick.until_message("Cancelled:", "`v1.0`")
    await quick.whispered("was queued and is now cancelled")
    quick.let_go()
    waiting, running = await quick.ended(2)
    assert waiting.phase is Phase.CANCELLED
    assert waiting.started_at is None
    assert running.phase is Phase.SUCCEEDED


async def test_several_people_pressing_retry_start_one_deployment(quick: World) -> None:
    quick.now_behaves("build_fails")
    await quick.deploy()
    failed = await quick.until_message("Failed:", "Retry")
    quick.now_behaves("ok")
    quick.hold()
    await quick.click(RETRY, failed)
    await quick.posted(2)
    await quick.click(RETRY, failed, user="grace")
    await quick.whispered("already been started", user="grace")
    quick.let_go()
    await quick.until_message("Deployed", "(retry)")
    new, old = await quick.rows()
    assert (new.retry_of, new.trigger) == (old.id, Trigger.BUTTON)
    assert new.requested_by.user == quick.ada.id
    # The old message keeps its button, and it keeps working.
    await quick.click(RETRY, failed)
    await quick.posted(3)
    assert len(await quick.rows()) == 3


async def test_outdated_click_only_shows_the_clicker_a_notice(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    message = await quick.until_message("Building", "Cancel")
    quick.let_go()
    await quick.until_message("Deployed")
    assert CANCEL not in message.buttons
    before = quick.slack.edits(message)
    grace = quick.slack.user("grace")
    late = await quick.slack.click_stale_for_test(grace, message, action_id=CANCEL)
    assert late.acked
    await quick.whispered("no longer applies", user="grace")
    assert quick.slack.edits(message) == before
    assert quick.slack.ephemerals(quick.ada) == []
    (row,) = await quick.rows()
    assert (row.phase, row.cancel) == (Phase.SUCCEEDED, None)


async def test_nothing_is_left_to_cancel_during_the_stability_check(quick: World) -> None:
    await quick.stop_bot()
    await quick.start_bot(DEPLOYBOT_SETTLE="60s")
    await quick.deploy()
    message = await quick.until_message("Checking · watching")
    assert CANCEL not in message.buttons
    await quick.slack.click_stale_for_test(quick.ada, message, action_id=CANCEL)
    await quick.whispered("Too late to cancel", "Roll back")
    (row,) = await quick.rows()
    assert (row.phase, row.cancel) == (Phase.CHECKING, None)


async def test_roll_back_deploys_the_commit_it_named_and_never_the_live_one(quick: World) -> None:
    await quick.deploy("myapp main")
    await quick.until_message("Deployed", "`main`")
    first = quick.message
    assert ROLLBACK not in first.buttons  # nothing before it was proven live by this bot
    assert UNVERIFIED in first.buttons
    await quick.deploy("myapp feature/login")
    await quick.until_message("Deployed", "`feature/login`", "Roll back")
    second = quick.message
    newest, oldest = await quick.rows()
    assert newest.rollback_sha == oldest.sha
    assert oldest.sha[:7] in _dialog_of(second)

    await quick.click(ROLLBACK, second)
    await quick.until_message("Deployed", "(rollback)")
    assert _live(quick) == oldest.sha
    assert newest.sha[:7] in _dialog_of(quick.message)

    await quick.click(ROLLBACK, second)
    await quick.whispered("is already live")
    assert len(await quick.rows()) == 3


async def test_first_day_roll_back_goes_to_what_dokku_named_and_is_then_proven(
    quick: World,
) -> None:
    before = _live(quick)
    await quick.deploy("myapp main")
    message = await quick.until_message("Deployed", "`main`")
    await quick.click(UNVERIFIED, message)
    await quick.until_message("Deployed", "(rollback)")
    assert _live(quick) == before
    await quick.click(UNVERIFIED, message)
    await quick.whispered("is already live")
    back, first = await quick.rows()
    assert (back.sha, back.rollback_of, back.rollback_sha) == (before, first.id, first.sha)
    assert ROLLBACK in quick.message.buttons


async def test_failure_offers_roll_back_only_if_it_changed_something(
    quick: World,
) -> None:
    await quick.deploy("myapp main")
    await quick.until_message("Deployed")
    quick.now_behaves("build_fails")
    await quick.deploy("myapp feature/login")
    failed = await quick.until_message("Failed:", "the build failed")
    assert set(failed.buttons) == {LOG, RETRY, DETAILS}
    quick.now_behaves("crash_1s")
    await quick.deploy("myapp v1.0")
    crashed = await quick.until_message("Failed:", "keeps crashing")
    assert set(crashed.buttons) == {LOG, RETRY, ROLLBACK, DETAILS}
    quick.now_behaves("ok")
    await quick.click(ROLLBACK, crashed)
    await quick.until_message("Deployed", "(rollback)")
    assert _live(quick) == quick.simulators.forge.sha("myapp", "main")


def _dialog_of(message: Message) -> str:
    (row,) = [block for block in message.blocks if block["type"] == "actions"]
    (button,) = [one for one in row["elements"] if one["action_id"] == ROLLBACK]
    return str(button["confirm"]["text"]["text"])


def _live(world: World) -> str:
    (sha,) = {one.sha for one in world.simulators.dokku.live("myapp").values()}
    return sha
