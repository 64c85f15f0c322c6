"""`deploybot check` reads the difference of the clocks out of the bot's own deployments."""

from datetime import timedelta
from pathlib import Path

from bot.operations.check import run_checks
from bot.operations.findings import Check, State
from tests.scenarios.conftest import World, open_world


async def clock(world: World) -> Check:
    found = await run_checks(environ=world.environ, folder=world.folder)
    (one,) = [one for one in found if one.what == "dokku default clock"]
    return one


async def test_difference_is_known_after_the_first_deployment(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.start_bot()
        assert "not measured yet" in (await clock(world)).found
        await world.deploy()
        await world.until_message("Deployed")
        (row,) = await world.ended()
        # The simulated server's time runs ahead of the bot's.
        record = world.app.record(row.build_id)
        assert record is not None
        record.started_at += timedelta(seconds=412)
        one = await clock(world)
        assert one.state is State.WARNING
        assert "ahead of the bot's at the start of" in one.found
        assert row.id in one.found
        record.started_at = row.started_at
        one = await clock(world)
        assert one.state is State.OK
        assert "agreed with the bot's at the start of" in one.found
