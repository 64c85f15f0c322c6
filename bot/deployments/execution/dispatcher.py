"""Claims what is due, gives each claim a worker, passes polls on, hands over at shutdown."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from bot.clock import Retries
from bot.deployments.execution.detached import DetachedWorker
from bot.deployments.execution.owned import CancelRequests, OwnedDeployment, WorkerContext
from bot.deployments.execution.start import Blocked
from bot.deployments.execution.worker import Worker
from bot.deployments.lock import AppLocked, Lock
from bot.deployments.locks.rules import stopped
from bot.deployments.locks.watch import LockWatch
from bot.deployments.model import Deployment, Phase
from bot.deployments.ports import Servers, Urgency
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.queue.rules import NO_LIMITS, describe_full_server, startable, waiting_for_slot
from bot.deployments.queue.unresolved import UnresolvedCommits
from bot.deployments.queue.waiting_list import WaitingList
from bot.deployments.state.repository import CacheSync
from bot.deployments.states import ENDINGS, RUNNING
from bot.errors import DokkuError, LeaseLost, ServerFull, Slow, StaleState, StoreError, Unreachable

log = structlog.get_logger(__name__)


class Dispatcher:
    """One per replica. Poll jobs and cancel requests only call it; workers run as tasks."""

    def __init__(
        self,
        *,
        replica: str,
        servers: Servers,
        context: WorkerContext,
        removal: QueueRemoval,
        max_running: Mapping[str, int] = NO_LIMITS,
        is_latest: Callable[[Deployment], bool],
    ) -> None:
        self._replica = replica
        self._servers = servers
        self._context = context
        self._store = context.deployments.store
        self._timing = context.timing
        self._clock = context.clock
        self._cache_sync = CacheSync(context.deployments)
        self._cancel_requests = CancelRequests(
            context.deployments.store, replica=replica, clock=context.clock
        )
        self._lock_watch = LockWatch(store=context.deployments.store, clock=context.clock)
        self._waiting_list = WaitingList(
            deployments=context.deployments,
            removal=removal,
            timing=context.timing,
            clock=context.clock,
            spawn=context.spawn,
            is_latest=is_latest,
        )
        self._unresolved = UnresolvedCommits(
            deployments=context.deployments,
            removal=removal,
            look_up=context.look_up,
            read_commits=context.read_commits,
            timing=context.timing,
            clock=context.clock,
            spawn=context.spawn,
        )
        self._retries = Retries(context.clock)
        self._own_errors = Retries(context.clock)
        """Unexpected errors of the bot, over all workers of a deployment."""
        self._workers: dict[str, Worker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._max_running = max_running
        self._blocked: set[str] = set()
        """Queued deployments that something other than a full server keeps from starting."""
        self._unreleased: dict[str, int] = {}
        """Leases that could not be released yet, with their fences."""
        self._look = asyncio.Event()
        self._open = False

    # --- calls from outside, each returns at once or polls

    def look_for_work(self) -> None:
        """Something may be due: a new place in a queue, an end, the 5 s look."""
        self._look.set()

    async def look(self) -> None:
        """The same, as a job."""
        self._look.set()

    def on_change(self, kind: str, deployment_id: str) -> None:
        """Something was written to the database."""
        if kind == "cancel":
            self.cancel_requested(deployment_id)
        elif kind in {"queued", "ended"}:
            self._look.set()

    def cancel_requested(self, deployment_id: str) -> None:
        """Someone asked to cancel a running deployment."""
        worker = self._workers.get(deployment_id)
        if worker is not None:
            worker.begin_cancel()

    async def poll(self, deployment_id: str) -> None:
        """One poll of a deployment that this replica drives."""
        worker = self._workers.get(deployment_id)
        if worker is None or worker.owned.lost:
            return
        try:
            await worker.poll(read_request=await self._cancel_requests.includes(deployment_id))
        except (LeaseLost, StaleState) as stale:
            log.info("poll_stopped", deployment_id=deployment_id, why=str(stale))
        except Exception:
            log.exception("poll_failed", deployment_id=deployment_id)

    async def heartbeat(self) -> None:
        """Renew the leases; workers whose lease is lost stop acting.

        A database that does not answer holds up no later renewal.
        """
        renewing = self._context.spawn(self._renew())
        await asyncio.wait({renewing}, timeout=self._timing.answer_within.total_seconds())
        if not renewing.done():
            log.warning("leases_not_renewed", why="the database has not answered yet")

    async def _renew(self) -> None:
        # What is claimed while the database answers is missing from the answer.
        workers, asked_at = dict(self._workers), self._clock.monotonic()
        try:
            held = await self._store.leases.renew(self._replica, self._timing.lease, workers)
        except StoreError as error:
            log.warning("leases_not_renewed", why=str(error))
            return
        for deployment_id, worker in workers.items():
            if deployment_id in held:
                worker.owned.renewed(asked_at)
            elif worker.owned.row.phase not in ENDINGS:
                worker.owned.lose()
                self._context.polls.unwatch(deployment_id)
        for deployment_id, fence in list(self._unreleased.items()):
            await self._release(deployment_id, fence)

    # --- life

    @property
    def active(self) -> int:
        """How many deployments this replica drives now."""
        return sum(one.owned.row.phase not in ENDINGS for one in self._workers.values())

    async def report(self, to: Callable[[int], Awaitable[None]]) -> None:
        """Say how many deployments this replica drives now."""
        await to(self.active)

    def shows(self, deployment_id: str) -> bool:
        """Whether this replica may show a running deployment: it drives it, and may act."""
        worker = self._workers.get(deployment_id)
        return worker is not None and worker.owned.may_act

    def start(self) -> asyncio.Task[None]:
        """Begin to claim; returns the task that looks for work."""
        self._open = True
        self.look_for_work()
        return asyncio.create_task(self._look_forever(), name="look for work")

    async def drain(
        self, timeout_s: float, show: Callable[[], Awaitable[object]] | None = None
    ) -> int:
        """Take nothing new, wait for what runs, release the leases; returns how many were left.

        Their messages say so shortly before; `show` waits until messages are up to date.
        """
        self._open = False
        for worker in self._workers.values():
            worker.hold_back()
        notice_s = min(self._timing.hand_over_notice.total_seconds(), timeout_s)
        await self._wait_for(timeout_s - notice_s, lambda worker: worker.is_running())
        for worker in self._workers.values():
            if worker.is_running():
                worker.owned.note(Urgency.NOW, handed_over=True)
        await self._wait_for(notice_s, lambda worker: worker.is_running())
        await self._wait_for(
            self._timing.drain_grace.total_seconds(), lambda worker: not worker.runs
        )
        if show is not None:
            await show()
        left = [worker for worker in self._workers.values() if not worker.owned.is_over()]
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
            async with asyncio.timeout(self._timing.drain_grace.total_seconds()):
                await worker.flush()
                worker.owned.lose()
                await self._store.leases.release(worker.owned.id, worker.owned.row.fence)
        except (StoreError, TimeoutError) as error:
            # It runs out after 20 s, because this process has stopped renewing it.
            log.warning("lease_kept", deployment_id=worker.owned.id, why=str(error))
        finally:
            worker.owned.lose()

    async def _look_forever(self) -> None:
        while self._open:
            await self._look.wait()
            self._look.clear()
            began = self._clock.monotonic()
            try:
                await self._look_once()
            except StoreError as error:
                log.warning("look_failed", why=str(error))
            except Exception:
                log.exception("look_failed")
            # It reads all that is unfinished: many requests at once get one look together.
            took = timedelta(seconds=self._clock.monotonic() - began)
            await self._clock.sleep(min(took, self._timing.longest_look_pause))

    async def _look_once(self) -> None:
        unfinished = await self._cache_sync.refresh(self._workers.keys())
        there = {row.id for row in unfinished}
        self._retries.keep(there)
        self._own_errors.keep(there)
        self._blocked &= there
        self._context.deployments.observer.counted(unfinished)
        running = [row for row in unfinished if row.phase in RUNNING]
        await self._claim_free(running)
        queued = [row for row in unfinished if row.phase is Phase.QUEUED]
        awaiting = [row for row in unfinished if row.phase is Phase.AWAITING_APPROVAL]
        if awaiting:
            self._waiting_list.end_unapproved(awaiting)
            self._unresolved.look(awaiting)
        taken = [one.target for one in running]
        locks = await self._look_at_locks(unfinished)
        waiting = self._waiting_list.update(queued, running, self._workers.keys(), locks, awaiting)
        no_place = waiting_for_slot(waiting, taken, self._max_running, self._blocked)
        for deployment_id, phrase in no_place.items():
            if deployment_id not in self._workers:
                self._context.deployments.note_waiting(deployment_id, position=1, waits_for=phrase)
        next_ones = startable(waiting, taken, self._max_running, self._blocked)
        await self._claim_free([row for row in next_ones if row.message or not row.channel])

    async def _look_at_locks(self, unfinished: Sequence[Deployment]) -> Mapping[str, Lock]:
        """Queued deployments that someone else's lock stops: id -> the lock."""
        standing = await self._store.locks.standing()
        if not standing.locks and not standing.followers:
            return {}
        held = await self._lock_watch.look(standing, unfinished)
        return stopped(unfinished, held, self._clock.now())

    # --- claims

    async def _claim_free(self, rows: Sequence[Deployment]) -> None:
        """Take over those that no replica drives."""
        ours = self._workers.keys() | self._unreleased
        wanted = [row for row in rows if row.id not in ours and self._retries.is_due(row.id)]
        # One question for all: most of a thousand belong to other replicas.
        free = await self._store.leases.free() if wanted else {}
        for row in wanted:
            if row.id in free:
                await self._claim(row, free[row.id])

    async def _claim(self, row: Deployment, idle: timedelta) -> None:
        asked_at = self._clock.monotonic()
        fence = await self._store.leases.claim(row.id, self._replica, self._timing.lease)
        if fence is None:
            return
        try:
            fresh = await self._store.get(row.id)
            wanted = self._open and fresh is not None and fresh.phase not in ENDINGS
            if fresh is not None and wanted:
                owned = OwnedDeployment(
                    replace(fresh, fence=fence), context=self._context, claimed_at=asked_at
                )
                dokku = self._servers.get(fresh.server)
                kind = DetachedWorker if owned.is_detached(dokku.runner) else Worker
                worker = kind(owned, dokku=dokku, context=self._context)
                self._workers[row.id] = worker
                self._tasks[row.id] = self._context.spawn(self._run(worker, idle))
        finally:
            # Whatever happened: a lease without a worker must be released.
            if row.id not in self._workers:
                await self._release(row.id, fence)

    async def _release(self, deployment_id: str, fence: int) -> None:
        self._unreleased[deployment_id] = fence
        try:
            await self._store.leases.release(deployment_id, fence)
        except StoreError as error:
            # It runs out by itself; released sooner, it is taken over sooner.
            log.warning("lease_kept", deployment_id=deployment_id, why=str(error))
        else:
            self._unreleased.pop(deployment_id, None)

    async def _run(self, worker: Worker, idle: timedelta) -> None:
        deployment_id, fence = worker.owned.id, worker.owned.row.fence
        # Lines of libraries have the id, too.
        structlog.contextvars.bind_contextvars(deployment_id=deployment_id)
        try:
            await self._run_on(worker, idle)
        except (LeaseLost, StaleState) as stale:
            log.info("worker_stopped", deployment_id=deployment_id, why=str(stale))
        finally:
            if not worker.owned.is_over() and self._retries.is_due(deployment_id):
                # It stays unfinished: every replica looks again at the pace of the polls.
                self._retries.wait(deployment_id, self._timing.poll_interval)
                self._blocked.add(deployment_id)
            del self._workers[deployment_id], self._tasks[deployment_id]
            self._context.polls.unwatch(deployment_id)
            if not worker.owned.lost:
                await self._release(deployment_id, fence)
            if self._open and not worker.owned.is_over():
                self._context.spawn(self._look_after(self._retries.left(deployment_id)))

    async def _look_after(self, pause: timedelta) -> None:
        await self._clock.sleep(pause)
        self.look_for_work()

    async def _run_on(self, worker: Worker, idle: timedelta) -> None:
        """Drive it on after unexpected errors; if they recur, report that and end it."""
        work = worker.run(idle)
        while not await self._run_guarded(worker, work):
            errors = self._own_errors.failed(worker.owned.id, self._timing.own_error_pause)
            if errors > self._timing.own_error_tries:
                await self._end_by_own_fault(worker)
                return
            await self._clock.sleep(self._timing.own_error_pause)
            if worker.owned.is_over():
                return
            work = worker.go_on()

    async def _run_guarded(self, worker: Worker, work: Awaitable[None]) -> bool:
        """Whether it came as far as it could; False: an unexpected error stopped it."""
        row = worker.owned.row
        try:
            await work
        except Blocked as blocked:
            self._context.deployments.note_waiting(
                row.id, position=1, waits_for=str(blocked), blocker=blocked.blocker
            )
        except DokkuError as error:
            self._blocked.add(row.id)
            await self._not_answered(worker, error)
        except AppLocked as locked:
            # It was locked since the last look, which is repeated now and shows that.
            self._retries.wait(row.id, self._timing.place_pause)
            log.info("start_locked", deployment_id=row.id, why=str(locked))
        except ServerFull as full:
            # Nothing else is in its way: it takes the next free place.
            self._blocked.discard(row.id)
            self._retries.wait(row.id, self._timing.place_pause)
            phrase = describe_full_server(full.running, full.most)
            self._context.deployments.note_waiting(row.id, position=1, waits_for=phrase)
        except LeaseLost as lost:
            log.info("worker_stopped", deployment_id=row.id, why=str(lost))
        except StaleState as stale:
            log.info("worker_stopped", deployment_id=row.id, why=str(stale))
            await worker.owned.reread()
            return worker.owned.row.phase not in RUNNING
        except Exception:
            log.exception("worker_failed", deployment_id=row.id)
            return False
        else:
            self._retries.forget(row.id)
        return True

    async def _end_by_own_fault(self, worker: Worker) -> None:
        try:
            await worker.end_by_own_fault()
        except (LeaseLost, StaleState):
            raise
        except Exception:
            # Not even the result could be written: the next look tries again.
            log.exception("result_not_written", deployment_id=worker.owned.id)

    async def _not_answered(self, worker: Worker, error: DokkuError) -> None:
        """A question before the start failed: it keeps its position, for 3 tries in 60 s.

        A slow server gets twice as many, and each may take longer.
        """
        tries = self._timing.start_tries * (2 if isinstance(error, Slow) else 1)
        count = self._retries.failed(worker.owned.id, self._timing.start_window / tries)
        if count >= tries or (isinstance(error, Unreachable) and error.final):
            self._retries.forget(worker.owned.id)
            await worker.end_unanswered(error)
            return
        phrase = f"the server to answer (try {count} of {tries}): {error}"
        self._context.deployments.note_waiting(worker.owned.id, position=1, waits_for=phrase)
