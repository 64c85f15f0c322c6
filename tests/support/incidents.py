"""What happens to a deployment of `myapp` between the simulators: small steps to combine."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from bot.deployments.model import Phase
from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from bot.simulators.dokku.model import RunState
from bot.simulators.environment import DemoApp
from tests.scenarios.conftest import QuickClock, World

Incident = Callable[[World], Awaitable[None]]

NEW_APP = (DemoApp(name="myapp", behaviour="ok", hint="", commits=("Only one",), live=False),)
HEADLINES = {
    Phase.SUCCEEDED: "Deployed",
    Phase.FAILED: "Failed",
    Phase.CANCELLED: "Cancelled",
}
SEVERAL = 3
LONGER_THAN_THE_CAP = timedelta(minutes=11)
SETTLE = timedelta(seconds=3)
"""Longer than what happens during a stability check takes; the bot's clock skips it."""
FETCHING = "Fetching remote code"
BUILDING = "build step 4/"
CHECKING = "Attempting pre-flight checks"
SWITCHED = "Triggering early nginx proxy rebuild"
POST_DEPLOY = "Running post-deploy"
ENDED = "before_exit"
"""Dokku has done and recorded everything; its command has not exited yet."""
HELD_AT = {
    "fetching": FETCHING,
    "building": BUILDING,
    "checked": CHECKING,
    "switched": SWITCHED,
    "ending": ENDED,
}
"""An app for each phase of Dokku's command: its name, and the log line it is held after."""


def behaving(behaviour: str, text: str = "myapp main") -> Incident:
    async def incident(world: World) -> None:
        world.now_behaves(behaviour)
        await world.deploy(text)

    return incident


def held(at: str, then: Incident, behaviour: str = "ok", text: str = "myapp main") -> Incident:
    """Hold the deploy after a log line, let something happen, then let it go on."""

    async def incident(world: World) -> None:
        world.now_behaves(behaviour)
        world.hold(at)
        await world.deploy(text)
        await world.held()
        await then(world)
        world.let_go()

    return incident


def in_turn(*incidents: Incident) -> Incident:
    async def incident(world: World) -> None:
        for one in incidents:
            await one(world)

    return incident


async def scale(world: World, wanted: Mapping[str, int]) -> None:
    """Scale what is live already."""
    if dict(wanted) != world.app.scale:
        words = " ".join(f"{process}={count}" for process, count in wanted.items())
        await outside_command_for_test(world.simulators.dokku, f"ps:scale myapp {words}")


# --- the connection


async def lose_connection(world: World) -> None:
    await world.simulators.server.drop_connections_for_test()


async def until_fetching(world: World) -> None:
    """The first log line arrived."""
    await world.until_message("Fetching")


async def die_at_the_next_line(world: World) -> None:
    """With its client gone, the command goes on from where it was held and dies as it prints."""
    (run,) = world.app.runs
    await world.simulators.dokku.until(lambda: run.output.closed)
    world.let_go()
    await world.simulators.dokku.until(lambda: not world.app.runs)


async def lose_records(world: World) -> None:
    world.app.records.clear()


async def fall_silent(world: World) -> None:
    """No packet passes any more; Dokku does not notice and runs to its end (recording m6)."""
    world.simulators.server.stall_for_test()
    world.let_go()
    await until_stopped(world)


async def heal_network(world: World) -> None:
    """Packets pass again; connections from before are gone."""
    await world.simulators.server.drop_connections_for_test()
    world.simulators.server.heal_for_test()


async def fall_silent_for_good(world: World) -> None:
    await fall_silent(world)
    await heal_network(world)


async def until_failed(world: World) -> None:
    """The bot has given the deployment up; Dokku's command is still held."""
    await world.until_message("Failed", "myapp")


# --- people


async def press_cancel(world: World) -> None:
    await world.until_message("Deploying", "Cancel")
    await world.click("deployment_cancel")


async def until_stopped(world: World) -> None:
    await world.simulators.dokku.until(lambda: not world.app.runs)


def outside(command: str) -> Incident:
    """Someone runs a command on the server, to its end."""

    async def incident(world: World) -> None:
        await outside_command_for_test(world.simulators.dokku, command)

    return incident


