"""Late verdicts, and the single second start of a lost deployment."""

from datetime import timedelta
from typing import Any

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from bot.simulators.dokku.crashes import crash_loop
from tests.scenarios.conftest import World, shown

LATE: dict[str, Any] = {
    "poll_interval": timedelta(milliseconds=100),
    "poll_timeout": timedelta(milliseconds=300),
    "late_interval": timedelta(milliseconds=300),
}


async def newest(world: World) -> Deployment:
    row = (await world.rows())[0]
    assert isinstance(row, Deployment)
    return row


def thread(world: World) -> str:
    slack = world.simulators.slack
    return "\n".join(shown(reply) for reply in slack.thread(world.messages[0]))


def webhook_types(world: World) -> list[str]:
    """Types of the webhooks that arrived, oldest first."""
    return [str(one.body["type"]) for one in world.simulators.receiver.delivered]


async def test_lost_contact_is_corrected_by_the_healed_connection(world: World) -> None:
    await world.stop_bot()
    # Late looks are off: the correction comes from the deploy's connection, which is still read.
    await world.start_bot(timing=LATE | {"late_interval": timedelta(hours=1)})
    await world.deploy_until("build step 4/")
    await world.until_message("Building")
    world.simulators.server.stall_for_test()
    await world.until_message("Failed", "contact")
    assert (await newest(world)).live is Live.UNKNOWN
    world.simulators.server.heal_for_test()
    world.simulators.dokku.release_for_test("myapp")
    await world.until_message("Deployed")
    row = await newest(world)
    assert (row.phase, row.failure, row.live) == (Phase.SUCCEEDED, None, Live.NEW)
    assert row.corrected_from == {"status": "failed", "failure": "lost_contact", "live": "unknown"}
    assert len(world.messages) == 1
    await world.simulators.slack.until(lambda: "Correction" in thread(world))
    await world.simulators.receiver.wait_delivered(2)
    assert webhook_types(world) == ["deployment.finished", "deployment.corrected"]
    data = world.simulators.receiver.delivered[-1].body["data"]
    assert data["corrected_from"] == row.corrected_from
    assert (data["id"], data["status"], data["failure"]) == (row.id, "succeeded", None)
    assert (data["live"], data["reason"]) == ("new", row.reason)


async def test_unconfirmed_timeout_is_corrected_once_the_build_is_dead(
    world: World,
) -> None:
    """Dokku gets no cancel, and a silent build is not killed by a closed connection."""
    await world.stop_bot()
    await world.start_bot(timing=LATE, DEPLOYBOT_MAX_DURATION="2s")
    world.simulators.server.refuse_command_for_test("builds:cancel")
    await world.deploy_until("build step 4/")
    await world.until_message("Failed", "how it ended on the server is unknown")
    row = await newest(world)
    assert (row.failure, row.live) == (Failure.TIMED_OUT, Live.UNKNOWN)
    world.simulators.dokku.release_for_test("myapp")
    await world.until_message(
        "Failed", "longer than allowed and was stopped", "live now: the previous release"
    )
    row = await newest(world)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.TIMED_OUT, Live.PREVIOUS)
    assert row.corrected_from == {"status": "failed", "failure": "timed_out", "live": "unknown"}
    await world.simulators.slack.until(lambda: "Correction" in thread(world))
    await world.simulators.receiver.wait_delivered(2)
    assert webhook_types(world) == ["deployment.finished", "deployment.corrected"]


async def test_live_state_is_corrected_once_docker_answers_again(world: World) -> None:
    await world.stop_bot()
    await world.start_bot(timing=LATE)
    world.now_behaves("docker_killed")
    await world.deploy()
    await world.until_message("Failed")
    assert (await newest(world)).live is Live.UNKNOWN
    world.simulators.dokku.revive_docker_for_test()
    await world.until_message("Failed", "live now: the previous release")
    row = await newest(world)
    assert (row.phase, row.live) == (Phase.FAILED, Live.PREVIOUS)


async def test_unproven_result_says_that_it_was_replaced(world: World) -> None:
    await world.stop_bot()
    await world.start_bot(timing=LATE | {"late_interval": timedelta(hours=1)})
    world.now_behaves("docker_killed")
    await world.deploy()
    await world.until_message("Failed")
    world.simulators.dokku.revive_docker_for_test()
    world.now_behaves("ok")
    await world.deploy()
    await world.until_message("Deployed")
    await world.stop_bot()
    await world.start_bot(timing=LATE)
    slack = world.simulators.slack
    await slack.until(lambda: "Replaced before it could be known" in shown(world.messages[0]))
    first = (await world.rows())[1]
    assert (first.phase, first.live, first.corrected_from) == (Phase.FAILED, Live.UNKNOWN, None)
    assert webhook_types(world) == ["deployment.finished", "deployment.finished"]


