"""The verdict's table on the model: what Dokku does, and the end that the message shows for it.

The recordings themselves are played in test_replayed_ends.py; here the simulated Dokku puts the
same lines together for moments that nobody recorded. Rows of docs/verdicts.md that have tests of
their own elsewhere: test_ends.py (a good deploy, a
failed build, failed checks, a crash after 1 s, skip-deploy, a missing ref and repository, silence,
the cap, cancels before the switch) and test_late.py (the second start after a loss, what is learnt
after an end). The bot never uses `--build-if-changes`, so that it has no no-op of its own.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.simulators.dokku.commands.table import foreign_command
from bot.simulators.dokku.crashes import crash_loop
from bot.simulators.dokku.model import RunState
from bot.simulators.stage import DemoApp
from tests.scenarios.conftest import ONE_APP, World, open_world

Play = Callable[[World], Awaitable[None]]
End = tuple[Phase, Failure | None, Live]

NEW_APP = (DemoApp(name="myapp", behaviour="ok", hint="", commits=("Only one",), live=False),)
HEADLINES = {
    Phase.SUCCEEDED: "Deployed",
    Phase.FAILED: "Failed",
    Phase.CANCELLED: "Cancelled",
}
MODEL = "on the model"
BUILDING = "build step 4/"
CHECKING = "Attempting pre-flight checks"
SWITCHED = "Triggering early nginx proxy rebuild"
ENDED = "before_exit"
"""Dokku has done everything, and recorded it; its command has not exited yet."""
SHORT_CAP = {"DEPLOYBOT_MAX_DURATION": "2s"}
LONG_SETTLE = {"DEPLOYBOT_SETTLE": "3"}

UP: End = (Phase.SUCCEEDED, None, Live.NEW)
STAYED_UP = "The new release runs and stayed up."


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row."""

    name: str
    recording: str
    play: Play
    end: End
    says: str
    first: bool = False
    """Nothing of the app was ever deployed."""
    scale: Mapping[str, int] = field(default_factory=lambda: {"web": 1})
    settings: Mapping[str, str] = field(default_factory=dict)


def behaving(behaviour: str, text: str = "myapp main") -> Play:
    async def play(world: World) -> None:
        world.now_behaves(behaviour)
        await world.deploy(text)

    return play


def held(at: str, then: Play, behaviour: str = "ok") -> Play:
    """Stop the deploy behind a line, and let something happen before it goes on."""

    async def play(world: World) -> None:
        world.now_behaves(behaviour)
        world.hold(at)
        await world.deploy()
        await world.held()
        await then(world)
        world.let_go()

    return play


async def lose_the_line(world: World) -> None:
    await world.stage.server.drop_connections_for_test()


async def press_cancel(world: World) -> None:
    await world.until_message("Deploying", "Cancel")
    await world.click("deployment_cancel")
    await world.stage.dokku.until(lambda: not world.app.runs, timeout_s=20)


def elsewhere(command: str) -> Play:
    """Somebody else runs a command to its end."""

    async def play(world: World) -> None:
        await foreign_command(world.stage.dokku, command)

    return play


async def cancel_elsewhere(world: World) -> None:
    await foreign_command(world.stage.dokku, "builds:cancel myapp")
    await world.stage.dokku.until(lambda: not world.app.runs)


async def lose_the_records(world: World) -> None:
    world.app.records.clear()


async def lose_line_and_records(world: World) -> None:
    await lose_the_line(world)
    await lose_the_records(world)


async def fall_silent_for_ever(world: World) -> None:
    """No packet passes any more: Dokku does not notice, and comes to its end (recording m6)."""
    server, dokku = world.stage.server, world.stage.dokku
    server.stall_for_test()
    world.let_go()
    await dokku.until(lambda: not world.app.runs, timeout_s=20)
    await server.drop_connections_for_test()
    server.heal_for_test()


async def change_the_metadata(world: World) -> None:
    world.app.deploy_source_metadata = "https://git.example/acme/other.git#" + "0ffd" * 10


async def list_the_old_worker(world: World) -> None:
    old = next(one for one in world.app.containers if one.dyno == "worker.1")
    world.app.listed["worker.1"] = old


def when_checking(then: Play) -> Play:
    """Let something happen while the new release is watched."""

    async def play(world: World) -> None:
        begun = len(world.stage.dokku.journal)
        await world.deploy()
        await world.stage.dokku.until(lambda: looked_at(world, begun), timeout_s=20)
        await then(world)

    return play


