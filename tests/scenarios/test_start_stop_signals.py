"""SIGTERM during a start: exit status 0, quickly, and running deployments are drained."""

import os
import signal
from pathlib import Path

import pytest

from tests.scenarios.conftest import shown
from tests.support.bot_processes import an_app, open_processes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_second_signal_changes_nothing(tmp_path: Path, number: signal.Signals) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        bot = await it.start(DEPLOYBOT_DRAIN_TIMEOUT="60s")
        await it.held("myapp", at="build step 4/")
        await it.until_says("myapp", "Building")
        os.kill(bot.pid, number)
        os.kill(bot.pid, number)
        it.world.simulators.dokku.release_for_test("myapp")
        assert await bot.ended() == 0
        assert it.live_sha("myapp") == it.world.simulators.forge.sha("myapp")
        assert (await it.until_webhooks("myapp"))[0]["status"] == "succeeded"


async def test_every_request_during_the_drain_gets_an_answer(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp"), an_app("other")) as it:
        world = it.world
        bot = await it.start(DEPLOYBOT_DRAIN_TIMEOUT="60s")
        await it.held("myapp", at="build step 4/")
        message = (await it.until_says("myapp", "Building"), world.message)[1]
        await world.deploy("")
        form = await world.viewed("Branch, tag or commit")
        os.kill(bot.pid, signal.SIGTERM)
        await bot.said("stopping")
        assert not await bot.is_ready()

        async def refused(count: int) -> None:
            def answers() -> bool:
                everything = [*world.slack.ephemerals(world.ada), *world.slack.thread(message)]
                return sum("is being restarted" in shown(one) for one in everything) == count

            await world.slack.until(answers)

        await world.deploy("other main")
        await refused(1)
        await world.click("deployment_cancel", message)
        await refused(2)
        await world.slack.say(world.ada, world.deploys, "@deploybot other main")
        await refused(3)
        await world.slack.say(world.ada, world.deploys, "cancel", thread_ts=message.ts)
        await refused(4)
        # Other talk stays unanswered, and the form keeps what was filled in.
        await world.slack.say(world.ada, world.deploys, "other main is broken")
        result = await world.slack.submit(world.ada, form, {"app": "other"})
        assert "being restarted" in "".join(result.errors.values())
        assert world.slack.view(world.ada) is not None
        await refused(4)

        world.simulators.dokku.release_for_test("myapp")
        assert await bot.ended() == 0
        assert "Deployed" in shown(message)
        assert (it.starts("other"), world.slack.notices) == (0, [])
        await it.start()
        await world.deploy("other main")
        await it.until_says("other", "Deployed")


async def test_bot_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        bot = await it.start(nohup=True)
        os.kill(bot.pid, signal.SIGHUP)
        await it.world.deploy("myapp main")
        assert (await it.until_webhooks("myapp"))[0]["status"] == "succeeded"
        assert await it.terminate(bot, within_s=30) == 0


async def test_stop_while_slack_is_unreachable_drains_running_deployments(
    tmp_path: Path,
) -> None:
    """The queue goes on while Slack is away; a stop in that time must not kill its deploy."""
    async with open_processes(tmp_path, an_app("myapp")) as it:
        dokku = it.world.simulators.dokku
        bot = await it.start()
        dokku.hold_for_test("myapp", at="build step 4/")
        pushed = it.world.simulators.forge.commit("myapp", "Pushed by hand")
        push = dokku.outside_push_for_test("myapp", pushed)
        await dokku.until(lambda: dokku.holding("myapp"))
        await it.world.deploy("myapp main")
        await it.until_says("myapp", "a git push outside the bot")
        await it.kill(bot)
        dokku.release_for_test("myapp")
        await push
        dokku.hold_for_test("myapp", at="build step 4/")
        blind = await it.begin(
            DEPLOYBOT_DRAIN_TIMEOUT="60s", SLACK_API_URL="http://127.0.0.1:1/api/"
        )
        await dokku.until(lambda: dokku.holding("myapp"))
        os.kill(blind.pid, signal.SIGTERM)
        dokku.release_for_test("myapp")
        assert await blind.ended() == 0
        assert it.starts("myapp") == 1
        assert it.live_sha("myapp") == it.world.simulators.forge.sha("myapp")
        await it.start()
        await it.until_says("myapp", "Deployed")
        assert len(it.messages_of("myapp")) == 1
