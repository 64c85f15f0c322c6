"""Deployments that the simulated Dokku's model plays, each with the rows of the table it meets."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from tests.scenarios.conftest import World
from tests.support import plays
from tests.support.plays import (
    BUILDING,
    ENDED,
    FETCHING,
    SWITCHED,
    behaving,
    held,
    in_turn,
    when_checking,
)

NEWEST, OLD = "0.38.27", "0.35.20"
WEB_AND_WORKER = {"web": 1, "worker": 1}
SHORT_CAP = {"DEPLOYBOT_MAX_DURATION": "2s"}
LONG_SETTLE = {"DEPLOYBOT_SETTLE": "3"}
SEVERAL_LOOKS = {"DEPLOYBOT_SETTLE": "1", "DEPLOYBOT_MAX_DURATION": "4s"}
SOON: Mapping[str, Any] = {"start_window": timedelta(milliseconds=300)}
PATIENT: Mapping[str, Any] = {
    "poll_interval": timedelta(seconds=5),
    "poll_timeout": timedelta(seconds=60),
}
FAST_CLOCK = 20.0
"""A fetch lives on without its client for up to a minute: 3 s of the test's."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """One deployment of `myapp`, and the rows that it meets; the last one is its end, if any."""

    rows: tuple[str, ...]
    play: plays.Play
    scale: Mapping[str, int] = field(default_factory=lambda: {"web": 1})
    settings: Mapping[str, str] = field(default_factory=dict)
    timing: Mapping[str, Any] | None = None
    speed: float | None = None
    """How many times faster the bot's waits pass; None: its own clock."""
    version: str = NEWEST
    first: bool = False
    """Nothing of the app was deployed before."""


def story(*rows: str, play: plays.Play, **more: Any) -> Story:
    return Story(rows=rows, play=play, **more)


def old(*rows: str, play: plays.Play, **more: Any) -> Story:
    """On a Dokku that keeps no build records."""
    return Story(rows=rows, play=play, version=OLD, **more)


# --- what only these stories do


async def out_of_reach(world: World) -> None:
    await world.stage.server.refuse_connections_for_test()
    await world.stage.server.drop_connections_for_test()
    await world.deploy()


async def destroyed_while_it_waits(world: World) -> None:
    world.hold(BUILDING)
    push = world.stage.dokku.outside_push_for_test("myapp", "ab" * 20)
    await world.held()
    await world.deploy()
    await world.until_message("Queued", "git push")
    world.stage.dokku.apps.pop("myapp")
    push.cancel()
    await asyncio.gather(push, return_exceptions=True)


async def never_arrived(world: World) -> None:
    """All was cut as the command arrived: Dokku has no record of it."""
    server = world.stage.server
    server.lose_command_for_test("git:sync")
    await world.deploy()
    await world.stage.dokku.until(lambda: server.lost_lines)
    server.lose_command_for_test(None)
    server.drop_newest_for_test()


def at_our_end(
    begin: Callable[[World], object], then: plays.Play | None = None, behaviour: str = "ok"
) -> plays.Play:
    """Somebody's command is through before ours exits; both are let go on together."""

    async def play(world: World) -> None:
        world.now_behaves("ok")  # theirs; ours has run
        begin(world)
        journal = world.stage.dokku.journal
        await world.stage.dokku.until(lambda: [one.event for one in journal].count("held") == 2)
        if then is not None:
            await then(world)

    return held(ENDED, play, behaviour)


def push(world: World) -> object:
    return world.stage.dokku.outside_push_for_test("myapp", "ab" * 20)


def scale_again(world: World) -> object:
    return outside_command_for_test(world.stage.dokku, "ps:scale myapp web=1")


async def prune(world: World) -> None:
    """Dokku keeps the newest records alone; here ours."""
    world.app.records[:] = [one for one in world.app.records if one.source == "git:sync"]


