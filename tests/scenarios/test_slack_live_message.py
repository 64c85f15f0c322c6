"""The one message of a deployment: what it carries in every state, from the first to the end."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.deployments.model import Failure, Live, Phase
from bot.deployments.ports import Urgency
from bot.deployments.verdict.wording import beside_facts
from bot.dokku.driver import Driver
from bot.simulators.environment import DemoApp
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import QuickClock, World, open_world, shown
from tests.support.message_parts import Parts, parts_of

NEW_APP = (DemoApp(name="myapp", behaviour="ok", hint="", commits=("Only one",), live=False),)
CANCEL = "deployment_cancel"


async def at(world: World, *words: str) -> Parts:
    return parts_of(await world.until_message(*words))


async def test_message_says_starting_before_dokku_prints_anything(
    quick: World, dokku_may_start: asyncio.Event
) -> None:
    await quick.deploy()
    starting = await at(quick, "Starting")
    (row,) = await quick.rows()
    assert starting.headline == "🔵 *Deploying myapp* `main`"
    assert list(starting.facts) == ["Status", "Elapsed", "Commit", "Requested by"]
    assert starting.facts["Status"] == "Starting"
    assert f"`{quick.simulators.forge.sha('myapp')[:7]}`" in starting.facts["Commit"]
    assert starting.facts["Requested by"] == "@\u2060ada"
    assert starting.snippet == ""
    assert starting.buttons == ["Full log", "Cancel"]
    assert row.id in starting.footer
    dokku_may_start.set()
    await at(quick, "Deployed")


async def test_message_follows_a_deployment_through_all_its_phases(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.hold("Fetching remote code")
        await world.start_bot(clock=QuickClock(), DEPLOYBOT_SETTLE="5s")
        await world.deploy()
        fetching = await at(world, "Fetching", "Fetching remote code")
        assert fetching.facts["Status"] == "Fetching"

        go_on(world, "build step 4/")
        building = await at(world, "Building", "build step 4/", "Dokku build", "checked")
        assert building.facts["Status"] == "Building · step 4 of 4"
        assert len(building.snippet.splitlines()) == 3
        assert building.snippet.endswith("#8 3.180 build step 4/8 of version 3")
        assert building.buttons == ["Full log", "Cancel"]

        go_on(world, "Attempting pre-flight checks")
        releasing = await at(world, "Releasing", "health checks")
        assert releasing.facts["Status"] == "Releasing · health checks of web.1"

        world.let_go()
        await at(world, "Checking · watching the new release")

        deployed = await at(world, "Deployed")
        (row,) = await world.rows()
        assert deployed.headline == "🟢 *Deployed myapp* `main`"
        assert deployed.facts["Status"] == "Succeeded"
        assert re.fullmatch(r"(\d+m )?\d+s", deployed.facts["Duration"])
        assert deployed.facts["Live now"] == "the new release"
        assert deployed.facts["Previous"] == f"`{row.previous_sha[:7]}` according to Dokku"
        assert "http://myapp.dokku.example:5000" in deployed.facts["Address"]
        assert deployed.buttons == ["Full log", "Roll back", "Details"]  # to what Dokku recorded
        assert deployed.footer == row.id
        assert deployed.snippet == ""

        (message,) = world.messages
        for one in world.slack.edits(message):
            assert "myapp" in parts_of(one).headline
            assert row.id in parts_of(one).footer
        await world.replied("was deployed")
        posts = [call for call in world.slack.calls if call.method == "chat.postMessage"]
        assert len(posts) == 2  # the message, and the mention in its thread


def go_on(world: World, until: str) -> None:
    world.let_go()
    world.hold(until)


@dataclass(frozen=True, kw_only=True)
class End:
    behaviour: str
    status: str
    live: str
    buttons: Sequence[str] = ("Retry", "Full log", "Details")
    snippet: str = ""
    apps: Sequence[DemoApp] | None = None


ENDS = (
    End(
        behaviour="build_fails",
        status="Failed · the build failed",
        live="the previous release",
        snippet="failed to solve",
    ),
    End(
        behaviour="build_fails",
        status="Failed · the build failed",
        live="nothing",
        snippet="failed to solve",
        apps=NEW_APP,
    ),
    End(
        behaviour="checks_fail",
        status="Failed · the health checks failed",
        live="the previous release",
        snippet="Failure in name=",
    ),
    End(
        behaviour="crash_1s",
        status="Failed · the new release keeps crashing",
        live="the new release",
        buttons=("Roll back", "Retry", "Full log", "Details"),
    ),
    End(
        behaviour="skip_deploy",
        status="Failed · nothing new was deployed",
        live="the previous release",
    ),
    End(
        behaviour="ref_missing",
        status="Failed · no such branch, tag or commit",
        live="the previous release",
    ),
    End(
        behaviour="repo_unreachable",
        status="Failed · the repository cannot be reached",
        live="the previous release",
    ),
)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: f"{end.behaviour}-{end.live}")
async def test_failure_says_why_and_what_is_live(tmp_path: Path, end: End) -> None:
    options = {} if end.apps is None else {"apps": end.apps}
    async with open_world(tmp_path, **options) as world:
        world.now_behaves(end.behaviour)
        await world.start_bot(clock=QuickClock())
        await world.deploy()
        failed = await at(world, "Failed:")
        (row,) = await world.rows()
        assert failed.headline == "🔴 *Failed: myapp* `main`"
        assert failed.facts["Status"] == end.status
        assert failed.facts["Live now"].startswith(end.live)
        assert failed.buttons == list(end.buttons)
        assert end.snippet in failed.snippet
        assert len(failed.snippet.splitlines()) <= 10
        (message,) = world.messages
        assert beside_facts(row.reason, failure=row.failure, live=row.live) in shown(message)
        for words in ("myapp", "main", end.status, f"live now: {end.live}"):
            assert words in message.text


async def test_unknown_result_is_reported_as_unknown(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        timing = {
            "poll_interval": timedelta(milliseconds=400),
            "poll_timeout": timedelta(milliseconds=300),
        }
        world.hold()
        await world.start_bot(timing=timing, clock=QuickClock())
        await world.deploy()
        await at(world, "Building", "Dokku build")
        world.simulators.server.stall_for_test()
        stale = await at(world, "stale since")
        assert stale.headline.startswith("🔵 *Deploying myapp*")
        lost = await at(world, "Failed:")
        assert lost.facts["Status"] == "Failed · contact was lost"
        assert lost.facts["Live now"] == "unknown"
        assert lost.buttons == [
            *("Retry", "Full log", "Cancel on the server", "Roll back", "Details")
        ]
        world.simulators.server.heal_for_test()


async def test_cancel_is_shown_at_once_and_its_result_when_it_is_known(
    quick: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = asyncio.Event()
    cancel = Driver.cancel_build

    async def cancel_later(driver: Driver, app: str, **more: Any) -> bool:
        await line.wait()
        return await cancel(driver, app, **more)

    monkeypatch.setattr(Driver, "cancel_build", cancel_later)
    quick.hold()
    await quick.deploy()
    await at(quick, "Building", "Dokku build")
    await quick.click(CANCEL)
    cancelling = await at(quick, "Cancelling")
    assert cancelling.facts["Status"] == "Cancelling · requested by @\u2060ada"
    assert cancelling.buttons == ["Full log"]
    line.set()
    cancelled = await at(quick, "Cancelled:")
    assert cancelled.headline == "⚪ *Cancelled: myapp* `main`"
    assert cancelled.facts["Live now"].startswith("the previous release")
    assert cancelled.buttons == ["Retry", "Full log", "Details"]


async def test_usual_duration_is_shown_after_three_good_deployments(quick: World) -> None:
    for count, ref in enumerate(("main", "v1.0", "feature/login"), start=1):
        await quick.deploy(f"myapp {ref}")
        await quick.ended(count)
    quick.hold()
    await quick.deploy("myapp main")
    building = await at(quick, "Building", "usually")
    assert re.fullmatch(r"\d+s \(usually \d+s\)", building.facts["Elapsed"])


async def test_slow_server_does_not_delay_the_message(quick: World) -> None:
    await quick.deploy("apps")
    await quick.whispered("`myapp`")
    quick.simulators.server.stall_for_test()
    await quick.deploy()
    looking = await at(quick, "Waiting to deploy", "looking up")
    assert looking.facts["Commit"] == "being looked up"
    assert looking.buttons == ["Cancel", "Tell me when it is free"]
    quick.simulators.server.heal_for_test()
    await at(quick, "Deployed")
    assert len(quick.messages) == 1


@pytest.mark.parametrize("text", ["nothing-like-it main", "myapp no-such-branch"])
async def test_mistake_found_later_ends_the_deployment_in_its_message(
    quick: World, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = asyncio.Event()
    report = Driver.report

    async def report_later(driver: Driver, app: str) -> Any:
        await line.wait()
        return await report(driver, app)

    monkeypatch.setattr(Driver, "report", report_later)
    await quick.deploy(text)
    await at(quick, "Waiting to deploy", "looking up")
    line.set()
    failed = await at(quick, "Failed:")
    (row,) = await quick.ended(1, app=text.partition(" ")[0])
    if row.app == "myapp":
        assert (row.failure, row.live) == (Failure.REF_NOT_FOUND, Live.PREVIOUS)
    else:
        assert row.failure is Failure.APP_NOT_FOUND
    assert failed.buttons == ["Retry", "Full log", "Details"]
    assert quick.slack.ephemerals(quick.ada) == []


async def test_deleted_message_is_replaced_once_in_its_thread(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    await at(quick, "Building")
    former = quick.message
    await quick.slack.say(quick.slack.user("grace"), quick.deploys, "oh", thread_ts=former.ts)
    await quick.slack.delete(quick.ada, former)

    def posted_again() -> list[Message]:
        return [one for one in quick.slack.thread(former) if one.bot_id]

    (copy,) = await quick.slack.until(posted_again)
    quick.let_go()
    await quick.slack.until(lambda: "Deployed myapp" in shown(copy))
    assert parts_of(copy).facts["Live now"] == "the new release"
    (row,) = await quick.ended()
    assert row.message.ts == copy.ts
    assert quick.messages == []


async def test_message_deleted_twice_is_not_posted_again(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    await at(quick, "Building")
    await quick.slack.delete(quick.ada, quick.message)
    await quick.posted(1)
    await quick.slack.delete(quick.ada, quick.message)
    quick.let_go()
    (row,) = await quick.ended()
    assert row.phase is Phase.SUCCEEDED
    assert quick.bot is not None
    assert await quick.bot.live.flush(timedelta(seconds=5))
    assert quick.messages == []
    quick.bot.live.changed(row.id, Urgency.NOW)  # something is learnt after the end
    assert await quick.bot.live.flush(timedelta(seconds=5))
    assert quick.messages == []
