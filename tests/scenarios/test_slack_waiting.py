"""Deployments that wait: their place, what for, who comes next, and how long."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from bot.deployments.model import Phase
from bot.simulators.slack.model import Rendering
from tests.scenarios.conftest import QuickClock, World, open_world, shown
from tests.support.message_parts import Parts, parts_of


async def at(world: World, *words: str) -> Parts:
    return parts_of(await world.until_message(*words))


async def test_waiting_deployments_show_their_place_and_start_in_order(
    quick: World,
) -> None:
    quick.hold()
    await quick.deploy("myapp main")
    await at(quick, "Building")
    await quick.deploy("myapp feature/login")
    await quick.posted(2)
    second = await at(quick, "1st in line")
    assert second.headline == "🟡 *Waiting to deploy myapp* `feature/login`"
    assert second.facts["Status"] == (
        "Queued · 1st in line, next to start · waiting for the deployment ahead of it"
    )
    assert second.buttons == ["Cancel", "Tell me when it is free"]
    await quick.deploy("myapp v1.0", user="grace")
    await quick.posted(3)
    third = await at(quick, "2nd in line")
    assert third.facts["Status"] == "Queued · 2nd in line · waiting for the deployment ahead of it"
    assert third.facts["Requested by"] == "@\u2060grace"
    quick.let_go()
    rows = await quick.ended(3)
    assert [row.phase for row in rows] == [Phase.SUCCEEDED] * 3
    first, second_, third_ = reversed(rows)
    assert first.finished_at <= second_.started_at
    assert second_.finished_at <= third_.started_at

    def all_told() -> bool:
        return all("Deployed myapp" in shown(one) for one in quick.messages)

    await quick.slack.until(all_told)
    assert len(quick.messages) == 3
    last = world_text(quick.slack.edits(quick.messages[2]))
    assert "1st in line" in last


async def test_bounds_of_what_waits_name_what_to_do(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        timing = {"most_waiting_of_app": 2, "most_waiting_of_person": 1}
        await world.start_bot(timing=timing, clock=QuickClock())
        world.hold()
        await world.deploy("myapp main")
        await at(world, "Building")
        await world.deploy("myapp main")
        await world.posted(2)
        await world.deploy("myapp v1.0")
        await world.whispered("1 deployments that you requested are waiting", "Cancel one")
        await world.deploy("myapp v1.0", user="grace")
        await world.posted(3)
        await world.deploy("myapp v1.0", user="alan")
        await world.whispered(
            "2 deployments of myapp are waiting", "`/deploy cancel myapp`", user="alan"
        )
        assert len(world.messages) == 3
        world.let_go()
        assert {row.phase for row in await world.ended(3)} == {Phase.SUCCEEDED}


async def test_deployment_waits_for_an_outside_deploy_and_names_it(quick: World) -> None:
    quick.hold()
    quick.simulators.dokku.outside_push_for_test(
        "myapp", quick.simulators.forge.sha("myapp", "v1.0")
    )
    await quick.held()
    await quick.deploy()
    waiting = await at(quick, "1st in line", "a git push outside the bot")
    record = quick.app.records[-1]
    assert record.id in waiting.facts["Status"]
    assert waiting.buttons == ["Cancel", "Tell me when it is free"]
    quick.let_go()
    deployed = await at(quick, "Deployed")
    assert deployed.facts["Live now"] == "the new release"
    assert len(quick.messages) == 1


async def test_same_commit_that_waits_already_is_answered_with_a_link(quick: World) -> None:
    quick.hold()
    await quick.deploy("myapp main")
    await at(quick, "Building")
    await quick.deploy("myapp feature/login")
    await quick.posted(2)
    await at(quick, "1st in line, next to start")
    link = quick.messages[1]
    await quick.deploy("myapp feature/login", user="grace")
    said = await quick.whispered("is waiting already", user="grace")
    assert f"p{link.ts.replace('.', '')}|its message>" in said
    await quick.deploy("myapp main")  # the commit that runs; but another one comes before it
    await quick.posted(3)
    await quick.deploy("myapp feature/login")
    await quick.posted(4)
    quick.let_go()
    rows = await quick.ended(4)
    assert [row.ref for row in rows] == ["feature/login", "main", "feature/login", "main"]
    assert all(row.phase is Phase.SUCCEEDED for row in rows)


async def test_latest_request_supersedes_those_that_wait(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        (tmp_path / "deploybot.toml").write_text('[apps.myapp]\nqueue = "latest"\n')
        await world.start_bot(clock=QuickClock())
        world.hold()
        await world.deploy("myapp main")
        await at(world, "Building")
        await world.deploy("myapp feature/login")
        await world.posted(2)
        await at(world, "1st in line")
        await world.deploy("myapp v1.0", user="grace")
        await world.posted(3)
        old = world.messages[1]
        await world.slack.until(lambda: "Superseded by a newer request" in shown(old))
        assert parts_of(old).headline == "⚪ *Cancelled: myapp* `feature/login`"
        assert "myapp v1.0 by grace" in shown(old)
        newest = await at(world, "1st in line, next to start")
        assert newest.headline == "🟡 *Waiting to deploy myapp* `v1.0`"
        world.let_go()
        rows = await world.ended(3)
        assert [row.phase for row in rows] == [
            Phase.SUCCEEDED,
            Phase.CANCELLED,
            Phase.SUCCEEDED,
        ]


async def test_waiting_deployment_expires(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.hold()
        clock = QuickClock()
        bot = await world.start_bot(clock=clock)
        world.simulators.dokku.outside_push_for_test(
            "myapp", world.simulators.forge.sha("myapp", "v1.0")
        )
        await world.held()
        await world.deploy("myapp main")
        await at(world, "1st in line", "a git push outside the bot")
        clock.leap(timedelta(hours=2))
        bot.dispatcher.look_for_work()  # as it does every 5 s
        expired = await at(world, "Failed:", "it waited too long in the queue")
        assert expired.facts["Status"] == "Failed · it waited too long in the queue"
        assert expired.facts["Live now"].startswith("the previous release")
        assert expired.buttons == ["Retry", "Full log", "Details"]
        assert "a git push outside the bot" in shown(world.message)


def world_text(edits: Sequence[Rendering]) -> str:
    return "\n".join(one.text for one in edits)
