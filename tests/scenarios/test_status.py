"""`status APP`: what is live now, according to the bot's history and the containers."""

import json
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.model import Phase
from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from bot.simulators.dokku.crashes import crash_loop
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import World, shown
from tests.support.bot_process import BotProcess, Command

OTHER = "ab" * 20


async def deployed(world: World, text: str = "myapp main", count: int = 1) -> Any:
    """Deploy successfully; the row."""
    await world.deploy(text)
    return (await world.ended(count))[0]


async def run_outside(world: World, line: str) -> None:
    """Run a command on the server outside the bot, to its end."""
    await outside_command_for_test(world.simulators.dokku, line)


async def status(world: World, *words: str, text: str = "status myapp") -> str:
    await world.deploy(text)
    return await world.whispered(*words)


async def test_unchanged_verified_release_is_live(world: World) -> None:
    row = await deployed(world)
    await world.until_message("Deployed", '"Fix the login redirect"')
    said = await status(world, f"`{row.sha[:7]}` *Fix the login redirect* is live, deployed by")
    assert "ago. web 1 running. Nothing changed since." in said
    assert "deployed by @\u2060ada" in said
    assert "Last deployment" not in said
    assert "outside" not in said


async def test_details_show_the_proof_to_the_clicker(world: World) -> None:
    row = await deployed(world)
    message = await world.until_message("Deployed", "Details")
    await world.click("deployment_details", message, user="grace")
    said = await world.whispered("Rule and evidence: ", row.build_id, user="grace")
    assert row.evidence[:20] in said
    await world.deploy("status myapp")
    answer = await world.slack.until(lambda: world.slack.ephemerals(world.ada))
    await world.click("status_details", answer[-1])
    said = await world.whispered("Compared with: ", row.id, "the same container")
    (container,) = world.app.listed.values()
    assert container.id[:12] in said
    assert len(world.messages) == 1


async def test_history_marks_what_is_live(world: World) -> None:
    await world.stop_bot()
    await world.start_bot(timing={"lookup_grace": timedelta(seconds=20)})
    await deployed(world, "myapp v1.0")
    await deployed(world, "myapp main", 2)
    world.now_behaves("build_fails")
    await deployed(world, "myapp feature/login", 3)
    said = await status(world, "Latest deployments of `myapp`", text="history myapp")
    _, failed, live, first = said.strip().split("\n")[-4:]
    assert "the build failed" in failed
    assert "*live now*" in live
    assert "`main`" in live
    assert said.count("*live now*") == 2  # in the list, and in the line for screen readers
    assert "`v1.0`" in first


async def test_outside_restart_runs_the_same_code(world: World) -> None:
    row = await deployed(world)
    await run_outside(world, "ps:restart myapp")
    said = await status(
        world, f"`{row.sha[:7]}`", "is live", "Restarted or scaled outside the bot since"
    )
    assert "Dokku's build records since then: a ps:restart (ended with an unknown result" in said
    assert "by the server's clock" in said


async def test_outside_rebuild_is_named(world: World) -> None:
    row = await deployed(world)
    await run_outside(world, "ps:rebuild myapp")
    said = await status(
        world, f"`{row.sha[:7]}`", "is live", "Restarted or scaled outside the bot since"
    )
    assert "a ps:rebuild (succeeded" in said


async def test_outside_scaling_has_no_record(world: World) -> None:
    row = await deployed(world)
    await run_outside(world, "ps:scale myapp web=2")
    said = await status(
        world, f"`{row.sha[:7]}`", "is live", "Restarted or scaled outside the bot since"
    )
    assert "web 2 running" in said
    assert "Dokku's build records show no cause" in said


async def test_outside_push_is_another_unverified_release(world: World) -> None:
    await deployed(world)
    await world.simulators.dokku.outside_push_for_test("myapp", OTHER)
    said = await status(world, "Changed outside the bot", "another release")
    assert f"According to Dokku, the commit is {OTHER[:7]}." in said
    assert "a git push (succeeded" in said
    assert "is live" not in said


async def test_outside_push_of_a_former_commit_names_that_commit(world: World) -> None:
    first = await deployed(world, "myapp v1.0")
    await deployed(world, "myapp main", 2)
    await world.simulators.dokku.outside_push_for_test("myapp", first.sha)
    said = await status(world, "Changed outside the bot")
    assert f"Its code is that of {first.sha[:7]}, which the bot verified earlier." in said


