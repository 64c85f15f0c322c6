"""`deploybot deploy`, `retry` and `rollback` at a shell, and a bot that runs elsewhere."""

import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.clock import SystemClock
from bot.config.loading import load_settings
from bot.deployments.model import Actor, Failure, Phase, Trigger
from bot.deployments.requests.from_shell import (
    ShellAnswer,
    ShellRequest,
    ShellRequestKind,
    handle,
)
from bot.deployments.requests.service import Service
from bot.errors import Declined
from bot.operations.database import upgrade_database
from bot.operations.requesting import CommandLine, Patience, request
from bot.store.engine import open_store
from bot.store.inbox import SqlInbox
from bot.store.shared_tables import shell_requests
from bot.store.sql_store import SqlStore
from bot.webhooks.payload import planner
from tests.scenarios.conftest import QuickClock, World, open_world, shown
from tests.support.bot_process import BotProcess, Command
from tests.support.bot_processes import an_app, open_processes

OPERATOR = "olga"
SOON = {"look_for_work": timedelta(milliseconds=500)}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A bot that looks often for what shells left."""
    async with open_world(tmp_path) as opened:
        await opened.start_bot(timing=SOON)
        yield opened


async def begin(world: World, *words: str) -> BotProcess:
    environ = {**world.environ, "USER": OPERATOR, "SUDO_USER": ""}
    return await BotProcess.start(Command(*words), environ, folder=world.folder)


async def shell(world: World, *words: str, status: int = 0) -> str:
    process = await begin(world, *words)
    assert await process.ended() == status, process.lines
    return "\n".join(process.lines)


async def deploy(world: World, *words: str, status: int = 0) -> str:
    return await shell(
        world, "deploy", "myapp", *words, "--channel", world.deploys.id, status=status
    )


async def test_deployment_from_a_shell_is_one_like_any_other(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        await it.start()
        said = await deploy(it.world, "main", "--wait")
        assert "succeeded, live: new" in said
        assert f"by {OPERATOR} (cli)" in said
        assert "Its message: http" in said
        (message,) = it.messages_of("myapp")
        assert "Deployed" in shown(message)
        assert OPERATOR in shown(message)
        reply = await it.world.replied("was deployed", message=message)
        assert "<@" not in shown(reply)
        (result,) = await it.until_webhooks("myapp")
        assert (result["status"], result["trigger"]) == ("succeeded", "cli")
        assert result["requested_by"] == {"user": "cli", "team": None, "name": OPERATOR}
        assert it.live_sha("myapp") == it.world.simulators.forge.sha("myapp")


async def test_wait_ends_with_1_where_it_failed_and_retry_deploys_again(world: World) -> None:
    world.now_behaves("build_fails")
    said = await deploy(world, "main", "--wait", status=1)
    assert "failed (build_failed), live: previous" in said
    assert "The build failed" in said
    (failed,) = await world.rows()
    assert f"deploybot logs {failed.id}" in said
    world.now_behaves("ok")
    # It needs no channel: its message goes where the first one is.
    said = await shell(world, "retry", failed.id, "--wait")
    assert "succeeded" in said
    newest = (await world.rows())[0]
    assert (newest.retry_of, newest.trigger) == (failed.id, Trigger.CLI)
    assert newest.message.channel == world.deploys.id
    assert "succeeded. `/deploy myapp main` deploys it again" in await shell(
        world, "retry", newest.id, status=1
    )


async def test_rollback_goes_to_what_was_proven_live(world: World) -> None:
    older = world.simulators.forge.sha("myapp", "main")
    await deploy(world, "main", "--wait")
    world.simulators.forge.commit("myapp", "Break everything")
    await deploy(world, "main", "--wait")
    said = await shell(world, "rollback", "myapp", "--wait")
    assert older[:7] in said
    newest = (await world.rows())[0]
    assert newest.sha == older
    assert newest.rollback_of is not None
    assert newest.phase is Phase.SUCCEEDED
    said = await shell(world, "rollback", "myapp", "0123456", status=1)
    assert "0123456" in said
    assert len(await world.rows()) == 3


async def test_without_wait_it_ends_as_soon_as_the_message_is_there(world: World) -> None:
    world.hold()
    said = await deploy(world)
    assert "Its message: http" in said
    assert len(world.messages) == 1
    await world.held()
    world.let_go()
    await world.until_message("Deployed")


async def test_refusals_are_those_of_slack(world: World) -> None:
    said = await shell(world, "deploy", "mayapp", "--channel", world.deploys.id, "--wait", status=1)
    assert "There is no app mayapp" in said
    assert "myapp" in said
    assert "no branch, tag or commit gone" in await deploy(world, "gone", status=1)
    assert "deploybot: " in await deploy(world, "a..b", status=1)
    await world.deploy("lock myapp release day")
    await world.until_message("locked")
    locked = await deploy(world, status=1)
    assert "is locked by" in locked
    assert "release day" in locked
    assert await world.rows() == []


async def test_channel_without_the_bot_is_refused(world: World) -> None:
    said = await shell(world, "deploy", "myapp", "--channel", "C0NOWHERE", status=1)
    assert "channel" in said
    assert await world.rows() == []


async def test_same_commit_that_waits_is_not_added_twice(world: World) -> None:
    world.hold()
    await world.deploy("myapp main")
    await world.held()
    world.simulators.forge.commit("myapp", "One more")
    await deploy(world, "main")
    said = await deploy(world, "main", status=1)
    assert "is waiting already: its message (http" in said
    world.let_go()


async def test_channel_must_be_known(world: World, tmp_path: Path) -> None:
    said = await shell(world, "deploy", "myapp", status=2)
    assert "apps.myapp.channel: missing, and --channel is not given" in said
    said = await shell(world, "deploy", "myapp", "--channel", "#deploys", status=2)
    assert "--channel: not the id of a Slack channel" in said
    (tmp_path / "deploybot.toml").write_text(f'[apps.myapp]\nchannel = "{world.deploys.id}"\n')
    await world.stop_bot()
    await world.start_bot(timing=SOON)
    await shell(world, "deploy", "myapp", "--wait")


async def test_ctrl_c_leaves_the_deployment_going(world: World) -> None:
    world.hold()
    process = await begin(world, "deploy", "myapp", "--channel", world.deploys.id, "--wait")
    await world.held()
    await process.said("running (")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert await process.ended() == 1
    said = "\n".join(process.lines)
    assert said.count("the deployment goes on without this shell") == 1
    (row,) = await world.rows()
    assert f"deploybot cancel {row.id}" in said
    assert "Traceback" not in said
    world.let_go()
    await world.until_message("Deployed")


async def test_second_person_approves_what_a_shell_asked_for(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        grace = world.slack.user("grace").id
        (tmp_path / "deploybot.toml").write_text(
            f'[apps.myapp]\napproval = "second_person"\napprovers = ["{grace}"]\n'
        )
        await world.start_bot(clock=QuickClock())
        process = await begin(
            world, "deploy", "myapp", "main", "--channel", world.deploys.id, "--wait"
        )
        await process.said("pending (awaiting_approval)")
        await world.until_message("Awaiting approval by a second person", "Approve")
        await world.click("deployment_approve", user="grace")
        assert await process.ended() == 0, process.lines


async def test_rejected_one_ends_with_1(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        (tmp_path / "deploybot.toml").write_text('[apps.myapp]\napproval = "confirm"\n')
        await world.start_bot(clock=QuickClock())
        process = await begin(world, "deploy", "myapp", "--channel", world.deploys.id, "--wait")
        await process.said("pending (awaiting_approval)")
        await shell(world, "reject", "myapp")
        assert await process.ended() == 1
        assert (await world.rows())[0].failure is Failure.REJECTED


async def test_without_a_bot_nothing_is_ever_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path) as world:
        monkeypatch.chdir(tmp_path)
        for name, value in world.environ.items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        await upgrade_database(settings)
        line = CommandLine(
            kind=ShellRequestKind.DEPLOY, which="myapp", channel=world.deploys.id, wait=True
        )
        said: list[str] = []
        brief = Patience(look=timedelta(seconds=0.05), taken=timedelta(seconds=0.3))
        with pytest.raises(Declined, match="No running bot took the request"):
            await request(line, said.append, brief)
        assert len(said) == 1
        await world.start_bot(clock=QuickClock())
        plan = planner((), clock=SystemClock())
        async with open_store(
            settings.database_url, clock=SystemClock(), planner=plan, migrate=False
        ) as store:
            assert not await store.database.has_rows(shell_requests)
        assert await world.rows() == []
        assert world.messages == []


async def test_interrupted_before_a_bot_took_it(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world:
        await shell(world, "db", "upgrade")
        process = await begin(world, "deploy", "myapp", "--channel", world.deploys.id, "--wait")
        await process.said("Waiting for the bot")
        process.send_signal(signal.SIGTERM)
        assert await process.ended() == 1
        assert "nothing was started" in "\n".join(process.lines)


async def test_request_of_a_bot_that_died_before_its_answer_starts_nothing_twice(
    world: World,
) -> None:
    assert world.bot is not None
    store = world.bot.service.queries.store
    assert isinstance(store, SqlStore)
    inbox = SqlInbox(store.database)
    ask = ShellRequest(
        id="01M8P8MXSFXAENG52N1MQ6Z059",
        kind=ShellRequestKind.DEPLOY,
        actor=Actor(user="cli", name=OPERATOR),
        channel=world.deploys.id,
        app="myapp",
    )
    await inbox.put(ask, within=timedelta(hours=1))
    await handle(ask, service=world.bot.service, inbox=inbox)
    first = await inbox.answered(ask.id)
    # As if it had died: what it had stored is there, its answer is not.
    await inbox.forget(ask.id)
    await inbox.put(ask, within=timedelta(hours=1))
    await handle(ask, service=world.bot.service, inbox=inbox)
    assert await inbox.answered(ask.id) == first
    await world.until_message("Deployed")
    (row,) = await world.ended()
    assert first == ShellAnswer(deployment_id=row.id)
    assert len(world.messages) == 1


async def test_bug_of_the_bot_is_answered_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_service: Service, _ask: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Service, "request", broken)
    said = await deploy(world, status=1)
    assert "The bot failed while it handled the request" in said
