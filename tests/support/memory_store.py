"""The store's port in memory, guards and leases included; it can be taken away for a while."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.clock import Clock
from bot.deployments.lock import AppLocked, Follower, Lock, Notice, Standing
from bot.deployments.locks.rules import stopping, subject_of
from bot.deployments.log_pages import LogPages
from bot.deployments.model import (
    Actor,
    AppKey,
    AuditEntry,
    CancelRequest,
    Deployment,
    Event,
    Live,
    MessagePlace,
    Phase,
    Who,
)
from bot.deployments.ports import Store
from bot.deployments.queue.rules import find_twin
from bot.deployments.refs import Commits
from bot.deployments.states import ENDINGS, RUNNING, SECOND_START, WAITING, may_move
from bot.deployments.store_parts import Leases, Locks, Logs, Replica
from bot.deployments.verdict.left_builds import ASKED, BUILD
from bot.errors import (
    DatabaseDown,
    Duplicate,
    LeaseLost,
    ServerFull,
    StaleState,
    StoreError,
    Twin,
)
from tests.support.log_pages import pages_of

Signal = Callable[[str, str], None]


@dataclass(slots=True)
class _Lease:
    replica: str | None = None
    fence: int = 0
    until: float = 0.0


class Calls:
    """Every call of the store: recorded, a moment long, and failing where a test says so."""

    def __init__(self) -> None:
        self.down = False
        """Nothing answers; nothing is written."""
        self.failing: dict[str, list[Exception]] = {}
        """Method -> what its next calls raise instead of doing anything."""
        self.lost_answers: dict[str, int] = {}
        """Method -> how many of its next calls are done, but say that the database is down."""
        self.hanging: set[str] = set()
        """Methods that never answer."""
        self.calls: list[str] = []

    def fail(self, method: str, error: Exception | None = None, *, times: int = 1) -> None:
        error = error or DatabaseDown("the database does not answer")
        self.failing.setdefault(method, []).extend([error] * times)

    def lose_answer(self, method: str, *, times: int = 1) -> None:
        self.lost_answers[method] = times

    async def begin(self, method: str) -> None:
        self.calls.append(method)
        await asyncio.sleep(0)
        if method in self.hanging:
            await asyncio.Event().wait()
        if self.failing.get(method):
            raise self.failing[method].pop(0)
        if self.down:
            raise DatabaseDown("the database does not answer")

    def end(self, method: str) -> None:
        if self.lost_answers.get(method, 0) > 0:
            self.lost_answers[method] -= 1
            raise DatabaseDown("the answer was lost on its way")


class MemoryLeases(dict[str, _Lease], Leases):
    """The lease of each deployment, by id."""

    def __init__(self, calls: Calls, clock: Clock, tell: Signal) -> None:
        super().__init__()
        self.rows: Mapping[str, Deployment] = {}
        self.seen: dict[str, tuple[float, Replica]] = {}
        self._calls = calls
        self._clock = clock
        self._tell = tell

    async def claim(self, deployment_id: str, replica: str, lease: timedelta) -> int | None:
        await self._calls.begin("claim")
        held = self.get(deployment_id)
        if held is None or held.until > self._clock.monotonic():
            return None
        held.replica, held.fence = replica, held.fence + 1
        held.until = self._clock.monotonic() + lease.total_seconds()
        self._calls.end("claim")
        return held.fence

    async def renew(self, replica: str, lease: timedelta, among: Collection[str]) -> frozenset[str]:
        await self._calls.begin("renew")
        mine = {key: held for key, held in self.items() if held.replica == replica and key in among}
        for held in mine.values():
            held.until = self._clock.monotonic() + lease.total_seconds()
        found = frozenset(mine)
        await asyncio.sleep(0)  # others may come between the commit and its answer
        self._calls.end("renew")
        return found

    async def beat(
        self,
        replica: str,
        running: int,
        seen_within: timedelta,
        *,
        listens: bool = False,
        posting: Collection[str] = (),
    ) -> Sequence[Replica]:
        await self._calls.begin("beat")
        now = self._clock.monotonic()
        self.seen[replica] = now, Replica(replica, running, frozenset(posting))
        return [
            replace(one, unseen_for=timedelta(seconds=now - at))
            for at, one in self.seen.values()
            if now - at <= seen_within.total_seconds()
        ]

    async def cancel_requests(self, replica: str) -> frozenset[str]:
        await self._calls.begin("cancel_requests")
        mine = (key for key, held in self.items() if held.replica == replica)
        rows = [self.rows[key] for key in mine if key in self.rows]
        return frozenset(row.id for row in rows if row.cancel and row.phase not in ENDINGS)

    async def free(self) -> Mapping[str, timedelta]:
        await self._calls.begin("free")
        now = self._clock.monotonic()
        unfinished = [key for key, row in self.rows.items() if row.phase not in ENDINGS]
        ends = {key: self[key].until for key in unfinished}
        return {key: timedelta(seconds=now - end) for key, end in ends.items() if end <= now}

    async def release(self, deployment_id: str, fence: int) -> None:
        await self._calls.begin("release")
        held = self.get(deployment_id)
        if held is not None and held.fence == fence and held.replica is not None:
            held.replica, held.until = None, self._clock.monotonic()
            self._tell("queued", deployment_id)
        self._calls.end("release")

    def hold(self, deployment_id: str, fence: int) -> None:
        held = self.get(deployment_id)
        if held is None or held.fence != fence or held.replica is None:
            raise LeaseLost(f"the lease of {deployment_id} was lost")


class MemoryLocks(Locks):
    """The locks and followers, and the notices that were written for them."""

    def __init__(self, calls: Calls, tell: Signal, audit: list[tuple[str, AuditEntry]]) -> None:
        self.held: list[Lock] = []
        self.followers: list[Follower] = []
        self.notices: list[Notice] = []
        self._calls = calls
        self._tell = tell
        self._audit = audit

    async def standing(self) -> Standing:
        await self._calls.begin("standing")
        return Standing(locks=list(self.held), followers=list(self.followers))

    async def put(
        self, lock: Lock, *, instead_of: Lock | None, audit: AuditEntry, notices: Sequence[Notice]
    ) -> None:
        await self._calls.begin("put_lock")
        there = next((one for one in self.held if one.key == lock.key), None)
        if there != instead_of:
            raise StaleState("someone else holds it by now")
        self.held = [one for one in self.held if one != there] + [lock]
        self._record(lock, audit, notices)

    async def remove(self, lock: Lock, *, audit: AuditEntry, notices: Sequence[Notice]) -> None:
        await self._calls.begin("remove_lock")
        if lock not in self.held:
            raise StaleState("it is gone")
        self.held.remove(lock)
        self._record(lock, audit, notices)

    async def follow(self, follower: Follower) -> None:
        await self._calls.begin("follow")
        if (follower.key, follower.user) not in [(one.key, one.user) for one in self.followers]:
            self.followers.append(follower)
        self._tell("queued", "")

    async def unfollow(self, follower: Follower, *, notices: Sequence[Notice]) -> None:
        await self._calls.begin("unfollow")
        if follower not in self.followers:
            raise StaleState("it is gone")
        self.followers.remove(follower)
        self.notices += notices

    def refuse(self, deployment: Deployment, now: datetime) -> None:
        lock = stopping(self.held, deployment.target, deployment.requested_by, now)
        if lock is not None:
            raise AppLocked(lock)

    def _record(self, lock: Lock, audit: AuditEntry, notices: Sequence[Notice]) -> None:
        self._audit.append((subject_of(lock.key), audit))
        self.notices += notices
        self._tell("queued", "")


class MemoryLogs(dict[str, list[str]], Logs):
    """The lines of each deployment's log, by id."""

    def __init__(self, calls: Calls, leases: MemoryLeases) -> None:
        super().__init__()
        self._calls = calls
        self._leases = leases

    async def append(self, deployment_id: str, lines: Sequence[str], *, fence: int) -> None:
        await self._calls.begin("append_log")
        self._leases.hold(deployment_id, fence)
        self.setdefault(deployment_id, []).extend(lines)
        self._calls.end("append_log")

    async def replace(self, deployment_id: str, lines: Sequence[str], *, fence: int) -> None:
        await self._calls.begin("replace_log")
        self._leases.hold(deployment_id, fence)
        self[deployment_id] = list(lines)
        self._calls.end("replace_log")

    async def read(self, deployment_id: str) -> str:
        await self._calls.begin("read_log")
        return "".join(f"{line}\n" for line in self.get(deployment_id, []))

    async def pages(self, deployment_id: str, first: int | None, most: int = 1) -> LogPages:
        await self._calls.begin("read_log")
        text = "".join(f"{line}\n" for line in self.get(deployment_id, []))
        return pages_of(text, first, most)


