"""`broadcast = true`: the channel sees the result of a failed deployment, and of no other."""

from pathlib import Path

from bot.simulators.slack.model import Message
from tests.scenarios.conftest import World, open_world, shown


async def result_of(world: World, count: int, words: str) -> Message:
    """The reply about the end of the newest deployment."""
    message = (await world.posted(count))[-1]
    return await world.replied(words, message=message)


async def test_only_a_failure_is_shown_in_the_channel_too(tmp_path: Path) -> None:
    (tmp_path / "deploybot.toml").write_text("[apps.myapp]\nbroadcast = true\n")
    async with open_world(tmp_path) as world:
        await world.start_bot()
        await world.deploy()
        good = await result_of(world, 1, "was deployed after")
        assert not good.reply_broadcast
        world.now_behaves("build_fails")
        await world.deploy("myapp feature/login")
        bad = await result_of(world, 2, "failed (the build failed) after")
        assert bad.reply_broadcast
        assert [shown(one) for one in world.messages][-1] == shown(bad)
        assert len(world.messages) == 3


async def test_failures_stay_in_the_thread_by_default(world: World) -> None:
    world.now_behaves("build_fails")
    await world.deploy()
    bad = await result_of(world, 1, "failed (the build failed) after")
    assert not bad.reply_broadcast
