"""At a start, and after it: the messages that a former process left without their newest state."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.deployments.model import Deployment
from bot.deployments.ports import Timing
from bot.deployments.requests.service import Service
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.state.sync import find_unposted, load_recently_ended, load_unfinished
from bot.errors import StoreError
from bot.slack.live_message.messages import LiveMessages

log = structlog.get_logger(__name__)

DATABASE_PAUSE = timedelta(seconds=2)
"""Between tries while no database answers."""


async def loaded(deployments: DeploymentRepository, clock: Clock) -> Sequence[Deployment]:
    """`load_unfinished`, as soon as the database answers."""
    while True:
        try:
            return await load_unfinished(deployments)
        except StoreError as error:
            log.warning("database_unreachable", why=str(error))
            await clock.sleep(DATABASE_PAUSE)


async def show_ends(deployments: DeploymentRepository, live: LiveMessages, clock: Clock) -> None:
    """Show the ends that a killed process may have written without showing them."""
    try:
        await live.resume(await load_recently_ended(deployments, clock))
    except StoreError as error:
        log.warning("ends_not_shown_again", why=str(error))


def housing(
    deployments: DeploymentRepository,
    live: LiveMessages,
    service: Service,
    clock: Clock,
    timing: Timing,
) -> Callable[[], Awaitable[None]]:
    """Each row whose message is missing gets one, once (and `resume` itself tries again)."""
    seen: set[str] = set()

    async def house() -> None:
        unposted = find_unposted(deployments, clock, service.in_progress, timing)
        rows = [row for row in unposted if row.id not in seen]
        seen.intersection_update(one.deployment.id for one in deployments.cache.known())
        seen.update(row.id for row in rows)
        await live.resume(rows)

    return house
