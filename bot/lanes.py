"""Opens the lanes of the outbox: webhooks, thread replies, notices, results in other channels."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from bot.clock import Clock
from bot.config.loading import Settings
from bot.deployments.model import Deployment
from bot.deployments.ports import Catalog
from bot.metrics import Metrics
from bot.outbox import LaneTiming, OutboxLane
from bot.slack.client import SlackClient
from bot.slack.limits import SlackLimits
from bot.slack.notices import open_notices
from bot.slack.result_posts import open_result_posts
from bot.slack.thread_replies import open_thread_replies
from bot.store.sql_store import SqlStore
from bot.webhooks.sender import Sender, open_sender


async def open_lanes(
    stack: AsyncExitStack,
    settings: Settings,
    store: SqlStore,
    client: SlackClient,
    *,
    clock: Clock,
    metrics: Metrics,
    limits: SlackLimits,
    timing: LaneTiming | None,
    name_server: bool,
) -> None:
    """Deliver until the stack is closed; each lane looks again at every change of the store."""
    catalog = settings.catalog()
    lanes: Sequence[AbstractAsyncContextManager[OutboxLane | Sender]] = (
        open_sender(
            endpoints=settings.endpoints(),
            outbox=store.outbox,
            clock=clock,
            allow_private=settings.values.webhook_allow_private,
            count=metrics.delivered,
            timing=timing,
        ),
        open_thread_replies(
            client=client,
            outbox=store.outbox,
            get=store.get,
            clock=clock,
            limits=limits,
            name_server=name_server,
            broadcasts=_broadcasts(catalog),
            timing=timing,
        ),
        open_notices(
            client=client,
            outbox=store.notices,
            clock=clock,
            limits=limits,
            name_server=name_server,
            timing=timing,
        ),
        open_result_posts(
            client=client,
            outbox=store.outbox,
            get=store.get,
            clock=clock,
            limits=limits,
            name_server=name_server,
            timing=timing,
        ),
    )
    opened = [await stack.enter_async_context(one) for one in lanes]
    for lane in opened:
        stack.callback(store.database.subscribe(lane.on_change))


def _broadcasts(catalog: Catalog) -> Callable[[Deployment], bool]:
    def broadcasts(deployment: Deployment) -> bool:
        rules = catalog.rules_of(deployment.target, deployment.app)
        return rules is not None and rules.broadcast

    return broadcasts
