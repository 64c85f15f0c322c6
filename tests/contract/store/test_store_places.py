"""`max_running` is respected over all replicas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from bot.deployments.model import Deployment, Phase, Who
from bot.errors import ServerFull
from bot.store.engine import open_store
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import StillClock, create, move, own, plan_both, said

MOST = 2
LIMITS = {"production": MOST, "staging": 0}
REPLICAS = 3


@pytest.fixture
async def stores(ready_url: str, clock: StillClock) -> AsyncIterator[list[SqlStore]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                open_store(
                    ready_url,
                    clock=clock,
                    planner=plan_both,
                    migrate=False,
                    max_running=LIMITS,
                )
            )
            for number in range(REPLICAS)
        ]


async def waiting(store: SqlStore, name: str, server: str = "production") -> Deployment:
    return await own(store, await create(store, server=server, app=name, dokku_app=name))


async def begin(store: SqlStore, deployment: Deployment) -> Deployment:
    return await move(store, deployment, Phase.STARTING)


async def test_start_beyond_max_running_is_refused(stores: list[SqlStore]) -> None:
    store = stores[0]
    first, second, third = [await waiting(store, name) for name in ("a", "b", "c")]
    first = await begin(store, first)
    await begin(store, second)
    with pytest.raises(ServerFull, match="2 of 2 deployments run on production") as refused:
        await begin(store, third)
    assert (refused.value.server, refused.value.running, refused.value.most) == (
        "production",
        2,
        2,
    )
    row = await store.get(third.id)
    assert row is not None
    assert row.phase is Phase.QUEUED
    assert [entry.action for _, entry in await store.audit_of(third.id)] == ["requested"]
    # What runs goes on, and an end makes room.
    await move(store, first, Phase.BUILDING, Phase.FAILED)
    assert (await begin(store, third)).phase is Phase.STARTING


async def test_limits_of_servers_are_independent(stores: list[SqlStore]) -> None:
    store = stores[0]
    for name in ("a", "b"):
        await begin(store, await waiting(store, name))
    for name in ("a", "b", "c"):
        await begin(store, await waiting(store, name, "staging"))
        await begin(store, await waiting(store, name, "other"))


async def test_simultaneous_starts_on_several_replicas_respect_max_running(
    stores: list[SqlStore],
) -> None:
    rows = [await waiting(stores[0], f"app{number}") for number in range(12)]
    answers = await asyncio.gather(
        *(begin(stores[number % REPLICAS], row) for number, row in enumerate(rows)),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if isinstance(answer, ServerFull)]
    assert len(refused) == len(rows) - MOST
    unfinished = await stores[0].unfinished()
    assert sum(row.phase is Phase.STARTING for row in unfinished) == MOST


async def test_running_deployment_needs_no_new_place(stores: list[SqlStore]) -> None:
    store = stores[0]
    first = await begin(store, await waiting(store, "a"))
    await begin(store, await waiting(store, "b"))
    first = await move(store, first, Phase.FETCHING, Phase.STARTING, attempt=2)
    assert (await store.save(replace(first, sha="a" * 40), was=first.phase, by=Who.OWNER)).sha
    back = await store.save(
        replace(first, phase=Phase.QUEUED),
        was=Phase.STARTING,
        by=Who.OWNER,
        audit=said("never_began"),
    )
    await begin(store, await waiting(store, "c"))
    with pytest.raises(ServerFull):
        await begin(store, back)
