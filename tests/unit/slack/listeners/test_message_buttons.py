import asyncio
from dataclasses import replace

import pytest

from bot.deployments.model import Actor, CancelRequest, Deployment, Live, Phase, Trigger
from bot.simulators.slack.model import Message
from tests.support.builders import NOW, OLD_SHA, SHA, a_deployment
from tests.support.stage import Stage, open_stage

ONE = "01K9ZB0000000000000000001A"


async def a_message(
    stage: Stage, phase: Phase, log: str = "", live: Live | None = None
) -> tuple[Deployment, Message]:
    row = a_deployment(id=ONE, app="myapp", phase=phase, live=live, rollback_sha=OLD_SHA)
    stage.service.logs[ONE] = log
    deployment = await stage.service.post(row, stage.deploys.id)
    return deployment, await stage.live_message()


async def test_full_log_opens_at_once_and_is_filled_in_later() -> None:
    async with open_stage() as stage:
        _, message = await a_message(stage, Phase.BUILDING, "step 1\nstep 2\n")
        async with stage.slack.hold_for_test("views.update"):
            await stage.slack.click(stage.ada, message, action_id="deployment_log")
            await stage.view("Fetching the log")
        await stage.view("step 2")


async def test_full_log_of_an_unknown_deployment_says_so_in_the_modal() -> None:
    async with open_stage() as stage:
        _, message = await a_message(stage, Phase.BUILDING)
        stage.service.rows.clear()
        await stage.slack.click(stage.ada, message, action_id="deployment_log")
        await stage.view("no longer on record")


async def test_cancel_calls_the_service_and_answers_only_the_clicker() -> None:
    async with open_stage() as stage:
        _, message = await a_message(stage, Phase.BUILDING)
        await stage.slack.click(stage.ada, message, action_id="deployment_cancel")
        assert await stage.whisper() == "Cancelling it."
        ((cancelled, actor, through),) = stage.service.cancels
        assert (cancelled, actor.user, through) == (ONE, stage.ada.id, "button")
        assert not stage.slack.thread(message)


async def test_outdated_cancel_only_shows_the_clicker_a_notice() -> None:
    async with open_stage() as stage:
        row, message = await a_message(stage, Phase.BUILDING)
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.SUCCEEDED))
        await stage.slack.click(stage.ada, message, action_id="deployment_cancel")
        assert (
            "no longer applies: this deployment has already ended (succeeded)"
            in await stage.whisper()
        )
        assert not stage.service.cancels
        assert row.message is not None


async def test_cancel_that_came_too_late_points_to_roll_back() -> None:
    async with open_stage() as stage:
        _, message = await a_message(stage, Phase.BUILDING)
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.CHECKING))
        await stage.slack.click(stage.ada, message, action_id="deployment_cancel")
        said = await stage.whisper()
        assert "Too late to cancel" in said
        assert "*Roll back*" in said
        assert not stage.service.cancels


async def test_cancel_is_not_shown_during_the_stability_check() -> None:
    async with open_stage() as stage:
        _, message = await a_message(stage, Phase.CHECKING)
        assert set(message.buttons) == {"deployment_log"}


async def test_first_day_roll_back_is_offered_as_not_verified() -> None:
    async with open_stage() as stage:
        row = a_deployment(
            id=ONE,
            app="myapp",
            sha=SHA,
            phase=Phase.SUCCEEDED,
            live=Live.NEW,
            finished_at=NOW,
            previous_sha=OLD_SHA,
        )
        await stage.service.post(row, stage.deploys.id)
        message = await stage.live_message()
        assert "deployment_rollback" not in message.buttons
        (dialog,) = [
            one["confirm"]["text"]["text"]
            for block in message.blocks
            for one in block.get("elements", ())
            if one.get("action_id") == "deployment_rollback_unverified"
        ]
        assert f"from {SHA[:7]} (live since 2026-11-24 12:00 UTC) back to {OLD_SHA[:7]}" in dialog
        assert "not verified by deploybot" in dialog
        assert "built again" in dialog
        await stage.slack.click(
            stage.ada, message, action_id="deployment_rollback_unverified", confirm=True
        )
        await stage.slack.until(lambda: stage.service.requests)
        assert stage.service.requests[0].ref == OLD_SHA


