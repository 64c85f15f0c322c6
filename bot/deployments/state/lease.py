"""Leases for one act on what no worker owns, so that only one replica acts on it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from bot.clock import Clock
from bot.deployments.model import AppKey, Phase
from bot.deployments.ports import Store
from bot.deployments.timing import Timing

ACTS_FOR = 3 / 4
"""How much of a lease (15 of 20 s) its owner acts for without renewing it. The rest is for clocks
that run apart."""


@asynccontextmanager
async def leased(
    store: Store, deployment_id: str, replica: str, longest: timedelta
) -> AsyncIterator[int | None]:
    """Hold the lease inside the block; yields its fence. None: another replica has it."""
    fence = await store.leases.claim(deployment_id, replica, longest)
    try:
        yield fence
    finally:
        if fence is not None:
            await store.leases.release(deployment_id, fence)


@asynccontextmanager
async def queue_held(
    store: Store, key: AppKey, replica: str, *, clock: Clock, timing: Timing
) -> AsyncIterator[Callable[[], bool] | None]:
    """Keep what waits for the app from starting inside the block.

    No replica starts a deployment without its lease. Not only the first one's: those behind it pass
    it when a lock stops it, or when it is cancelled.
    Yields what says whether that still holds, by this machine's clock alone. None: another replica
    has a lease.
    """
    began = clock.monotonic()

    def holds() -> bool:
        return clock.monotonic() - began < timing.lease.total_seconds() * ACTS_FOR

    for _ in range(timing.queue_hold_tries):
        began = clock.monotonic()
        rows = await store.unfinished(key)
        queued = sorted(one.id for one in rows if one.phase is Phase.QUEUED)
        async with AsyncExitStack() as stack:
            for deployment_id in queued:
                lease = leased(store, deployment_id, replica, timing.lease)
                if await stack.enter_async_context(lease) is None:
                    break
            else:
                yield holds
                return
        # Its worker looks whether it can start; that takes a moment.
        await clock.sleep(timing.queue_hold_pause)
    yield None