def looked_at(world: World, begun: int) -> bool:
    """The bot's first look after the end of its command was answered."""
    events = [
        (one.event, one.details.get("command"), one.details.get("elsewhere"))
        for one in world.stage.dokku.journal[begun:]
    ]
    ends = [at for at, (event, _, _) in enumerate(events) if event == "metadata_set"]
    return bool(ends) and ("asked", "ps:inspect", False) in events[ends[0] :]


async def push_elsewhere(world: World) -> None:
    await world.stage.dokku.foreign_push("myapp", "ab" * 20)


async def lost_for_ever(world: World) -> None:
    """Its record is shown as running to the end: so does one whose pid another process got."""
    world.hold(BUILDING)
    await world.deploy()
    await world.held()
    await lose_the_line(world)


async def without_docker(world: World) -> None:
    world.stage.dokku.kill_docker_for_test()
    await world.deploy()


async def without_checks(world: World) -> None:
    world.app.checks_enabled = False
    await world.deploy()


async def gives_up(world: World) -> None:
    """All ten restarts are over before anybody looks: Dokku's command stands that long."""
    world.now_behaves("crash_1s")
    world.hold(ENDED)
    await world.deploy()
    await world.held()
    (container,) = world.app.listed.values()
    await world.stage.dokku.until(lambda: container.state is RunState.EXITED)
    world.let_go()


async def scaled_to_nothing(world: World) -> None:
    await foreign_command(world.stage.dokku, "ps:scale myapp web=0")
    await world.deploy()


async def old_release_crashes(world: World) -> None:
    dokku = world.stage.dokku
    (container,) = world.app.listed.values()
    dokku.spawn(crash_loop(dokku, world.app, container, life_s=0.1))
    await dokku.until(lambda: container.restart_count >= 5)  # its pauses are long by now


async def first_by_full_sha(world: World) -> None:
    await world.deploy(f"myapp {world.stage.forge.sha('myapp')}")


