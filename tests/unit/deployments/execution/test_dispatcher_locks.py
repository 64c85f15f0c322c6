"""Locks: who waits and says why, who passes, and what happens at the end of a lock."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.lock import ALL, Follower, Lock, Locked
from bot.deployments.model import Actor, Deployment, Failure, Phase, Trigger
from bot.deployments.requests.service import Request
from tests.support.fake_dokku import BUILDING, FakeDokku
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

GRACE = Actor(user="U0GRACE", team="T01", name="grace")


def a_lock(rig: Rig, of: Deployment, **changes: object) -> Lock:
    """A lock that grace holds on the app of a deployment."""
    plain = Lock(
        id="01L",
        key=of.target,
        app=of.app,
        holder=GRACE,
        reason="audit",
        since=rig.clock.now(),
        channel="C09",
    )
    lock = replace(plain, **changes)  # type: ignore[arg-type]
    rig.store.locks.held.append(lock)
    return lock


@in_virtual_time
async def test_locked_deployment_waits_says_why_and_asks_the_server_nothing() -> None:
    rig = a_rig(waiting(), start=False)
    lock = a_lock(rig, rig.row())
    rig.start()
    await rig.passes(60)
    assert rig.row().phase is Phase.QUEUED
    assert not rig.dokku.asked
    progress = rig.progress()
    assert progress.place == 1
    assert progress.waits_for == "the lock of grace to end"
    assert progress.blocker is not None
    assert (progress.blocker.by, progress.blocker.why) == (GRACE, "audit")
    rig.store.locks.held.remove(lock)
    (await rig.begun()).succeed()
    assert (await rig.until_ended()).phase is Phase.SUCCEEDED
    assert rig.progress().blocker is None


@in_virtual_time
async def test_holder_passes_those_whom_the_lock_stops() -> None:
    first = waiting(id="01K9ZB000000000000000000A1", request_key="a")
    mine = waiting(id="01K9ZB000000000000000000A2", request_key="b", requested_by=GRACE)
    rig = a_rig(first, mine, start=False)
    a_lock(rig, first)
    rig.start()
    (await rig.dokku.stream(1)).succeed()
    row = await rig.until_ended(mine.id)
    assert row.phase is Phase.SUCCEEDED
    assert rig.row(first.id).phase is Phase.QUEUED
    assert rig.progress(first.id).place == 1


@in_virtual_time
async def test_lock_set_between_look_and_start_wins() -> None:
    dokku = FakeDokku()
    rig = a_rig(waiting(), dokku=dokku, start=False)
    plain_builds = dokku.builds

    async def lock_then_answer(app: str) -> object:
        if not rig.store.locks.held:
            a_lock(rig, rig.row())
        return await plain_builds(app)

    dokku.builds = lock_then_answer  # type: ignore[assignment, method-assign]
    rig.start()
    await rig.passes(30)
    assert rig.row().phase is Phase.QUEUED
    assert not dokku.streams
    assert rig.progress().waits_for == "the lock of grace to end"


@in_virtual_time
async def test_deployment_that_died_is_not_started_again_while_someone_else_holds_the_app() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    a_lock(rig, rig.row())
    stream.lose()
    rig.dokku.set_status(stream.build_id, BuildStatus.ABANDONED)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.failure, row.attempt) == (Phase.FAILED, Failure.INTERRUPTED, 1)


@in_virtual_time
async def test_end_of_a_lock_is_written_once_and_lets_the_deployment_start() -> None:
    rig = a_rig(waiting(), start=False)
    a_lock(rig, rig.row(), until=rig.clock.now() + timedelta(minutes=5))
    rig.start()
    await rig.passes(290)
    assert rig.row().phase is Phase.QUEUED
    assert not rig.store.locks.notices
    (await rig.begun()).succeed()
    await rig.until_ended()
    (notice,) = rig.store.locks.notices
    assert (notice.to, notice.kind, notice.body["app"]) == ("C09", "lock.ended", "web")
    assert not rig.store.locks.held
    assert ("lock:production/web", "lock_ended") in [
        (of, entry.action) for of, entry in rig.store.audit
    ]


@in_virtual_time
async def test_follower_is_told_once_when_nothing_runs_waits_or_is_locked() -> None:
    rig = a_rig(waiting(), start=False)
    key = rig.row().target
    rig.store.locks.followers.append(
        Follower(key=key, app="web", user="U0LIN", since=rig.clock.now())
    )
    rig.start()
    stream = await rig.begun()
    await rig.passes(30)
    lock = a_lock(rig, rig.row(), key=ALL, app="all")
    stream.succeed()
    await rig.until_ended()
    await rig.passes(30)
    assert not rig.store.locks.notices
    rig.store.locks.held.remove(lock)
    await rig.passes(30)
    (notice,) = rig.store.locks.notices
    assert (notice.to, notice.kind) == ("U0LIN", "app.free")


@in_virtual_time
async def test_request_of_another_is_refused_and_leaves_no_row() -> None:
    rig = a_rig(start=False)
    a_lock(rig, waiting(), reason="release <!channel>")
    ask = Request(
        app="web",
        actor=Actor(user="U0ADA", team="T01", name="ada"),
        trigger=Trigger.COMMAND,
        request_key="k",
        channel="C01",
    )
    with pytest.raises(
        Locked, match=r"web on production is locked by grace .*: release"
    ) as refused:
        await rig.service.request(ask)
    assert "<" not in str(refused.value)
    assert not rig.store.rows
    assert await rig.service.request(replace(ask, actor=GRACE)) is not None
