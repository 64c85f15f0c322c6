"""The domain with fakes around it: a store in memory, a scripted Dokku, virtual time.

A rig is one replica. Several may share a store and a Dokku; one that crashes keeps its leases.
"""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

from bot.clock import Tasks
from bot.deployments.execution.dispatcher import Dispatcher
from bot.deployments.execution.owned import WorkerContext
from bot.deployments.followup.crash_watch import CrashWatch
from bot.deployments.followup.late_verdicts import LateVerdicts
from bot.deployments.model import (
    AppKey,
    AppPolicy,
    Deployment,
    MessagePlace,
    NotDeployable,
    Person,
    Phase,
    Resolved,
)
from bot.deployments.observer import Observer
from bot.deployments.ports import (
    Announcer,
    Catalog,
    Dokku,
    People,
    Polls,
    Servers,
    Urgency,
)
from bot.deployments.progress import Progress
from bot.deployments.refs import Commits, Found, RefAnswer, RefName, Refs
from bot.deployments.requests.service import Service
from bot.deployments.state.repository import DeploymentCache, DeploymentRepository
from bot.deployments.states import ENDINGS
from bot.deployments.timing import Timing
from bot.deployments.verdict.server_cancel import LogWatch
from bot.dokku.servers import UnknownServer
from bot.domain import Ports, assemble_domain
from bot.errors import SlackError
from tests.support.builders import REPO, SHA, a_deployment
from tests.support.fake_dokku import FakeDokku, FakeStream
from tests.support.memory_store import MemoryStore
from tests.support.virtual_time import LoopClock, step

T = TypeVar("T")

SERVER = "production"
WITHIN_S = 6 * 3600.0
LONG = timedelta(hours=1)


class FakeServers(Servers):
    def __init__(self, known: Mapping[str, Dokku]) -> None:
        self.known = dict(known)

    def names(self) -> Sequence[str]:
        return list(self.known)

    def get(self, name: str) -> Dokku:
        return self.known.get(name) or UnknownServer(name)


class FakeRefs(Refs):
    def __init__(self) -> None:
        self.answer: RefAnswer = Found(SHA)
        self.takes_s = 0.0
        self.shipped: Commits | None = None
        self.compared: list[tuple[str, str | None]] = []
        self.listed: Sequence[RefName] = ()

    async def names(self, repo: str) -> Sequence[RefName]:
        await asyncio.sleep(self.takes_s)
        return self.listed

    async def resolve(self, repo: str, ref: str) -> RefAnswer:
        await asyncio.sleep(self.takes_s)
        return self.answer

    async def commits(self, repo: str, sha: str, base: str | None) -> Commits | None:
        self.compared.append((sha, base))
        answer = self.shipped
        await asyncio.sleep(self.takes_s)
        return answer


class FakeAnnouncer(Announcer):
    def __init__(self) -> None:
        self.posted: list[str] = []
        self.changes: list[tuple[str, Urgency]] = []
        self.error: Exception | None = None
        self.takes_s = 0.0

    async def post(self, deployment: Deployment) -> MessagePlace:
        await asyncio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        self.posted.append(deployment.id)
        return MessagePlace(channel=deployment.channel, ts=f"1.{len(self.posted):06}")

    def changed(self, deployment_id: str, urgency: Urgency) -> None:
        self.changes.append((deployment_id, urgency))


class FakeObserver(Observer):
    def __init__(self) -> None:
        self.ended_ids: list[str] = []
        self.poll_failures = 0
        self.polls = 0

    def ended(self, deployment: Deployment) -> None:
        self.ended_ids.append(deployment.id)

    def polled(self, took_s: float) -> None:
        self.polls += 1

    def poll_failed(self) -> None:
        self.poll_failures += 1

    def counted(self, unfinished: Any) -> None:
        pass


class FakeCatalog(Catalog):
    """Every app may be deployed by everyone, unless a test puts a table into `tables`."""

    def __init__(self) -> None:
        self.tables: list[AppPolicy] = []
        self.known = True
        self.rules: dict[str, Any] = {}
        """What the settings say about every app without a table."""
        self.server_names = [SERVER, "another"]

    def servers(self) -> Sequence[str]:
        return self.server_names

    def policy(self, app: str, server: str | None = None) -> AppPolicy:
        for table in self.tables:
            if table.app == app and server in {None, table.server}:
                return table
        given = AppPolicy(server=server or SERVER, app=app, dokku_app=app, default_ref="main")
        return replace(given, **self.rules)

    def rules_of(self, key: AppKey, app: str) -> AppPolicy | None:
        if not self.known:
            return None
        found = [one for one in self.tables if one.target == key]
        return found[0] if found else self.policy(app, key.server)

    def named(self) -> frozenset[str]:
        return frozenset[str]().union(*(one.deployers | one.approvers for one in self.listed()))

    def listed(self) -> Sequence[AppPolicy]:
        return self.tables

    def repo_for(self, policy: AppPolicy) -> str | None:
        return REPO