async def test_deployment_with_a_broken_connection_is_started_once_more(world: World) -> None:
    await world.deploy_until("build step 4/")
    await world.until_message("Building")
    await world.simulators.server.drop_connections_for_test()
    world.simulators.dokku.release_for_test("myapp")
    await world.until_message("Deployed")
    row = await newest(world)
    assert (row.phase, row.attempt) == (Phase.SUCCEEDED, 2)
    assert len(world.messages) == 1
    assert len(await world.rows()) == 1
    await world.simulators.slack.until(lambda: "Starting myapp again, once" in thread(world))
    await world.simulators.receiver.wait_delivered(1)
    assert webhook_types(world) == ["deployment.finished"]


async def test_second_loss_is_interrupted(world: World) -> None:
    await world.deploy_until("build step 4/")
    await world.simulators.server.drop_connections_for_test()
    dokku = world.simulators.dokku
    # The first run dies at its next line; the second attempt is held earlier and lost too.
    dokku.hold_for_test("myapp", at="build step 2/")
    await dokku.until(lambda: [one.event for one in dokku.journal].count("held") == 2)
    await world.simulators.server.drop_connections_for_test()
    dokku.release_for_test("myapp")
    await world.until_message("Failed", "live now: the previous release")
    row = await newest(world)
    assert (row.failure, row.live, row.attempt) == (Failure.INTERRUPTED, Live.PREVIOUS, 2)


async def test_restarted_bot_starts_the_deployment_again(world: World) -> None:
    await world.deploy_until("build step 4/")
    await world.until_message("Building")
    await world.stop_bot()
    world.simulators.dokku.release_for_test("myapp")
    await world.start_bot()
    await world.until_message("Deployed")
    row = await newest(world)
    assert (row.phase, row.attempt) == (Phase.SUCCEEDED, 2)
    assert len(world.messages) == 1


async def test_cancelled_lost_deployment_is_not_started_again(world: World) -> None:
    await world.deploy_until("Fetching remote code")
    row = await newest(world)
    assert world.bot is not None
    slack = world.simulators.slack
    await slack.click(slack.user("ada"), world.message, action_id="deployment_cancel", confirm=True)
    await world.until_message("Cancel")
    await world.simulators.server.drop_connections_for_test()
    world.simulators.dokku.release_for_test("myapp")
    await world.until_message("Cancelled")
    row = await newest(world)
    assert (row.phase, row.live, row.attempt) == (Phase.CANCELLED, Live.PREVIOUS, 1)


async def test_crash_loop_after_a_success_gets_one_thread_reply(world: World) -> None:
    await world.stop_bot()
    await world.start_bot(timing={"late_interval": timedelta(milliseconds=300)})
    await world.deploy()
    await world.until_message("Deployed")
    dokku, slack = world.simulators.dokku, world.simulators.slack
    (container,) = world.app.listed.values()
    dokku.spawn(crash_loop(dokku, world.app, container, life_s=20))
    await slack.until(lambda: "has crashed and was restarted" in thread(world))
    row = await newest(world)
    assert row.crash_told
    replies = slack.thread(world.messages[0])
    assert sum("has crashed and was restarted" in reply.text for reply in replies) == 1


async def test_crash_after_an_outside_restart_is_not_reported(world: World) -> None:
    await world.stop_bot()
    await world.start_bot(timing={"late_interval": timedelta(milliseconds=300)})
    await world.deploy()
    await world.until_message("Deployed")
    dokku = world.simulators.dokku
    await outside_command_for_test(dokku, "ps:restart myapp")
    (container,) = world.app.listed.values()
    dokku.spawn(crash_loop(dokku, world.app, container, life_s=1))

    def looks() -> int:
        asked = [one for one in dokku.journal if one.event == "asked"]
        return sum(one.details["command"] == "ps:inspect" for one in asked)

    await dokku.until(lambda: container.restart_count >= 2)
    before = looks()
    await dokku.until(lambda: looks() >= before + 2)
    assert "has crashed" not in thread(world)
    assert not (await newest(world)).crash_told
