"""Kill -9 and a new process: nothing is forgotten, wrong or started twice."""

from datetime import timedelta
from pathlib import Path

from tests.scenarios.conftest import shown
from tests.support.bot_processes import Processes, an_app, open_processes

BUILD = "build step 4/"
CHECKS = "Attempting pre-flight checks"


def release(processes: Processes, *apps: str) -> None:
    """Release held deploys, which die at their next line: their client is gone."""
    for app in apps:
        processes.world.simulators.dokku.release_for_test(app)


async def test_kill_in_every_phase(tmp_path: Path) -> None:
    apps = [an_app(name) for name in ("alone", "crowded", "checked", "watched")]
    async with open_processes(tmp_path, *apps) as it:
        simulators = it.world.simulators
        before = {app.name: it.live_sha(app.name) for app in apps}
        new = {app.name: simulators.forge.sha(app.name) for app in apps}
        bot = await it.start(DEPLOYBOT_SETTLE="6s")
        await it.held("alone", at=BUILD)
        await it.held("crowded", at=BUILD)
        await it.world.deploy("crowded main")
        await it.until_says("crowded", "1st in line", number=2)
        await it.held("checked", at=CHECKS)
        await it.world.deploy("watched main")
        # The log says `Checking for …` before the end of the release too.
        await it.until_says("watched", "*Status*\nChecking")
        await it.until_says("alone", "Building")
        await it.until_says("checked", "health checks")

        await it.kill(bot)
        release(it, "alone", "crowded", "checked")
        messages = {app.name: len(it.messages_of(app.name)) for app in apps}
        await it.start(DEPLOYBOT_SETTLE="1s")

        # Dead before its release: started once more, in the same message.
        await it.until_says("alone", "Deployed")
        assert it.starts("alone") == 2
        assert it.live_sha("alone") == new["alone"]
        # The same, but a newer deployment is queued: that one is started.
        said = await it.until_says("crowded", "Failed", number=1)
        assert "live now: the previous release" in said
        await it.until_says("crowded", "Deployed", number=2)
        assert it.starts("crowded") == 2
        assert it.live_sha("crowded") == new["crowded"]
        # During its release: not started again automatically.
        said = await it.until_says("checked", "Failed")
        assert "live now: the previous release" in said
        assert it.starts("checked") == 1
        assert it.live_sha("checked") == before["checked"]
        # Released, in its stability check: proven by the next process.
        await it.until_says("watched", "Deployed")
        assert it.starts("watched") == 1
        assert it.live_sha("watched") == new["watched"]

        for app in apps:
            count = messages[app.name]
            assert len(it.messages_of(app.name)) == count
            ends = await it.until_webhooks(app.name, count)
            assert len(ends) == count
        assert {one["status"] for one in it.webhooks("alone")} == {"succeeded"}
        (result,) = it.webhooks("checked")
        assert (result["failure"], result["live"]) == ("interrupted", "previous")


async def test_unsent_start_keeps_its_position_after_a_kill(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        server = it.world.simulators.server
        bot = await it.start()
        before = it.starts("myapp")
        server.swallow_connections_for_test()
        await it.world.deploy("myapp main")
        await it.until_says("myapp", "Starting")
        await it.kill(bot)
        await server.accept_connections_for_test()
        await it.start()
        await it.until_says("myapp", "Deployed")
        assert it.starts("myapp") == before + 1
        assert len(it.messages_of("myapp")) == 1


async def test_next_process_shows_an_unseen_result(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        bot = await it.start()
        await it.held("myapp", at=BUILD)
        await it.until_says("myapp", "Building")
        async with it.world.slack.hold_for_test("chat.update"):
            it.world.simulators.dokku.release_for_test("myapp")
            await it.until_webhooks("myapp")
            await it.kill(bot)
        await it.start()
        await it.until_says("myapp", "Deployed")
        assert len(it.messages_of("myapp")) == 1


async def test_interrupted_post_is_found_and_not_repeated(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        bot = await it.start()
        async with it.world.slack.hold_for_test("chat.postMessage") as door:
            await it.world.deploy("myapp main")
            await door.arrived()
            await it.kill(bot)
        await it.world.posted(1)
        # The only other process is dead: no post is under way.
        await it.start(timing={"posting": timedelta(seconds=1)})
        await it.until_says("myapp", "Deployed")
        assert len(it.world.messages) == 1
        assert shown(it.world.message).count("Deployed") >= 1
        assert it.starts("myapp") == 1