async def test_roll_back_deploys_the_commit_that_the_message_showed() -> None:
    """A late verdict may have recorded another one since."""
    async with open_stage() as stage:
        row, message = await a_message(stage, Phase.FAILED, live=Live.NONE)
        other = "c" * 40
        stage.service.known(replace(row, rollback_sha=other, previous_sha=OLD_SHA))
        await stage.slack.click(stage.ada, message, action_id="deployment_rollback")
        await stage.slack.until(lambda: stage.service.requests)
        assert stage.service.requests[0].ref == OLD_SHA


async def test_second_cancel_says_that_a_cancel_was_already_requested() -> None:
    async with open_stage() as stage:
        _, message = await a_message(stage, Phase.BUILDING)
        cancel = CancelRequest(by=Actor(user="U1"), at=NOW)
        stage.service.known(
            a_deployment(id=ONE, app="myapp", phase=Phase.CANCELLING, cancel=cancel)
        )
        await stage.slack.click(stage.ada, message, action_id="deployment_cancel")
        assert "already being cancelled" in await stage.whisper()
        assert not stage.service.cancels


async def test_button_of_an_unknown_deployment_says_so() -> None:
    async with open_stage() as stage:
        _, message = await a_message(stage, Phase.FAILED)
        stage.service.rows.clear()
        await stage.slack.click(stage.ada, message, action_id="deployment_retry")
        assert "no longer on record" in await stage.whisper()


@pytest.mark.parametrize(
    ("action_id", "ref"), [("deployment_retry", "main"), ("deployment_rollback", OLD_SHA)]
)
async def test_retry_and_roll_back_start_one_deployment_each(action_id: str, ref: str) -> None:
    async with open_stage() as stage:
        _, message = await a_message(stage, Phase.FAILED, live=Live.NONE)
        await stage.slack.click(stage.ada, message, action_id=action_id)
        await stage.slack.until(lambda: stage.service.requests)
        await stage.slack.redeliver_last_for_test("interactive")
        await stage.slack.click(stage.ada, message, action_id=action_id)
        assert "already been started" in await stage.whisper()
        (ask,) = stage.service.requests
        assert (ask.ref, ask.trigger, ask.channel) == (ref, Trigger.BUTTON, stage.deploys.id)
        assert (ask.retry_of or ask.rollback_of) == ONE
        assert ask.request_key.startswith(f"click:{message.ts}:{action_id}:")


async def test_two_simultaneous_retries_start_one_deployment() -> None:
    async with open_stage() as stage:
        _, message = await a_message(stage, Phase.FAILED, live=Live.NONE)
        grace = stage.slack.user("grace")
        async with stage.slack.hold_for_test("chat.postMessage"):
            await asyncio.gather(
                stage.slack.click(stage.ada, message, action_id="deployment_retry"),
                stage.slack.click(grace, message, action_id="deployment_retry"),
            )
        seen = await stage.slack.until(
            lambda: stage.slack.ephemerals(stage.ada) + stage.slack.ephemerals(grace)
        )
        assert "already been started" in seen[0].text
        assert len(stage.service.requests) == 1


@pytest.mark.parametrize("action_id", ["deployment_retry", "deployment_rollback"])
async def test_retry_and_roll_back_work_where_they_are_hidden_by_now(
    action_id: str,
) -> None:
    async with open_stage() as stage:
        _, message = await a_message(stage, Phase.FAILED, live=Live.NONE)
        stage.service.known(
            a_deployment(
                id=ONE, app="myapp", phase=Phase.FAILED, live=Live.PREVIOUS, rollback_sha=OLD_SHA
            )
        )
        await stage.slack.click(stage.ada, message, action_id=action_id)
        await stage.slack.until(lambda: stage.service.requests)


async def test_people_of_another_workspace_may_use_no_button() -> None:
    async with open_stage() as stage:
        mallory = stage.slack.user("mallory")
        _, message = await a_message(stage, Phase.BUILDING)
        stage.deploys.members.add(mallory.id)
        for action_id in ("deployment_log", "deployment_cancel"):
            await stage.slack.click(mallory, message, action_id=action_id)
        seen = await stage.slack.until(
            lambda: len(stage.slack.ephemerals(mallory)) > 1 and stage.slack.ephemerals(mallory)
        )
        assert seen
        assert all("own workspace" in one.text for one in seen)
        assert stage.slack.view(mallory) is None
        assert not stage.service.cancels