class FakePeople(People):
    """Everybody is a member of T01, unless a test says otherwise."""

    def __init__(self) -> None:
        self.persons: dict[str, Person | None] = {}
        self.groups: dict[str, frozenset[str]] = {}
        self.error: SlackError | None = None
        self.asked: list[str] = []

    async def person(self, user: str) -> Person | None:
        return self._answer(user, self.persons.get(user, Person(teams=frozenset({"T01"}))))

    async def group_members(self, group: str) -> frozenset[str]:
        return self._answer(group, self.groups.get(group, frozenset()))

    def _answer(self, about: str, answer: T) -> T:
        self.asked.append(about)
        if self.error is not None:
            raise self.error
        return answer


class LoopPolls(Polls):
    """Polls each watched deployment once per interval, one poll at a time."""

    def __init__(self, interval: timedelta) -> None:
        self.watched: dict[str, object] = {}
        self.dispatcher: Dispatcher | None = None
        self._interval_s = interval.total_seconds()
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, deployment_id: str) -> None:
        if deployment_id not in self.watched:
            token = self.watched[deployment_id] = object()
            task = asyncio.create_task(self._poll(deployment_id, token))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def unwatch(self, deployment_id: str) -> None:
        self.watched.pop(deployment_id, None)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _poll(self, deployment_id: str, token: object) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            if self.watched.get(deployment_id) is not token:
                return
            assert self.dispatcher is not None
            await self.dispatcher.poll(deployment_id)