WEB_AND_WORKER = {"web": 1, "worker": 1}
CASES = (
    # --- a good end
    Case(
        name="a build that is silent for 25 s",
        recording="m11",
        play=behaving("silent_build"),
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="a first deploy by its full commit",
        recording="r2",
        play=first_by_full_sha,
        first=True,
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="checks are off",
        recording="u",
        play=without_checks,
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="web and worker",
        recording="t",
        play=behaving("ok"),
        scale=WEB_AND_WORKER,
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="no process is scaled up",
        recording="t",
        play=scaled_to_nothing,
        end=(Phase.SUCCEEDED, None, Live.NONE),
        says="Released; no process is scaled up, so nothing is serving.",
    ),
    Case(
        name="the record is gone",
        recording=MODEL,
        play=held(ENDED, lose_the_records),
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="Dokku's metadata names another commit",
        recording=MODEL,
        play=held(ENDED, change_the_metadata),
        end=(Phase.FAILED, Failure.INTERNAL, Live.NEW),
        says="Released, but the commit could not be confirmed. The new release is serving.",
    ),
    Case(
        name="an old worker beside the new web",
        recording=MODEL,
        play=held(ENDED, list_the_old_worker),
        scale=WEB_AND_WORKER,
        settings=SHORT_CAP,
        end=(Phase.FAILED, Failure.RELEASE_FAILED, Live.MIXED),
        says="Not every process was replaced.",
    ),
    Case(
        name="skip-deploy before anything was deployed",
        recording="t",
        play=behaving("skip_deploy"),
        first=True,
        end=(Phase.FAILED, Failure.NOT_DEPLOYED, Live.NONE),
        says="Dokku's command ended well, but released nothing. Nothing is serving.",
    ),
    # --- watching the new release
    Case(
        name="each process lives 20 s",
        recording="u, inspect_d",
        play=behaving("crash_20s"),
        end=(Phase.FAILED, Failure.CRASHED, Live.NEW),
        says="web.1 does not stay up. The new release is what is deployed.",
    ),
    Case(
        name="somebody restarts the new release",
        recording="inspect_b",
        play=when_checking(elsewhere("ps:restart myapp")),
        settings=LONG_SETTLE,
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="somebody pushes another commit",
        recording="w",
        play=when_checking(push_elsewhere),
        settings=LONG_SETTLE,
        end=(Phase.FAILED, Failure.INTERRUPTED, Live.UNKNOWN),
        says="It was replaced by git push before it had proved itself.",
    ),
    Case(
        name="somebody scales it to nothing",
        recording="x",
        play=when_checking(elsewhere("ps:scale myapp web=0")),
        settings=LONG_SETTLE,
        end=(Phase.FAILED, Failure.INTERRUPTED, Live.NONE),
        says="The new release was stopped or scaled down before it had proved itself.",
    ),
    Case(
        name="somebody changes its configuration during the build",
        recording="inspect_e",
        play=held(BUILDING, elsewhere("config:set myapp COLOUR=blue")),
        end=UP,
        says=STAYED_UP,
    ),
    # --- a bad end
    Case(
        name="the checks of a first deploy fail",
        recording="d",
        play=behaving("checks_fail"),
        first=True,
        end=(Phase.FAILED, Failure.HEALTHCHECK_FAILED, Live.NONE),
        says="The health check failed: Failure in name='web health': "
        "unexpected status code: 500. Nothing is serving.",
    ),
    Case(
        name="a ref that is missing for a first deploy",
        recording="g",
        play=behaving("ref_missing", "myapp " + "ab" * 20),
        first=True,
        end=(Phase.FAILED, Failure.REF_NOT_FOUND, Live.NONE),
        says="The repository has no such ref: error: pathspec",
    ),
    Case(
        name="the repository's port is closed",
        recording="h",
        play=behaving("repo_refused"),
        end=(Phase.FAILED, Failure.REPO_UNREACHABLE, Live.PREVIOUS),
        says="Dokku could not read the repository: fatal: unable to connect to",
    ),
    Case(
        name="the repository is not there for us",
        recording="h",
        play=behaving("repo_denied"),
        end=(Phase.FAILED, Failure.REPO_UNREACHABLE, Live.PREVIOUS),
        says="access denied or repository not exported",
    ),
    Case(
        name="the predeploy task fails",
        recording="y1, quoted",
        play=behaving("predeploy_fails"),
        end=(Phase.FAILED, Failure.RELEASE_FAILED, Live.PREVIOUS),
        says="The release failed: Execution of predeploy task failed: /app/migrate. "
        "The previous release is still serving.",
    ),
    Case(
        name="the postdeploy task fails",
        recording="y1, quoted",
        play=behaving("postdeploy_fails"),
        end=(Phase.FAILED, Failure.RELEASE_FAILED, Live.NEW),
        says="Failed late. The release failed: Execution of postdeploy task failed: "
        "/app/migrate. The new release is serving.",
    ),
    Case(
        name="the postdeploy task of a first deploy fails",
        recording=MODEL,
        play=behaving("postdeploy_fails"),
        first=True,
        end=(Phase.FAILED, Failure.RELEASE_FAILED, Live.NEW),
        says="The new release is serving.",
    ),
    Case(
        name="the worker fails after web was switched",
        recording="y2, on the model",
        play=behaving("worker_fails"),
        scale=WEB_AND_WORKER,
        end=(Phase.FAILED, Failure.RELEASE_FAILED, Live.MIXED),
        says="Failed late. The release failed: parallel: This job failed. "
        "Some processes run the new release, some the old one.",
    ),
    Case(
        name="skip-deploy of an app that runs",
        recording=MODEL,
        play=behaving("skip_deploy"),
        end=(Phase.FAILED, Failure.NOT_DEPLOYED, Live.PREVIOUS),
        says="Dokku's command ended well, but released nothing. "
        "The previous release is still serving.",
    ),
    Case(
        name="every process exits, and Docker gives up",
        recording="inspect_d",
        play=gives_up,
        settings=LONG_SETTLE,
        end=(Phase.FAILED, Failure.CRASHED, Live.NONE),
        says="web.1 does not stay up. Nothing is serving.",
    ),
    Case(
        name="Dokku's processes are killed in the build",
        recording="n1",
        play=behaving("dokku_killed"),
        end=(Phase.FAILED, Failure.RELEASE_FAILED, Live.PREVIOUS),
        says="Dokku's command was killed on the server, as by a reboot or for lack of memory. "
        "The previous release is still serving.",
    ),
    Case(
        name="the docker daemon dies in the build",
        recording="n2",
        play=behaving("docker_killed"),
        end=(Phase.FAILED, Failure.BUILD_FAILED, Live.UNKNOWN),
        says="The build failed: ERROR: failed to receive status: rpc error",
    ),
    Case(
        name="the docker daemon was dead before",
        recording="n2",
        play=without_docker,
        end=(Phase.FAILED, Failure.BUILD_FAILED, Live.UNKNOWN),
        says="Cannot connect to the Docker daemon",
    ),
    Case(
        name="somebody restarts the old release while the build fails",
        recording="inspect_b",
        play=held("Building myapp", elsewhere("ps:restart myapp"), "build_fails"),
        end=(Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS),
        says="The previous release is serving; it was restarted meanwhile by ps:restart.",
    ),
    Case(
        name="the old release is itself restarting while the build fails",
        recording=MODEL,
        play=held("Building myapp", old_release_crashes, "build_fails"),
        end=(Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS),
        says="The previous release is still in place, but is itself restarting.",
    ),
    # --- cancelled
    Case(
        name="a cancel after the switch",
        recording="l3",
        play=held(SWITCHED, press_cancel),
        end=(Phase.CANCELLED, None, Live.NEW),
        says="Cancelled, but too late. The new release is serving.",
    ),
    Case(
        name="a cancel after web was switched, and before the worker",
        recording=MODEL,
        play=held(SWITCHED, press_cancel),
        scale=WEB_AND_WORKER,
        end=(Phase.CANCELLED, None, Live.MIXED),
        says="Some processes run the new release, some the old one.",
    ),
    Case(
        name="somebody else cancels it on the server",
        recording="l1",
        play=held(BUILDING, cancel_elsewhere),
        end=(Phase.CANCELLED, None, Live.PREVIOUS),
        says="It was cancelled on the server, not by this bot.",
    ),
    # --- the line is lost
    Case(
        name="lost after everything was done",
        recording=MODEL,
        play=held(ENDED, lose_the_line),
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="lost without a sign, and Dokku comes to its end by itself",
        recording="m6, on the model",
        play=held(BUILDING, fall_silent_for_ever),
        end=UP,
        says=STAYED_UP,
    ),
    Case(
        name="lost after the build failed",
        recording="c, m1",
        play=held(ENDED, lose_the_line, "build_fails"),
        end=(Phase.FAILED, Failure.BUILD_FAILED, Live.PREVIOUS),
        says="The build failed: ERROR: failed to solve",
    ),
    Case(
        name="lost after the checks failed",
        recording="d, m3",
        play=held(ENDED, lose_the_line, "checks_fail"),
        end=(Phase.FAILED, Failure.HEALTHCHECK_FAILED, Live.PREVIOUS),
        says="The health check failed",
    ),
    Case(
        name="lost in the checks",
        recording="m3",
        play=held(CHECKING, lose_the_line),
        end=(Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS),
        says="Dokku's command with it. The previous release is still serving.",
    ),
    Case(
        name="lost after the switch",
        recording="m4",
        play=held(SWITCHED, lose_the_line),
        end=(Phase.FAILED, Failure.INTERRUPTED, Live.NEW),
        says="Dokku's command with it. The new release is serving.",
    ),
    Case(
        name="lost after web was switched, and before the worker",
        recording="m4",
        play=held(SWITCHED, lose_the_line),
        scale=WEB_AND_WORKER,
        end=(Phase.FAILED, Failure.INTERRUPTED, Live.MIXED),
        says="Some processes run the new release, some the old one.",
    ),
    Case(
        name="lost, and its record is shown as running for ever",
        recording=MODEL,
        play=lost_for_ever,
        settings=SHORT_CAP,
        end=(Phase.FAILED, Failure.TIMED_OUT, Live.UNKNOWN),
        says="its end on the server could not be confirmed",
    ),
    Case(
        name="lost, and its record with it",
        recording=MODEL,
        play=held(BUILDING, lose_line_and_records),
        settings=SHORT_CAP,
        end=(Phase.FAILED, Failure.LOST_CONTACT, Live.UNKNOWN),
        says="how the deployment ended is not known",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_end_is_what_the_evidence_says(tmp_path: Path, case: Case) -> None:
    async with open_world(tmp_path, apps=NEW_APP if case.first else ONE_APP) as world:
        await scale(world, case.scale)
        await world.start_bot(None, None, **case.settings)
        await case.play(world)
        phase, failure, live = case.end
        await world.until_message(HEADLINES[phase], "myapp", case.says)
        (row,) = await world.rows()
        assert isinstance(row, Deployment)
        assert (row.phase, row.failure, row.live) == (phase, failure, live)


async def scale(world: World, wanted: Mapping[str, int]) -> None:
    """Scale what is live already."""
    if dict(wanted) != world.app.scale:
        words = " ".join(f"{process}={count}" for process, count in wanted.items())
        await foreign_command(world.stage.dokku, f"ps:scale myapp {words}")
