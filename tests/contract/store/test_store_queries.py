"""Queries: what they find, and in which order."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.model import AppKey, Deployment, Live, MessagePlace, Phase, Who
from bot.deployments.ports import Store
from bot.deployments.refs import Commit, Commits
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import ADA, BEGIN, StillClock, create, move, own, start
from tests.support.builders import NEW, OLD_WORKER, a_snapshot, containers
from tests.support.memory_store import MemoryStore

A_COMMIT = Commit(sha="1a" * 20, subject="Fix the login redirect", author="Grace")
KEY = AppKey(server="production", dokku_app="myapp")


def at(minutes: float) -> dict[str, object]:
    when = BEGIN + timedelta(minutes=minutes)
    return {"created_at": when, "queued_at": when}


def ids(found: object) -> list[str]:
    assert isinstance(found, list)
    return [deployment.id for deployment in found]


async def finish(
    store: SqlStore, sha: str | None, *, minutes: float, live: Live = Live.NEW, **changes: object
) -> Deployment:
    """One that was deployed at a minute, in two of them."""
    deployment = await own(store, await create(store, **(at(minutes) | changes)))
    begin = deployment.created_at
    running = await move(store, deployment, Phase.STARTING, started_at=begin, sha=sha)
    running = await move(store, running, Phase.CHECKING)
    end = begin + timedelta(minutes=2)
    return await move(store, running, Phase.SUCCEEDED, live=live, finished_at=end)


async def test_unfinished_deployments_are_oldest_first(store: SqlStore) -> None:
    late = await create(store, **at(3))
    early = await create(store, **at(1))
    tied = [await create(store, **at(2)) for _ in range(3)]
    running = await start(store, **at(0))
    expected = [running.id, early.id, *sorted(d.id for d in tied), late.id]
    assert ids(await store.unfinished()) == expected
    await move(store, running, Phase.FAILED)
    assert running.id not in ids(await store.unfinished())


async def test_unfinished_deployments_of_one_app(store: SqlStore) -> None:
    late, early = await create(store, **at(3)), await create(store, **at(1))
    await create(store, dokku_app="other", **at(2))
    await create(store, server="another", **at(2))
    await move(store, await start(store, **at(0)), Phase.FAILED)
    assert ids(await store.unfinished(late.target)) == [early.id, late.id]


async def test_unfinished_deployments_are_as_stored_after_each_write_of_any_replica(
    store: SqlStore, other: SqlStore
) -> None:
    still = await create(store)
    running = await start(store, before=a_snapshot(), after=containers(NEW, OLD_WORKER))
    (still_read,) = [one for one in await store.unfinished() if one.id == still.id]
    shipped = Commits(head=A_COMMIT, base="1b" * 20, ahead=1, listed=(A_COMMIT,))
    writes = [
        other.place_message(
            running.id, MessagePlace(channel="C1", ts="1.0", permalink="https://x")
        ),
        other.place_commits(running.id, shipped),
        other.ask_cancel(running.id, ADA, BEGIN),
        store.save(replace(running, reason="…"), was=running.phase, by=Who.OWNER),
    ]
    for write in writes:
        await write
        rows = await store.unfinished()
        assert rows == [await other.get(one.id) for one in rows]
        assert {one.id for one in rows} == {still.id, running.id}
        assert [one for one in rows if one is still_read], "decoded again, though nothing changed"


async def test_deployment_awaiting_approval_is_unfinished(store: SqlStore) -> None:
    asked = await create(store, phase=Phase.AWAITING_APPROVAL, queued_at=None)
    assert ids(await store.unfinished()) == [asked.id]


async def test_started_deployments_are_newest_start_first(store: SqlStore) -> None:
    first = await finish(store, "1a" * 20, minutes=0)
    second = await finish(store, "1b" * 20, minutes=5)
    third = await finish(store, None, minutes=10, live=Live.UNKNOWN)
    running = await start(store, **at(15), sha="1a" * 20, started_at=BEGIN)
    await create(store, **at(20), sha="1a" * 20)
    await start(store, **at(25), server="staging", started_at=BEGIN, sha="1a" * 20)
    # The first start counts, not when it was asked for; of one moment, the id.
    assert first.id < running.id
    expected = [third.id, second.id, running.id, first.id]
    assert ids(await store.started(KEY)) == expected
    assert ids(await store.started(KEY, limit=2)) == expected[:2]
    assert ids(await store.started(KEY, commit="1b")) == [second.id]
    assert ids(await store.started(KEY, commit="1a1")) == [running.id, first.id]
    assert ids(await store.started(KEY, commit="_")) == []
    assert await store.started(AppKey(server="production", dokku_app="other")) == []


async def test_history_is_newest_first(store: SqlStore) -> None:
    all_of_them = [await create(store, **at(minute)) for minute in range(4)]
    other = await create(store, app="other", **at(9))
    staging = await create(store, server="staging", **at(8))
    newest = [d.id for d in reversed(all_of_them)]
    assert ids(await store.recent()) == [other.id, staging.id, *newest]
    assert ids(await store.recent(limit=1)) == [other.id]
    assert ids(await store.recent(app="myapp")) == [staging.id, *newest]
    assert ids(await store.recent(app="myapp", server="production", limit=2)) == newest[:2]
    assert ids(await store.recent(server="nowhere")) == []


async def test_part_of_an_id_finds_the_deployment(store: SqlStore) -> None:
    await check_parts_of_ids(store)


async def test_part_of_an_id_finds_the_deployment_in_memory(clock: StillClock) -> None:
    await check_parts_of_ids(MemoryStore(clock))


async def check_parts_of_ids(store: Store) -> None:
    one = await create(store, id="01ABCDEF0000000000000000AA")
    two = await create(store, id="01ABCDEF0000000000000000BB")
    three = await create(store, id="01ABZZEF0000000000000001AA")
    assert ids(await store.by_id_part(one.id)) == [one.id]
    assert ids(await store.by_id_part("01abcdef0000000000000000b")) == [two.id]
    assert ids(await store.by_id_part("01ABC")) == [two.id, one.id]
    assert ids(await store.by_id_part("01ABC", limit=1)) == [two.id]
    assert ids(await store.by_id_part("0bb")) == [two.id]
    assert ids(await store.by_id_part("AA")) == [three.id, one.id]
    assert ids(await store.by_id_part("EF00")) == []
    assert ids(await store.by_id_part("01A%")) == []
    assert ids(await store.by_id_part("_0AA")) == []


async def test_message_place_means_its_newest_deployment(store: SqlStore) -> None:
    place = MessagePlace(channel="C01", ts="1.0", permalink="https://slack.example.com/p1")
    await create(store, message=place, **at(0))
    newer = await create(store, message=place, **at(1))
    assert await store.by_message("C01", "1.0") == newer


async def test_proven_live_is_the_newest_proven_commit(store: SqlStore) -> None:
    assert await store.proven_live(KEY) is None
    await finish(store, "1" * 40, minutes=0)
    second = await finish(store, "2" * 40, minutes=5)
    await finish(store, "3" * 40, minutes=10, live=Live.NONE)
    await finish(store, None, minutes=11)
    await finish(store, "4" * 40, minutes=12, server="staging")
    failed = await move(store, await start(store, **at(15), sha="5" * 40), Phase.FAILED)
    assert await store.proven_live(KEY) == "2" * 40
    assert await store.proven_live(KEY, before=failed) == "2" * 40
    assert await store.proven_live(KEY, before=second) == "1" * 40
    assert await store.proven_live(KEY, other_than="2" * 40) == "1" * 40
    assert await store.proven_live(KEY, before=second, other_than="1" * 40) is None


async def test_proven_live_is_ordered_by_result_time(store: SqlStore) -> None:
    slow = await own(store, await create(store, **at(0)))
    await finish(store, "2" * 40, minutes=1)
    slow = await move(store, slow, Phase.STARTING, Phase.CHECKING, sha="1" * 40)
    finished_at = BEGIN + timedelta(minutes=30)
    await move(store, slow, Phase.SUCCEEDED, live=Live.NEW, finished_at=finished_at)
    assert await store.proven_live(KEY) == "1" * 40


async def test_simultaneous_deployments_are_ordered_by_id(store: SqlStore) -> None:
    first = await finish(store, "1" * 40, minutes=0)
    second = await finish(store, "2" * 40, minutes=0)
    assert first.id < second.id
    assert await store.proven_live(KEY, before=second) == "1" * 40
    assert await store.proven_live(KEY, before=first) is None


@pytest.mark.parametrize("limit", [2, 20])
async def test_durations_of_successful_deployments(store: SqlStore, limit: int) -> None:
    for minute in range(3):
        await finish(store, "1" * 40, minutes=minute * 5)
    await finish(store, "1" * 40, minutes=30, live=Live.NONE)
    await move(store, await start(store, **at(40)), Phase.FAILED)
    assert await store.good_durations(KEY, limit) == [timedelta(minutes=2)] * min(limit, 3)