class MemoryStore(Calls, Store):
    """The `Store` port. Every call takes a moment, so that others may come between."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.rows: dict[str, Deployment] = {}
        self.audit: list[tuple[str, AuditEntry]] = []
        self.events: list[tuple[Deployment, Event]] = []
        self.max_running: dict[str, int] = {}
        self.listeners: list[Signal] = []
        self._clock = clock
        self._leases = MemoryLeases(self, clock, self._tell)
        self._leases.rows = self.rows
        self._logs = MemoryLogs(self, self._leases)
        self._locks = MemoryLocks(self, self._tell, self.audit)

    @property
    def leases(self) -> MemoryLeases:
        return self._leases

    @property
    def logs(self) -> MemoryLogs:
        return self._logs

    @property
    def locks(self) -> MemoryLocks:
        return self._locks

    def new_lease(self) -> _Lease:
        """Of a row that is put in from outside."""
        return _Lease()

    def actions(self, deployment_id: str) -> list[str]:
        return [entry.action for of, entry in self.audit if of == deployment_id]

    def event_types(self, deployment_id: str) -> list[str]:
        return [event.type for row, event in self.events if row.id == deployment_id]

    def owner(self, deployment_id: str) -> str | None:
        lease = self.leases[deployment_id]
        return lease.replica if lease.until > self._clock.monotonic() else None

    # The port.

    async def create(
        self, deployment: Deployment, audit: AuditEntry, event: Event | None = None
    ) -> None:
        await self.begin("create")
        for row in self.rows.values():
            if row.request_key == deployment.request_key:
                raise Duplicate(row.id)
        self.locks.refuse(deployment, self._clock.now())
        for row in self.rows.values():
            both = ((row.retry_of, deployment.retry_of), (row.rollback_of, deployment.rollback_of))
            if row.phase not in ENDINGS and any(one and one == other for one, other in both):
                raise Duplicate(row.id)
        self.rows[deployment.id] = deployment
        self.leases[deployment.id] = _Lease()
        self.audit.append((deployment.id, audit))
        if event is not None:
            self.events.append((deployment, event))
        self._tell("queued", deployment.id)
        self.end("create")

    async def get(self, deployment_id: str) -> Deployment | None:
        await self.begin("get")
        return self.rows.get(deployment_id)

    async def save(
        self,
        deployment: Deployment,
        *,
        was: Phase,
        by: Who,
        audit: AuditEntry | None = None,
        event: Event | None = None,
        first: bool = False,
    ) -> Deployment:
        await self.begin("save")
        moves = was is not deployment.phase
        if moves and audit is None:
            raise ValueError("a move needs an audit entry")
        if was in ENDINGS or (moves and not may_move(was, deployment.phase, by)):
            raise StaleState(f"{deployment.id} may not go from {was} to {deployment.phase}")
        if not moves and by is Who.SERVICE and was in RUNNING:
            raise StaleState(f"{deployment.id} is {was}: only its owner writes to it")
        stored = self._stored(deployment.id)
        if by is Who.OWNER:
            self.leases.hold(deployment.id, deployment.fence)
        if stored.phase is not was:
            raise StaleState(f"{deployment.id} is {stored.phase} by now, not {was}")
        if deployment.phase in RUNNING and any(
            one.target == deployment.target and one.phase in RUNNING and one.id != deployment.id
            for one in self.rows.values()
        ):
            raise StaleState(f"another deployment of {deployment.dokku_app} is running")
        twin = find_twin(self.rows.values(), deployment) if first else None
        if twin is not None:
            raise Twin(twin.id)
        self._guard_start(deployment, was, audit)
        fence = deployment.fence if by is Who.OWNER else stored.fence
        fresh = replace(deployment, cancel=stored.cancel, message=stored.message, fence=fence)
        fresh = replace(fresh, commits=stored.commits)
        self._write(fresh, audit, event)
        if fresh.phase is Phase.QUEUED:
            self._tell("queued", fresh.id)
        elif fresh.phase in ENDINGS:
            self._tell("ended", fresh.id)
        self.end("save")
        return fresh

    async def correct(
        self, deployment: Deployment, *, audit: AuditEntry, event: Event | None
    ) -> Deployment:
        await self.begin("correct")
        if self._stored(deployment.id).phase not in ENDINGS or deployment.phase not in ENDINGS:
            raise StaleState(f"{deployment.id} has not ended")
        self.leases.hold(deployment.id, deployment.fence)
        self._write(deployment, audit, event)
        self.end("correct")
        return deployment

    async def place_message(self, deployment_id: str, place: MessagePlace) -> None:
        await self.begin("place_message")
        self.rows[deployment_id] = replace(self._stored(deployment_id), message=place)
        self.end("place_message")

    async def place_commits(self, deployment_id: str, commits: Commits) -> None:
        await self.begin("place_commits")
        self.rows[deployment_id] = replace(self._stored(deployment_id), commits=commits)
        self.end("place_commits")

    async def withdraw(self, deployment_id: str, audit: AuditEntry) -> None:
        await self.begin("withdraw")
        row = self._stored(deployment_id)
        if row.phase not in WAITING or row.started_at is not None:
            raise StaleState(f"{deployment_id} is {row.phase}")
        del self.rows[deployment_id], self.leases[deployment_id]
        self.audit.append((deployment_id, audit))
        self.end("withdraw")

    async def ask_cancel(
        self,
        deployment_id: str,
        actor: Actor,
        at: datetime,
        *,
        through: str = "service",
        build: str | None = None,
    ) -> Deployment:
        await self.begin("ask_cancel")
        row = self._stored(deployment_id)
        its_own = row.phase not in ENDINGS if build is None else row.build_id == build
        new = row.cancel is None and its_own
        if new:
            row = replace(row, cancel=CancelRequest(by=actor, at=at))
            self.rows[deployment_id] = row
        if new or build is not None:
            action, detail = ("cancel_asked", {}) if build is None else (ASKED, {BUILD: build})
            entry = AuditEntry(actor=actor, through=through, action=action, detail=detail)
            self.audit.append((deployment_id, entry))
        self._tell("cancel", deployment_id)
        self.end("ask_cancel")
        return row

    async def by_id_part(self, part: str, *, limit: int = 2) -> Sequence[Deployment]:
        await self.begin("by_id_part")
        part = part.upper()
        found = [i for i in self.rows if i.startswith(part) or i.endswith(part)]
        return [self.rows[i] for i in sorted(found, reverse=True)[:limit]]

    async def unfinished(self, key: AppKey | None = None) -> Sequence[Deployment]:
        await self.begin("unfinished")
        rows = [row for row in self._by_age() if row.phase not in ENDINGS]
        return [row for row in rows if key is None or row.target == key]

    async def started(
        self, key: AppKey, *, commit: str = "", limit: int = 50
    ) -> Sequence[Deployment]:
        await self.begin("started")
        found = [
            (row.started_at, row.id, row)
            for row in self._by_age()
            if row.target == key and row.started_at and (row.sha or "").startswith(commit)
        ]
        return [row for _, _, row in sorted(found, reverse=True)][:limit]

    async def recent(
        self, *, app: str | None = None, server: str | None = None, limit: int = 20
    ) -> Sequence[Deployment]:
        await self.begin("recent")
        newest = reversed(self._by_age())
        found = [r for r in newest if app in {None, r.app} and server in {None, r.server}]
        return found[:limit]

    async def by_message(self, channel: str, ts: str) -> Deployment | None:
        await self.begin("by_message")
        for row in self.rows.values():
            if row.message and (row.message.channel, row.message.ts) == (channel, ts):
                return row
        return None

    async def proven_live(
        self, key: AppKey, *, before: Deployment | None = None, other_than: str | None = None
    ) -> str | None:
        await self.begin("proven_live")
        for row in reversed(self._by_age()):
            if (
                row.target == key
                and (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
                and row.sha not in {None, other_than}
                and (before is None or row.created_at < before.created_at)
            ):
                return row.sha
        return None

    async def good_durations(self, key: AppKey, limit: int = 20) -> Sequence[timedelta]:
        await self.begin("good_durations")
        good = [
            row.finished_at - row.started_at
            for row in reversed(self._by_age())
            if row.target == key and row.phase is Phase.SUCCEEDED
            if row.finished_at and row.started_at
        ]
        return good[:limit]

    async def audit_of(self, deployment_id: str) -> Sequence[tuple[datetime, AuditEntry]]:
        await self.begin("audit_of")
        return [(self._clock.now(), entry) for of, entry in self.audit if of == deployment_id]

    async def unproven(self, since: datetime) -> Sequence[Deployment]:
        await self.begin("unproven")
        return [
            row
            for row in self._ended_since(since)
            if row.started_at and row.live is Live.UNKNOWN and not row.late_over
        ]

    async def lately_succeeded(self, since: datetime) -> Sequence[Deployment]:
        await self.begin("lately_succeeded")
        return [
            row
            for row in self._ended_since(since)
            if row.phase is Phase.SUCCEEDED and row.live is Live.NEW and not row.crash_told
        ]

    async def newer(self, deployment: Deployment) -> Sequence[Deployment]:
        await self.begin("newer")
        since = (deployment.created_at, deployment.id)
        same = [row for row in self._by_age() if row.target == deployment.target]
        return [row for row in same if (row.created_at, row.id) > since]

    def _stored(self, deployment_id: str) -> Deployment:
        row = self.rows.get(deployment_id)
        if row is None:
            raise StaleState(f"{deployment_id} is not there any more")
        return row

    def _guard_start(self, row: Deployment, was: Phase, audit: AuditEntry | None) -> None:
        again = audit is not None and audit.action == SECOND_START
        if row.phase in RUNNING and (was not in RUNNING or again):
            self.locks.refuse(row, self._clock.now())
        if row.phase in RUNNING and was not in RUNNING:
            self._find_place(row.server)

    def _find_place(self, server: str) -> None:
        most = self.max_running.get(server, 0)
        running = sum(row.server == server and row.phase in RUNNING for row in self.rows.values())
        if most and running >= most:
            raise ServerFull(server, running, most)

    def _write(self, row: Deployment, audit: AuditEntry | None, event: Event | None) -> None:
        self.rows[row.id] = row
        if audit is not None:
            self.audit.append((row.id, audit))
        if event is not None:
            self.events.append((row, event))

    def _tell(self, kind: str, deployment_id: str) -> None:
        for listener in self.listeners:
            asyncio.get_running_loop().call_soon(listener, kind, deployment_id)

    def _by_age(self) -> list[Deployment]:
        return sorted(self.rows.values(), key=lambda row: (row.created_at, row.id))

    def _ended_since(self, since: datetime) -> list[Deployment]:
        return [r for r in self._by_age() if r.finished_at is not None and r.finished_at >= since]


def refused(sentence: str = "the database refused a statement") -> StoreError:
    """An error that retrying does not fix."""
    return StoreError(sentence)