async def cancel_on_server(world: World) -> None:
    await outside_command_for_test(world.simulators.dokku, "builds:cancel myapp")
    await world.simulators.dokku.until(lambda: not world.app.runs)


async def push_outside(world: World) -> None:
    await world.simulators.dokku.outside_push_for_test("myapp", "ab" * 20)


async def push_previous_commit(world: World) -> None:
    old = next(one for one in world.app.containers if one.dyno == "web.1")
    await world.simulators.dokku.outside_push_for_test("myapp", old.image.sha)


def skip(world: World, duration: timedelta) -> None:
    """Advance the bot's clock past what it waits for; a message changes after the next renewal."""
    assert isinstance(world.clock, QuickClock)
    world.clock.skip(duration)


def when_checking(then: Incident, *, skipped: timedelta = SETTLE) -> Incident:
    """Let something happen during the stability check, and then this time pass."""

    async def incident(world: World) -> None:
        begun = len(world.simulators.dokku.journal)
        await world.deploy()
        await world.simulators.dokku.until(lambda: _looked_at(world, begun))
        await then(world)
        await world.until_message("Checking")  # now it sleeps
        skip(world, skipped)

    return incident


def seen_longer_than(duration: timedelta) -> Incident:
    """Let the bot see more than once what there is now, and then this time pass."""

    async def incident(world: World) -> None:
        begun = len(world.simulators.dokku.journal)
        await world.simulators.dokku.until(lambda: _looks(world, begun) >= SEVERAL)
        skip(world, duration)

    return incident


async def build_past_the_cap(world: World) -> None:
    """The time limit is over while the build goes on."""
    await world.until_message("Building")
    skip(world, LONGER_THAN_THE_CAP)


until_the_cap = seen_longer_than(LONGER_THAN_THE_CAP)


def _looks(world: World, begun: int) -> int:
    return sum(
        one.event == "asked" and one.details.get("command") == "ps:inspect"
        for one in world.simulators.dokku.journal[begun:]
    )


def _looked_at(world: World, begun: int) -> bool:
    """The bot has read the containers after the end of its command."""
    events = [
        (one.event, one.details.get("command"), one.details.get("outside"))
        for one in world.simulators.dokku.journal[begun:]
    ]
    ends = [at for at, (event, _, _) in enumerate(events) if event == "metadata_set"]
    return bool(ends) and ("asked", "ps:inspect", False) in events[ends[0] :]


# --- the server


async def kill_docker(world: World) -> None:
    world.simulators.dokku.kill_docker_for_test()


async def change_metadata(world: World) -> None:
    world.app.deploy_source_metadata = "https://git.example/acme/other.git#" + "0ffd" * 10


async def keep_replaced_containers(world: World) -> None:
    """They run on however late the bot looks."""
    world.simulators.dokku.old_containers_live_s = timedelta(days=1).total_seconds()


async def list_previous_worker(world: World) -> None:
    """List another container of the previous image: the first one is stopped soon."""
    app = world.app
    old = next(one for one in app.containers if one.dyno == "worker.1")
    again = replace(old, id=world.simulators.dokku.new_id(), name="myapp.worker.1.again")
    app.containers.append(again)
    app.listed["worker.1"] = again


async def crash_previous_release(world: World) -> None:
    """It crashed nine times: Docker's pause before the next start outlasts the test."""
    (container,) = world.app.listed.values()
    container.restart_count = 9
    container.state = RunState.RESTARTING


async def never_start_the_new_one(world: World) -> None:
    """As Docker leaves a container that it made and could not start, with checks off."""
    for container in world.app.listed.values():
        container.state = RunState.CREATED
    world.simulators.dokku.write_journal("never_started", world.app)


async def end_the_new_one(world: World) -> None:
    """Its process ends with status 0: Docker does not start it again."""
    for container in world.app.listed.values():
        world.simulators.dokku.stop_container(world.app, container)


async def crash_until_docker_gives_up(world: World) -> None:
    """All ten restarts are over before the bot looks: Dokku's command is held that long."""
    world.now_behaves("crash_1s")
    world.hold(ENDED)
    await world.deploy()
    await world.held()
    (container,) = world.app.listed.values()
    await world.simulators.dokku.until(lambda: container.state is RunState.EXITED)
    world.let_go()
