"""One owner at a time, with rising fencing numbers, by the database's clock."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from bot.deployments.model import Phase
from bot.deployments.store_parts import Replica
from bot.errors import LeaseLost
from bot.store.receiving import stop_listening
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import (
    ADA,
    BEGIN,
    LEASE,
    Dial,
    StillClock,
    create,
    move,
    own,
    start,
)


async def test_valid_lease_cannot_be_claimed(store: SqlStore, other: SqlStore) -> None:
    deployment = await create(store)
    assert await store.leases.claim(deployment.id, "one", LEASE) == 1
    assert await other.leases.claim(deployment.id, "two", LEASE) is None
    assert await store.leases.claim(deployment.id, "one", LEASE) is None
    assert await store.leases.claim("nobody", "one", LEASE) is None


async def test_expired_lease_is_taken_over_and_its_old_owner_locked_out(
    store: SqlStore, other: SqlStore, dial: Dial
) -> None:
    first = await start(store)
    dial.ahead += LEASE - timedelta(seconds=1)
    assert await other.leases.claim(first.id, "two", LEASE) is None
    dial.ahead += timedelta(seconds=2)
    fence = await other.leases.claim(first.id, "two", LEASE)
    assert fence == first.fence + 1
    for write in (
        move(store, first, Phase.BUILDING),
        store.logs.append(first.id, ["late"], fence=first.fence),
        store.logs.replace(first.id, ["late"], fence=first.fence),
    ):
        with pytest.raises(LeaseLost, match=f"two holds it under number {fence}"):
            await write
    assert await store.leases.renew("one", LEASE, [first.id]) == frozenset()
    await store.leases.release(first.id, first.fence)
    moved = await move(other, replace(first, fence=fence), Phase.BUILDING)
    assert moved.fence == fence
    assert await other.logs.read(first.id) == ""


async def test_free_deployments_are_those_that_have_no_valid_lease(
    store: SqlStore, dial: Dial
) -> None:
    running, released = await start(store), await start(store, dokku_app="b")
    ended = await move(store, await start(store, dokku_app="c"), Phase.FAILED)
    for row in (released, ended):
        await store.leases.release(row.id, row.fence)
    new = await create(store)
    dial.ahead += LEASE - timedelta(seconds=1)
    free = await store.leases.free()
    assert free.keys() == {released.id, new.id}
    assert free[released.id] >= LEASE - timedelta(seconds=1)
    dial.ahead += timedelta(seconds=3)
    free = await store.leases.free()
    assert free.keys() == {running.id, released.id, new.id}
    assert timedelta(seconds=1) <= free[running.id] < LEASE


async def test_renew_prolongs_the_named_leases(store: SqlStore, dial: Dial) -> None:
    mine = [await own(store, await create(store), "one") for _ in range(3)]
    theirs = await own(store, await create(store), "two")
    for _ in range(3):
        dial.ahead += LEASE / 2
        ids = {deployment.id for deployment in mine}
        assert await store.leases.renew("one", LEASE, [*ids, theirs.id]) == ids
    assert await store.leases.claim(mine[0].id, "two", LEASE) is None
    assert await store.leases.claim(theirs.id, "one", LEASE) == 2
    assert await store.leases.renew("two", LEASE, [theirs.id]) == frozenset()


async def test_lease_that_is_not_named_runs_out(store: SqlStore, dial: Dial) -> None:
    """Its claim was made, and the answer was lost."""
    deployment = await own(store, await create(store), "one")
    for _ in range(3):
        dial.ahead += LEASE / 2
        assert await store.leases.renew("one", LEASE, []) == frozenset()
    assert await store.leases.claim(deployment.id, "one", LEASE) == 2


async def test_expired_lease_is_valid_until_it_is_claimed(store: SqlStore, dial: Dial) -> None:
    running = await start(store)
    dial.ahead += LEASE * 10
    running = await move(store, running, Phase.BUILDING)
    assert await store.leases.renew("one", LEASE, [running.id]) == {running.id}
    assert await store.leases.claim(running.id, "two", LEASE) is None


async def test_released_lease_can_be_claimed_at_once(store: SqlStore) -> None:
    running = await start(store)
    await store.leases.release(running.id, running.fence)
    await store.leases.release(running.id, running.fence)
    with pytest.raises(LeaseLost, match="nobody"):
        await move(store, running, Phase.BUILDING)
    assert await store.leases.renew("one", LEASE, [running.id]) == frozenset()
    fence = await store.leases.claim(running.id, "two", LEASE)
    assert fence == 2
    await store.leases.release(running.id, running.fence)
    assert await store.leases.renew("two", LEASE, [running.id]) == {running.id}


async def test_simultaneous_claims_have_one_winner(store: SqlStore, other: SqlStore) -> None:
    deployments = [await create(store) for _ in range(5)]
    for deployment in deployments:
        fences = await asyncio.gather(
            *(
                (store, other)[n % 2].leases.claim(deployment.id, f"replica-{n}", LEASE)
                for n in range(10)
            )
        )
        assert [fence for fence in fences if fence is not None] == [1]


async def test_the_bots_clock_does_not_affect_leases(store: SqlStore, clock: StillClock) -> None:
    deployment = await own(store, await create(store))
    clock.move(timedelta(days=1))
    assert await store.leases.claim(deployment.id, "two", LEASE) is None


async def test_database_clock_advances(store: SqlStore) -> None:
    deployment = await create(store)
    assert await store.leases.claim(deployment.id, "one", timedelta(milliseconds=1)) == 1
    async with asyncio.timeout(10):
        while await store.leases.claim(deployment.id, "two", LEASE) is None:
            await store.database.check_writes()


async def test_cancel_requests_of_a_replicas_unfinished_deployments(store: SqlStore) -> None:
    asked, not_asked = await start(store), await start(store, dokku_app="b")
    ended = await start(store, dokku_app="c")
    others = await own(store, await create(store, dokku_app="d"), "two")
    for row in (asked, ended, others):
        await store.ask_cancel(row.id, ADA, BEGIN)
    await move(store, ended, Phase.FAILED)
    assert await store.leases.cancel_requests("one") == {asked.id}
    assert await store.leases.cancel_requests("two") == {others.id}
    assert not_asked.phase is Phase.STARTING


async def test_replicas_see_each_other_for_a_while_after_their_last_beat(
    store: SqlStore, other: SqlStore, dial: Dial
) -> None:
    minute = timedelta(minutes=1)
    assert await store.leases.beat("one", 3, minute) == [Replica("one", 3)]
    assert await other.leases.beat("two", 0, minute) == [Replica("one", 3), Replica("two", 0)]
    dial.ahead += timedelta(seconds=59)
    assert await store.leases.beat("one", 4, minute) == [Replica("one", 4), Replica("two", 0)]
    dial.ahead += timedelta(seconds=2)
    assert await store.leases.beat("one", 4, minute) == [Replica("one", 4)]


async def test_replicas_tell_each_other_what_they_post(
    store: SqlStore, other: SqlStore, dial: Dial
) -> None:
    minute = timedelta(minutes=1)
    await store.leases.beat("one", 0, minute, posting={"01B", "01A"})
    dial.ahead += timedelta(seconds=9)
    first, second = await other.leases.beat("two", 0, minute)
    assert first == Replica("one", 0, frozenset({"01A", "01B"}))
    assert timedelta(seconds=9) <= first.unseen_for < timedelta(seconds=60)
    assert second.unseen_for < timedelta(seconds=9)
    one, _ = await store.leases.beat("one", 0, minute)
    assert one == Replica("one", 0)


async def test_replica_that_stops_knows_whether_another_one_listens(
    store: SqlStore, other: SqlStore, dial: Dial
) -> None:
    minute = timedelta(minutes=1)
    one = partial(stop_listening, store.database, replica="one", now_ms=dial.now_ms)
    two = partial(stop_listening, other.database, replica="two", now_ms=dial.now_ms)
    assert not await one()
    await store.leases.beat("one", 0, minute, listens=True)
    await other.leases.beat("two", 0, minute, listens=True)
    # Both stop at once: Slack's requests must not be left to nobody.
    assert sorted(await asyncio.gather(one(), two())) == [False, True]
    await other.leases.beat("two", 0, minute, listens=True)
    assert await one()
    dial.ahead += timedelta(seconds=13)  # it may have died
    assert not await one()


async def test_replicas_that_appear_at_once(store: SqlStore, other: SqlStore) -> None:
    minute = timedelta(minutes=1)
    beats = [one.leases.beat(f"{n}", n, minute) for n, one in enumerate([store, other] * 8)]
    await asyncio.gather(*beats)
    assert len(await store.leases.beat("0", 0, minute)) == 16
