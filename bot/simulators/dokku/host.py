"""The simulated Dokku host: apps, clock, journal, and the switches that tests turn."""

import asyncio
import hashlib
import random
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

from bot.simulators.dokku import procedures, seeds
from bot.simulators.dokku.app import App
from bot.simulators.dokku.behaviours import BEHAVIOURS, Behaviour
from bot.simulators.dokku.clock import SimClock
from bot.simulators.dokku.crashes import crash_loop
from bot.simulators.dokku.model import (
    BuildRecord,
    Container,
    Image,
    JournalEntry,
    LiveProcess,
    Nowhere,
    Refs,
    RunState,
)
from bot.simulators.dokku.recordings import NEWEST, load
from bot.simulators.dokku.refs import HashedRefs
from bot.simulators.dokku.replay import Replay, Take
from bot.simulators.dokku.runs import KilledBySignal, Run

BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
OLD_VERSION = "0.35.20"
VERSIONS = (NEWEST, OLD_VERSION)


class DokkuHost:
    """A server with Dokku on it, without the SSH in front of it.

    Args:
        speed: how many times faster than the recordings it runs.
        refs: where `git:sync` finds commits; by default any ref exists everywhere.
        version: which recordings it answers from: `0.38.27`, or `0.35.20`, which keeps no build
            records, prints builds on stderr, removes its lock file when a build fails, and of
            which little more than the plain deploys is recorded.
        seed: of the ids and process numbers it makes up.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        refs: Refs | None = None,
        version: str = NEWEST,
        seed: int = 7,
    ) -> None:
        if version not in VERSIONS:
            raise ValueError(f"no recordings of Dokku {version}")
        self.clock = SimClock(speed)
        self.refs: Refs = refs or HashedRefs()
        self.version = version
        self.apps: dict[str, App] = {}
        self.journal: list[JournalEntry] = []
        self.complaints: list[str] = []
        """What was asked of it that it does not model. Tests assert that this stays empty."""
        self.has_proxy = version != OLD_VERSION
        """Whether nginx was there when this version was recorded."""
        self.keeps_build_records = version != OLD_VERSION
        self.docker_down = False
        self.docker_outages: list[tuple[datetime, datetime | None]] = []
        """Simulated instants: when the docker daemon died, and when it was back."""
        self.answer_delay_s = 0.0
        """Real seconds that every command waits before it begins."""
        self.random = random.Random(seed)
        self._same_files: dict[str, str] = {}
        self._last_id_ms = 0
        self._runs = 0
        self._holds: dict[str, set[str]] = {}
        self._holding: list[str] = []
        self._waiters: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[object]] = set()
        self._live: dict[str, Mapping[str, LiveProcess]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop everything that still runs on it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def create_app(
        self,
        name: str,
        *,
        deployed_sha: str | None = None,
        behaviour: str = "ok",
        repo: str = "",
        scale: Mapping[str, int] | None = None,
    ) -> App:
        """Create an app; with `deployed_sha` a good release of that commit serves already.

        Raises KeyError for a behaviour that BEHAVIOURS does not name.
        """
        app = App(
            name=name,
            created_unix=int(self.clock.now().timestamp()),
            repo=repo or f"https://git.example/acme/{name}.git",
            behaviour=behaviour,
            scale=dict(scale or {"web": 1}),
        )
        if behaviour not in BEHAVIOURS:
            raise KeyError(behaviour)
        self.apps[name] = app
        if deployed_sha is not None:
            seeds.deploy_at_once(self, app, deployed_sha)
        self.write_journal("app_created", app)
        return app

    def replay(self, take: Take) -> App:
        """Create the app of a recording, whose deploys go as they were recorded."""
        deploy = load(self.version, take.scenario)[take.deploys[0]]
        name, url = [word for word in deploy.argv[1:] if not word.startswith("--")][:2]
        app = self.create_app(name, deployed_sha=None if take.first else "0" * 40, repo=url)
        app.replay = Replay(self, app, take)
        app.replay.begin()
        return app

    def live(self, name: str) -> Mapping[str, LiveProcess]:
        """Tell what really serves, by `TYPE.N`; empty when nothing does."""
        return self.apps[name].live()

    # What the model uses.

    def new_record(self, app: App, *, kind: str, source: str) -> BuildRecord:
        """Begin a build record, as Dokku does before anything else."""
        now = self.clock.now()
        self._last_id_ms = max(self._last_id_ms + 1, int(now.timestamp() * 1000))
        tail = "".join(self.random.choice(BASE36) for _ in range(6))
        record = BuildRecord(
            id=_base36(self._last_id_ms) + tail,
            app=app.name,
            kind=kind,
            source=source,
            pid=self.random.randrange(1000, 32000),
            started_at=now,
        )
        app.records.append(record)
        self.write_journal("record_begun", app, id=record.id, source=source)
        return record

    def next_run_number(self) -> int:
        """Count the commands that change apps."""
        self._runs += 1
        return self._runs

    def new_id(self) -> str:
        """Make up a 64 hex id."""
        return f"{self.random.getrandbits(256):064x}"

    def image_of(self, app: App, sha: str, behaviour: Behaviour) -> Image:
        """Give the image that a build of this commit makes: the same files, the same id."""
        files = self._same_files.get(sha, sha)
        content = (
            f"{app.name} {files} {behaviour.healthy} {behaviour.life_s} "
            f"{behaviour.exits_at_start} {behaviour.failing_task}"
        )
        return Image(
            id=hashlib.sha256(content.encode()).hexdigest(),
            sha=sha,
            healthy=behaviour.healthy,
            life_s=behaviour.life_s,
            exits_at_start=behaviour.exits_at_start,
            failing_task=behaviour.failing_task,
        )

    def write_journal(self, event: str, app: App, **details: object) -> None:
        """Note what happened; notes a change of what serves as well."""
        self.journal.append(
            JournalEntry(at=self.clock.now(), event=event, app=app.name, details=details)
        )
        live = app.live()
        if live != self._live.get(app.name, {}):
            self._live[app.name] = live
            self.journal.append(
                JournalEntry(at=self.clock.now(), event="live", app=app.name, details=live)
            )
        self.notify()

    def stop_container(self, app: App, container: Container) -> None:
        """Stop a container, as docker does on request."""
        if container.state is not RunState.EXITED:
            container.state = RunState.EXITED
            container.exit_code = 0
            container.finished_at = self.clock.now()
            self.write_journal("container_stopped", app, id=container.id, dyno=container.dyno)

    def begin_crash_loop(self, app: App, container: Container) -> None:
        """Let a container of a crashing image live and die."""
        life_s = container.image.life_s
        if life_s is None:
            raise ValueError("this image does not crash")
        self.spawn(crash_loop(self, app, container, life_s))

    def spawn(self, work: Coroutine[object, object, object]) -> asyncio.Task[object]:
        """Run something in the background until the host closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, KilledBySignal):
            self.complaints.append(f"{type(error).__name__}: {error}")
        self.notify()

    # Waiting.

    def notify(self) -> None:
        """Wake all who wait for a change."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def changed(self) -> None:
        """Wait for the next change of anything."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def until(self, predicate: Callable[[], object], *, timeout_s: float = 10.0) -> None:
        """Wait (real seconds) until the predicate is true. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not predicate():
                await self.changed()

    # Switches for tests.

    def hold_for_test(self, app: str, *, at: str, too: bool = False) -> None:
        """Stop the app's next runs after a line that contains `at`, or `before_exit`.

        `too`: what is held elsewhere stays held; else it goes on.
        """
        self._holds[app] = {at} | (self._holds.get(app, set()) if too else set())
        self.notify()

    def release_for_test(self, app: str, *, at: str | None = None) -> None:
        """Let all held runs go on, or those that were held there."""
        self._holds[app] = self._holds.get(app, set()) - {at} if at else set()
        self.notify()

    def holding(self, app: str) -> int:
        """Count the runs of the app that stand at a hold point."""
        return self._holding.count(app)

    def must_hold(self, app: App, text: str) -> bool:
        """Tell whether a run must stop after this text."""
        return any(mark in text for mark in self._holds.get(app.name, ()))

    async def hold(self, app: App, text: str) -> None:
        """Stand still until released."""
        mark = next(mark for mark in self._holds[app.name] if mark in text)
        self._holding.append(app.name)
        self.write_journal("held", app, at=mark)
        try:
            while mark in self._holds[app.name]:
                await self.changed()
        finally:
            self._holding.remove(app.name)

    def foreign_push(self, name: str, sha: str) -> asyncio.Task[object]:
        """Deploy as somebody else does with `git push`: in the background, source `git-hook`."""
        app = self.apps[name]
        run = Run(host=self, app=app, output=Nowhere())
        run.record = self.new_record(app, kind="build", source="git-hook")
        return self.spawn(run.execute(procedures.push(run, sha)))

    def kill_dokku_for_test(self, name: str) -> None:
        """Kill (-9) all Dokku processes that work on the app."""
        for run in list(self.apps[name].runs):
            run.stop("killed")

    def kill_docker_for_test(self) -> None:
        """Kill the docker daemon; containers serve on (live-restore)."""
        if not self.docker_down:
            self.docker_outages.append((self.clock.now(), None))
        self.docker_down = True
        self.notify()

    def revive_docker_for_test(self) -> None:
        """Start the docker daemon again."""
        if self.docker_down:
            self.docker_outages[-1] = (self.docker_outages[-1][0], self.clock.now())
        self.docker_down = False
        self.notify()

    def same_files_for_test(self, sha: str, other: str) -> None:
        """Say that two commits have the same files, so that both build to one image id."""
        self._same_files[sha] = self._same_files.get(other, other)

    def reuse_pid_for_test(self, name: str, build_id: str) -> None:
        """Give the pid of a dead build to another process: it looks running again."""
        record = self.apps[name].record(build_id)
        if record is None:
            raise KeyError(build_id)
        record.alive = True
        self.notify()


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = BASE36[digit] + digits
    return digits
