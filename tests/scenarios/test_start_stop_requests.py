"""Requests that came just before the bot ends."""

from datetime import timedelta
from pathlib import Path

import pytest

from bot.slack.bolt import Intake
from tests.scenarios.conftest import open_world, shown


async def test_request_under_way_is_answered_before_the_bot_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path) as world:
        await world.start_bot(DEPLOYBOT_DRAIN_TIMEOUT="60s")
        async with world.slack.hold_for_test("users.info") as hold:
            finish = Intake.finish
            before_the_end: list[str] = []

            async def release_late(intake: Intake, limit: timedelta) -> None:
                hold.release()
                await finish(intake, limit)
                before_the_end.extend(map(shown, world.slack.ephemerals(world.ada)))

            monkeypatch.setattr(Intake, "finish", release_late)
            await world.deploy()
            await hold.arrived()
            await world.stop_bot()
        assert "is being restarted" in "".join(before_the_end)
