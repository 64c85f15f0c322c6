"""Whether the parts of the bot work, for `/readyz`."""

from dataclasses import dataclass
from datetime import UTC, datetime

from bot.dokku.servers import DokkuServers
from bot.errors import StoreError
from bot.poller import Poller
from bot.slack.bolt import Intake
from bot.store.sql_store import SqlStore
from bot.web import Health, HealthReport

SCHEDULER_LATE_S = 30.0
"""The scheduler runs a job every few seconds; after this long without one it is stuck."""


@dataclass(slots=True)
class Readiness:
    """The parts to check. The start sets each one as soon as it is open."""

    store: SqlStore | None = None
    intake: Intake | None = None
    poller: Poller | None = None
    servers: DokkuServers | None = None
    database_problem: str = "not opened yet"

    async def check(self) -> HealthReport:
        """Check all parts now."""
        parts: dict[str, str | None] = {
            "database": await self._database(),
            "slack": await self._slack(),
            "scheduler": self._scheduler(),
        }
        servers: Health = self.servers.health() if self.servers else {}
        return HealthReport(parts=parts, servers=servers)

    async def _database(self) -> str | None:
        if self.store is None:
            return self.database_problem
        try:
            await self.store.database.ping()
        except StoreError as error:
            return str(error)
        return None

    async def _slack(self) -> str | None:
        if self.intake is None or not await self.intake.is_connected():
            return "not connected to Slack"
        return None

    def _scheduler(self) -> str | None:
        last = self.poller.last_run if self.poller else None
        if last is None:
            return "not started yet"
        late = (datetime.now(UTC) - last).total_seconds()
        return None if late < SCHEDULER_LATE_S else f"its last job ran {late:.0f} s ago"
