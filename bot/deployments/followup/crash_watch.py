"""Crashes after a success: a release that was reported as live is watched for a while."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from bot.clock import Clock
from bot.deployments.model import BOT, AuditEntry, Deployment, Event
from bot.deployments.ports import Servers
from bot.deployments.state.lease import leased
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.timing import Timing
from bot.errors import DokkuError, StoreError

log = structlog.get_logger(__name__)

WRITE_WITHIN = timedelta(seconds=30)
"""The longest that writing a note may take."""


class CrashWatch:
    """Late looks at releases that were reported as live; notes a crash in the thread, once."""

    def __init__(
        self,
        *,
        replica: str,
        servers: Servers,
        deployments: DeploymentRepository,
        timing: Timing,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._replica = f"{replica} crashes"
        self._servers = servers
        self._deployments = deployments
        self._timing = timing
        self._clock = clock
        self._spawn = spawn
        self._busy: set[str] = set()

    async def look(self) -> None:
        """Begin to look at the newest success of each app. Errors wait for next time.

        Waits for none of them: a server that does not answer would keep others from the next look.
        """
        since = self._clock.now() - self._timing.crash_looks
        try:
            rows = await self._deployments.store.lately_succeeded(since)
        except StoreError as error:
            log.warning("crash_look_failed", why=str(error))
            return
        for row in rows:
            if row.id not in self._busy:
                self._busy.add(row.id)
                self._spawn(self._look_at(row))

    async def _look_at(self, row: Deployment) -> None:
        try:
            newer = await self._deployments.store.newer(row)
            # One that never started has replaced nothing.
            if row.after is None or any(one.started_at is not None for one in newer):
                return
            now = await self._servers.get(row.server).containers(row.dokku_app)
            if now is None:
                return
            known = {one.id: one for one in row.after.listed}
            down = sorted(
                one.process
                for one in now.listed
                if one.id in known
                and (one.restarts > known[one.id].restarts or one.state == "restarting")
            )
            if down:
                await self._note_once(row, down)
        except (DokkuError, StoreError, TimeoutError, KeyError) as error:
            log.info("crash_look_unanswered", deployment_id=row.id, why=type(error).__name__)
        finally:
            self._busy.discard(row.id)

    async def _note_once(self, row: Deployment, down: Sequence[str]) -> None:
        # Each replica looks; the lease lets one of them write the note.
        store = self._deployments.store
        async with leased(store, row.id, self._replica, WRITE_WITHIN) as fence:
            fresh = await store.get(row.id) if fence is not None else None
            if fence is not None and fresh is not None and not fresh.crash_told:
                await self._note(replace(fresh, fence=fence), down)

    async def _note(self, row: Deployment, down: Sequence[str]) -> None:
        names = ", ".join(down)
        text = (
            f"Since it was deployed, {names} of {row.app} has crashed and was restarted. "
            "The new release is still in place; look at `logs` of the app on the server, "
            "or roll back."
        )
        audit = AuditEntry(
            actor=BOT, through="late", action="crash_seen", detail={"processes": names}
        )
        await self._deployments.correct(
            replace(row, crash_told=True),
            audit=audit,
            event=Event(type="deployment.note", text=text),
        )
