"""Deployments on the simulated Dokku's model, each with the rows of the verdict table it shows."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bot.deployments.timing import LockTiming
from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from tests.scenarios.conftest import World
from tests.support import incidents
from tests.support.incidents import (
    BUILDING,
    ENDED,
    FETCHING,
    SETTLE,
    SWITCHED,
    behaving,
    held,
    in_turn,
    until_the_cap,
    when_checking,
)

NEWEST, OLD = "0.38.27", "0.35.20"
WEB_AND_WORKER = {"web": 1, "worker": 1}
LONG_SETTLE = {"DEPLOYBOT_SETTLE": f"{SETTLE.total_seconds()}"}
LONG_CAP = {"DEPLOYBOT_MAX_DURATION": "10m"}
SOON: Mapping[str, Any] = {"start_window": timedelta(milliseconds=300)}
QUICK_LOCK: Mapping[str, Any] = {
    "poll_interval": timedelta(milliseconds=200),
    "lock": LockTiming(
        pause=timedelta(milliseconds=100),
        dies_within=timedelta(milliseconds=500),
        stays_free=timedelta(milliseconds=100),
    ),
}
A_FETCH_LIVES = timedelta(seconds=70)
"""Longer than a fetch outlives its client, and than a cancel at the time limit takes to show."""


@dataclass(frozen=True, kw_only=True)
class ModelCase:
    """One deployment of `myapp`, and the rows that it shows; the last one may be its result."""

    rows: tuple[str, ...]
    incident: incidents.Incident
    scale: Mapping[str, int] = field(default_factory=lambda: {"web": 1})
    settings: Mapping[str, str] = field(default_factory=dict)
    timing: Mapping[str, Any] | None = None
    version: str = NEWEST
    first: bool = False
    """The app was never deployed before."""


def case(*rows: str, incident: incidents.Incident, **more: Any) -> ModelCase:
    return ModelCase(rows=rows, incident=incident, **more)


def old_case(*rows: str, incident: incidents.Incident, **more: Any) -> ModelCase:
    """On a Dokku that keeps no build records."""
    return ModelCase(rows=rows, incident=incident, version=OLD, **more)


# --- incidents of these cases only


async def cut_off(world: World) -> None:
    await world.simulators.server.refuse_connections_for_test()
    await world.simulators.server.drop_connections_for_test()
    await world.deploy()


async def destroy_while_queued(world: World) -> None:
    world.hold(BUILDING)
    push = world.simulators.dokku.outside_push_for_test("myapp", "ab" * 20)
    await world.held()
    await world.deploy()
    await world.until_message("Queued", "git push")
    world.simulators.dokku.apps.pop("myapp")
    push.cancel()
    await asyncio.gather(push, return_exceptions=True)


async def destroy(world: World) -> None:
    world.simulators.dokku.apps.pop("myapp")


async def destroy_in_the_build(world: World) -> None:
    """The command goes on: the next poll shows it."""
    world.hold(BUILDING)
    await world.deploy()
    await world.held()
    await destroy(world)


async def lose_the_start(world: World) -> None:
    """The connection is cut while the command arrives: Dokku has no record of it."""
    server = world.simulators.server
    server.lose_command_for_test("git:sync")
    await world.deploy()
    await world.simulators.dokku.until(lambda: server.lost_lines)
    server.lose_command_for_test(None)
    server.drop_newest_for_test()


def at_the_end(
    begin: Callable[[World], object], then: incidents.Incident | None = None, behaviour: str = "ok"
) -> incidents.Incident:
    """Run someone else's command up to its end before the bot's exits; then let both go on."""

    async def incident(world: World) -> None:
        world.now_behaves("ok")  # for the other command; the bot's has run
        begin(world)
        journal = world.simulators.dokku.journal
        await world.simulators.dokku.until(
            lambda: [one.event for one in journal].count("held") == 2
        )
        if then is not None:
            await then(world)

    return held(ENDED, incident, behaviour)


def push(world: World) -> object:
    return world.simulators.dokku.outside_push_for_test("myapp", "ab" * 20)


def scale_again(world: World) -> object:
    return outside_command_for_test(world.simulators.dokku, "ps:scale myapp web=1")


async def prune(world: World) -> None:
    """Dokku keeps only the newest records; here that of the deployment."""
    world.app.records[:] = [one for one in world.app.records if one.source == "git:sync"]


async def mark_record_as_never_finished(world: World) -> None:
    """As Dokku's prune leaves records without an end; only seen of `ps:restart` (recording p)."""
    record = world.app.records[-1]
    record.status, record.exit_code = "failed", -1