async def test_stopped_app_runs_nothing(world: World) -> None:
    row = await deployed(world)
    await run_outside(world, "ps:stop myapp")
    said = await status(world, "Nothing is running. The last deployment left")
    assert f"left {row.sha[:7]} running; since then the app crashed, or was stopped" in said
    assert "web 1 exited" in said


async def test_crash_loop_is_shown(world: World) -> None:
    row = await deployed(world)
    dokku = world.simulators.dokku
    (container,) = world.app.listed.values()
    dokku.spawn(crash_loop(dokku, world.app, container, life_s=1))
    await dokku.until(lambda: container.restart_count >= 2)
    said = await status(world, "crashed and restarted by Docker")
    assert row.sha[:7] in said


async def test_unverified_release_is_reported_as_unverified(world: World) -> None:
    before = world.app.deploy_source_metadata.rpartition("#")[2]
    said = await status(world, "The bot has no verified deployment of this app.")
    assert f"According to Dokku, the commit is {before[:7]}." in said
    assert "web 1 running." in said


async def test_failure_leaves_the_previous_release_live(world: World) -> None:
    good = await deployed(world)
    world.now_behaves("build_fails")
    await deployed(world, "myapp feature/login", 2)
    said = await status(world, f"`{good.sha[:7]}`", "is live")
    assert "Last deployment: 🔴" in said
    assert "the build failed" in said


async def test_running_and_queued_deployments_are_shown(world: World) -> None:
    good = await deployed(world)
    world.hold()
    await world.deploy("myapp feature/login")
    await world.held()
    await world.deploy("myapp v1.0")
    await world.posted(3)
    said = await status(world, f"`{good.sha[:7]}`", "is live")
    assert "Deploying myapp" in said
    assert "Waiting to deploy myapp" in said
    world.let_go()
    await world.ended(3)


async def test_running_outside_push_is_named(world: World) -> None:
    await deployed(world)
    world.hold()
    push = world.simulators.dokku.outside_push_for_test("myapp", OTHER)
    await world.held()
    await status(world, "Running outside the bot: a git push (running")
    world.let_go()
    await push


async def test_dead_server_is_shown_with_the_last_verified_deployment(world: World) -> None:
    row = await deployed(world)
    await world.simulators.server.refuse_connections_for_test()
    await world.simulators.server.drop_connections_for_test()
    said = await status(world, "What is live now is unknown.")
    assert "refused" in said
    assert f"The last verified deployment left {row.sha[:7]} live" in said


async def test_live_state_is_unknown_if_docker_does_not_answer(world: World) -> None:
    await deployed(world)
    world.simulators.dokku.kill_docker_for_test()
    said = await status(world, "What is live now is unknown.")
    assert "is live," not in said


@pytest.mark.parametrize("text", ["status nothing", "status mapp"])
async def test_missing_app_is_reported(world: World, text: str) -> None:
    assert "default" not in await status(world, "There is no app", text=text)


async def test_destroyed_app_is_reported(world: World) -> None:
    await deployed(world)
    world.simulators.dokku.apps.pop("myapp")
    await status(world, "The app no longer exists, so nothing is live.")


async def test_status_in_a_thread_shows_its_deployment_and_the_live_state(
    world: World,
) -> None:
    first = await deployed(world, "myapp v1.0")
    message = world.message
    second = await deployed(world, "myapp main", 2)
    await say_in(world, message, "status")
    said = shown(await world.replied(first.id, message=message))
    assert "live when it ended: the new release" in said
    assert "is live, deployed by" in said
    assert f"`{second.sha[:7]}`" in said
    said = await status(world, first.id, text=f"status {first.id}")
    assert "is live, deployed by" in said
    assert f"`{second.sha[:7]}`" in said


async def test_mention_answers_status(world: World) -> None:
    row = await deployed(world)
    said = await world.slack.say(world.ada, world.deploys, "@deploybot status myapp")
    reply = await world.replied("is live", message=said)
    assert row.sha[:7] in shown(reply)


async def test_deploying_the_live_commit_again_says_so(quick: World) -> None:
    row = await deployed(quick)
    quick.hold()
    await quick.deploy("myapp main")
    (_, again) = await quick.posted(2)
    said = f"{row.sha[:7]} is already live; deploying it again."
    assert said in shown(again)
    await quick.held()
    await quick.until_message("Building", said)
    quick.let_go()
    await quick.until_message("Deployed", f"{row.sha[:7]} was already live before this deployment.")
    assert (await quick.rows())[0].previous_sha == row.sha


