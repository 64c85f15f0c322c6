"""The outbox delivers at least once, in order per deployment, without blocking others."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from bot.deployments.model import Deployment, Event, Who
from bot.outbox import Outgoing
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import BEGIN, HOOK, StillClock, start

HOLD = timedelta(seconds=30)


async def tell(store: SqlStore, deployment: Deployment, kind: str) -> Deployment:
    return await store.save(deployment, was=deployment.phase, by=Who.OWNER, event=Event(type=kind))


async def take(store: SqlStore, lane: str = HOOK, limit: int = 10) -> Sequence[Outgoing]:
    return await store.outbox.take(lane, limit=limit, hold=HOLD)


def kinds(taken: Sequence[Outgoing]) -> list[str]:
    return [outgoing.kind for outgoing in taken]


async def test_row_is_taken_as_planned(store: SqlStore, clock: StillClock) -> None:
    deployment = await tell(store, await start(store), "a")
    (out,) = await take(store)
    assert out == Outgoing(
        id=out.id,
        deployment_id=deployment.id,
        lane=HOOK,
        kind="a",
        body={"id": deployment.id, "phase": "starting"},
        created_at=BEGIN,
        next_at=BEGIN,
    )
    assert kinds(await take(store, "slack")) == ["a"]
    assert kinds(await take(store, "webhook")) == []


async def test_oldest_undelivered_row_of_each_deployment_is_taken(
    store: SqlStore,
) -> None:
    one, two = await start(store), await start(store, dokku_app="other")
    for kind in ("one-1", "one-2", "one-3"):
        await tell(store, one, kind)
    await tell(store, two, "two-1")
    first = await take(store)
    assert kinds(first) == ["one-1", "two-1"]
    assert kinds(await take(store)) == []
    await store.outbox.delivered(first[0].id)
    second = await take(store)
    assert kinds(second) == ["one-2"]
    await store.outbox.give_up(second[0].id, error="410")
    assert kinds(await take(store)) == ["one-3"]


async def test_row_of_a_dead_taker_is_due_again(
    store: SqlStore, other: SqlStore, clock: StillClock
) -> None:
    await tell(store, await start(store), "a")
    (held,) = await take(store)
    clock.move(HOLD - timedelta(seconds=1))
    assert kinds(await take(other)) == []
    clock.move(timedelta(seconds=1))
    (again,) = await take(other)
    assert again.id == held.id


async def test_prolonged_row_stays_its_takers(
    store: SqlStore, other: SqlStore, clock: StillClock
) -> None:
    await tell(store, await start(store), "a")
    (row,) = await take(store)
    for _ in range(3):
        clock.move(HOLD - timedelta(seconds=1))
        assert kinds(await take(other)) == []
        prolonged = await store.outbox.prolong(row, HOLD)
        assert prolonged is not None
        row = prolonged
    clock.move(HOLD)
    (others,) = await take(other)
    assert await store.outbox.prolong(row, HOLD) is None
    await store.outbox.retry(row, at=clock.now(), error="late")
    assert kinds(await take(store)) == []
    await store.outbox.delivered(row.id)  # it was: the other one's attempt has the same id
    await other.outbox.retry(others, at=clock.now(), error="409")
    assert kinds(await take(store)) == []


async def test_retried_row_holds_back_only_its_deployment(
    store: SqlStore, clock: StillClock
) -> None:
    one, two = await start(store), await start(store, dokku_app="other")
    await tell(store, one, "one-1")
    await tell(store, one, "one-2")
    (out,) = await take(store)
    await store.outbox.retry(
        out, at=clock.now() + timedelta(minutes=2), error="503 from the endpoint"
    )
    await tell(store, two, "two-1")
    assert kinds(await take(store)) == ["two-1"]
    clock.move(timedelta(minutes=2))
    again = (await take(store))[0]
    assert (again.id, again.tries, again.last_error) == (out.id, 1, "503 from the endpoint")
    assert again.next_at == clock.now()
    await store.outbox.delivered(again.id)
    assert "one-2" in kinds(await take(store))


async def test_row_that_its_taker_left_is_due_while_nobody_took_it(
    store: SqlStore, clock: StillClock
) -> None:
    await tell(store, await start(store), "a")
    (out,) = await take(store)
    at = clock.now() + timedelta(minutes=2)
    await store.outbox.retry(out, at=at, error="503")
    assert kinds(await take(store)) == []
    left = [replace(out, held_until=at)]
    (again,) = await store.outbox.take(HOOK, limit=10, hold=HOLD, left=left)
    assert again.id == out.id
    assert await store.outbox.take(HOOK, limit=10, hold=HOLD, left=left) == []


async def test_take_respects_the_limit(store: SqlStore) -> None:
    for number in range(4):
        await tell(store, await start(store, dokku_app=f"app{number}"), f"{number}")
    assert kinds(await take(store, limit=3)) == ["0", "1", "2"]
    assert kinds(await take(store, limit=3)) == ["3"]


async def test_row_delivered_by_another_replica_is_not_retried(store: SqlStore) -> None:
    await tell(store, await start(store), "a")
    (out,) = await take(store)
    await store.outbox.delivered(out.id)
    await store.outbox.retry(out, at=BEGIN, error="late")
    await store.outbox.give_up(out.id, error="late")
    (seen,) = await store.outbox.outgoing()
    assert (seen.state, seen.tries, seen.last_error) == ("delivered", 0, None)
    assert kinds(await take(store)) == []


async def test_given_up_row_is_kept_and_can_be_replayed(store: SqlStore, clock: StillClock) -> None:
    await tell(store, await start(store), "a")
    (out,) = await take(store)
    await store.outbox.retry(out, at=clock.now(), error="500")
    await store.outbox.give_up(out.id, error="500 again")
    clock.move(HOLD * 2)
    assert kinds(await take(store)) == []
    (seen,) = await store.outbox.outgoing()
    assert (seen.state, seen.tries, seen.last_error) == ("given_up", 2, "500 again")
    assert await store.outbox.replay(out.id)
    (again,) = await take(store)
    assert (again.id, again.tries, again.last_error, again.state) == (out.id, 0, None, "waiting")
    await store.outbox.delivered(out.id)
    assert await store.outbox.replay(out.id)
    assert kinds(await take(store)) == ["a"]
    assert not await store.outbox.replay("nobody")


async def test_nothing_is_taken_for_a_lane_that_is_off(store: SqlStore) -> None:
    deployment = await tell(store, await start(store), "a")
    await store.outbox.turn_off(HOOK, "answered 410")
    await store.outbox.turn_off(HOOK, "answered 410 again")
    assert await store.outbox.turned_off() == {HOOK: "answered 410 again"}
    await tell(store, deployment, "b")
    assert kinds(await take(store)) == []
    assert kinds(await take(store, "slack")) == ["a"]
    assert await store.outbox.turn_on(HOOK)
    assert not await store.outbox.turn_on(HOOK)
    assert await store.outbox.turned_off() == {}
    assert kinds(await take(store)) == ["a"]


async def test_outgoing_lists_webhooks_newest_first(store: SqlStore) -> None:
    deployment = await start(store)
    for number in range(5):
        await tell(store, deployment, f"{number}")
    seen = await store.outbox.outgoing(limit=3)
    assert kinds(seen) == ["4", "3", "2"]
    assert {out.lane for out in seen} == {HOOK}


async def test_two_replicas_never_take_the_same_row(store: SqlStore, other: SqlStore) -> None:
    for number in range(12):
        deployment = await start(store, dokku_app=f"app{number}")
        await tell(store, deployment, f"{number}-1")
        await tell(store, deployment, f"{number}-2")
    taken = await asyncio.gather(
        *(take((store, other)[n % 2], limit=2) for n in range(12)),
    )
    got = sorted(kind for batch in taken for kind in kinds(batch))
    assert len(got) == len(set(got))
    while batch := await take(store, limit=5):
        got += kinds(batch)
    assert sorted(got) == sorted(f"{number}-1" for number in range(12))


async def test_age_is_that_of_the_oldest_row_that_waits(store: SqlStore, clock: StillClock) -> None:
    assert await store.outbox.ages() == {}
    deployment = await tell(store, await start(store), "a")
    clock.move(timedelta(minutes=20))
    await tell(store, deployment, "b")
    assert await store.outbox.ages() == {
        HOOK: timedelta(minutes=20),
        "slack": timedelta(minutes=20),
    }
    (out,) = await take(store, "slack")
    await store.outbox.delivered(out.id)
    await store.outbox.turn_off(HOOK, "410")
    assert await store.outbox.ages() == {"slack": timedelta(0)}
