"""SIGTERM, and two processes on one SQLite file: one owner at a time, one message, one result."""

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from bot.clock import SystemClock
from bot.simulators.patience import in_time, limit_s
from bot.store.engine import open_store
from bot.webhooks.payload import planner
from tests.scenarios.conftest import shown
from tests.support.bot_process import BotProcess
from tests.support.bot_processes import HEARTBEAT, Processes, an_app, open_processes

BUILD = "build step 4/"
REFRESHES = 4
"""Edits by the new owner, enough that the former one would have refreshed twice meanwhile."""
LEEWAY_S = 2.0
"""Product contract: the process exits at most this long after the drain."""


async def assert_one_result(it: Processes, app: str, status: str) -> None:
    """One message, one webhook, one mention, and the server agrees."""
    assert len(it.messages_of(app)) == 1
    (result,) = await it.until_webhooks(app)
    assert result["status"] == status
    message = it.messages_of(app)[0]
    await it.world.replied("<@", message=message)
    mentions = [one for one in it.world.slack.thread(message) if "<@" in shown(one)]
    assert len(mentions) == 1


async def test_deploy_within_the_drain_timeout_ends_in_this_process(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        bot = await it.start(DEPLOYBOT_DRAIN_TIMEOUT="60s")
        await it.held("myapp", at=BUILD)
        await it.until_says("myapp", "Building")
        os.kill(bot.pid, signal.SIGTERM)
        await it.world.simulators.dokku.until(lambda: it.world.simulators.dokku.holding("myapp"))
        it.world.simulators.dokku.release_for_test("myapp")
        assert await bot.ended() == 0
        assert "Deployed" in shown(it.world.message)
        assert it.starts("myapp") == 1
        assert it.live_sha("myapp") == it.world.simulators.forge.sha("myapp")


async def test_deploy_longer_than_the_drain_timeout_is_handed_over(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        bot = await it.start(DEPLOYBOT_DRAIN_TIMEOUT="2s")
        await it.held("myapp", at=BUILD)
        await it.until_says("myapp", "Building")
        assert await it.terminate(bot, within_s=2 + LEEWAY_S) == 0
        assert "Deploying" in shown(it.world.message)
        assert "hands this deployment over" in shown(it.world.message)
        it.world.simulators.dokku.release_for_test("myapp")
        await it.start()
        # The lease was released: nobody waits for it to expire.
        await it.until_says("myapp", "Deployed")
        assert it.starts("myapp") == 2
        await assert_one_result(it, "myapp", "succeeded")


async def test_queued_deployments_do_not_delay_the_exit(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        dokku = it.world.simulators.dokku
        bot = await it.start(DEPLOYBOT_DRAIN_TIMEOUT="60s")
        dokku.hold_for_test("myapp", at=BUILD)
        pushed = it.world.simulators.forge.commit("myapp", "Pushed by hand")
        push = dokku.outside_push_for_test("myapp", pushed)
        await dokku.until(lambda: dokku.holding("myapp"))
        await it.world.deploy("myapp main")
        await it.until_says("myapp", "a git push outside the bot")
        assert await it.terminate(bot, within_s=LEEWAY_S) == 0
        await it.start()
        dokku.release_for_test("myapp")
        await push
        await it.until_says("myapp", "Deployed")
        assert it.starts("myapp") == 1
        await assert_one_result(it, "myapp", "succeeded")


async def test_two_processes_on_one_file_have_one_owner(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp"), an_app("other")) as it:
        one = await it.start(DEPLOYBOT_DRAIN_TIMEOUT="1s")
        two = await it.start(DEPLOYBOT_DRAIN_TIMEOUT="1s")
        await it.held("myapp", at=BUILD)
        await it.held("other", at=BUILD)
        await it.until_says("myapp", "Building")
        await it.until_says("other", "Building")
        assert (it.starts("myapp"), it.starts("other")) == (1, 1)
        # A click reaches either process; the owner acts at its next poll.
        await it.world.click("deployment_cancel", it.messages_of("other")[0])
        await it.until_says("other", "Cancelled")
        await assert_one_result(it, "other", "cancelled")
        # One process stops; the other continues or takes over.
        assert await it.terminate(one, within_s=1 + LEEWAY_S) == 0
        it.world.simulators.dokku.release_for_test("myapp")
        await it.until_says("myapp", "Deployed")
        assert it.live_sha("myapp") == it.world.simulators.forge.sha("myapp")
        await assert_one_result(it, "myapp", "succeeded")
        assert two.running


async def test_other_process_takes_over_from_a_killed_owner(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        one = await it.start()
        await it.held("myapp", at=BUILD)
        await it.until_says("myapp", "Building")
        await it.start()
        await it.kill(one)
        it.world.simulators.dokku.release_for_test("myapp")
        await it.until_says("myapp", "Deployed")
        assert it.starts("myapp") == 2
        await assert_one_result(it, "myapp", "succeeded")


async def test_stopped_process_leaves_the_message_to_the_new_owner(
    tmp_path: Path,
) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        one = await it.start()
        await it.held("myapp", at=BUILD)
        await it.until_says("myapp", "step 4 of 4")
        await it.start()
        before = len(it.world.slack.edits(it.world.message))
        suspend(it, one)

        def edits(*, step: bool) -> list[str]:
            texts = [edit.text for edit in it.world.slack.edits(it.world.message)[before:]]
            return [text for text in texts if ("step 4 of 4" in text) is step]

        # Its lease expires. The new owner knows the build record, but no line of the output.
        await it.world.slack.until(lambda: edits(step=False))
        seen = len(edits(step=True))
        os.kill(one.pid, signal.SIGCONT)
        await it.world.slack.until(lambda: len(edits(step=False)) >= REFRESHES)
        # It may have edited once before it noticed the lost lease.
        assert len(edits(step=True)) <= seen + 1
        it.world.simulators.dokku.release_for_test("myapp")
        await it.until_says("myapp", "Deployed")
        assert it.starts("myapp") == 1
        await assert_one_result(it, "myapp", "succeeded")


async def test_process_that_was_suspended_goes_on_with_its_deployment(tmp_path: Path) -> None:
    async with open_processes(tmp_path, an_app("myapp")) as it:
        bot = await it.start()
        await it.held("myapp", at=BUILD)
        await it.until_says("myapp", "Building")
        suspend(it, bot)
        await lease_ran_out(it)
        os.kill(bot.pid, signal.SIGCONT)
        questions = len(it.world.simulators.dokku.journal)
        # It polls on, and its connection still carries the build.
        await it.world.simulators.dokku.until(
            lambda: len(it.world.simulators.dokku.journal) > questions + 1
        )
        it.world.simulators.dokku.release_for_test("myapp")
        await it.until_says("myapp", "Deployed")
        assert it.starts("myapp") == 1
        await assert_one_result(it, "myapp", "succeeded")


def suspend(it: Processes, bot: BotProcess) -> None:
    """Stop it while it writes nothing: on SQLite it would keep the write lock from all others."""
    file = it.world.folder / "deploybot.db"
    with closing(sqlite3.connect(file, isolation_level=None, timeout=limit_s())) as database:
        database.execute("BEGIN IMMEDIATE")
        os.kill(bot.pid, signal.SIGSTOP)
        database.execute("ROLLBACK")


async def lease_ran_out(it: Processes) -> None:
    """Wait for that; the database reports no change to another process."""
    clock = SystemClock()
    url, plan = it.world.environ["DATABASE_URL"], planner((), clock=clock)
    async with open_store(url, clock=clock, planner=plan, migrate=False) as store, in_time():
        (row,) = await store.unfinished()
        while True:
            if (await store.leases.free()).get(row.id, timedelta(0)) > HEARTBEAT:
                return
            await asyncio.sleep(0.1)
