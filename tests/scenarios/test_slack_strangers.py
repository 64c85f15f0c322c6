"""Where the bot is not, and who may do nothing: one line says why, and nothing is started."""

from datetime import timedelta
from pathlib import Path

import pytest

from bot.deployments.model import Phase
from bot.deployments.requests.access import GUEST
from bot.simulators.slack.model import Channel
from bot.slack.listeners.clicks import Permission
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from tests.scenarios.conftest import QuickClock, World, open_world, shown

INSIDERS_ONLY = "Only members of the bot's own workspace"


@pytest.mark.parametrize("name", ["random", "secret"])
async def test_refused_post_says_how_to_invite_the_bot(quick: World, name: str) -> None:
    channel = quick.slack.channel(name)
    builds = list(quick.app.records)
    await _deploy_in(quick, channel)
    await quick.whispered("/invite @deploybot")
    assert quick.slack.messages(channel) == []
    assert await quick.rows() == []
    assert quick.app.records == builds

    quick.slack.invite_bot(channel)
    await _deploy_in(quick, channel)
    (row,) = await quick.ended()
    assert row.phase is Phase.SUCCEEDED
    (message,) = quick.slack.messages(channel)
    assert row.message.ts == message.ts
    assert len(quick.slack.ephemerals(quick.ada)) == 1


async def test_bot_cannot_post_between_two_people(quick: World) -> None:
    channel = quick.slack.channel("ada-grace")
    await _deploy_in(quick, channel)
    await quick.whispered("can't see this conversation", "invite")
    assert await quick.rows() == []


async def test_nothing_starts_in_an_archived_channel(quick: World) -> None:
    await quick.deploy("")
    view = await quick.viewed("Branch, tag or commit")
    quick.slack.archive(quick.deploys)
    await quick.slack.submit(quick.ada, view, {"app": "myapp", "ref": "main"})
    direct = quick.slack.dm(quick.ada)
    await quick.slack.until(
        lambda: any(
            "This channel is archived" in shown(one) for one in quick.slack.messages(direct)
        )
    )
    assert quick.messages == []
    assert await quick.rows() == []


async def test_request_that_could_not_be_posted_sends_no_webhook(
    quick: World,
) -> None:
    await _deploy_in(quick, quick.slack.channel("random"))
    await quick.whispered("/invite")
    await quick.deploy()
    await quick.ended()
    assert len(quick.simulators.receiver.received) == 1


async def test_person_of_another_workspace_can_do_nothing(quick: World) -> None:
    mallory = quick.slack.user("mallory")
    quick.hold()
    await quick.deploy()
    message = await quick.until_message("Building", "Cancel")
    await quick.click("deployment_cancel", user="mallory")
    await quick.whispered(INSIDERS_ONLY, user="mallory")
    await quick.click("deployment_log", user="mallory")
    await quick.slack.say(mallory, quick.deploys, "logs", thread_ts=message.ts)
    await quick.slack.say(mallory, quick.deploys, "cancel", thread_ts=message.ts)
    await quick.slack.say(mallory, quick.deploys, "@deploybot myapp v1.0")
    await quick.slack.say(mallory, quick.deploys, "@deploybot status")

    def refused() -> bool:
        answers = [one for one in quick.slack.ephemerals(mallory) if INSIDERS_ONLY in shown(one)]
        return len(answers) == 6

    await quick.slack.until(refused)
    assert quick.slack.view(mallory) is None
    assert quick.slack.files == []
    quick.let_go()
    (row,) = await quick.ended()
    assert (row.phase, row.cancel) == (Phase.SUCCEEDED, None)
    await quick.until_message("Deployed")
    await quick.click("deployment_log", user="mallory")
    assert len(await quick.rows()) == 1


