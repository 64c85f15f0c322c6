"""What is old is deleted in small transactions; what says what is live stays."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import Table, func, select

from bot.deployments.model import Deployment, Event, Live, Phase
from bot.store import retention
from bot.store.retention import FOR_EVER, Retention
from bot.store.shared_tables import notices
from bot.store.sql_store import SqlStore
from bot.store.tables import audit, leases, log_chunks, outbox
from tests.contract.store.stories import (
    LEASE,
    StillClock,
    a_deployment,
    create,
    move,
    own,
    said,
    start,
)

DAY = timedelta(days=1)
MONTH = timedelta(days=30)


def kept(store: SqlStore, clock: StillClock, **durations: timedelta) -> Retention:
    durations = {"logs": FOR_EVER, "history": FOR_EVER} | durations
    return Retention(store.database, clock=clock, **durations)


async def a_result(
    store: SqlStore, clock: StillClock, *, good: bool = False, lines: Sequence[str] = ("a line",)
) -> str:
    """A deployment that has just ended, with a log and its deliveries."""
    row = await start(store, created_at=clock.now())
    await store.logs.append(row.id, lines, fence=row.fence)
    changes = {"live": Live.NEW, "sha": "a" * 40} if good else {"live": Live.PREVIOUS}
    if good:
        row = await move(store, row, Phase.CHECKING)
    end = Phase.SUCCEEDED if good else Phase.FAILED
    await move(store, row, end, finished_at=clock.now(), **changes)
    await store.correct(
        await _owned(store, row.id), audit=said("noted"), event=Event(type="deployment.note")
    )
    clock.move(timedelta(seconds=1))
    return row.id


async def _owned(store: SqlStore, deployment_id: str) -> Deployment:
    row = await store.get(deployment_id)
    assert row is not None
    return row


async def count(store: SqlStore, table: Table) -> int:
    async with store.database.read() as connection:
        counted = await connection.execute(select(func.count()).select_from(table))
        return counted.scalar_one()


async def test_logs_go_and_deployments_with_their_audit_stay(
    store: SqlStore, clock: StillClock
) -> None:
    old = await a_result(store, clock)
    running = await start(store, created_at=clock.now())
    await store.logs.append(running.id, ["runs"], fence=running.fence)
    clock.move(MONTH - timedelta(minutes=1))
    young = await a_result_of_another_app(store, clock)
    await kept(store, clock, logs=MONTH).look()
    assert await store.logs.read(old) == "a line\n"
    clock.move(timedelta(minutes=2))
    await kept(store, clock, logs=FOR_EVER).look()
    assert await store.logs.read(old) == "a line\n"
    await kept(store, clock, logs=MONTH).look()
    assert await store.logs.read(old) == ""
    assert await store.logs.read(running.id) == "runs\n"
    assert await store.logs.read(young) == "a line\n"
    assert (await _owned(store, old)).phase is Phase.FAILED
    assert len(await store.audit_of(old)) == 4


async def a_result_of_another_app(store: SqlStore, clock: StillClock) -> str:
    row = await own(store, await create(store, dokku_app="other", created_at=clock.now()))
    row = await move(store, row, Phase.STARTING)
    await store.logs.append(row.id, ["a line"], fence=row.fence)
    await move(store, row, Phase.FAILED, finished_at=clock.now())
    return row.id


async def test_deliveries_go_with_the_logs_but_for_those_that_wait(
    store: SqlStore, clock: StillClock
) -> None:
    await a_result(store, clock)
    (sent,) = await store.outbox.take("slack", limit=5, hold=LEASE)
    await store.outbox.delivered(sent.id)
    clock.move(MONTH + DAY)
    await kept(store, clock, logs=MONTH).look()
    assert await count(store, outbox) == 1, "the webhook still waits"
    assert await count(store, notices) == 0


async def test_history_goes_but_for_what_says_what_is_live(
    store: SqlStore, clock: StillClock
) -> None:
    failed = [await a_result(store, clock)]
    good = [await a_result(store, clock, good=True) for _ in range(4)]
    failed += [await a_result(store, clock)]
    waiting = a_deployment(created_at=clock.now(), dokku_app="waits")
    await store.create(waiting, said("requested"))
    clock.move(MONTH + DAY)
    await kept(store, clock, logs=MONTH).look()
    assert len(await store.recent()) == 7
    await kept(store, clock, history=MONTH).look()
    left = {row.id for row in await store.recent()}
    assert left == {*good[-2:], failed[-1], waiting.id}
    assert await count(store, leases) == 4
    assert await count(store, log_chunks) == 0
    assert await store.audit_of(failed[0]) == []
    assert len(await store.audit_of(good[-1])) == 5
    assert await store.proven_live(waiting.target) is None
    assert await count(store, audit) == 5 + 5 + 4 + 1


async def test_audit_of_what_is_gone_is_deleted_when_it_is_old(
    store: SqlStore, clock: StillClock
) -> None:
    deployment = await create(store)
    await store.withdraw(deployment.id, said("withdrawn"))
    clock.move(MONTH - DAY)
    await kept(store, clock, history=MONTH).look()
    assert len(await store.audit_of(deployment.id)) == 2
    clock.move(2 * DAY)
    await kept(store, clock, history=MONTH).look()
    assert await store.audit_of(deployment.id) == []


async def test_large_log_is_deleted_in_short_transactions(
    store: SqlStore, other: SqlStore, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 pieces take some milliseconds; others get their turn in between."""
    width = 16_000
    lines = [f"{number:06} ".ljust(width, "x") for number in range(600)]
    await a_result(store, clock, lines=lines)
    beside = await start(other, dokku_app="beside", created_at=clock.now())
    pieces = await count(store, log_chunks)
    clock.move(MONTH + DAY)
    transactions: list[object] = []
    deletes = Retention._delete_whole

    async def timed(self: Retention, statement: object) -> None:
        await deletes(self, statement)  # type: ignore[arg-type]
        transactions.append(statement)
        assert await other.leases.renew("one", LEASE, [beside.id]) == {beside.id}

    monkeypatch.setattr(Retention, "_delete_whole", timed)
    await asyncio.gather(kept(store, clock, logs=MONTH).look(), other.recent())
    assert len(transactions) == -(-pieces // retention.BATCH) > 2
    assert await count(store, log_chunks) == 0
