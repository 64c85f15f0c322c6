"""A deployment that this replica owns: its newest row, and the one way to write it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from bot.clock import Clock
from bot.deployments.model import BOT, Actor, AuditEntry, Deployment, Event, Phase, Progress
from bot.deployments.ports import Urgency
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import ENDINGS, Who, may_move
from bot.deployments.store_port import Store
from bot.errors import DatabaseDown, DokkuError, LeaseLost, StoreError

log = structlog.get_logger(__name__)

T = TypeVar("T")

RETRY = timedelta(seconds=1)
"""Between tries while the database is away."""


class OwnedDeployment:
    """Writes carry the fence; they wait while the lease cannot be renewed, and stop when lost.

    A database that is away is waited for. Every other error of the store passes through.
    """

    def __init__(self, row: Deployment, *, deployments: DeploymentRepository, clock: Clock) -> None:
        self.row = row
        self.deployments = deployments
        self.gone = asyncio.Event()
        """Set for good once another replica may own it."""
        self._clock = clock
        self._lock = asyncio.Lock()
        self._may_act = asyncio.Event()
        self._may_act.set()

    @property
    def lost(self) -> bool:
        """Nothing may be written any more."""
        return self.gone.is_set()

    @property
    def may_act(self) -> bool:
        """It is ours, and its lease was renewed in time."""
        return not self.lost and self._may_act.is_set()

    def is_over(self) -> bool:
        """It has ended, or it is somebody else's: nothing is left to do here."""
        return self.lost or self.row.phase in ENDINGS

    @property
    def id(self) -> str:
        """The deployment's id."""
        return self.row.id

    def suspend(self) -> None:
        """The lease could not be renewed in time: write nothing until `allow` or `lose`."""
        self._may_act.clear()

    def allow(self) -> None:
        """The lease holds (again)."""
        self._may_act.set()

    def lose(self) -> None:
        """Another replica owns it now: every further write raises LeaseLost."""
        self.gone.set()
        self._may_act.set()

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
        """Change the phase, with its audit row and what the outside is told. LeaseLost."""
        audit = AuditEntry(actor=actor, through="runner", action=action, detail=detail or {})
        return await self._write(to, audit, event, changes)

    async def record(
        self, *, audit: AuditEntry | None = None, event: Event | None = None, **changes: Any
    ) -> Deployment:
        """Write facts, the phase stays. LeaseLost."""
        return await self._write(None, audit, event, changes)

    async def confirm(self) -> Deployment:
        """Prove to the database that it is ours still, and read the wish on the way. LeaseLost."""
        return await self._write(None, None, None, {})

    def can_move(self, to: Phase) -> bool:
        """Whether the table allows it from here."""
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
                await self._may_act.wait()
                self._check_ours()
                try:
                    # An answer may be lost on its way: what was written must not be told twice.
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
                    await self._clock.sleep(RETRY)
                else:
                    return self.row

    async def _as_written(self, wanted: Deployment) -> Deployment | None:
        """The stored row, if it is what was to be written."""
        stored = await self.deployments.store.get(self.id)
        if stored is None:
            return None
        same = replace(stored, cancel=wanted.cancel, message=wanted.message) == wanted
        return stored if same else None

    def _check_ours(self) -> None:
        if self.lost:
            raise LeaseLost(f"deployment {self.id} is owned by another replica now")

    async def ask(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """Read from the store; while it is away, wait. LeaseLost."""
        while True:
            self._check_ours()
            try:
                return await question(self.deployments.store)
            except DatabaseDown:
                await self._clock.sleep(RETRY)

    async def append_log(self, lines: Sequence[str]) -> None:
        """Store lines of the log. StoreError: they were not taken."""
        self._check_ours()
        await self.deployments.store.logs.append(self.id, lines, fence=self.row.fence)

    def note(self, urgency: Urgency = Urgency.ROUTINE, **changes: Any) -> None:
        """Change what is shown beside the row, while it is ours to show."""
        if self.lost:
            return
        progress: Progress = replace(self.deployments.progress(self.id), **changes)
        if self._may_act.is_set():
            self.deployments.note(self.id, progress, urgency)
        else:
            # Another replica may show it by now: kept, and edited when the lease holds again.
            self.deployments.cache.note(self.id, progress)

    def note_answer(self) -> None:
        """The server answered now."""
        self.note(checked_at=self._clock.now(), stale_since=None, stale_why=None)

    def note_silence(self, error: DokkuError | TimeoutError, waited: timedelta) -> None:
        """The server could not be asked, or its answer did not come in the time `waited`."""
        late = f"it did not answer within {waited.total_seconds():g} s."
        since = self.deployments.progress(self.id).stale_since or self._clock.now()
        why = str(error) if isinstance(error, DokkuError) else late
        self.note(stale_since=since, stale_why=why)

    async def refresh_cancel_request(self) -> None:
        """Read whether somebody asked for the end meanwhile (on another replica)."""
        try:
            fresh = await self.deployments.store.get(self.id)
        except StoreError as error:
            # What is known counts until the next poll reads again.
            log.info("wish_not_read", deployment_id=self.id, why=str(error))
            return
        if fresh is not None:
            self.row = replace(self.row, cancel=fresh.cancel, message=fresh.message)

    async def reread(self) -> None:
        """Take the stored row for true: somebody else wrote it, or our own write was not heard."""
        stored = await self.ask(lambda store: store.get(self.id))
        if stored is not None:
            self.row = self.deployments.adopt(
                replace(stored, fence=self.row.fence), was=self.row.phase
            )
