"""After a start: what the former process left behind that people still look at."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from bot.clock import Clock
from bot.deployments.excerpt import around_error
from bot.deployments.model import Deployment, Phase, Progress
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.states import ENDINGS, WAITING

LATELY = timedelta(hours=1)
MOST_ENDED = 20
"""Ends that a killed process may have written without showing them: so many are shown again."""
POSTED_WITHIN = timedelta(seconds=20)
"""A row without a message is being posted by somebody, until it is older than this."""


async def load(deployments: DeploymentRepository) -> Sequence[Deployment]:
    """Fill the cache. Returns the waiting rows, whose messages must be brought up to date now.

    Running ones are not among them: whoever takes them over shows them.
    """
    unfinished = await deployments.store.unfinished()
    for row in unfinished:
        deployments.cache.put(row)
    return [row for row in unfinished if row.phase in WAITING and row.message is not None]


async def lately_ended(deployments: DeploymentRepository, clock: Clock) -> Sequence[Deployment]:
    """Those that ended lately, with what stood beside them: their messages may not show it."""
    newest = await deployments.store.recent(limit=MOST_ENDED)
    since = clock.now() - LATELY
    ended = [
        row
        for row in newest
        if row.phase in ENDINGS and row.finished_at and row.finished_at >= since
    ]
    for row in ended:
        deployments.cache.put(row)
        deployments.cache.note(row.id, _progress(row, await deployments.store.read_log(row.id)))
    return [row for row in ended if row.message]


def _progress(row: Deployment, log: str) -> Progress:
    """What stood beside the row, as far as the log tells: the excerpt is kept nowhere else."""
    lines = log.splitlines()
    if row.phase is Phase.SUCCEEDED:
        return Progress(tail=around_error(lines, None))
    reason = row.reason or ""
    error = next(
        (line for line in reversed(lines) if line.strip() and line.strip() in reason), None
    )
    return Progress(excerpt=around_error(lines, error))


def homeless(
    deployments: DeploymentRepository, clock: Clock, posting: Collection[str]
) -> Sequence[Deployment]:
    """Rows whose message was never stored, and that nobody posts at this moment.

    Ended ones too: somebody may cancel before the message of a killed process is found.
    """
    before = clock.now() - POSTED_WITHIN
    rows = [one.deployment for one in deployments.cache.known()]
    return [
        row
        for row in rows
        if row.message is None and row.channel and row.created_at < before
        if row.id not in posting
    ]
