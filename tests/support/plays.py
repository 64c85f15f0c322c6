"""What happens to a deployment of `myapp` between the simulators: small acts, put together."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from bot.deployments.model import Phase
from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from bot.simulators.dokku.model import RunState
from bot.simulators.environment import DemoApp
from tests.scenarios.conftest import World

Play = Callable[[World], Awaitable[None]]

NEW_APP = (DemoApp(name="myapp", behaviour="ok", hint="", commits=("Only one",), live=False),)
HEADLINES = {
    Phase.SUCCEEDED: "Deployed",
    Phase.FAILED: "Failed",
    Phase.CANCELLED: "Cancelled",
}
FETCHING = "Fetching remote code"
BUILDING = "build step 4/"
CHECKING = "Attempting pre-flight checks"
SWITCHED = "Triggering early nginx proxy rebuild"
POST_DEPLOY = "Running post-deploy"
ENDED = "before_exit"
"""Dokku has done everything, and recorded it; its command has not exited yet."""
STANDS = {
    "fetching": FETCHING,
    "building": BUILDING,
    "checked": CHECKING,
    "switched": SWITCHED,
    "ending": ENDED,
}
"""An app for each phase of Dokku's command: its name, and the line behind which it stands."""


def behaving(behaviour: str, text: str = "myapp main") -> Play:
    async def play(world: World) -> None:
        world.now_behaves(behaviour)
        await world.deploy(text)

    return play


def held(at: str, then: Play, behaviour: str = "ok", text: str = "myapp main") -> Play:
    """Stop the deploy behind a line, and let something happen before it goes on."""

    async def play(world: World) -> None:
        world.now_behaves(behaviour)
        world.hold(at)
        await world.deploy(text)
        await world.held()
        await then(world)
        world.let_go()

    return play


def in_turn(*plays: Play) -> Play:
    async def play(world: World) -> None:
        for one in plays:
            await one(world)

    return play


async def scale(world: World, wanted: Mapping[str, int]) -> None:
    """Scale what is live already."""
    if dict(wanted) != world.app.scale:
        words = " ".join(f"{process}={count}" for process, count in wanted.items())
        await outside_command_for_test(world.stage.dokku, f"ps:scale myapp {words}")


# --- the line


async def lose_the_line(world: World) -> None:
    await world.stage.server.drop_connections_for_test()


async def is_fetching(world: World) -> None:
    """Its first line has come."""
    await world.until_message("Fetching")


async def dies(world: World) -> None:
    """Its client is gone: it goes on from where it was held, and dies at its next line."""
    (run,) = world.app.runs
    await world.stage.dokku.until(lambda: run.output.closed)
    world.let_go()
    await world.stage.dokku.until(lambda: not world.app.runs)


async def lose_the_records(world: World) -> None:
    world.app.records.clear()


async def fall_silent(world: World) -> None:
    """No packet passes any more: Dokku does not notice, and comes to its end (recording m6)."""
    world.stage.server.stall_for_test()
    world.let_go()
    await until_stopped(world)


async def heal_the_line(world: World) -> None:
    """Packets pass again, and what was open before is gone."""
    await world.stage.server.drop_connections_for_test()
    world.stage.server.heal_for_test()


async def fall_silent_for_ever(world: World) -> None:
    await fall_silent(world)
    await heal_the_line(world)


async def until_failed(world: World) -> None:
    """The bot has given it up; Dokku's own command stands where it stood."""
    await world.until_message("Failed", "myapp")


# --- somebody


async def press_cancel(world: World) -> None:
    await world.until_message("Deploying", "Cancel")
    await world.click("deployment_cancel")


async def until_stopped(world: World) -> None:
    await world.stage.dokku.until(lambda: not world.app.runs)


def elsewhere(command: str) -> Play:
    """Somebody else runs a command to its end."""

    async def play(world: World) -> None:
        await outside_command_for_test(world.stage.dokku, command)

    return play


async def cancel_elsewhere(world: World) -> None:
    await outside_command_for_test(world.stage.dokku, "builds:cancel myapp")
    await world.stage.dokku.until(lambda: not world.app.runs)


async def push_elsewhere(world: World) -> None:
    await world.stage.dokku.outside_push_for_test("myapp", "ab" * 20)


async def push_the_old_commit(world: World) -> None:
    old = next(one for one in world.app.containers if one.dyno == "web.1")
    await world.stage.dokku.outside_push_for_test("myapp", old.image.sha)


def when_checking(then: Play) -> Play:
    """Let something happen while the new release is watched."""

    async def play(world: World) -> None:
        begun = len(world.stage.dokku.journal)
        await world.deploy()
        await world.stage.dokku.until(lambda: _looked_at(world, begun))
        await then(world)

    return play


def _looked_at(world: World, begun: int) -> bool:
    """The bot's first look after the end of its command was answered."""
    events = [
        (one.event, one.details.get("command"), one.details.get("outside"))
        for one in world.stage.dokku.journal[begun:]
    ]
    ends = [at for at, (event, _, _) in enumerate(events) if event == "metadata_set"]
    return bool(ends) and ("asked", "ps:inspect", False) in events[ends[0] :]


# --- the server


async def kill_docker(world: World) -> None:
    world.stage.dokku.kill_docker_for_test()


async def change_the_metadata(world: World) -> None:
    world.app.deploy_source_metadata = "https://git.example/acme/other.git#" + "0ffd" * 10


async def list_an_old_worker(world: World) -> None:
    """Another container of the old image, for the former one is stopped before long."""
    app = world.app
    old = next(one for one in app.containers if one.dyno == "worker.1")
    again = replace(old, id=world.stage.dokku.new_id(), name="myapp.worker.1.again")
    app.containers.append(again)
    app.listed["worker.1"] = again


async def old_release_crashes(world: World) -> None:
    """It crashed for the ninth time; Docker's pause before the next start outlasts the story."""
    (container,) = world.app.listed.values()
    container.restart_count = 9
    container.state = RunState.RESTARTING


async def gives_up(world: World) -> None:
    """All ten restarts are over before anybody looks: Dokku's command stands that long."""
    world.now_behaves("crash_1s")
    world.hold(ENDED)
    await world.deploy()
    await world.held()
    (container,) = world.app.listed.values()
    await world.stage.dokku.until(lambda: container.state is RunState.EXITED)
    world.let_go()
