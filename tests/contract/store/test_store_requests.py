"""Writes beside the progress of a deployment: cancel request, message place, withdrawal."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.model import CancelRequest, Deployment, MessagePlace, Phase, Who
from bot.deployments.refs import Commit, Commits
from bot.deployments.verdict.left_builds import ASKED, BUILD
from bot.errors import Duplicate, LeaseLost, StaleState, Twin
from bot.store.leases import SqlHandled
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import (
    ADA,
    BEGIN,
    StillClock,
    create,
    move,
    own,
    said,
    start,
)


async def test_delivery_is_handled_once_also_after_the_clock_was_set_forward(
    store: SqlStore, clock: StillClock
) -> None:
    assert await SqlHandled(store.database, clock=clock).claim("a click")
    clock.move(timedelta(hours=1, minutes=5))
    handled = SqlHandled(store.database, clock=clock)
    assert await handled.claim("another")  # the first one tidies up
    assert not await handled.claim("a click")


async def test_cancel_request_is_written_once_and_kept_by_later_writes(store: SqlStore) -> None:
    deployment = await start(store)
    first = await store.ask_cancel(deployment.id, ADA, BEGIN, through="button")
    assert first.cancel == CancelRequest(by=ADA, at=BEGIN)
    again = await store.ask_cancel(
        deployment.id, replace(ADA, user="U2"), BEGIN + timedelta(seconds=9)
    )
    assert again.cancel == first.cancel
    assert deployment.cancel is None
    moved = await move(store, deployment, Phase.BUILDING)
    assert moved.cancel == first.cancel
    trace = [(e.action, e.through) for _, e in await store.audit_of(deployment.id)]
    assert trace.count(("cancel_asked", "button")) == 1
    assert len(trace) == 4


async def test_ended_deployment_takes_no_cancel_request(store: SqlStore) -> None:
    ended = await move(store, await start(store), Phase.FAILED)
    assert await store.ask_cancel(ended.id, ADA, BEGIN) == ended
    with pytest.raises(StaleState, match="not there"):
        await store.ask_cancel("nobody", ADA, BEGIN)


async def test_request_about_a_build_cancels_only_the_deployment_whose_build_it_is(
    store: SqlStore,
) -> None:
    """It may have ended unproven; and one that waits behind the build goes on waiting."""
    ended = await move(store, await start(store), Phase.FAILED, build_id="b1")
    assert (await store.ask_cancel(ended.id, ADA, BEGIN, build="b2")).cancel is None
    for _ in range(2):
        fresh = await store.ask_cancel(ended.id, ADA, BEGIN, through="button", build="b1")
        assert fresh.cancel == CancelRequest(by=ADA, at=BEGIN)
        assert fresh.phase is Phase.FAILED
    trail = [one for _, one in await store.audit_of(ended.id) if one.action == ASKED]
    assert [one.detail[BUILD] for one in trail] == ["b2", "b1", "b1"]


async def test_message_place_is_kept_by_later_writes(store: SqlStore) -> None:
    deployment = await start(store)
    place = MessagePlace(channel="C01", ts="1700000000.000100", permalink=None)
    await store.place_message(deployment.id, place)
    moved = await move(store, deployment, Phase.BUILDING)
    assert moved.message == place
    assert await store.by_message("C01", "1700000000.000100") == moved
    assert await store.by_message("C02", "1700000000.000100") is None
    with pytest.raises(StaleState, match="not there"):
        await store.place_message("nobody", place)


async def test_commits_are_kept_by_later_writes(store: SqlStore) -> None:
    deployment = await start(store)
    one = Commit(sha="a" * 40, subject="Fix \u0000 the \U0001f600", author="Grace")
    commits = Commits(head=one, base="b" * 40, ahead=1_200, behind=2, listed=(one, one))
    await store.place_commits(deployment.id, commits)
    ended = await move(store, deployment, Phase.FAILED)
    assert ended.commits == commits
    other = replace(commits, base=None, listed=())
    await store.place_commits(deployment.id, other)  # it may come after the result
    found = await store.get(deployment.id)
    assert found == replace(ended, commits=other)
    with pytest.raises(StaleState, match="not there"):
        await store.place_commits("nobody", commits)


@pytest.mark.parametrize("link", ["retry_of", "rollback_of"])
async def test_same_retry_at_the_same_instant_is_stored_once(
    store: SqlStore, other: SqlStore, link: str
) -> None:
    old = await create(store)
    stores = [store, other] * 4
    asked = [
        create(one, request_key=f"click:{number}", **{link: old.id})
        for number, one in enumerate(stores)
    ]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    (first,) = [one for one in answers if isinstance(one, Deployment)]
    refused = [one for one in answers if isinstance(one, Duplicate)]
    assert len(refused) == len(stores) - 1
    assert {one.deployment_id for one in refused} == {first.id}
    # Once it has ended, the old message's button works again.
    ended = replace(first, phase=Phase.CANCELLED)
    await store.save(ended, was=first.phase, by=Who.SERVICE, audit=said("cancelled"))
    await create(other, request_key="click:later", **{link: old.id})


async def test_same_commit_at_the_same_instant_is_ready_once(
    store: SqlStore, other: SqlStore
) -> None:
    stores = [store, other] * 3
    rows = [await create(one) for one in stores]
    found = [replace(row, sha="a" * 40, repo="r", ready=True) for row in rows]

    def resolved(one: SqlStore, row: Deployment) -> Awaitable[Deployment]:
        return one.save(row, was=row.phase, by=Who.SERVICE, first=True)

    asked = [resolved(one, row) for one, row in zip(stores, found, strict=True)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    (first,) = [one for one in answers if isinstance(one, Deployment)]
    twins = [one for one in answers if isinstance(one, Twin)]
    assert len(twins) == len(rows) - 1
    assert {one.deployment_id for one in twins} == {first.id}
    assert [row.id for row in await store.unfinished() if row.ready] == [first.id]
    # Neither another app's queue nor another commit is held up.
    apart = await create(other, app="shop", dokku_app="shop")
    await resolved(other, replace(apart, sha="a" * 40, repo="r", ready=True))
    newer = await create(other)
    await resolved(other, replace(newer, sha="b" * 40, repo="r", ready=True))


async def test_withdrawn_request_stays_in_the_audit_and_can_be_repeated(store: SqlStore) -> None:
    deployment = await create(store)
    await store.withdraw(deployment.id, said("withdrawn"))
    assert await store.get(deployment.id) is None
    assert [e.action for _, e in await store.audit_of(deployment.id)] == ["requested", "withdrawn"]
    await create(store, request_key=deployment.request_key)


async def test_only_deployments_that_never_started_are_withdrawn(store: SqlStore) -> None:
    running = await start(store, started_at=BEGIN)
    with pytest.raises(StaleState, match="is starting by now"):
        await store.withdraw(running.id, said("withdrawn"))
    back = await move(store, running, Phase.QUEUED)
    with pytest.raises(StaleState, match="not waiting and never started"):
        await store.withdraw(back.id, said("withdrawn"))
    with pytest.raises(StaleState, match="not there"):
        await store.withdraw("nobody", said("withdrawn"))


async def test_owner_of_a_withdrawn_deployment_loses_its_lease(store: SqlStore) -> None:
    owned = await own(store, await create(store))
    await store.withdraw(owned.id, said("withdrawn"))
    with pytest.raises(LeaseLost, match="not there any more"):
        await move(store, owned, Phase.STARTING)
