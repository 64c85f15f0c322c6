"""The scheduler: runs the poll jobs. The only importer of APScheduler."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.events import EVENT_JOB_SUBMITTED, JobSubmissionEvent
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler

log = structlog.get_logger(__name__)

SPREAD = 1000
"""Number of offsets inside the interval at which poll jobs start."""
CLOCK_LOOK_S = 1.0
JUMP_S = 2.0
"""More than a clock is slewed between two looks at it."""
STOP_S = 1.0
"""How long cancelled calls may take to finish (to give a lease back, for example)."""


class Poller:
    """Runs a poll job for each watched deployment, and the replica's regular jobs.

    Jobs are kept in memory only: the truth is in the database, and each start makes them again.
    No `jitter=`: it accumulates, and the mean period would grow; a one-time offset spreads.
    """

    def __init__(
        self, *, interval: timedelta, lateness: Callable[[float], None] = lambda _: None
    ) -> None:
        self._interval = interval
        self._lateness = lateness
        self._poll: Callable[[str], Awaitable[None]] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._clock_watch: asyncio.Task[None] | None = None
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_listener(self._called, EVENT_JOB_SUBMITTED)
        self.last_run: datetime | None = None
        """When any job ran last; the scheduler works while this is recent."""

    def poll_with(self, poll: Callable[[str], Awaitable[None]]) -> None:
        """Set what to call with the id of each watched deployment."""
        self._poll = poll

    def every(self, interval: timedelta, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Add a regular job of this replica. `work` has its own timeout."""
        self._scheduler.add_job(
            self._call,
            "interval",
            seconds=interval.total_seconds(),
            args=[work],
            id=name,
            name=name,
        )

    def watch(self, deployment_id: str) -> None:
        """Poll a deployment. Its id decides the offset in the interval."""
        job_id = f"poll:{deployment_id}"
        if self._poll is None or self._scheduler.get_job(job_id) is not None:
            return
        share = zlib.crc32(deployment_id.encode()) % SPREAD / SPREAD
        self._scheduler.add_job(
            self._call,
            "interval",
            seconds=self._interval.total_seconds(),
            args=[self._poll, deployment_id],
            id=job_id,
            name=job_id,
            next_run_time=datetime.now(UTC) + self._interval * share,
        )

    def unwatch(self, deployment_id: str) -> None:
        """Stop polling. Unknown ids are ignored."""
        try:
            self._scheduler.remove_job(f"poll:{deployment_id}")
        except JobLookupError:
            return

    async def _call(self, work: Callable[..., Awaitable[None]], *args: str) -> None:
        call = asyncio.current_task()
        if call is None or self._stopping:
            return
        self._calls.add(call)
        try:
            await work(*args)
        except asyncio.CancelledError:
            # The scheduler would log this stop as an error, with a traceback.
            if not self._stopping:
                raise
        finally:
            self._calls.discard(call)

    def _called(self, event: JobSubmissionEvent) -> None:
        now = self.last_run = datetime.now(UTC)
        if event.job_id.startswith("poll:"):
            self._lateness(max(0.0, (now - event.scheduled_run_times[-1]).total_seconds()))

    def start(self) -> None:
        """Start the scheduler."""
        self._scheduler.start()
        self.last_run = datetime.now(UTC)
        self._clock_watch = asyncio.create_task(self._watch_clock(), name="clock")

    async def _watch_clock(self) -> None:
        """Bring jobs forward when the machine's clock was set back.

        APScheduler waits for a time of day: after an hour back, it would call nothing for an hour.
        What a clock that was set forward skips is called once, as after a suspension.
        """
        offset = _wall_offset()
        while True:
            await asyncio.sleep(CLOCK_LOOK_S)
            before, offset = offset, _wall_offset()
            if abs(offset - before) < JUMP_S:
                continue
            log.warning("clock_was_set", by_s=round(offset - before, 1))
            now = datetime.now(UTC)
            for job in self._scheduler.get_jobs():
                wait = job.next_run_time - now
                if wait > job.trigger.interval:
                    due = now + wait % job.trigger.interval
                    self._scheduler.modify_job(job.id, next_run_time=due)

    async def stop(self) -> None:
        """Stop the scheduler and cancel running calls. What must finish was drained before."""
        self._stopping = True
        if self._clock_watch is not None:
            self._clock_watch.cancel()
        calls = set(self._calls)
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls, timeout=STOP_S)
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _wall_offset() -> float:
    return datetime.now(UTC).timestamp() - time.monotonic()


@asynccontextmanager
async def open_poller(poller: Poller) -> AsyncIterator[Poller]:
    """Start the poller, and stop it at the end."""
    poller.start()
    try:
        yield poller
    finally:
        await poller.stop()
