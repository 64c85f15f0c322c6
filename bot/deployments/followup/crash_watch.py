"""Crashes after a success: what was called live is looked at for a while still."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from bot.clock import Clock
from bot.deployments.model import BOT, AuditEntry, Deployment, Event
from bot.deployments.ports import Servers, Timing
from bot.deployments.state.repository import DeploymentRepository
from bot.errors import DokkuError, StoreError

log = structlog.get_logger(__name__)

TELLING = timedelta(seconds=30)
"""Longest that it takes to write a note about a crash."""


class CrashWatch:
    """One late look at releases that were called live: those that crash are told of, once."""

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
                await self._tell_once(row, down)
        except (DokkuError, StoreError, TimeoutError, KeyError) as error:
            log.info("crash_look_unanswered", deployment_id=row.id, why=type(error).__name__)
        finally:
            self._busy.discard(row.id)

    async def _tell_once(self, row: Deployment, down: Sequence[str]) -> None:
        # Each replica looks by itself; one of them tells.
        fence = await self._deployments.store.leases.claim(row.id, self._replica, TELLING)
        if fence is None:
            return
        try:
            fresh = await self._deployments.store.get(row.id)
            if fresh is not None and not fresh.crash_told:
                await self._tell(fresh, down)
        finally:
            await self._deployments.store.leases.release(row.id, fence)

    async def _tell(self, row: Deployment, down: Sequence[str]) -> None:
        names = ", ".join(down)
        text = (
            f"Since it was deployed, {names} of {row.app} has crashed and was restarted. "
            "The new release is what is deployed; look at `logs` of the app on the server, "
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