async def test_verified_commit_behind_an_outside_release_is_not_reported_as_live(
    quick: World,
) -> None:
    row = await deployed(quick)
    await quick.simulators.dokku.outside_push_for_test("myapp", OTHER)
    quick.now_behaves("build_fails")
    await quick.deploy("myapp main")
    await quick.until_message("Failed", f"the previous release (`{OTHER[:7]}` according to Dokku)")
    failed = (await quick.rows())[0]
    assert (failed.sha, failed.before.proven) == (row.sha, None)
    assert "already live" not in shown(quick.message)


async def test_rollback_accepts_any_verified_commit_and_no_other(quick: World) -> None:
    first = await deployed(quick, "myapp v1.0")
    second = await deployed(quick, "myapp main", 2)
    for text, said in (
        (f"rollback myapp {second.sha}", f"`{second.sha[:7]}` is already live"),
        (f"rollback myapp {OTHER}", f"`/deploy myapp {OTHER}` deploys it like any other commit"),
        ("rollback myapp abc", "too short for a commit"),
        ("rollback myapp main", "is not a commit"),
        ("rollback nothing", "No earlier release of nothing"),
    ):
        await quick.deploy(text)
        await quick.whispered(said)
    assert len(await quick.rows()) == 2
    await quick.deploy(f"rollback myapp {first.sha[:8].upper()}")
    back = (await quick.ended(3))[0]
    assert (back.phase, back.sha, back.rollback_of) == (Phase.SUCCEEDED, first.sha, second.id)


async def test_rollback_after_an_outside_release_deploys_the_last_verified_commit(
    world: World,
) -> None:
    await world.stop_bot()
    await world.start_bot(timing={"lookup_grace": timedelta(seconds=20)})
    await deployed(world, "myapp v1.0")
    second = await deployed(world, "myapp main", 2)
    await world.simulators.dokku.outside_push_for_test("myapp", OTHER)
    await world.deploy("rollback myapp")
    back = (await world.ended(3))[0]
    assert (back.phase, back.sha, back.rollback_of) == (Phase.SUCCEEDED, second.sha, second.id)
    (live,) = world.simulators.dokku.live("myapp").values()
    assert live.sha == second.sha


async def test_commit_being_deployed_is_not_requested_twice(world: World) -> None:
    first = await deployed(world, "myapp v1.0")
    await deployed(world, "myapp main", 2)
    world.hold()
    await world.deploy("rollback myapp")
    await world.held()
    await world.deploy(f"rollback myapp {first.sha[:7]}")
    await world.whispered(f"`{first.sha[:7]}` is already being deployed")
    world.let_go()
    await world.ended(3)
    assert len(await world.rows()) == 3


async def test_destroyed_app_cannot_be_rolled_back(world: World) -> None:
    await deployed(world, "myapp v1.0")
    await deployed(world, "myapp main", 2)
    await world.until_message("Deployed", "Roll back")
    world.simulators.dokku.create_app("shop")
    world.simulators.dokku.apps.pop("myapp")
    await world.click("deployment_rollback")
    await world.whispered("There is no app myapp")
    assert len(await world.rows()) == 2


async def test_command_line_shows_the_same_status(world: World) -> None:
    row = await deployed(world)
    await run_outside(world, "ps:restart myapp")
    said = await shell(world, "status", "myapp")
    assert row.sha[:7] in said
    assert "is live, deployed by @ada" in said
    assert "Restarted or scaled outside the bot since" in said
    assert "a ps:restart (ended with an unknown result" in said
    live_now = json.loads(await shell(world, "status", "myapp", "--json"))["live_now"]
    assert (live_now["match"], live_now["sha"], live_now["since"]) == ("restarted", row.sha, row.id)
    assert live_now["processes"] == [{"process": "web.1", "state": "running", "restarts": 0}]
    assert "Live now" not in await shell(world, "status", row.id)


async def shell(world: World, *words: str) -> str:
    """Run `deploybot …` with the bot's settings; what it prints."""
    process = await BotProcess.start(Command(*words), world.environ, folder=world.folder)
    assert await process.ended() == 0, process.lines
    return "\n".join(process.lines)


async def say_in(world: World, message: Message, text: str) -> None:
    channel = world.slack.workspace.channels[message.channel]
    await world.slack.say(world.ada, channel, text, thread_ts=message.ts)
