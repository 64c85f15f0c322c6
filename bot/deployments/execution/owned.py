"""A deployment that this replica owns: its newest row, and the one way to write it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import Any, TypeVar

import structlog

from bot.clock import Clock
from bot.deployments.dokku_facts import Pace
from bot.deployments.model import (
    BOT,
    Actor,
    AuditEntry,
    Deployment,
    Event,
    LogFacts,
    NotDeployable,
    Phase,
    Resolved,
    Who,
)
from bot.deployments.ports import Polls, Store, Urgency
from bot.deployments.progress import Progress
from bot.deployments.state.lease import ACTS_FOR
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import ENDINGS, RUNNING, may_move
from bot.deployments.timing import Timing
from bot.deployments.verdict.server_cancel import LogWatch
from bot.errors import DatabaseDown, DokkuError, LeaseLost, StoreError

log = structlog.get_logger(__name__)

T = TypeVar("T")

KNOWN_GOOD = 3
"""Good deployments needed before a usual duration is shown."""
REQUESTS_FRESH_S = 1.0
REFUSED_BY_LOCK = "refused_by_lock"
"""Audit word: Dokku refused the start, nothing ran, it keeps its position in the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """Made once, by `assemble_domain`."""

    deployments: DeploymentRepository
    look_up: Callable[[Deployment], Awaitable[Resolved | NotDeployable]]
    """Find the repository and the commit of a deployment that is not `ready`."""
    check_start: Callable[[Deployment], Awaitable[None]]
    """Declined: its requester may no longer deploy it. NotKnown: Slack does not say now."""
    read_commits: Callable[[Deployment], None]
    """Read what it ships, in the background. Returns at once."""
    polls: Polls
    logs: LogWatch
    """What is seen of the logs of builds without a connection."""
    timing: Timing
    clock: Clock
    stream_ended: Callable[[Deployment, int | None, LogFacts], Coroutine[Any, Any, None]]
    """Called when the stream of a deployment that was reported as lost has ended after all."""
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    """Run as a tracked task whose failure is logged."""


class CancelRequests:
    """Whether someone asked to cancel a deployment, perhaps on another replica or at a shell.

    One read a second serves the polls of all deployments of this replica: with 1,000 running, a
    read at each poll took more time than everything else in it.
    """

    def __init__(self, store: Store, *, replica: str, clock: Clock) -> None:
        self._store = store
        self._replica = replica
        self._clock = clock
        self._asked: frozenset[str] = frozenset()
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def includes(self, deployment_id: str) -> bool:
        """As of at most a second ago; as it was last known, while the database does not answer."""
        async with self._reading:
            now = self._clock.monotonic()
            if self._read_at is None or now - self._read_at >= REQUESTS_FRESH_S:
                self._read_at = now
                try:
                    self._asked = await self._store.leases.cancel_requests(self._replica)
                except StoreError as error:
                    log.info("cancel_requests_not_read", why=str(error))
        return deployment_id in self._asked