class _Link:
    """One replica's connection to the store; once cut, every call hangs forever."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.cut = False

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._store, method)
        if not callable(call) or not asyncio.iscoroutinefunction(call):
            return call

        async def through(*args: Any, **kwargs: Any) -> Any:
            if self.cut:
                await asyncio.Event().wait()
            return await call(*args, **kwargs)

        return through


@dataclass(kw_only=True)
class Rig:
    """One replica and everything around it."""

    store: MemoryStore
    dokku: FakeDokku
    servers: FakeServers
    refs: FakeRefs
    catalog: FakeCatalog
    people: FakePeople
    announcer: FakeAnnouncer
    observer: FakeObserver
    polls: LoopPolls
    cache: DeploymentCache
    deployments: DeploymentRepository
    timing: Timing
    tasks: Tasks
    dispatcher: Dispatcher
    service: Service
    late: LateVerdicts
    crashes: CrashWatch
    link: _Link
    context: WorkerContext
    clock: LoopClock = field(default_factory=LoopClock)
    _own: list[asyncio.Task[Any]] = field(default_factory=list)

    def start(self) -> None:
        """Look for work, and renew the leases."""
        self.store.listeners.append(self._on_store_event)
        self._own.append(self.dispatcher.start())
        self._own.append(asyncio.create_task(self._every(5.0, self._look)))
        beat = self.timing.heartbeat.total_seconds()
        self._own.append(asyncio.create_task(self._every(beat, self.dispatcher.heartbeat)))

    async def crash(self) -> None:
        """Stop as kill -9 does: nothing more is written and no lease is released."""
        self.link.cut = True
        self.store.listeners.remove(self._on_store_event)
        self.polls.stop()
        for _ in range(5):
            for task in (*self._own, *self.tasks._all):
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*self._own, return_exceptions=True)

    async def stop(self, timeout_s: float = 25.0) -> int:
        """Stop as SIGTERM does; returns the number of deployments handed over."""
        left = await self.dispatcher.drain(timeout_s)
        self.store.listeners.remove(self._on_store_event)
        self.polls.stop()
        for task in self._own:
            task.cancel()
        await asyncio.gather(*self._own, return_exceptions=True)
        await self.tasks.close()
        return left

    # Questions of the tests.

    def row(self, deployment_id: str | None = None) -> Deployment:
        if deployment_id is None:
            (row,) = self.store.rows.values()
            return row
        return self.store.rows[deployment_id]

    def progress(self, deployment_id: str | None = None) -> Progress:
        return self.cache.progress(deployment_id or self.row().id)

    async def until_phase(self, *phases: Phase, deployment_id: str | None = None) -> Deployment:
        return await self.until(lambda: self.row(deployment_id).phase in phases, deployment_id)

    async def until_ended(
        self, deployment_id: str | None = None, *, within_s: float = WITHIN_S
    ) -> Deployment:
        """Return the row with its result. TimeoutError: none within this much virtual time."""
        return await self.until(
            lambda: self.row(deployment_id).phase in ENDINGS, deployment_id, within_s=within_s
        )

    async def until(
        self, holds: Any, deployment_id: str | None = None, *, within_s: float = WITHIN_S
    ) -> Deployment:
        deadline = self.clock.monotonic() + within_s
        while not holds():
            left = deadline - self.clock.monotonic()
            if left < 0:
                raise TimeoutError(self.row(deployment_id))
            await step(0.1, most_s=left)
        return self.row(deployment_id)

    async def cancel(self) -> str:
        """Have the requester cancel the only deployment; returns the answer."""
        row = self.row()
        return await self.service.cancel(row.id, actor=row.requested_by, through="button")

    async def passes(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def begun(self, number: int = 1) -> FakeStream:
        """Return the stream of start `number`, once a row has its start time."""
        stream = await self.dokku.stream(number)
        await self.until(lambda: any(r.started_at for r in self.store.rows.values()), self._any())
        return stream

    def _any(self) -> str:
        return next(iter(self.store.rows))

    async def _look(self) -> None:
        self.dispatcher.look_for_work()

    def _on_store_event(self, kind: str, deployment_id: str) -> None:
        if kind == "cancel":
            self.dispatcher.cancel_requested(deployment_id)
        elif kind in {"queued", "ended"}:
            self.dispatcher.look_for_work()

    async def _every(self, seconds: float, work: Any) -> None:
        while True:
            await asyncio.sleep(seconds)
            await work()


_names = itertools.count(1)


async def may_start(_deployment: Deployment) -> None:
    """Nobody lost their rights."""


async def looks_up_nothing(deployment: Deployment) -> Resolved | NotDeployable:
    raise AssertionError(f"{deployment.id} should have been looked up already")


def a_rig(
    *rows: Deployment,
    store: MemoryStore | None = None,
    dokku: FakeDokku | None = None,
    start: bool = True,
    timing: Mapping[str, Any] | None = None,
    max_running: int = 0,
) -> Rig:
    """Create a running replica with `rows` queued. It may share another rig's store and Dokku."""
    clock = LoopClock()
    times = replace(Timing(), **(timing or {}))
    store = store or MemoryStore(clock)
    store.max_running = {SERVER: max_running}
    dokku = dokku or FakeDokku()
    for row in rows:
        store.rows[row.id] = row
        store.leases[row.id] = store.new_lease()
    link = _Link(store)
    cache = DeploymentCache(clock=clock, ttl=times.tracker_ttl)
    announcer, observer = FakeAnnouncer(), FakeObserver()
    servers, refs = FakeServers({SERVER: dokku}), FakeRefs()
    catalog, people = FakeCatalog(), FakePeople()
    polls, tasks = LoopPolls(times.poll_interval), Tasks()
    domain = assemble_domain(
        Ports(
            store=link,
            cache=cache,
            announcer=announcer,
            observer=observer,
            servers=servers,
            refs=refs,
            catalog=catalog,
            people=people,
            polls=polls,
        ),
        replica=f"replica-{next(_names)}",
        timing=times,
        clock=clock,
        tasks=tasks,
        max_running={SERVER: max_running},
    )
    polls.dispatcher = domain.dispatcher
    rig = Rig(
        store=store,
        dokku=dokku,
        servers=servers,
        refs=refs,
        catalog=catalog,
        people=people,
        announcer=announcer,
        observer=observer,
        polls=polls,
        cache=cache,
        deployments=domain.deployments,
        timing=times,
        tasks=tasks,
        dispatcher=domain.dispatcher,
        service=domain.service,
        late=domain.late_verdicts,
        crashes=domain.crash_watch,
        link=link,
        context=WorkerContext(
            deployments=domain.deployments,
            look_up=looks_up_nothing,
            check_start=may_start,
            read_commits=lambda _deployment: None,
            polls=polls,
            logs=LogWatch(clock=clock, timing=times),
            timing=times,
            clock=clock,
            stream_ended=domain.late_verdicts.stream_ended,
            spawn=tasks.spawn,
        ),
    )
    if start:
        rig.start()
    return rig


PLACE = MessagePlace(channel="C01", ts="1700000000.000100")


def waiting(**changes: Any) -> Deployment:
    """Return a queued deployment: its commit is known, its message posted."""
    given: dict[str, Any] = {"ready": True, "sha": SHA, "message": PLACE}
    return a_deployment(**(given | changes))
