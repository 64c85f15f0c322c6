"""Deploys in one-off containers of a runner app: nothing that happens to the bot ends them."""

from datetime import timedelta
from pathlib import Path

from bot.operations.check import run_checks
from bot.operations.findings import Check, State
from tests.scenarios.conftest import World, open_world, shown
from tests.support.bot_processes import an_app, open_processes

BUILD = "build step 4/"


def use_runner(world: World, *, exists: bool = True) -> None:
    """Set the server's `runner`."""
    if exists:
        world.simulators.dokku.create_app("runner", deployed_sha="a" * 40)
    (world.folder / "deploybot.toml").write_text('[servers.default]\nrunner = "runner"\n')


async def checked(world: World) -> list[Check]:
    """What `deploybot check` says of runners."""
    found = await run_checks(environ=world.environ, folder=world.folder)
    return [one for one in found if one.what.endswith("runner")]


def one_offs(world: World) -> int:
    """How many one-off containers were started."""
    return sum(one.event == "one_off_started" for one in world.simulators.dokku.journal)


def printed(world: World) -> list[str]:
    """What the newest build of `myapp` printed."""
    return world.app.records[-1].log.decode().splitlines()


async def stored_log(world: World, deployment_id: str) -> list[str]:
    """The log that the bot keeps."""
    assert world.bot is not None
    log = await world.bot.service.queries.store.logs.read(deployment_id)
    return log.splitlines()


async def test_good_deploy_by_a_runner(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        use_runner(world)
        await world.start_bot()
        await world.deploy_until(BUILD)
        await world.until_message("Building", BUILD)
        world.let_go()
        await world.until_message("Deployed")
        (row,) = await world.ended()
        assert (row.phase, row.live, row.exit_status) == ("succeeded", "new", None)
        assert one_offs(world) == 1
        assert await stored_log(world, row.id) == printed(world)


async def test_build_outlives_a_killed_bot(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp"), an_app("late")) as it:
        dokku = it.world.simulators.dokku
        use_runner(it.world)
        bot = await it.start()
        await it.held("myapp", at=BUILD)
        await it.held("late", at=BUILD)
        await it.until_says("myapp", BUILD)
        await it.until_says("late", BUILD)
        await it.kill(bot)

        dokku.release_for_test("late")  # ends while no bot runs
        await dokku.until(lambda: not dokku.apps["late"].runs)
        await it.start()
        await it.until_says("late", "Deployed")
        dokku.release_for_test("myapp", at=BUILD)
        await it.until_says("myapp", "Deployed")
        for app in ("myapp", "late"):
            assert it.starts(app) == 1
            assert len(it.messages_of(app)) == 1
            (end,) = await it.until_webhooks(app)
            assert (end["status"], end["live"]) == ("succeeded", "new")
            assert it.live_sha(app) == it.world.simulators.forge.sha(app)


async def test_cancel_ends_the_build_of_a_runner(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        use_runner(world)
        await world.start_bot()
        await world.deploy_until(BUILD)
        await world.until_message(BUILD)
        await world.deploy("cancel myapp")
        await world.until_message("Cancelled", "the previous release")
        (row,) = await world.ended()
        assert (row.phase, row.live) == ("cancelled", "previous")
        world.let_go()
        assert not world.simulators.dokku.one_offs


async def test_runner_that_cannot_be_used(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        use_runner(world, exists=False)
        (one,) = await checked(world)
        assert one.state is State.WRONG
        assert one.found == "the server has no app runner, so nothing can be deployed."
        await world.start_bot(timing={"record_wait": timedelta(seconds=1)})
        await world.deploy()
        said = shown(await world.until_message("Failed"))
        assert "The server has no app runner, which its setting `runner` names" in said
        assert "nothing was started" in said

        world.simulators.dokku.create_app("runner", deployed_sha="a" * 40)
        world.simulators.dokku.refuse_one_offs_for_test()
        (one,) = await checked(world)
        assert one.state is State.OK
        assert "dokku run runner /app/dokku-ssh version" in one.found
        await world.deploy()
        await world.posted(2)
        said = shown(await world.until_message("Failed", "before a build began"))
        assert "check that its SSH client can log in to the server" in said
        (row, first) = await world.ended(2)
        assert [row.live, first.live] == ["previous", "previous"]