async def the_record_was_pruned(world: World) -> None:
    """As prune leaves what never told its end; seen of `ps:restart` alone (recording p)."""
    record = world.app.records[-1]
    record.status, record.exit_code = "failed", -1


async def build_the_same_content(world: World) -> None:
    new = world.stage.forge.sha("myapp")
    (live,) = world.stage.dokku.live("myapp").values()
    world.stage.dokku.same_files_for_test(new, live.sha)


async def lose_line_and_text(world: World) -> None:
    """As recording m6, and Dokku's copy of the text is gone."""
    await plays.fall_silent(world)
    world.app.records[-1].log.clear()
    await plays.heal_the_line(world)


async def cancel_and_lose_the_line(world: World) -> None:
    await plays.press_cancel(world)
    await world.until_message("Cancelling")
    await plays.lose_the_line(world)


async def push_and_prune(world: World) -> None:
    await plays.push_elsewhere(world)
    await prune(world)


STORIES: tuple[Story, ...] = (
    # --- before the start
    story("unreachable", play=out_of_reach, timing=SOON),
    story("containers_hidden", play=in_turn(plays.kill_docker, behaving("ok")), timing=SOON),
    story("app_gone", play=destroyed_while_it_waits),
    story("ref_gone", play=behaving("ok", "myapp v9"), timing={"lookup_grace": timedelta(0)}),
    # --- a good end
    story("apps_locked", play=in_turn(plays.elsewhere("apps:lock myapp"), behaving("ok"))),
    story("record_gone", play=held(ENDED, plays.lose_the_records)),
    story("record_says_otherwise", play=held(ENDED, the_record_was_pruned)),
    story("lost_after_all_was_done", play=held(ENDED, plays.lose_the_line)),
    story("skip_deploy", play=behaving("skip_deploy")),
    story(
        "skip_deploy_restarted",
        play=held("Building myapp", plays.elsewhere("ps:scale myapp web=1"), "skip_deploy"),
    ),
    story("skip_deploy_started", play=at_our_end(scale_again, behaviour="skip_deploy")),
    story("skip_deploy_pushed", play=at_our_end(push, behaviour="skip_deploy")),
    story("lost_after_skip_deploy", play=held(ENDED, plays.lose_the_line, "skip_deploy")),
    story(
        "skip_deploy_unreadable_at_cap",
        play=held(ENDED, plays.kill_docker, "skip_deploy"),
        settings=SHORT_CAP,
    ),
    story("same_content_restarted", play=in_turn(build_the_same_content, at_our_end(scale_again))),
    story("other_source", play=held(ENDED, plays.change_the_metadata)),
    story("text_gone", play=held(plays.POST_DEPLOY, lose_line_and_text)),
    story("replaced_by_unknown", play=at_our_end(push, prune)),
    story("replaced_by_push", play=at_our_end(push)),
    story(
        "old_beside_new",
        "old_beside_new_at_cap",
        play=held(ENDED, plays.list_an_old_worker),
        scale=WEB_AND_WORKER,
        settings=SHORT_CAP,
    ),
    story(
        "unreadable",
        "unreadable_at_cap",
        play=held(ENDED, plays.kill_docker),
        settings=SHORT_CAP,
    ),
    # --- watching the new release
    story("gave_up", play=plays.gives_up, settings=LONG_SETTLE),
    story(
        "restarted_over_and_over",
        play=when_checking(plays.elsewhere("ps:restart myapp")),
        settings=LONG_SETTLE | SHORT_CAP,
    ),
    story("settling_replaced", play=when_checking(push_and_prune), settings=LONG_SETTLE),
    story("settling_pushed", play=when_checking(plays.push_elsewhere), settings=LONG_SETTLE),
    story(
        "settling_old_again",
        play=when_checking(plays.push_the_old_commit),
        settings=LONG_SETTLE,
    ),
    story(
        "settling_scaled_down",
        play=when_checking(plays.elsewhere("ps:scale myapp web=0")),
        settings=LONG_SETTLE,
    ),
    story(
        "settling_old_beside_new",
        "settling_old_beside_new_at_cap",
        play=when_checking(plays.list_an_old_worker),
        scale=WEB_AND_WORKER,
        settings=SEVERAL_LOOKS,
    ),
    story(
        "settling_unreadable",
        "settling_unreadable_at_cap",
        play=when_checking(plays.kill_docker),
        settings=SEVERAL_LOOKS,
    ),
    # --- a bad end
    story("predeploy_fails", play=behaving("predeploy_fails")),
    story(
        "old_release_restarting",
        play=held("Building myapp", plays.old_release_crashes, "predeploy_fails"),
    ),
    story(
        "restarted_from_elsewhere",
        play=held("Building myapp", plays.elsewhere("ps:scale myapp web=1"), "build_fails"),
    ),
    story(
        "restarted_by_config_set",
        play=held("Building myapp", plays.elsewhere("config:set myapp A=1"), "build_fails"),
    ),
    story("postdeploy_fails", play=behaving("postdeploy_fails")),
    story("worker_fails", play=behaving("worker_fails"), scale=WEB_AND_WORKER),
    story("lost_after_checks_failed", play=held(ENDED, plays.lose_the_line, "checks_fail")),
    story("lost_after_build_failed", play=held(ENDED, plays.lose_the_line, "build_fails")),
    # --- cancelled
    story(
        "cancelled_first",
        play=held(BUILDING, in_turn(plays.press_cancel, plays.until_stopped)),
        first=True,
    ),
    story(
        "cancelled_half_way",
        play=held(SWITCHED, in_turn(plays.press_cancel, plays.until_stopped)),
        scale=WEB_AND_WORKER,
    ),
    story(
        "cancelled_by_hanging_up",
        play=held(FETCHING, in_turn(plays.is_fetching, cancel_and_lose_the_line)),
    ),
    story(
        "stopped_at_cap",
        play=held(BUILDING, plays.until_stopped),
        settings=SHORT_CAP,
    ),
    story("cancelled_elsewhere", play=held(BUILDING, plays.cancel_elsewhere)),
    # --- the line is lost
    story(
        "lost_running",
        "lost_running_at_cap",
        play=held(BUILDING, in_turn(plays.lose_the_line, plays.until_failed)),
        settings=SHORT_CAP,
    ),
    story(
        "lost_after_ref_missing",
        play=held(ENDED, plays.lose_the_line, "ref_missing", "myapp " + "ab" * 20),
    ),
    story(
        "lost_half_way",
        play=held(SWITCHED, plays.lose_the_line),
        scale=WEB_AND_WORKER,
    ),
    story(
        "lost_before_it_began",
        play=never_arrived,
        timing={"record_wait": timedelta(milliseconds=600)},
    ),
    story(
        "lost_record",
        "lost_record_at_cap",
        play=held(BUILDING, in_turn(plays.lose_the_line, plays.lose_the_records)),
        settings=SHORT_CAP,
    ),
    # --- on a Dokku that keeps no build records
    old("old_lost_after_build_failed", play=held(ENDED, plays.lose_the_line, "build_fails")),
    old("old_lost_after_all_was_done", play=held(ENDED, plays.lose_the_line)),
    old("old_lost_text", play=held(BUILDING, plays.fall_silent_for_ever)),
    old(
        "old_lock_held",
        "old_lock_held_at_cap",
        play=held(BUILDING, in_turn(plays.lose_the_line, plays.until_failed)),
        settings={"DEPLOYBOT_MAX_DURATION": "60s"},
        timing=PATIENT,
        speed=FAST_CLOCK,
    ),
    old(
        "old_lost_in_fetch",
        "old_lost_in_fetch_long_ago",
        play=held(FETCHING, in_turn(plays.is_fetching, plays.lose_the_line, plays.dies)),
        timing=PATIENT,
        speed=FAST_CLOCK,
    ),
    old("old_stopped_at_cap", play=held(BUILDING, plays.dies), settings=SHORT_CAP),
)
