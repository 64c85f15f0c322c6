"""Where the bot is not, and who may do nothing: one line says why, and nothing is started."""

from pathlib import Path

import pytest

from bot.deployments.model import Phase
from bot.simulators.slack.model import Channel
from bot.slack.listeners.clicks import Permission
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from tests.scenarios.conftest import World, open_world, shown

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
        world.let_go()
        await world.until_message("Deployed", "Roll back")
        await alan_clicks_each_button()
        world.now_behaves("build_fails")
        await world.deploy(user="grace")
        await world.until_message("Failed", "Retry")
        await alan_clicks_each_button()
        assert seen == {row.action_id for row in MESSAGE_BUTTONS}
        assert len(await world.rows()) == 3


async def _deploy_in(world: World, channel: Channel) -> None:
    result = await world.slack.command(world.ada, channel, "/deploy", "myapp main")
    assert result.acked