async def test_guest_can_do_nothing_unless_listed(tmp_path: Path) -> None:
    (tmp_path / "deploybot.toml").write_text('[apps.myapp]\ndeployers = ["U01GRACE001"]\n')
    async with open_world(tmp_path) as world:
        for name in ("alan", "grace"):
            world.slack.change_user_for_test(name, guest="multi_channel")
        await world.start_bot()
        for text in ("myapp main", "status", "logs myapp", ""):
            await world.deploy(text, user="alan")
        alan = world.slack.user("alan")
        await world.slack.until(lambda: len(world.slack.ephemerals(alan)) == 4)
        assert {one.text for one in world.slack.ephemerals(alan)} == {GUEST}
        assert world.slack.view(alan) is None
        assert world.messages == []

        await world.deploy(user="grace")
        await world.until_message("Deployed")


async def test_nobody_gets_in_while_slack_does_not_say_who_they_are(quick: World) -> None:
    quick.slack.fail_for_test("users.info", error="missing_scope", times=2)
    await quick.deploy()
    refusal = await quick.whispered("Slack did not say whether you are a guest", "nothing was done")
    assert "`deploybot manifest`" in refusal
    quick.slack.clear_faults_for_test()
    await quick.deploy()
    await quick.until_message("Deployed")


async def test_renamed_table_keeps_out_who_was_kept_out(tmp_path: Path) -> None:
    toml = tmp_path / "deploybot.toml"
    async with open_world(tmp_path) as world:
        repo = world.environ["DEPLOYBOT_REPO_TEMPLATE"].replace("{app}", "myapp")
        rules = f'dokku_app = "myapp"\nrepo = "{repo}"\ndeployers = ["S01RELEASE0"]\n'
        toml.write_text(f"[apps.front]\n{rules}")
        await world.start_bot()
        world.hold()
        await world.deploy("front", user="grace")
        await world.until_message("Building", "Cancel")
        await world.deploy("front v1.0", user="grace")
        await world.until_message("Waiting", "Cancel")
        await world.stop_bot()
        toml.write_text(f"[apps.shop]\n{rules}")
        await world.start_bot()
        await world.click("deployment_cancel", user="alan")
        await world.whispered("You aren't allowed to deploy shop", user="alan")
        await world.click("deployment_cancel", user="ada")
        await world.until_message("Cancelled")


async def test_waiting_deployment_of_who_left_the_deployers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deploybot.toml").write_text('[apps.myapp]\ndeployers = ["S01RELEASE0"]\n')
    async with open_world(tmp_path) as world:
        clock = QuickClock(speed=1)
        # After the leap the bot may do nothing before it has renewed its lease.
        await world.start_bot({"heartbeat": timedelta(milliseconds=300)}, clock)
        world.hold()
        await world.deploy(user="ada")
        await world.until_message("Building")
        await world.deploy("myapp v1.0", user="grace")
        await world.until_message("Waiting")
        world.slack.change_group_for_test("release-team", "ada")
        clock.leap(timedelta(minutes=2))
        world.let_go()
        message = await world.until_message("Failed", "refused")
        assert "While it waited, grace lost the right to deploy myapp" in shown(message)
        await world.replied("<@U01GRACE001>", "lost the right")


async def test_person_of_the_same_enterprise_is_one_person(quick: World) -> None:
    slack = quick.slack
    slack.join_enterprise_for_test("E01SIMULATED", sister="grace")
    await quick.stop_bot()
    await quick.start_bot()
    grace = slack.user("grace")

    await quick.deploy("status", user="grace")
    await quick.whispered("Nothing is running or queued.", user="grace")
    await quick.deploy("", user="grace")
    view = await quick.viewed("Branch, tag or commit", user="grace")
    quick.hold()
    await slack.submit(grace, view, {"app": "myapp", "ref": "main"})
    message = await quick.until_message("Building", "Cancel")
    await slack.say(grace, quick.deploys, "status", thread_ts=message.ts)
    await quick.replied("Deploying myapp")
    await quick.click("deployment_cancel", user="grace")
    (row,) = await quick.ended()
    assert (row.phase, row.requested_by.team) == (Phase.CANCELLED, slack.workspace.team_id)
    await slack.say(grace, quick.deploys, "@deploybot myapp main")
    quick.let_go()
    await quick.until_message("Deployed")

    await quick.click("deployment_log", user="mallory")
    await quick.whispered(INSIDERS_ONLY, user="mallory")
    slack.change_user_for_test("mallory", enterprise_id="E09ELSEWHERE")
    await slack.say(slack.user("mallory"), quick.deploys, "@deploybot myapp v1.0")
    mallory = slack.user("mallory")
    await slack.until(lambda: len(slack.ephemerals(mallory)) == 2)
    assert len(await quick.rows()) == 2


