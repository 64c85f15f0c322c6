"""A task that is cancelled during a write leaves all of it or nothing."""

import asyncio
import inspect
from dataclasses import replace

from bot.deployments.model import Event, MessagePlace, Phase, Who
from bot.deployments.ports import Store
from bot.deployments.store_parts import Leases, Logs
from bot.outbox import Outbox
from bot.store.leases import SqlLeases
from bot.store.logs import SqlLogs
from bot.store.outbox import SqlOutbox
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import LEASE, create, move, own, said


async def test_cancelled_write_is_whole_or_nothing(
    store: SqlStore,
) -> None:
    for turns in range(60):
        deployment = await own(store, await create(store, dokku_app=f"app{turns}"))
        task = asyncio.create_task(
            store.save(
                replace(deployment, phase=Phase.STARTING),
                was=Phase.QUEUED,
                by=Who.OWNER,
                audit=said("started"),
                event=Event(type="deployment.started"),
            )
        )
        # Each round the write gets a bit further.
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        task.cancel()
        (answer,) = await asyncio.gather(task, return_exceptions=True)
        row = await store.get(deployment.id)
        assert row is not None
        assert isinstance(answer, asyncio.CancelledError) or answer == row
        actions = [entry.action for _, entry in await store.audit_of(row.id)]
        planned = [
            out for out in await store.outbox.outgoing(limit=200) if out.deployment_id == row.id
        ]
        if turns == 0:
            # Cancelled before it began.
            assert (row.phase, actions, planned) == (Phase.QUEUED, ["requested"], [])
        else:
            assert (row.phase, actions) == (Phase.STARTING, ["requested", "started"])
            assert len(planned) == 1
            await move(store, row, Phase.BUILDING)


async def test_cancelled_caller_waits_for_its_write(store: SqlStore) -> None:
    deployment = await create(store)
    task = asyncio.create_task(store.leases.claim(deployment.id, "one", LEASE))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    (answer,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(answer, asyncio.CancelledError)
    assert await store.leases.renew("one", LEASE, [deployment.id]) == {deployment.id}


async def test_error_after_a_cancel_is_dropped(store: SqlStore) -> None:
    task = asyncio.create_task(store.place_message("nobody", MessagePlace(channel="C", ts="1")))
    await asyncio.sleep(0)
    task.cancel()
    (answer,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(answer, asyncio.CancelledError)


async def test_the_store_implements_its_ports(store: SqlStore) -> None:
    ports: tuple[Store, Leases, Logs, Outbox] = (store, store.leases, store.logs, store.outbox)
    for port, kind in zip(ports, (Store, Leases, Logs, Outbox), strict=True):
        wanted = {name for name, call in vars(kind).items() if inspect.iscoroutinefunction(call)}
        assert wanted
        assert {name for name in wanted if not hasattr(port, name)} == set()


def test_every_public_call_is_whole() -> None:
    bare = [
        name
        for kind in (SqlStore, SqlLeases, SqlLogs, SqlOutbox)
        for name, call in vars(kind).items()
        if name[0] != "_"
        if inspect.iscoroutinefunction(call) and not hasattr(call, "__wrapped__")
    ]
    assert bare == []
