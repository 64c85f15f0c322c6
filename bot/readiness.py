"""Whether the parts of the bot work, for `/readyz`."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from bot.dokku.servers import DokkuServers
from bot.errors import BotError
from bot.metrics import Metrics
from bot.outbox import WEBHOOKS
from bot.poller import Poller
from bot.slack.bolt import Intake
from bot.store.sql_store import SqlStore
from bot.web import Health, HealthReport

log = structlog.get_logger(__name__)

SCHEDULER_LATE_S = 30.0
"""The scheduler runs a job every few seconds; after this long without one it is stuck."""
WRITE_EVERY_S = 5.0
"""Anybody may ask `/readyz`, as often as they like: the database is written to this often."""
OUTBOX_WITHIN_S = 3.0
"""Longest that `/metrics` waits for the database."""
TOKEN_EVERY_S = 30.0
"""How often Slack is asked about the token at most."""


@dataclass(slots=True)
class Seldom:
    """The newest answer of a look that costs something. One look runs at a time."""

    every_s: float
    seconds: Callable[[], float]
    last: str | None = None
    due: float | None = None
    running: "asyncio.Task[str | None] | None" = None

    async def answer(self, look: Callable[[], Awaitable[str | None]]) -> str | None:
        """Look again if it is time to, or wait for the look that runs."""
        if self.running is None:
            if self.due is not None and self.seconds() < self.due:
                return self.last
            self.running = asyncio.ensure_future(look())
            self.running.add_done_callback(self._keep)
        # The caller's time limit ends only its wait.
        return await asyncio.shield(self.running)

    def _keep(self, done: "asyncio.Task[str | None]") -> None:
        self.running = None
        self.due = self.seconds() + self.every_s
        if not done.cancelled() and done.exception() is None:
            self.last = done.result()


@dataclass(slots=True)
class Readiness:
    """The parts to check. The start sets each one as soon as it is open."""

    store: SqlStore | None = None
    intake: Intake | None = None
    poller: Poller | None = None
    servers: DokkuServers | None = None
    database_problem: str = "not opened yet"
    seconds: Callable[[], float] = time.monotonic
    _writes: Seldom = field(init=False)
    _token: Seldom = field(init=False)

    def __post_init__(self) -> None:
        self._writes = Seldom(WRITE_EVERY_S, self.seconds)
        self._token = Seldom(TOKEN_EVERY_S, self.seconds)

    async def check(self) -> HealthReport:
        """Check all parts now."""
        database, slack = await asyncio.gather(self._database(), self._slack())
        parts = {"database": database, "slack": slack, "scheduler": self._scheduler()}
        servers: Health = self.servers.health() if self.servers else {}
        return HealthReport(parts=parts, servers=servers)

    async def _database(self) -> str | None:
        if self.store is None:
            return self.database_problem
        return await self._writes.answer(self._written)

    async def _written(self) -> str | None:
        if self.store is None:
            return self.database_problem
        try:
            await self.store.database.check_writes()
        except BotError as error:
            return str(error)
        return None

    async def _slack(self) -> str | None:
        if self.intake is None:
            return "not connected to Slack"
        return await self.intake.problem() or await self._token.answer(self.intake.token_problem)

    async def measure(self, metrics: Metrics) -> None:
        """Set the gauges that are read when someone asks for them."""
        connected = self.intake is not None and await self.intake.is_connected()
        metrics.slack_connected.set(connected)
        for server, why in (self.servers.health() if self.servers else {}).items():
            metrics.server_up.labels(server).set(why is None)
        for receiver, age_s in (await self._outbox_ages()).items():
            metrics.outbox_age.labels(receiver).set(age_s)

    async def _outbox_ages(self) -> Mapping[str, float]:
        ages = dict.fromkeys(("slack", "webhooks"), math.nan)
        if self.store is None:
            return ages
        try:
            async with asyncio.timeout(OUTBOX_WITHIN_S):
                waiting = await self.store.outbox.ages()
        except (BotError, TimeoutError) as error:
            log.info("outbox_not_measured", why=str(error))
            return ages  # not known now; `/readyz` says why
        for receiver in ages:
            is_webhook = receiver == "webhooks"
            here = [age for lane, age in waiting.items() if lane.startswith(WEBHOOKS) == is_webhook]
            ages[receiver] = max(here, default=timedelta(0)).total_seconds()
        return ages

    def _scheduler(self) -> str | None:
        last = self.poller.last_run if self.poller else None
        if last is None:
            return "not started yet"
        late = (datetime.now(UTC) - last).total_seconds()
        return None if late < SCHEDULER_LATE_S else f"its last job ran {late:.0f} s ago"