async def test_only_deployers_can_deploy_cancel_and_retry(tmp_path: Path) -> None:
    (tmp_path / "deploybot.toml").write_text('[apps.myapp]\ndeployers = ["S01RELEASE0"]\n')
    async with open_world(tmp_path) as world:
        await world.start_bot()
        await world.deploy(user="alan")
        refusal = await world.whispered("You aren't allowed to deploy myapp", user="alan")
        assert "<!subteam^S01RELEASE0>" in refusal
        assert world.messages == []
        assert await world.rows() == []

        world.hold()
        await world.deploy(user="grace")
        message = await world.until_message("Building", "Cancel")
        await world.click("deployment_cancel", user="alan")
        await world.slack.say(
            world.slack.user("alan"), world.deploys, "cancel", thread_ts=message.ts
        )
        await world.slack.until(lambda: len(world.slack.ephemerals(world.slack.user("alan"))) == 3)
        (row,) = await world.rows()
        assert row.cancel is None
        await world.deploy("status myapp", user="alan")
        await world.whispered("Deploying myapp", user="alan")
        await world.click("deployment_cancel", user="ada")
        (row,) = await world.ended()
        assert row.phase is Phase.CANCELLED


async def test_each_button_asks_for_the_permission_of_its_row(tmp_path: Path) -> None:
    (tmp_path / "deploybot.toml").write_text('[apps.myapp]\ndeployers = ["S01RELEASE0"]\n')
    async with open_world(tmp_path) as world:
        await world.start_bot()
        seen = set()
        alan = world.slack.user("alan")

        async def refused(count: int) -> None:
            await world.slack.until(lambda: len(world.slack.ephemerals(alan)) >= count)
            await world.whispered("You aren't allowed to deploy myapp", user="alan")

        async def alan_clicks_each_button() -> None:
            for row in MESSAGE_BUTTONS:
                if row.action_id not in world.message.buttons:
                    continue
                seen.add(row.action_id)
                if row.permission is Permission.MEMBER:
                    await world.click(row.action_id, user="alan")
                    if row.action_id == "deployment_follow":
                        await world.whispered("one direct message", user="alan")
                    elif row.action_id == "deployment_details":
                        await world.whispered("Rule and evidence", user="alan")
                    else:
                        await world.viewed("Page 1 of", user="alan")
                    continue
                refusals = len(world.slack.ephemerals(alan)) + 1
                await world.click(row.action_id, user="alan")
                await refused(refusals)

        await world.deploy(user="grace")
        await world.until_message("Deployed")
        await alan_clicks_each_button()  # to roll back to what Dokku's record named
        world.hold()
        await world.deploy("myapp feature/login", user="grace")
        await world.until_message("Building", "Cancel")
        await alan_clicks_each_button()
        await world.deploy("myapp v1.0", user="grace")
        await world.posted(3)
        await world.until_message("1st in line")
        await alan_clicks_each_button()
        world.let_go()
        await world.until_message("Deployed", "v1.0", "Roll back")
        await alan_clicks_each_button()
        world.now_behaves("build_fails")
        await world.deploy(user="grace")
        await world.until_message("Failed", "Retry")
        await alan_clicks_each_button()
        # Those of an approval: test_slack_approval.py; of a build that was left alone:
        # test_server_cancel.py.
        elsewhere = {Permission.APPROVER, Permission.SERVER_CANCELLER}
        others = [row for row in MESSAGE_BUTTONS if row.permission not in elsewhere]
        assert seen == {row.action_id for row in others}
        assert len(await world.rows()) == 4


async def _deploy_in(world: World, channel: Channel) -> None:
    result = await world.slack.command(world.ada, channel, "/deploy", "myapp main")
    assert result.acked
