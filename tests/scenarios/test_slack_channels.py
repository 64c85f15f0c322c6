"""Where an app may be deployed from, and where its message is posted."""

from pathlib import Path

from tests.scenarios.conftest import QuickClock, open_world


async def test_message_of_an_app_goes_to_its_channel_and_the_asker_gets_a_link(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world:
        oncall = world.slack.channel("oncall")
        (tmp_path / "deploybot.toml").write_text(f'[apps.myapp]\nchannel = "{oncall.id}"\n')
        await world.start_bot(clock=QuickClock())
        await world.deploy("myapp main")
        await world.whispered("Started: myapp", "message")
        (row,) = await world.ended()
        assert row.message.channel == oncall.id
        assert world.messages == []


async def test_app_is_deployed_only_from_its_channels(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        oncall = world.slack.channel("oncall")
        (tmp_path / "deploybot.toml").write_text(f'[defaults]\nchannels = ["{oncall.id}"]\n')
        await world.start_bot(clock=QuickClock())
        await world.deploy("myapp main")
        await world.whispered(f"can only be deployed from <#{oncall.id}>", "Nothing was started")
        assert await world.rows() == []
        await world.slack.command(world.ada, oncall, "/deploy", "myapp main")
        (row,) = await world.ended()
        assert row.message.channel == oncall.id


async def test_nobody_deploys_from_slack_where_the_settings_say_so(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        (tmp_path / "deploybot.toml").write_text('[defaults]\ndeployers = "nobody"\n')
        await world.start_bot(clock=QuickClock())
        await world.deploy("myapp main")
        await world.whispered("You aren't allowed to deploy myapp", "nobody")
        assert await world.rows() == []