async def build_the_same_content(world: World) -> None:
    new = world.simulators.forge.sha("myapp")
    (live,) = world.simulators.dokku.live("myapp").values()
    world.simulators.dokku.same_files_for_test(new, live.sha)


async def lose_connection_and_output(world: World) -> None:
    """As in recording m6, with Dokku's copy of the output gone."""
    await incidents.fall_silent(world)
    world.app.records[-1].log.clear()
    await incidents.heal_network(world)


async def cancel_and_lose_connection(world: World) -> None:
    await incidents.press_cancel(world)
    await world.until_message("Cancelling")
    await incidents.lose_connection(world)


async def push_and_prune(world: World) -> None:
    await incidents.push_outside(world)
    await prune(world)


MODEL_CASES: tuple[ModelCase, ...] = (
    # --- before the start
    case("unreachable", incident=cut_off, timing=SOON),
    case("containers_hidden", incident=in_turn(incidents.kill_docker, behaving("ok")), timing=SOON),
    case("app_gone", incident=destroy_while_queued),
    case("ref_gone", incident=behaving("ok", "myapp v9"), timing={"lookup_grace": timedelta(0)}),
    # --- a good end
    case("apps_locked", incident=in_turn(incidents.outside("apps:lock myapp"), behaving("ok"))),
    case("record_missing", incident=held(ENDED, incidents.lose_records)),
    case("record_never_finished", incident=held(ENDED, mark_record_as_never_finished)),
    case("lost_after_good_end", incident=held(ENDED, incidents.lose_connection)),
    case("skip_deploy", incident=behaving("skip_deploy")),
    case(
        "skip_deploy_restarted",
        incident=held("Building myapp", incidents.outside("ps:scale myapp web=1"), "skip_deploy"),
    ),
    case("skip_deploy_started", incident=at_the_end(scale_again, behaviour="skip_deploy")),
    case("skip_deploy_pushed", incident=at_the_end(push, behaviour="skip_deploy")),
    case("lost_after_skip_deploy", incident=held(ENDED, incidents.lose_connection, "skip_deploy")),
    case(
        "skip_deploy_unreadable_at_cap",
        incident=in_turn(held(ENDED, incidents.kill_docker, "skip_deploy"), until_the_cap),
        settings=LONG_CAP,
    ),
    case(
        "same_content_restarted", incident=in_turn(build_the_same_content, at_the_end(scale_again))
    ),
    case("other_source", incident=held(ENDED, incidents.change_metadata)),
    case("output_gone", incident=held(incidents.POST_DEPLOY, lose_connection_and_output)),
    case("replaced_by_unknown", incident=at_the_end(push, prune)),
    case("replaced_by_push", incident=at_the_end(push)),
    case(
        "old_beside_new",
        "old_beside_new_at_cap",
        incident=in_turn(held(ENDED, incidents.list_previous_worker), until_the_cap),
        scale=WEB_AND_WORKER,
        settings=LONG_CAP,
    ),
    case(
        "unreadable",
        "unreadable_at_cap",
        incident=in_turn(held(ENDED, incidents.kill_docker), until_the_cap),
        settings=LONG_CAP,
    ),
    # --- watching the new release
    case("exited_for_good", incident=incidents.crash_until_docker_gives_up, settings=LONG_SETTLE),
    case("never_started", incident=held(ENDED, incidents.never_start_the_new_one)),
    case("ended_by_itself", incident=held(ENDED, incidents.end_the_new_one)),
    case(
        "restarted_over_and_over",
        incident=when_checking(
            incidents.outside("ps:restart myapp"), skipped=incidents.LONGER_THAN_THE_CAP
        ),
        settings=LONG_SETTLE | LONG_CAP,
    ),
    case("watch_replaced", incident=when_checking(push_and_prune), settings=LONG_SETTLE),
    case("watch_pushed", incident=when_checking(incidents.push_outside), settings=LONG_SETTLE),
    case(
        "watch_old_again",
        incident=when_checking(incidents.push_previous_commit),
        settings=LONG_SETTLE,
    ),
    case(
        "watch_stopped",
        incident=when_checking(incidents.outside("ps:stop myapp")),
        settings=LONG_SETTLE,
    ),
    case("watch_app_destroyed", incident=when_checking(destroy), settings=LONG_SETTLE),
    case(
        "watch_scaled_down",
        incident=when_checking(incidents.outside("ps:scale myapp web=0")),
        settings=LONG_SETTLE,
    ),
    case(
        "watch_old_beside_new",
        "watch_old_beside_new_at_cap",
        incident=in_turn(
            incidents.keep_replaced_containers,
            when_checking(incidents.list_previous_worker),
            until_the_cap,
        ),
        scale=WEB_AND_WORKER,
        settings=LONG_SETTLE | LONG_CAP,
    ),
    case(
        "watch_unreadable",
        "watch_unreadable_at_cap",
        incident=in_turn(when_checking(incidents.kill_docker), until_the_cap),
        settings=LONG_SETTLE | LONG_CAP,
    ),
    # --- a bad end
    case("app_destroyed", incident=destroy_in_the_build),
    case("predeploy_fails", incident=behaving("predeploy_fails")),
    case(
        "old_release_restarting",
        incident=held("Building myapp", incidents.crash_previous_release, "predeploy_fails"),
    ),
    case(
        "restarted_outside",
        incident=held("Building myapp", incidents.outside("ps:scale myapp web=1"), "build_fails"),
    ),
    case(
        "restarted_by_config_set",
        incident=held("Building myapp", incidents.outside("config:set myapp A=1"), "build_fails"),
    ),
    case("postdeploy_fails", incident=behaving("postdeploy_fails")),
    case("worker_fails", incident=behaving("worker_fails"), scale=WEB_AND_WORKER),
    case(
        "lost_after_checks_failed", incident=held(ENDED, incidents.lose_connection, "checks_fail")
    ),
    case("lost_after_build_failed", incident=held(ENDED, incidents.lose_connection, "build_fails")),
    # --- cancelled
    case(
        "cancelled_first",
        incident=held(BUILDING, in_turn(incidents.press_cancel, incidents.until_stopped)),
        first=True,
    ),
    case(
        "cancelled_half_way",
        incident=held(SWITCHED, in_turn(incidents.press_cancel, incidents.until_stopped)),
        scale=WEB_AND_WORKER,
    ),
    case(
        "cancelled_without_exit_status",
        incident=held(FETCHING, in_turn(incidents.until_fetching, cancel_and_lose_connection)),
    ),
    case(
        "stopped_at_cap",
        incident=held(BUILDING, in_turn(incidents.build_past_the_cap, incidents.until_stopped)),
        settings=LONG_CAP,
    ),
    case("cancelled_on_server", incident=held(BUILDING, incidents.cancel_on_server)),
    # --- the connection is lost
    case(
        "lost_running",
        "lost_running_at_cap",
        incident=held(
            BUILDING,
            in_turn(incidents.lose_connection, until_the_cap, incidents.until_failed),
        ),
        settings=LONG_CAP,
    ),
    case(
        "lost_after_ref_missing",
        incident=held(ENDED, incidents.lose_connection, "ref_missing", "myapp " + "ab" * 20),
    ),
    case(
        "lost_half_way",
        incident=held(SWITCHED, incidents.lose_connection),
        scale=WEB_AND_WORKER,
    ),
    case(
        "lost_before_it_began",
        incident=lose_the_start,
        timing={"record_wait": timedelta(milliseconds=600)},
    ),
    case(
        "lost_record",
        "lost_record_at_cap",
        incident=held(
            BUILDING,
            in_turn(incidents.lose_connection, incidents.lose_records, until_the_cap),
        ),
        settings=LONG_CAP,
    ),
    # --- on a Dokku that keeps no build records
    old_case(
        "old_lost_after_build_failed",
        incident=held(ENDED, incidents.lose_connection, "build_fails"),
    ),
    old_case("old_lost_after_good_end", incident=held(ENDED, incidents.lose_connection)),
    old_case("old_output_lost", incident=held(BUILDING, incidents.fall_silent_for_good)),
    old_case(
        "old_lock_held",
        "old_lock_held_at_cap",
        incident=held(
            BUILDING,
            in_turn(
                incidents.lose_connection,
                until_the_cap,
                incidents.seen_longer_than(A_FETCH_LIVES),
                incidents.until_failed,
            ),
        ),
        settings=LONG_CAP,
        timing=QUICK_LOCK,
    ),
    old_case(
        "old_lost_in_fetch",
        "old_lost_in_fetch_long_ago",
        incident=held(
            FETCHING,
            in_turn(
                incidents.until_fetching,
                incidents.lose_connection,
                incidents.die_at_the_next_line,
                incidents.seen_longer_than(A_FETCH_LIVES),
            ),
        ),
        timing=QUICK_LOCK,
    ),
    old_case(
        "old_stopped_at_cap",
        incident=held(
            BUILDING, in_turn(incidents.build_past_the_cap, incidents.die_at_the_next_line)
        ),
        settings=LONG_CAP,
        timing=QUICK_LOCK,
    ),
)
