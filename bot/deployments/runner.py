"""Claims what is due, drives what it owns, polls when it is told to, hands over at the end."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import structlog

from bot.deployments.drive import Drive
from bot.deployments.ending import Parts
from bot.deployments.model import Deployment, Failure, Phase
from bot.deployments.ports import Servers
from bot.deployments.queue import heads, is_expired, places
from bot.deployments.starting import Blocked
from bot.deployments.states import ENDINGS, RUNNING
from bot.errors import DokkuError, LeaseLost, StaleState, StoreError, Unreachable

log = structlog.get_logger(__name__)

STOP_ACTING_S = 15.0
"""An owner that cannot renew its leases for so long writes nothing more (leases last 20 s)."""


@dataclass(slots=True)
class _Tries:
    """Questions before a start that a server did not answer."""

    count: int = 0
    next_at: float = 0.0
    sentences: list[str] = field(default_factory=list)


class Runner:
    """One per replica. Poll jobs and people's wishes only knock here; the work is its own tasks."""

    def __init__(self, *, replica: str, servers: Servers, parts: Parts) -> None:
        self._replica = replica
        self._servers = servers
        self._parts = parts
        self._store = parts.books.store
        self._timing = parts.timing
        self._clock = parts.clock
        self._drives: dict[str, Drive] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._tries: dict[str, _Tries] = {}
        self._look = asyncio.Event()
        self._open = False
        self._renewed_at = parts.clock.monotonic()
        self.expire: Callable[[Deployment, Failure, str], Awaitable[None]] | None = None
        """Set by the composition root: ends what waited for too long."""

    # --- knocks

    def look_for_work(self) -> None:
        """Something may be due: a new place in a queue, an end, the 5 s look."""
        self._look.set()

    def wish(self, deployment_id: str) -> None:
        """Somebody asked for the end of a running deployment."""
        drive = self._drives.get(deployment_id)
        if drive is not None:
            drive.wish()

    async def tick(self, deployment_id: str) -> None:
        """One poll of a deployment that this replica drives."""
        drive = self._drives.get(deployment_id)
        if drive is None or drive.held.lost:
            return
        try:
            await drive.tick()
        except (LeaseLost, StaleState) as stale:
            log.info("poll_stopped", deployment_id=deployment_id, why=str(stale))

    async def heartbeat(self) -> None:
        """Prolong the leases; what is not held any more stops acting."""
        try:
            held = await self._store.renew(self._replica, self._timing.lease)
        except StoreError:
            if self._clock.monotonic() - self._renewed_at > STOP_ACTING_S:
                for drive in self._drives.values():
                    drive.held.suspend()
            return
        self._renewed_at = self._clock.monotonic()
        for deployment_id, drive in list(self._drives.items()):
            if deployment_id in held:
                drive.held.allow()
            elif drive.held.row.phase not in ENDINGS:
                drive.held.lose()
                self._parts.polls.unwatch(deployment_id)

    # --- life

    @property
    def active(self) -> int:
        """Deployments that this replica drives at the moment."""
        return sum(one.held.row.phase not in ENDINGS for one in self._drives.values())

    def start(self) -> asyncio.Task[None]:
        """Begin to claim; returns the task that looks for work."""
        self._open = True
        self.look_for_work()
        return asyncio.create_task(self._look_on(), name="look for work")

    async def drain(self, timeout_s: float) -> int:
        """Take nothing new, wait for what runs, give the leases back; how many were left."""
        self._open = False
        running = [
            task
            for deployment_id, task in self._tasks.items()
            if self._drives[deployment_id].held.row.phase in RUNNING
        ]
        if running:
            await asyncio.wait(running, timeout=timeout_s)
        left = [one for one in self._drives.values() if one.held.row.phase not in ENDINGS]
        for drive in left:
            drive.held.lose()
            try:
                await self._store.release(drive.held.id, drive.held.row.fence)
            except StoreError as error:
                log.warning("lease_kept", deployment_id=drive.held.id, why=str(error))
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        return len(left)

    async def _look_on(self) -> None:
        while self._open:
            await self._look.wait()
            self._look.clear()
            try:
                await self._look_once()
            except StoreError as error:
                log.warning("look_failed", why=str(error))

    async def _look_once(self) -> None:
        unfinished = await self._store.unfinished()
        for row in unfinished:
            if self._parts.books.tracker.get(row.id) is None:
                self._parts.books.tracker.put(row)
        self._parts.books.observer.counted(unfinished)
        running = [row for row in unfinished if row.phase in RUNNING]
        waiting = [row for row in unfinished if row.phase is Phase.QUEUED]
        for row in running:
            await self._claim(row)
        waiting = await self._without_expired(waiting)
        self._show_places(waiting)
        for row in heads(waiting, [one.target for one in running]):
            if self._may_start(row):
                await self._claim(row)

    def _may_start(self, row: Deployment) -> bool:
        tries = self._tries.get(row.id)
        posted = row.message is not None or not row.channel
        return posted and (tries is None or self._clock.monotonic() >= tries.next_at)

    async def _without_expired(self, waiting: list[Deployment]) -> list[Deployment]:
        kept = []
        for row in waiting:
            over = is_expired(row, self._clock.now(), self._timing.queue_ttl)
            if not over or row.id in self._drives or self.expire is None:
                kept.append(row)
                continue
            blocker = self._parts.books.progress(row.id).waits_for or "its turn"
            sentence = f"It waited too long for {blocker}"
            try:
                await self.expire(row, Failure.EXPIRED, sentence)
            except StaleState:
                kept.append(row)
        return kept

    def _show_places(self, waiting: list[Deployment]) -> None:
        for deployment_id, place in places(waiting).items():
            if deployment_id in self._drives:
                continue
            progress = self._parts.books.progress(deployment_id)
            first = place == 1
            waits_for = progress.waits_for if first else "the deployment before it"
            self._parts.books.note_waiting(deployment_id, place=place, waits_for=waits_for)

    # --- claims

    async def _claim(self, row: Deployment) -> None:
        if row.id in self._drives or not self._open:
            return
        idle = await self._store.idle(row.id)
        fence = await self._store.claim(row.id, self._replica, self._timing.lease)
        if fence is None:
            return
        fresh = await self._store.get(row.id)
        if fresh is None or fresh.phase in ENDINGS:
            await self._store.release(row.id, fence)
            return
        drive = Drive(
            replace(fresh, fence=fence), dokku=self._servers.get(fresh.server), parts=self._parts
        )
        self._drives[row.id] = drive
        self._tasks[row.id] = self._parts.spawn(self._drive(drive, fence, idle))

    async def _drive(self, drive: Drive, fence: int, idle: timedelta) -> None:
        deployment_id = drive.held.id
        try:
            await self._drive_guarded(drive, idle)
        finally:
            self._drives.pop(deployment_id, None)
            self._tasks.pop(deployment_id, None)
            self._parts.polls.unwatch(deployment_id)
            if not drive.held.lost:
                await self._give_back(deployment_id, fence)

    async def _give_back(self, deployment_id: str, fence: int) -> None:
        try:
            await self._store.release(deployment_id, fence)
        except StoreError as error:
            # It ends by itself after its 20 s.
            log.warning("lease_kept", deployment_id=deployment_id, why=str(error))

    async def _drive_guarded(self, drive: Drive, idle: timedelta) -> None:
        row = drive.held.row
        try:
            if row.phase in RUNNING:
                await drive.take_over(idle)
            else:
                await drive.begin()
        except Blocked as blocked:
            self._parts.books.note_waiting(row.id, place=1, waits_for=str(blocked))
        except DokkuError as error:
            await self._not_answered(drive, error)
        except (LeaseLost, StaleState) as stale:
            log.info("drive_stopped", deployment_id=row.id, why=str(stale))
        else:
            self._tries.pop(row.id, None)

    async def _not_answered(self, drive: Drive, error: DokkuError) -> None:
        """A question before the start failed: it keeps its place, for 3 tries in 60 s."""
        tries = self._tries.setdefault(drive.held.id, _Tries())
        tries.count += 1
        pause = self._timing.start_window.total_seconds() / self._timing.start_tries
        tries.next_at = self._clock.monotonic() + pause
        final = isinstance(error, Unreachable) and error.final
        if final or tries.count >= self._timing.start_tries:
            self._tries.pop(drive.held.id, None)
            await drive.end_unreachable(error)
            return
        phrase = f"the server to answer (try {tries.count} of {self._timing.start_tries}): {error}"
        self._parts.books.note_waiting(drive.held.id, place=1, waits_for=phrase)


class Tasks:
    """Tracked tasks: asyncio itself keeps none of them alive, and their errors must be logged."""

    def __init__(self) -> None:
        self._all: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run on in the background."""
        task = asyncio.create_task(work)
        self._all.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Cancel what is left, and wait for it."""
        for task in self._all:
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._all.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, LeaseLost | StaleState):
            log.info("task_stopped", why=str(error))
        elif error is not None:
            log.error("task_failed", exc_info=error)
