"""A deployment that this replica owns: its newest row, and the one way to write it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bot.clock import Clock
from bot.deployments.books import Books
from bot.deployments.model import BOT, Actor, AuditEntry, Deployment, Event, Phase, Progress
from bot.deployments.ports import Urgency
from bot.deployments.states import Who, may_move
from bot.errors import Duplicate, LeaseLost, StaleState, StoreError

RETRY = timedelta(seconds=1)
"""Between tries while the database is away."""


class Held:
    """Writes carry the fence; they wait while the lease cannot be renewed, and stop when lost."""

    def __init__(self, row: Deployment, *, books: Books, clock: Clock) -> None:
        self.row = row
        self.books = books
        self.lost = False
        self._clock = clock
        self._lock = asyncio.Lock()
        self._may_act = asyncio.Event()
        self._may_act.set()

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
        self.lost = True
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
            while True:
                await self._may_act.wait()
                if self.lost:
                    raise LeaseLost(f"deployment {self.id} is owned by another replica now")
                was = self.row.phase
                wanted = replace(self.row, phase=to or was, **changes)
                try:
                    self.row = await self.books.save(
                        wanted, was=was, by=Who.OWNER, audit=audit, event=event
                    )
                except LeaseLost:
                    self.lose()
                    raise
                except (StaleState, Duplicate):
                    raise
                except StoreError:
                    await self._clock.sleep(RETRY)
                else:
                    return self.row

    async def append_log(self, lines: Sequence[str]) -> None:
        """Store lines of the log. StoreError: they were not taken."""
        if self.lost:
            raise LeaseLost(f"deployment {self.id} is owned by another replica now")
        await self.books.store.append_log(self.id, lines, fence=self.row.fence)

    def note(self, urgency: Urgency = Urgency.ROUTINE, **changes: Any) -> None:
        """Change what is shown beside the row."""
        progress: Progress = replace(self.books.progress(self.id), **changes)
        self.books.note(self.id, progress, urgency)

    async def refresh_wish(self) -> None:
        """Read whether somebody asked for the end meanwhile (on another replica)."""
        fresh = await self.books.store.get(self.id)
        if fresh is not None:
            self.row = replace(self.row, cancel=fresh.cancel, message=fresh.message)
