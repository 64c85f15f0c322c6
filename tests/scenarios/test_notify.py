"""`notify`: other channels get the result too, once, whatever happens to the bot or to them."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.deployments.model import Live, Phase
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import World, open_world, shown
from tests.support.incidents import BUILDING


def in_channel(world: World, name: str) -> list[Message]:
    channel = world.slack.channel(name)
    return [one for one in world.slack.messages(channel) if one.bot_id and one.thread_ts is None]


async def until_there(world: World, *words: str, count: int = 1) -> Message:
    def there() -> list[Message]:
        found = in_channel(world, "oncall")
        said = len(found) >= count and all(word in shown(found[-1]) for word in words)
        return found if said else []

    return (await world.slack.until(there))[-1]


def notifying(folder: Path, *names: str, table: str = "apps.myapp") -> None:
    ids = {"oncall": "C01ONCALL00", "random": "C01RANDOM00", "deploys": "C01DEPLOYS0"}
    listed = ", ".join(f'"{ids[name]}"' for name in names)
    (folder / "deploybot.toml").write_text(f"[{table}]\nnotify = [{listed}]\n")


@pytest.mark.parametrize("table", ["apps.myapp", "defaults"])
async def test_result_is_posted_once_over_a_restart(tmp_path: Path, table: str) -> None:
    # The bot is not in `random`, and the message itself is in `deploys`.
    notifying(tmp_path, "oncall", "random", "deploys", table=table)
    async with open_world(tmp_path) as world:
        await world.start_bot()
        world.hold(BUILDING)
        await world.deploy()
        await world.held()
        assert in_channel(world, "oncall") == []
        await world.stop_bot()
        world.let_go()
        await world.start_bot()
        post = await until_there(
            world, "Deployed myapp", "live now: the new release", "by @\u2060ada"
        )
        (message,) = world.messages
        assert f"p{message.ts.replace('.', '')}|message>" in shown(post)
        assert "<@" not in shown(post)
        (row,) = await world.rows()
        assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
        await world.stop_bot()
        await world.start_bot()
        await world.deploy("nothing")
        await world.whispered("There is no app nothing")
        assert in_channel(world, "oncall") == [post]
        assert in_channel(world, "random") == []
        assert len(world.messages) == 1


async def test_failure_is_posted_with_its_reason(tmp_path: Path) -> None:
    notifying(tmp_path, "oncall")
    async with open_world(tmp_path) as world:
        await world.start_bot()
        world.now_behaves("build_fails")
        await world.deploy()
        post = await until_there(world, "Failed: myapp", "the build failed", "compile error")
        assert "live now: the previous release" in shown(post)


async def test_a_channel_that_nobody_can_post_to_changes_nothing(tmp_path: Path) -> None:
    notifying(tmp_path, "random")
    with capture_logs() as logs:
        async with open_world(tmp_path) as world:
            await world.start_bot()
            await world.deploy()
            message = await world.until_message("Deployed")
            await world.replied("was deployed", message=message)
            (row,) = await world.rows()
            assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
            await world.stop_bot()  # delivers what is due
    (why,) = (one["why"] for one in logs if one["event"] == "result_not_posted")
    assert why.startswith("The result of myapp could not be posted in C01RANDOM00: I am not in")
    assert why.endswith("The deployment itself is not affected.")
