"""The bot as real processes between the simulators: kill, terminate and restart them."""

import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.simulators.environment import DemoApp
from bot.simulators.patience import in_time, limit_s, stretched
from bot.simulators.slack.changes import NothingHappened
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import (
    HURRIED_SSH,
    QUICK_EDITS,
    QUICK_PAUSES,
    World,
    open_world,
    says_all,
    shown,
)
from tests.support.bot_process import BotProcess, Main, Run

LEASE = timedelta(seconds=2)
HEARTBEAT = timedelta(milliseconds=500)
"""A takeover happens after 2 s; a lease contains as many heartbeats as in production."""
COMMITS = ("Start the app", "Greet people", "Fix the login redirect")
QUICK = {"DEPLOYBOT_LOG_FORMAT": "json"}
PAUSES: Mapping[str, Any] = {
    **QUICK_PAUSES,
    "heartbeat": HEARTBEAT,
    "look_for_work": timedelta(milliseconds=500),
    "trace_pause": timedelta(milliseconds=100),
    "cancel_pause": timedelta(milliseconds=200),
}


def an_app(name: str, behaviour: str = "ok") -> DemoApp:
    """An app that is live at its second newest commit."""
    return DemoApp(name=name, behaviour=behaviour, hint="", commits=COMMITS)


@dataclass(kw_only=True)
class Processes:
    """A world, and the processes that were started in it."""

    world: World
    started: list[BotProcess] = field(default_factory=list)

    async def start(
        self, *, timing: Mapping[str, Any] | None = None, nohup: bool = False, **more: str
    ) -> BotProcess:
        """Start `deploybot run` and wait until it is ready; each process has its own port."""
        process = await self.begin(timing=timing, nohup=nohup, **more)
        assert await process.ready(), process.last_lines
        return process

    async def begin(
        self, *, timing: Mapping[str, Any] | None = None, nohup: bool = False, **more: str
    ) -> BotProcess:
        """Start `deploybot run` without waiting. `timing`: other durations than `PAUSES`."""
        limited = {"lease": stretched(LEASE), "record_wait": stretched(timedelta(seconds=1))}
        run = Run(
            options={"slack_limits": QUICK_EDITS, "ssh_limits": HURRIED_SSH},
            nohup=nohup,
            **{**PAUSES, **limited, **(timing or {})},
        )
        return await self.begin_main(run, **more)

    async def begin_main(self, main: Main, **more: str) -> BotProcess:
        """Start another main function, such as a `Run` with other durations, without waiting."""
        settings = {**self.world.environ, **QUICK, "PORT": str(free_port()), **more}
        process = await BotProcess.start(main, settings, folder=self.world.folder)
        self.started.append(process)
        return process

    async def kill(self, process: BotProcess) -> None:
        """Kill -9."""
        assert await process.kill() == -signal.SIGKILL

    def let_leases_expire(self) -> None:
        """Let the time of a lease pass for what dead processes left in the SQLite database.

        The next process takes it over at once. test_restart_handover.py waits for that time.
        """
        assert not any(one.running for one in self.started)
        passed_ms = stretched(LEASE) // timedelta(milliseconds=1)
        file = self.world.folder / "deploybot.db"
        with closing(sqlite3.connect(file, timeout=limit_s())) as database, database:
            database.execute("UPDATE leases SET until_ms = until_ms - ?", (passed_ms,))
            database.execute("UPDATE replicas SET seen_ms = seen_ms - ?", (passed_ms,))

    async def terminate(self, process: BotProcess, *, within_s: float) -> int:
        """Send SIGTERM and return the exit status. TimeoutError: it took longer."""
        process.send_signal(signal.SIGTERM)
        return await process.ended(within_s)

    async def held(self, app: str, *, at: str) -> None:
        """Deploy an app, and wait until its deploy is held at that line."""
        dokku = self.world.simulators.dokku
        dokku.hold_for_test(app, at=at)
        await self.world.deploy(f"{app} main")
        await dokku.until(lambda: dokku.holding(app))

    def messages_of(self, app: str) -> Sequence[Message]:
        """The live messages of an app, oldest first."""
        return [one for one in self.world.messages if f" {app} main" in one.text]

    async def until_says(self, app: str, *words: str, number: int = 1) -> str:
        """Wait until an app's message with this number contains all the words; its text."""

        def says() -> str | None:
            found = self.messages_of(app)
            text = shown(found[number - 1]) if len(found) >= number else ""
            return text if says_all(text, words) else None

        try:
            text = await self.world.slack.until(says)
        except NothingHappened:
            texts = [shown(one) for one in self.messages_of(app)]
            raise AssertionError(texts, [one.last_lines for one in self.started]) from None
        assert text is not None
        return text

    def starts(self, app: str) -> int:
        """How many `git:sync` commands began for an app, without the initial one."""
        records = self.world.simulators.dokku.apps[app].records
        return sum(one.source == "git:sync" for one in records) - 1

    def live_sha(self, app: str) -> str:
        """The commit that really serves."""
        (sha,) = {one.sha for one in self.world.simulators.dokku.live(app).values()}
        return sha

    def webhooks(self, app: str, kind: str = "deployment.finished") -> Sequence[Mapping[str, Any]]:
        """The webhooks about an app, each event once."""
        bodies = {
            one.headers["webhook-id"]: one.body for one in self.world.simulators.receiver.received
        }
        return [
            body["data"]
            for body in bodies.values()
            if body["type"] == kind and body["data"]["app"] == app
        ]

    async def until_webhooks(self, app: str, count: int = 1) -> Sequence[Mapping[str, Any]]:
        """Wait for `count` webhooks about results of an app."""
        async with in_time():
            while len(self.webhooks(app)) < count:
                receiver = self.world.simulators.receiver
                await receiver.wait_for(len(receiver.received) + 1)
        return self.webhooks(app)


@asynccontextmanager
async def open_processes(folder: Path, *apps: DemoApp, **options: Any) -> AsyncIterator[Processes]:
    """Open running simulators; every started process is killed at the end."""
    async with open_world(folder, apps=apps, **options) as world:
        processes = Processes(world=world)
        try:
            yield processes
        finally:
            for process in processes.started:
                await process.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
