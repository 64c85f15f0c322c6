"""A lease for one look at an ended deployment, so that only one replica acts on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from bot.deployments.ports import Store


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
