"""Bring messages up to date that an earlier process left unposted or outdated."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.deployments.model import Deployment
from bot.deployments.requests.service import Service
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.state.sync import find_unposted, load_recently_ended, load_unfinished
from bot.deployments.timing import Timing
from bot.errors import StoreError
from bot.slack.live_message.messages import LiveMessages

log = structlog.get_logger(__name__)

DATABASE_PAUSE = timedelta(seconds=2)
"""Between attempts while no database answers."""


async def load_when_up(deployments: DeploymentRepository, clock: Clock) -> Sequence[Deployment]:
    """Load the unfinished deployments as soon as the database answers."""
    while True:
        try:
            return await load_unfinished(deployments)
        except StoreError as error:
            log.warning("database_unreachable", why=str(error))
            await clock.sleep(DATABASE_PAUSE)


async def show_recent_results(
    deployments: DeploymentRepository, live: LiveMessages, clock: Clock
) -> None:
    """Show results that a killed process may have stored without showing them."""
    try:
        await live.resume(await load_recently_ended(deployments, clock))
    except StoreError as error:
        log.warning("recent_results_not_loaded", why=str(error))


class MissingMessages:
    """Posts the message of each deployment that has none, once (`resume` itself retries)."""

    def __init__(
        self,
        deployments: DeploymentRepository,
        live: LiveMessages,
        service: Service,
        clock: Clock,
        timing: Timing,
    ) -> None:
        self._deployments = deployments
        self._live = live
        self._service = service
        self._clock = clock
        self._timing = timing
        self._seen: set[str] = set()

    async def post(self) -> None:
        """Post the messages that are missing now."""
        in_progress = self._service.in_progress
        unposted = find_unposted(self._deployments, self._clock, in_progress, self._timing)
        rows = [row for row in unposted if row.id not in self._seen]
        cached = (one.deployment.id for one in self._deployments.cache.known())
        self._seen.intersection_update(cached)
        self._seen.update(row.id for row in rows)
        await self._live.resume(rows)