class OwnedDeployment:
    """Writes carry the fence; they wait while the lease cannot be renewed, and stop if it is lost.

    A write waits for a database that does not answer. Every other error of the store passes.

    What has no fence (a command to Dokku, an edit of the message) asks `may_act` right before.
    It uses only this machine's clock: a renewal may hang, and a process that was suspended gets no
    message about the lost lease.
    """

    def __init__(
        self, row: Deployment, *, context: WorkerContext, claimed_at: float | None = None
    ) -> None:
        self.row = row
        self.deployments = context.deployments
        self.gone = asyncio.Event()
        """Set for good once another replica may own it."""
        self._clock = context.clock
        self._timing = context.timing
        self._lock = asyncio.Lock()
        self._renewed_at = context.clock.monotonic() if claimed_at is None else claimed_at
        self._renewed = asyncio.Event()

    @property
    def lost(self) -> bool:
        """Whether another replica may own it: nothing may be written any more."""
        return self.gone.is_set()

    @property
    def may_act(self) -> bool:
        """Whether this replica owns it and renewed the lease in time."""
        silent_for = self._clock.monotonic() - self._renewed_at
        return not self.lost and silent_for < self._timing.lease.total_seconds() * ACTS_FOR

    def has_right(self) -> bool:
        """`may_act`, asked when a command is about to leave this machine."""
        return self.may_act

    def is_over(self) -> bool:
        """Whether it has ended or another replica owns it: nothing is left to do here."""
        return self.lost or self.row.phase in ENDINGS

    def is_detached(self, runner: str) -> bool:
        """Whether a one-off container runs its command, or will; `runner`: as it is set now."""
        if self.row.phase in RUNNING and self.row.before is not None:
            return bool(self.row.before.runner)
        return bool(runner)

    @property
    def id(self) -> str:
        """The deployment's id."""
        return self.row.id

    def renewed(self, asked_at: float) -> None:
        """The lease holds, or holds again: the database was asked at `asked_at` (monotonic)."""
        self._renewed_at = max(self._renewed_at, asked_at)
        self._renewed.set()

    def lose(self) -> None:
        """Another replica owns it now: every further write raises LeaseLost."""
        self.gone.set()
        self._renewed.set()

    async def move(
        self,
        to: Phase,
        action: str,
        *,
        detail: Mapping[str, str] | None = None,
        event: Event | None = None,
        actor: Actor = BOT,
        **changes: Any,
    ) -> Deployment:
        """Change the phase, with its audit row and its outbox event. Raises LeaseLost."""
        audit = AuditEntry(actor=actor, through="runner", action=action, detail=detail or {})
        return await self._write(to, audit, event, changes)

    async def record(
        self, *, audit: AuditEntry | None = None, event: Event | None = None, **changes: Any
    ) -> Deployment:
        """Write facts; the phase stays. Raises LeaseLost."""
        return await self._write(None, audit, event, changes)

    async def confirm(self) -> Deployment:
        """Prove the lease to the database, and read the cancel request. Raises LeaseLost."""
        return await self._write(None, None, None, {})

    def can_move(self, to: Phase) -> bool:
        """Whether the table of moves allows it from the current phase."""
        return may_move(self.row.phase, to, Who.OWNER)

    async def _write(
        self,
        to: Phase | None,
        audit: AuditEntry | None,
        event: Event | None,
        changes: Mapping[str, Any],
    ) -> Deployment:
        async with self._lock:
            was = self.row.phase
            wanted = replace(self.row, phase=to or was, **changes)
            tries = 0
            while True:
                await self._until_may_act()
                try:
                    # The answer to a write may be lost: its event must not be sent twice.
                    made = await self._as_written(wanted) if tries else None
                    if made is None:
                        self.row = await self.deployments.save(
                            wanted, was=was, by=Who.OWNER, audit=audit, event=event
                        )
                    else:
                        self.row = self.deployments.adopt(made, was=was)
                except LeaseLost:
                    self.lose()
                    raise
                except DatabaseDown as error:
                    tries += 1
                    if tries == 1:
                        log.warning("row_not_written", deployment_id=self.id, why=str(error))
                    await self._clock.sleep(self._timing.store_retry)
                else:
                    return self.row

    async def _as_written(self, wanted: Deployment) -> Deployment | None:
        """The stored row, if it already is what should be written."""
        stored = await self.deployments.store.get(self.id)
        if stored is None:
            return None
        same = replace(stored, cancel=wanted.cancel, message=wanted.message, commits=wanted.commits)
        return stored if same == wanted else None

    async def _until_may_act(self) -> None:
        while not self.may_act:
            self._check_owned()
            self._renewed.clear()
            await self._renewed.wait()

    def _check_owned(self) -> None:
        if self.lost:
            raise LeaseLost(f"deployment {self.id} is owned by another replica now")

    async def ask(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """Read from the store; wait while it does not answer. Raises LeaseLost."""
        while True:
            self._check_owned()
            try:
                return await question(self.deployments.store)
            except DatabaseDown:
                await self._clock.sleep(self._timing.store_retry)

    async def append_log(self, lines: Sequence[str]) -> None:
        """Store lines of the log. Raises StoreError: they were not stored."""
        self._check_owned()
        await self.deployments.store.logs.append(self.id, lines, fence=self.row.fence)

    def note(self, urgency: Urgency = Urgency.ROUTINE, **changes: Any) -> None:
        """Change what is shown beside the row, while this replica may show it."""
        if self.lost:
            return
        progress: Progress = replace(self.deployments.progress(self.id), **changes)
        if self.may_act:
            self.deployments.note(self.id, progress, urgency)
        else:
            # Another replica may show it: keep the note, and edit when the lease holds again.
            self.deployments.cache.note(self.id, progress)

    def note_answer(self) -> None:
        """Show that the server answered now."""
        self.note(checked_at=self._clock.now(), stale_since=None, stale_why=None)

    def note_silence(self, error: DokkuError | TimeoutError, waited: timedelta, pace: Pace) -> None:
        """Show that the server could not be asked, or did not answer in the time `waited`."""
        slow = "is slow: it " if pace.slow else ""
        late = f"it {slow}did not answer within {waited.total_seconds():g} s."
        since = self.deployments.progress(self.id).stale_since or self._clock.now()
        why = str(error) if isinstance(error, DokkuError) else late
        self.note(stale_since=since, stale_why=why, slow=pace.slow)

    async def refresh_cancel_request(self) -> None:
        """Read whether a cancel was requested meanwhile, perhaps on another replica."""
        try:
            fresh = await self.deployments.store.get(self.id)
        except StoreError as error:
            # The known request counts until the next poll reads again.
            log.info("cancel_request_not_read", deployment_id=self.id, why=str(error))
            return
        if fresh is not None:
            self.row = replace(self.row, cancel=fresh.cancel, message=fresh.message)

    async def reread(self) -> None:
        """Take the stored row: someone else wrote it, or the answer to a write was lost."""
        stored = await self.ask(lambda store: store.get(self.id))
        if stored is not None:
            self.row = self.deployments.adopt(
                replace(stored, fence=self.row.fence), was=self.row.phase
            )

    # --- facts that several parts of the work write

    async def record_start(self) -> None:
        """Write the first start of Dokku's command, as far as is known: the cap counts from it."""
        if self.row.started_at is not None:
            return
        audit = await self.ask(lambda store: store.audit_of(self.id))
        announced = any(entry.action == REFUSED_BY_LOCK for _, entry in audit)
        event = None if announced else Event(type="deployment.started")
        await self.record(started_at=self._clock.now(), event=event)

    async def show_usual_duration(self) -> None:
        """Show how long good deployments of the app take, once 3 are known; it waits no more."""
        # First: while the database is asked, the message must not show a wait that is over.
        self.note(place=None, waits_for=None, blocker=None)
        target = self.row.target
        durations = await self.ask(lambda store: store.good_durations(target))
        usual = None
        if len(durations) >= KNOWN_GOOD:
            usual = timedelta(seconds=median(one.total_seconds() for one in durations))
        self.note(usual=usual)
