"""What everything on the simulated host shares: clock, apps, journal, held runs, tasks."""

import asyncio
import hashlib
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from bot.simulators.dokku.app import App
from bot.simulators.dokku.behaviours import Behaviour
from bot.simulators.dokku.clock import SimClock
from bot.simulators.dokku.model import (
    BuildRecord,
    Container,
    Image,
    JournalEntry,
    KilledBySignal,
    LiveProcess,
    OneOff,
    RunState,
)
from bot.simulators.dokku.recordings import OLD_VERSION, VERSIONS
from bot.simulators.dokku.refs import Refs
from bot.simulators.patience import limit_s

BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
HOLDS_AFTER_S = 0.01
"""Real seconds. Who then cuts the connection cuts off nothing that was printed before."""


class HostState:
    """The part of the host that the commands use. `host.DokkuHost` adds what starts commands.

    Commands (`runs`, `building`, ...) import this class and never `DokkuHost`, so that no import
    circle arises.
    """

    def __init__(self, *, speed: float, refs: Refs, version: str, seed: int) -> None:
        if version not in VERSIONS:
            raise ValueError(f"no recordings of Dokku {version}")
        self.clock = SimClock(speed)
        self.refs = refs
        self.version = version
        self.apps: dict[str, App] = {}
        self.journal: list[JournalEntry] = []
        self.pending_queries = 0
        """Queries that came, and are not in the journal yet."""
        self.complaints: list[str] = []
        """Requests that are not modelled. Tests assert that this stays empty."""
        self.has_proxy = version != OLD_VERSION
        """Whether nginx ran when this version was recorded."""
        self.keeps_build_records = version != OLD_VERSION
        self.docker_down = False
        self.docker_outages: list[tuple[datetime, datetime | None]] = []
        """Simulated instants: when the docker daemon died, and when it was back."""
        self.old_containers_live_s = 60.0
        """Simulated seconds for which replaced containers run on; a test may need them longer."""
        self.one_offs: dict[str, OneOff] = {}
        """The containers of `run:detached` that run, by name."""
        self.one_offs_are_refused = False
        """Their SSH client is refused: they end without a command."""
        self.one_offs_hang = False
        """Their SSH client gets no answer yet."""
        self.random = random.Random(seed)
        self._same_files: dict[str, str] = {}
        self._last_id_ms = 0
        self._runs = 0
        self._holds: dict[str, set[str]] = {}
        self._holding: list[str] = []
        self._waiters: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[object]] = set()
        self._live: dict[str, Mapping[str, LiveProcess]] = {}

    # Ids, records and images.

    def new_record(self, app: App, *, kind: str, source: str) -> BuildRecord:
        """Begin a build record, which Dokku does before anything else."""
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
        """Return a new id of 64 hex digits."""
        return f"{self.random.getrandbits(256):064x}"

    def image_of(self, app: App, sha: str, behaviour: Behaviour) -> Image:
        """Return the image that a build of this commit makes: same files, same id."""
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

    def stop_container(self, app: App, container: Container) -> None:
        """Stop a container, as docker does on request."""
        if container.state is not RunState.EXITED:
            container.state = RunState.EXITED
            container.exit_code = 0
            container.finished_at = self.clock.now()
            self.write_journal("container_stopped", app, id=container.id, dyno=container.dyno)

    # The journal, and waiting for changes.

    def write_journal(self, event: str, app: App, **details: object) -> None:
        """Record an event, and after it a `live` event if what serves has changed."""
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

    @contextmanager
    def query_pending(self) -> Iterator[None]:
        """Count a query until it is answered."""
        self.pending_queries += 1
        try:
            yield
        finally:
            self.pending_queries -= 1
            self.notify()

    def notify(self) -> None:
        """Wake everyone who waits for a change."""
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

    async def until(
        self, predicate: Callable[[], object], *, timeout_s: float | None = None
    ) -> None:
        """Wait (real seconds) until the predicate is true. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s or limit_s()):
            while not predicate():
                await self.changed()

    # Background tasks.

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

    async def aclose(self) -> None:
        """Stop everything that still runs on the host."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Holding runs.

    def hold_for_test(self, app: str, *, at: str, too: bool = False) -> None:
        """Pause the app's next runs after a line that contains `at`, or at `before_exit`.

        `too`: keep the app's other hold points; without it they are released.
        """
        self._holds[app] = {at} | (self._holds.get(app, set()) if too else set())
        self.notify()

    def release_for_test(self, app: str, *, at: str | None = None) -> None:
        """Let all held runs of the app continue, or only those held at `at`."""
        self._holds[app] = self._holds.get(app, set()) - {at} if at else set()
        self.notify()

    def holding(self, app: str) -> int:
        """Count the app's runs that are paused at a hold point."""
        return self._holding.count(app)

    def must_hold(self, app: App, text: str) -> bool:
        """Return whether a run must pause after this text."""
        return any(mark in text for mark in self._holds.get(app.name, ()))

    async def hold(self, app: App, text: str) -> None:
        """Pause until released."""
        mark = next(mark for mark in self._holds[app.name] if mark in text)
        await asyncio.sleep(HOLDS_AFTER_S)
        self._holding.append(app.name)
        self.write_journal("held", app, at=mark)
        try:
            while mark in self._holds[app.name]:
                await self.changed()
        finally:
            self._holding.remove(app.name)

    # The docker daemon.

    def kill_docker_for_test(self) -> None:
        """Kill the docker daemon; containers keep serving (live-restore)."""
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

    # One-off containers.

    def refuse_one_offs_for_test(self, *, refuse: bool = True) -> None:
        """Refuse the login of the SSH clients in new one-off containers."""
        self.one_offs_are_refused = refuse

    def hang_one_offs_for_test(self, *, hang: bool = True) -> None:
        """Let the SSH clients in one-off containers wait for their login."""
        self.one_offs_hang = hang
        self.notify()

    def kill_one_offs_for_test(self) -> None:
        """Kill all one-off containers: what they run dies at its next line."""
        for one in self.one_offs.values():
            one.killed = True
        self.notify()

    # Files and process ids.

    def same_files_for_test(self, sha: str, other: str) -> None:
        """Give two commits the same files, so that both build to one image id."""
        self._same_files[sha] = self._same_files.get(other, other)

    def reuse_pid_for_test(self, name: str, build_id: str) -> None:
        """Give the pid of a dead build to another process: the build looks running again."""
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
