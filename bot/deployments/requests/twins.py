"""What happens to a request for a commit that another deployment of the app waits for already."""

import structlog

from bot.clock import Clock
from bot.deployments.locks.rules import stopping
from bot.deployments.model import Deployment
from bot.deployments.ports import Store
from bot.deployments.states import ENDINGS, WAITING
from bot.deployments.timing import Timing
from bot.errors import Declined, StoreError
from bot.names import quoted

log = structlog.get_logger(__name__)


async def give_way(
    new: Deployment, twin_id: str, *, store: Store, clock: Clock, timing: Timing
) -> bool:
    """Declined: the other deployment is posted, with a link to it.

    True: the other one is gone, so `new` may be the first. False: `new` is added all the same,
    because a lock stops the other one, or it has no message yet (that may never be posted), or the
    database does not say.
    """
    try:
        return await _give_way(new, twin_id, store, clock, timing)
    except StoreError as error:
        log.info("twin_not_read", deployment_id=new.id, why=str(error))
        return False


async def _give_way(
    new: Deployment, twin_id: str, store: Store, clock: Clock, timing: Timing
) -> bool:
    until = clock.monotonic() + timing.twin_posts_within.total_seconds()
    while True:
        twin = await store.get(twin_id)
        if twin is None or twin.phase in ENDINGS or twin.cancel is not None:
            return True
        if twin.message is not None or not twin.channel:
            break
        if clock.monotonic() >= until:
            return False
        await clock.sleep(timing.twin_look)
    standing = await store.locks.standing()
    if stopping(standing.locks, twin.target, twin.requested_by, clock.now()):
        return False  # `new` may start before it
    link = twin.message.permalink if twin.message else None
    where = f": <{link}|its message>" if link else ""
    what = "is waiting" if twin.phase in WAITING else "is being deployed"
    raise Declined(
        f"{new.app} `{quoted(new.ref)}` at {(twin.sha or '')[:7]} {what} already{where}. It was "
        "not added a second time."
    )
