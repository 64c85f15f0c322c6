"""Locks, followers and notices: what is written with them, and who wins at the same instant."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.lock import ALL, AppLocked, Follower, Lock, Notice
from bot.deployments.model import Actor, AppKey, Phase, Who
from bot.deployments.states import SECOND_START
from bot.errors import StaleState
from bot.outbox import NOTICES_LANE
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import ADA, BEGIN, LEASE, StillClock, a_deployment, said

GRACE = Actor(user="U0GRACE", team="T01", name="grace")
KEY = AppKey(server="production", dokku_app="myapp")
LOCK = Lock(
    id="01L",
    key=KEY,
    app="myapp",
    holder=GRACE,
    reason="release day <!here> \x00",
    since=BEGIN,
    until=BEGIN + timedelta(hours=1),
    channel="C01",
)
RELEASED = Notice(to="U0GRACE", kind="lock.released", body={"app": "myapp"})


async def put(store: SqlStore, lock: Lock, *, instead_of: Lock | None = None) -> None:
    await store.locks.put(lock, instead_of=instead_of, audit=said("locked"), notices=())


async def test_lock_is_read_as_it_was_written(store: SqlStore, other: SqlStore) -> None:
    await put(store, LOCK)
    await put(store, replace(LOCK, id="01A", key=ALL, app="all", until=None, since=BEGIN))
    (own, freeze) = sorted((await other.locks.standing()).locks, key=lambda one: one.app == "all")
    assert own == replace(LOCK, reason="release day <!here> \ufffd")
    assert (freeze.key, freeze.until) == (ALL, None)
    ((at, entry),) = await other.audit_of("lock:production/myapp")
    assert (at, entry.action) == (BEGIN, "locked")


async def test_second_lock_on_an_app_is_refused(store: SqlStore, other: SqlStore) -> None:
    await put(store, LOCK)
    with pytest.raises(StaleState):
        await put(other, replace(LOCK, id="02L"))
    await put(other, replace(LOCK, id="03L"), instead_of=LOCK)
    with pytest.raises(StaleState):
        await put(store, replace(LOCK, id="04L"), instead_of=LOCK)
    assert [one.id for one in (await store.locks.standing()).locks] == ["03L"]


async def test_of_many_who_lock_at_once_one_wins(store: SqlStore, other: SqlStore) -> None:
    locks = [replace(LOCK, id=f"0{number}L") for number in range(6)]
    results = await asyncio.gather(
        *(put((store, other)[number % 2], lock) for number, lock in enumerate(locks)),
        return_exceptions=True,
    )
    assert results.count(None) == 1
    assert all(isinstance(one, StaleState) for one in results if one is not None)
    assert len((await store.locks.standing()).locks) == 1


async def test_removal_writes_the_notice_once(
    store: SqlStore, other: SqlStore, clock: StillClock
) -> None:
    await put(store, LOCK)

    async def remove(one: SqlStore) -> None:
        await one.locks.remove(LOCK, audit=said("unlocked"), notices=[RELEASED])

    results = await asyncio.gather(remove(store), remove(other), return_exceptions=True)
    assert results.count(None) == 1
    assert any(isinstance(one, StaleState) for one in results)
    (row,) = await store.notices.take(NOTICES_LANE, limit=5, hold=timedelta(minutes=1))
    assert (row.deployment_id, row.kind, row.body) == (RELEASED.to, RELEASED.kind, RELEASED.body)
    assert not await other.notices.take(NOTICES_LANE, limit=5, hold=timedelta(minutes=1))
    await store.notices.retry(row, at=clock.now(), error="ratelimited")
    (again,) = await other.notices.take(NOTICES_LANE, limit=5, hold=timedelta(minutes=1))
    assert (again.id, again.tries) == (row.id, 1)
    await other.notices.delivered(row.id)
    clock.move(timedelta(hours=1))
    assert not await store.notices.take(NOTICES_LANE, limit=5, hold=timedelta(minutes=1))


async def test_notices_keep_their_order_per_receiver_only(
    store: SqlStore, clock: StillClock
) -> None:
    first, second = replace(RELEASED, kind="one"), replace(RELEASED, kind="two")
    channel = replace(RELEASED, to="C01", kind="three")
    await put(store, LOCK)
    await store.locks.remove(LOCK, audit=said("x"), notices=[first, second, channel])
    taken = await store.notices.take(NOTICES_LANE, limit=5, hold=timedelta(minutes=1))
    assert [one.kind for one in taken] == ["one", "three"]


@pytest.mark.parametrize("key", [KEY, ALL])
async def test_request_of_another_is_refused(store: SqlStore, key: AppKey) -> None:
    await put(store, replace(LOCK, key=key))
    asked = a_deployment(requested_by=ADA)
    with pytest.raises(AppLocked) as refused:
        await store.create(asked, said("requested"))
    assert refused.value.lock.id == "01L"
    assert await store.get(asked.id) is None
    await store.create(a_deployment(requested_by=GRACE), said("requested"))
    if key is KEY:
        await store.create(a_deployment(requested_by=ADA, dokku_app="shop"), said("requested"))


async def test_ended_lock_stops_nothing(store: SqlStore, clock: StillClock) -> None:
    await put(store, LOCK)
    clock.move(timedelta(hours=1))
    await store.create(a_deployment(requested_by=ADA), said("requested"))


async def test_start_is_refused_by_a_lock_set_while_it_waited(store: SqlStore) -> None:
    row = a_deployment(requested_by=ADA)
    await store.create(row, said("requested"))
    fence = await store.leases.claim(row.id, "r1", LEASE)
    await put(store, LOCK)
    start = replace(row, phase=Phase.STARTING, fence=fence or 0)
    with pytest.raises(AppLocked):
        await store.save(start, was=Phase.QUEUED, by=Who.OWNER, audit=said("starting"))
    stored = await store.get(row.id)
    assert stored is not None
    assert stored.phase is Phase.QUEUED
    await store.locks.remove(LOCK, audit=said("unlocked"), notices=())
    await store.save(start, was=Phase.QUEUED, by=Who.OWNER, audit=said("starting"))


async def test_second_start_is_refused_and_all_other_writes_go_on(store: SqlStore) -> None:
    row = a_deployment(requested_by=ADA)
    await store.create(row, said("requested"))
    fence = await store.leases.claim(row.id, "r1", LEASE) or 0
    row = replace(row, phase=Phase.STARTING, fence=fence)
    row = await store.save(row, was=Phase.QUEUED, by=Who.OWNER, audit=said("starting"))
    await put(store, LOCK)
    again = replace(row, attempt=2)
    with pytest.raises(AppLocked):
        await store.save(again, was=Phase.STARTING, by=Who.OWNER, audit=said(SECOND_START))
    row = await store.save(
        replace(row, phase=Phase.FETCHING), was=Phase.STARTING, by=Who.OWNER, audit=said("fetching")
    )
    with pytest.raises(AppLocked):
        await store.save(
            replace(again, phase=Phase.STARTING),
            was=Phase.FETCHING,
            by=Who.OWNER,
            audit=said(SECOND_START),
        )
    await store.save(
        replace(row, phase=Phase.STARTING), was=Phase.FETCHING, by=Who.OWNER, audit=said("refused")
    )


async def test_lock_and_start_at_the_same_instant_agree(store: SqlStore, other: SqlStore) -> None:
    """Either the start came first, or it was refused: a lock never finds a later start."""
    for number in range(8):
        row = a_deployment(requested_by=ADA, dokku_app=f"app{number}")
        await store.create(row, said("requested"))
        fence = await store.leases.claim(row.id, "r1", LEASE)
        lock = replace(LOCK, id=row.id, key=row.target)
        start = replace(row, phase=Phase.STARTING, fence=fence or 0)
        started, locked = await asyncio.gather(
            store.save(start, was=Phase.QUEUED, by=Who.OWNER, audit=said("starting")),
            put(other, lock),
            return_exceptions=True,
        )
        assert locked is None
        found = await store.get(row.id)
        assert found is not None
        assert (found.phase is Phase.STARTING) is not isinstance(started, AppLocked)


async def test_follower_is_stored_once_and_told_once(store: SqlStore, other: SqlStore) -> None:
    follower = Follower(key=KEY, app="myapp", user="U0ADA", since=BEGIN)
    await store.locks.follow(follower)
    await other.locks.follow(replace(follower, since=BEGIN + timedelta(hours=1)))
    assert (await store.locks.standing()).followers == [follower]
    results = await asyncio.gather(
        store.locks.unfollow(follower, notices=[RELEASED]),
        other.locks.unfollow(follower, notices=[RELEASED]),
        return_exceptions=True,
    )
    assert results.count(None) == 1
    assert (await store.locks.standing()).followers == []
    assert len(await store.notices.take(NOTICES_LANE, limit=5, hold=timedelta(minutes=1))) == 1
