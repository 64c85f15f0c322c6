"""Claims what is due, drives what it owns, polls when it is told to, hands over at the end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import structlog

from bot.deployments.execution.outcome import Parts
from bot.deployments.execution.retries import Patience
from bot.deployments.execution.start import Blocked
from bot.deployments.execution.worker import Worker
from bot.deployments.model import Deployment, Phase
from bot.deployments.ports import Servers
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.queue.rules import NO_LIMITS, describe_full_server, startable, waiting_for_slot
from bot.deployments.queue.waiting_list import WaitingList
from bot.deployments.state.sync import CacheSync
from bot.deployments.states import ENDINGS, RUNNING
from bot.errors import (
    DokkuError,
    LeaseLost,
    ServerFull,
    StaleState,
    StoreError,
    Unreachable,
)

log = structlog.get_logger(__name__)

STOP_ACTING_S = 15.0
"""An owner that cannot renew its leases for so long writes nothing more (leases last 20 s)."""
MENDING_TRIES = 3
MENDING_PAUSE = timedelta(seconds=2)
"""After an error that nobody expected, a worker is followed further so often, with this pause."""
PLACE_PAUSE = timedelta(seconds=1)
"""After another replica was quicker to take the free place on a server."""
FINISH_S = 1.0
"""At the end, what has not begun gets so long to come to a stop by itself."""


class Dispatcher:
    """One per replica. Poll jobs and people's wishes only knock here; the work is its own tasks."""

    def __init__(
        self,
        *,
        replica: str,
        servers: Servers,
        parts: Parts,
        removal: QueueRemoval,
        max_running: Mapping[str, int] = NO_LIMITS,
    ) -> None:
        self._replica = replica
        self._servers = servers
        self._parts = parts
        self._store = parts.deployments.store
        self._timing = parts.timing
        self._clock = parts.clock
        self._sight = CacheSync(parts.deployments)
        self._waiting_list = WaitingList(
            deployments=parts.deployments,
            removal=removal,
            timing=parts.timing,
            clock=parts.clock,
            spawn=parts.spawn,
        )
        self._patience = Patience(parts.clock)
        self._faults = Patience(parts.clock)
        """Errors of our own, over all workers of a deployment."""
        self._workers: dict[str, Worker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._max_running = max_running
        self._held_up: set[str] = set()
        """Waiting ones whose last try met something other than a lack of places."""
        self._owed: dict[str, int] = {}
        """Leases that could not be given back yet, with their fences."""
        self._look = asyncio.Event()
        self._open = False
        self._renewed_at = parts.clock.monotonic()

    # --- knocks

    def look_for_work(self) -> None:
        """Something may be due: a new place in a queue, an end, the 5 s look."""
        self._look.set()

    def wish(self, deployment_id: str) -> None:
        """Somebody asked for the end of a running deployment."""
        worker = self._workers.get(deployment_id)
        if worker is not None:
            worker.wish()

    async def tick(self, deployment_id: str) -> None:
        """One poll of a deployment that this replica drives."""
        worker = self._workers.get(deployment_id)
        if worker is None or worker.held.lost:
            return
        try:
            await worker.tick()
        except (LeaseLost, StaleState) as stale:
            log.info("poll_stopped", deployment_id=deployment_id, why=str(stale))
        except Exception:
            log.exception("poll_failed", deployment_id=deployment_id)

    async def heartbeat(self) -> None:
        """Prolong the leases; what is not held any more stops acting."""
        # What is claimed while the database answers is not in its answer.
        workers = dict(self._workers)
        try:
            held = await self._store.leases.renew(self._replica, self._timing.lease, workers)
        except StoreError as error:
            log.warning("leases_not_renewed", why=str(error))
            if self._clock.monotonic() - self._renewed_at > STOP_ACTING_S:
                for worker in self._workers.values():
                    worker.held.suspend()
            return
        self._renewed_at = self._clock.monotonic()
        for deployment_id, worker in workers.items():
            if deployment_id in held:
                worker.held.allow()
            elif worker.held.row.phase not in ENDINGS:
                worker.lose()
                self._parts.polls.unwatch(deployment_id)
        for deployment_id, fence in list(self._owed.items()):
            await self._give_back(deployment_id, fence)

    # --- life

    @property
    def active(self) -> int:
        """Deployments that this replica drives at the moment."""
        return sum(one.held.row.phase not in ENDINGS for one in self._workers.values())

    def shows(self, deployment_id: str) -> bool:
        """Whether a running deployment is this replica's to show: it drives it, and may act."""
        worker = self._workers.get(deployment_id)
        return worker is not None and worker.held.may_act

    def start(self) -> asyncio.Task[None]:
        """Begin to claim; returns the task that looks for work."""
        self._open = True
        self.look_for_work()
        return asyncio.create_task(self._look_on(), name="look for work")

    async def drain(self, timeout_s: float) -> int:
        """Take nothing new, wait for what runs, give the leases back; how many were left."""
        self._open = False
        for worker in self._workers.values():
            worker.hold_back()
        await self._wait_for(timeout_s, lambda worker: worker.runs and not worker.held.is_over())
        await self._wait_for(FINISH_S, lambda worker: not worker.runs)
        left = [worker for worker in self._workers.values() if not worker.held.is_over()]
        await asyncio.gather(*(self._hand_over(worker) for worker in left))
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(left)

    async def _wait_for(self, timeout_s: float, which: Callable[[Worker], bool]) -> None:
        tasks = [self._tasks[key] for key, worker in self._workers.items() if which(worker)]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    async def _hand_over(self, worker: Worker) -> None:
        try:
            async with asyncio.timeout(FINISH_S):
                await worker.flush()
                worker.lose()
                await self._store.leases.release(worker.held.id, worker.held.row.fence)
        except (StoreError, TimeoutError) as error:
            # It ends by itself after its 20 s: this process renews it no more.
            log.warning("lease_kept", deployment_id=worker.held.id, why=str(error))
        finally:
            worker.lose()

    async def _look_on(self) -> None:
        while self._open:
            await self._look.wait()
            self._look.clear()
            try:
                await self._look_once()
            except StoreError as error:
                log.warning("look_failed", why=str(error))
            except Exception:
                log.exception("look_failed")

    async def _look_once(self) -> None:
        unfinished = await self._sight.refresh(self._workers.keys())
        there = {row.id for row in unfinished}
        self._patience.keep(there)
        self._faults.keep(there)
        self._held_up &= there
        self._parts.deployments.observer.counted(unfinished)
        running = [row for row in unfinished if row.phase in RUNNING]
        for row in running:
            await self._claim(row)
        queued = [row for row in unfinished if row.phase is Phase.QUEUED]
        taken = [one.target for one in running]
        waiting = self._waiting_list.update(queued, taken, self._workers.keys())
        no_place = waiting_for_slot(waiting, taken, self._max_running, self._held_up)
        for deployment_id, phrase in no_place.items():
            if deployment_id not in self._workers:
                self._parts.deployments.note_waiting(deployment_id, position=1, waits_for=phrase)
        for row in startable(waiting, taken, self._max_running, self._held_up):
            if row.message is not None or not row.channel:
                await self._claim(row)

    # --- claims

    async def _claim(self, row: Deployment) -> None:
        if row.id in self._workers or row.id in self._owed or not self._patience.over(row.id):
            return
        idle = await self._store.leases.idle(row.id)
        fence = await self._store.leases.claim(row.id, self._replica, self._timing.lease)
        if fence is None:
            return
        try:
            fresh = await self._store.get(row.id)
            wanted = self._open and fresh is not None and fresh.phase not in ENDINGS
            if fresh is not None and wanted:
                dokku = self._servers.get(fresh.server)
                worker = Worker(replace(fresh, fence=fence), dokku=dokku, parts=self._parts)
                self._workers[row.id] = worker
                self._tasks[row.id] = self._parts.spawn(self._worker(worker, idle))
        finally:
            # Whatever happened: a lease that nobody drives must go back.
            if row.id not in self._workers:
                await self._give_back(row.id, fence)

    async def _give_back(self, deployment_id: str, fence: int) -> None:
        self._owed[deployment_id] = fence
        try:
            await self._store.leases.release(deployment_id, fence)
        except StoreError as error:
            # It runs out by itself; given back sooner, it is taken up sooner.
            log.warning("lease_kept", deployment_id=deployment_id, why=str(error))
        else:
            self._owed.pop(deployment_id, None)

    async def _worker(self, worker: Worker, idle: timedelta) -> None:
        deployment_id, fence = worker.held.id, worker.held.row.fence
        try:
            await self._drive_on(worker, idle)
        except (LeaseLost, StaleState) as stale:
            log.info("drive_stopped", deployment_id=deployment_id, why=str(stale))
        finally:
            if not worker.held.is_over() and self._patience.over(deployment_id):
                # It stays unfinished: others, and we, look again at the pace of the polls.
                self._patience.wait(deployment_id, self._timing.poll_interval)
                self._held_up.add(deployment_id)
            del self._workers[deployment_id], self._tasks[deployment_id]
            self._parts.polls.unwatch(deployment_id)
            if not worker.held.lost:
                await self._give_back(deployment_id, fence)
            if self._open and not worker.held.is_over():
                self._parts.spawn(self._look_after(self._patience.left(deployment_id)))

    async def _look_after(self, pause: timedelta) -> None:
        await self._clock.sleep(pause)
        self.look_for_work()

    async def _drive_on(self, worker: Worker, idle: timedelta) -> None:
        """Drive it, and further after an error of our own; if that recurs, say so and end it."""
        work = worker.run(idle)
        while not await self._drive_guarded(worker, work):
            if self._faults.failed(worker.held.id, MENDING_PAUSE) > MENDING_TRIES:
                await self._end_by_own_fault(worker)
                return
            await self._clock.sleep(MENDING_PAUSE)
            if worker.held.is_over():
                return
            work = worker.go_on()

    async def _drive_guarded(self, worker: Worker, work: Awaitable[None]) -> bool:
        """Whether it came as far as it could; False: it broke by an error that nobody expected."""
        row = worker.held.row
        try:
            await work
        except Blocked as blocked:
            self._parts.deployments.note_waiting(
                row.id, position=1, waits_for=str(blocked), blocker=blocked.blocker
            )
        except DokkuError as error:
            self._held_up.add(row.id)
            await self._not_answered(worker, error)
        except ServerFull as full:
            # Nothing else is in its way: the next free place is its own.
            self._held_up.discard(row.id)
            self._patience.wait(row.id, PLACE_PAUSE)
            phrase = describe_full_server(full.server, full.running, full.most)
            self._parts.deployments.note_waiting(row.id, position=1, waits_for=phrase)
        except LeaseLost as lost:
            log.info("drive_stopped", deployment_id=row.id, why=str(lost))
        except StaleState as stale:
            log.info("drive_stopped", deployment_id=row.id, why=str(stale))
            await worker.held.reread()
            return worker.held.row.phase not in RUNNING
        except Exception:
            log.exception("drive_failed", deployment_id=row.id)
            return False
        else:
            self._patience.forget(row.id)
        return True

    async def _end_by_own_fault(self, worker: Worker) -> None:
        try:
            await worker.end_by_own_fault()
        except (LeaseLost, StaleState):
            raise
        except Exception:
            # Not even the end could be written: the next look tries again.
            log.exception("end_failed", deployment_id=worker.held.id)

    async def _not_answered(self, worker: Worker, error: DokkuError) -> None:
        """A question before the start failed: it keeps its place, for 3 tries in 60 s."""
        tries = self._timing.start_tries
        count = self._patience.failed(worker.held.id, self._timing.start_window / tries)
        final = isinstance(error, Unreachable) and error.final
        if final or count >= tries:
            self._patience.forget(worker.held.id)
            await worker.end_unreachable(error)
            return
        phrase = f"the server to answer (try {count} of {tries}): {error}"
        self._parts.deployments.note_waiting(worker.held.id, position=1, waits_for=phrase)
