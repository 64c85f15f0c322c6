"""Requests, cancels, retries and rollbacks, also while Slack, Dokku or the database fails."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.dokku_facts import BuildStatus, Container
from bot.deployments.lock import Lock
from bot.deployments.model import (
    Actor,
    Approval,
    Deployment,
    Failure,
    Live,
    MessagePlace,
    Phase,
    Trigger,
)
from bot.deployments.refs import CannotTell, NotThere
from bot.deployments.requests.service import Request
from bot.errors import DatabaseDown, Declined, SlackError, StaleState, StoreError
from tests.support.builders import (
    METADATA,
    NEW,
    NOW,
    OLD,
    OLD_SHA,
    OTHER_RELEASE,
    RESTARTED_OLD,
    SHA,
    containers,
)
from tests.support.fake_dokku import DOWN, FakeDokku
from tests.support.memory_store import refused
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

ADA = Actor(user="U0ADA", team="T01", name="ada")


def ask(**changes: Any) -> Request:
    given: dict[str, Any] = {
        "app": "web",
        "actor": ADA,
        "trigger": Trigger.COMMAND,
        "request_key": "command:1",
        "channel": "C01",
    }
    return Request(**(given | changes))


async def requested(rig: Rig, **changes: Any) -> Deployment:
    row = await rig.service.request(ask(**changes))
    assert row is not None
    return row


@in_virtual_time
async def test_request_stores_the_row_then_posts_then_starts() -> None:
    rig = a_rig()
    row = await requested(rig)
    assert rig.announcer.posted == [row.id]
    assert rig.store.rows[row.id].message is not None
    assert rig.store.actions(row.id)[0] == "requested"
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_repeated_delivery_makes_one_deployment() -> None:
    rig = a_rig()
    await requested(rig)
    assert await rig.service.request(ask()) is None
    assert len(rig.store.rows) == 1


@in_virtual_time
async def test_failed_post_withdraws_the_row() -> None:
    rig = a_rig()
    rig.announcer.error = SlackError("Invite me with `/invite @deploybot`.", code="not_in_channel")
    with pytest.raises(SlackError):
        await rig.service.request(ask())
    assert rig.store.rows == {}
    assert rig.cache.active() == []
    assert rig.store.actions(rig.store.audit[0][0]) == ["requested", "withdrawn"]
    rig.announcer.error = None
    assert await rig.service.request(ask()) is not None


@in_virtual_time
async def test_unexpected_error_while_posting_withdraws_the_row() -> None:
    rig = a_rig()
    rig.announcer.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await rig.service.request(ask())
    await rig.passes(60)
    assert rig.store.rows == {}
    assert rig.dokku.streams == []


@in_virtual_time
async def test_failed_request_never_starts_after_database_outage() -> None:
    rig = a_rig()
    rig.announcer.error = SlackError("Slack is down.", code="internal_error")
    rig.store.fail("withdraw", times=10)
    with pytest.raises(SlackError):
        await rig.service.request(ask())
    (row,) = rig.store.rows.values()
    assert row.id in rig.service.in_progress()
    await rig.passes(30)
    assert rig.store.rows == {}
    assert rig.service.in_progress() == set()
    assert rig.dokku.streams == []


@in_virtual_time
async def test_unconfirmed_row_is_withdrawn_and_never_starts() -> None:
    rig = a_rig()
    rig.store.lose_answer("create")
    with pytest.raises(DatabaseDown):
        await rig.service.request(ask())
    await rig.passes(30)
    assert rig.store.rows == {}
    rig.store.fail("create")
    with pytest.raises(DatabaseDown):
        await rig.service.request(ask())
    await rig.passes(30)
    assert rig.service.in_progress() == set()
    assert await rig.service.request(ask()) is not None


@in_virtual_time
async def test_deployment_starts_once_its_message_is_stored() -> None:
    rig = a_rig()
    rig.store.fail("place_message", times=4)
    row = await requested(rig)
    assert row.message is not None
    await rig.passes(2)
    assert rig.dokku.streams == []
    (await rig.begun()).succeed()
    row = await rig.until_ended(within_s=60)
    assert row.message is not None
    assert rig.announcer.posted == [row.id]
    assert rig.service.in_progress() == set()


@in_virtual_time
async def test_interrupted_request_leaves_the_row_to_the_next_process() -> None:
    rig = a_rig()
    rig.announcer.takes_s = 60
    asking = asyncio.create_task(rig.service.request(ask()))
    await rig.passes(2)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert len(rig.store.rows) == 1
    assert rig.service.in_progress() == set()


@in_virtual_time
async def test_unknown_ref_is_declined_without_a_message() -> None:
    rig = a_rig()
    rig.refs.answer = NotThere()
    with pytest.raises(Declined, match="no branch, tag or commit nope"):
        await rig.service.request(ask(ref="nope"))
    assert rig.store.rows == {}
    assert rig.announcer.posted == []


@in_virtual_time
async def test_ref_found_wrong_after_posting_fails_the_deployment() -> None:
    rig = a_rig()
    rig.refs.answer, rig.refs.takes_s = NotThere(), 2
    row = await requested(rig, ref="nope")
    assert rig.progress(row.id).waits_for == "the commit to be looked up"
    row = await rig.until_ended(within_s=30)
    assert (row.failure, row.live) == (Failure.REF_NOT_FOUND, Live.PREVIOUS)
    assert rig.dokku.streams == []


@in_virtual_time
async def test_slow_look_up_does_not_delay_the_message() -> None:
    rig = a_rig()
    rig.refs.takes_s = 3
    began = rig.clock.monotonic()
    await requested(rig)
    assert rig.clock.monotonic() - began < 1
    (await rig.begun()).succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.sha) == (Phase.SUCCEEDED, SHA)


@in_virtual_time
async def test_server_that_is_down_does_not_delay_the_message() -> None:
    rig = a_rig()
    rig.dokku.down = DOWN
    await requested(rig)
    row = await rig.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.SERVER_UNREACHABLE, Live.UNKNOWN)


@in_virtual_time
async def test_error_waits_until_the_row_is_withdrawn() -> None:
    """A kill after the error must not bring the request back."""
    rig = a_rig()
    rig.store.lose_answer("create")
    rig.store.fail("withdraw", times=3)
    began = rig.clock.monotonic()
    with pytest.raises(DatabaseDown):
        await rig.service.request(ask())
    assert rig.store.rows == {}
    assert 0 < rig.clock.monotonic() - began < 5
    await rig.crash()
    again = a_rig(store=rig.store, dokku=rig.dokku)
    await again.passes(120)
    assert again.announcer.posted == []


@in_virtual_time
async def test_request_that_was_surely_not_written_is_refused_at_once() -> None:
    rig = a_rig()
    away = DatabaseDown("away")
    away.nothing_written = True
    rig.store.fail("create", away)
    began = rig.clock.monotonic()
    with pytest.raises(DatabaseDown):
        await rig.service.request(ask())
    assert rig.clock.monotonic() - began < 1
    assert "withdraw" not in rig.store.calls


@pytest.mark.parametrize("error", [RuntimeError("a bug"), DatabaseDown("down"), refused()])
@in_virtual_time
async def test_broken_look_up_is_repeated_at_the_start(error: Exception) -> None:
    rig = a_rig()
    rig.refs.takes_s = 1
    row = await requested(rig)
    method = "save" if isinstance(error, StoreError) else "unfinished"
    rig.store.fail(method, error)
    (await rig.begun()).succeed()
    assert (await rig.until_ended(row.id, within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_ref_that_cannot_be_resolved_is_passed_to_dokku() -> None:
    rig = a_rig()
    rig.refs.answer = CannotTell("private")
    await requested(rig)
    await rig.begun()
    assert rig.row().sha is None
    assert rig.row().pinned == "main"


@in_virtual_time
async def test_cancel_during_the_look_up_is_final() -> None:
    rig = a_rig()
    rig.refs.takes_s = 3
    row = await requested(rig)
    await rig.service.cancel(row.id, actor=ADA, through="button")
    await rig.passes(30)
    assert rig.row().phase is Phase.CANCELLED
    assert rig.dokku.streams == []
    cached = rig.cache.get(row.id)
    assert cached is not None
    assert cached.deployment.phase is Phase.CANCELLED


@in_virtual_time
async def test_cancel_request_does_not_overwrite_newer_writes_of_the_owner() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say("> fetching", "> building")
    await rig.passes(5)
    asking = asyncio.create_task(rig.service.cancel(rig.row().id, actor=ADA, through="button"))
    for _ in range(6):
        await asyncio.sleep(0)
    stream.end(141, BuildStatus.CANCELED, -1)
    await asking
    row = await rig.until_ended(within_s=30)
    cached = rig.cache.get(row.id)
    assert cached is not None
    assert cached.deployment.phase is row.phase


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (Phase.CHECKING, "Too late to cancel"),
        (Phase.SUCCEEDED, "has already ended"),
    ],
)
@in_virtual_time
async def test_cancel_that_meets_another_phase_is_declined_for_that_phase(
    phase: Phase, words: str
) -> None:
    rig = a_rig(waiting(phase=Phase.BUILDING), start=False)
    row = rig.row()
    real = rig.store.ask_cancel

    async def meanwhile(*args: Any, **kwargs: Any) -> Deployment:
        rig.store.rows[row.id] = replace(row, phase=phase)
        return await real(*args, **kwargs)

    rig.store.ask_cancel = meanwhile  # type: ignore[method-assign]  # changes in between
    with pytest.raises(Declined, match=words):
        await rig.service.cancel(row.id, actor=ADA, through="button")


@in_virtual_time
async def test_cancel_gives_up_after_repeated_changes() -> None:
    rig = a_rig(waiting(), start=False)
    rig.store.fail("save", stale(), times=3)
    with pytest.raises(Declined, match="The deployment is changing right now"):
        await rig.service.cancel(rig.row().id, actor=ADA, through="button")


@in_virtual_time
async def test_cancel_of_a_queued_deployment_works_while_the_server_hangs() -> None:
    dokku = FakeDokku(hanging={"containers"})
    rig = a_rig(waiting(), dokku=dokku, start=False)
    await rig.service.cancel(rig.row().id, actor=ADA, through="button")
    assert (rig.row().phase, rig.row().live) == (Phase.CANCELLED, Live.UNKNOWN)


@in_virtual_time
async def test_retry_and_rollback_are_new_requests() -> None:
    failed = waiting(id="01FAILED", phase=Phase.FAILED, live=Live.UNKNOWN, rollback_sha=OLD_SHA)
    rig = a_rig(failed, start=False)
    again = await rig.service.retry(
        failed.id, actor=ADA, trigger=Trigger.BUTTON, request_key="b1", channel="C01"
    )
    back = await rig.service.rollback(
        failed.id, actor=ADA, trigger=Trigger.BUTTON, request_key="b2", channel="C01"
    )
    assert again is not None
    assert back is not None
    assert (again.retry_of, again.ref) == (failed.id, "main")
    assert (back.rollback_of, back.ref, back.came_from) == (failed.id, OLD_SHA, None)


@pytest.mark.parametrize(
    ("ref", "came_from"), [("v1.4", None), (OLD_SHA[:7], None), (OLD_SHA, "v1.4")]
)
@in_virtual_time
async def test_rollback_and_its_retry_know_the_name_of_the_ref(
    ref: str, came_from: str | None
) -> None:
    """People know a release as `v1.4`, not by its commit."""
    old = live(OLD_SHA, id="01OLD", request_key="old", ref=ref, came_from=came_from)
    failed = waiting(id="01FAILED", phase=Phase.FAILED, live=Live.UNKNOWN, rollback_sha=OLD_SHA)
    rig = a_rig(old, failed, start=False, dokku=FakeDokku(now=containers(NEW)))
    back = await rig.service.rollback(
        failed.id, actor=ADA, trigger=Trigger.BUTTON, request_key="b2", channel="C01"
    )
    assert back is not None
    named = None if ref.startswith(OLD_SHA[:7]) and not came_from else "v1.4"
    assert (back.ref, back.came_from) == (OLD_SHA, named)
    ended = replace(back, phase=Phase.FAILED)
    rig.store.rows[back.id] = ended
    again = await rig.service.retry(
        back.id, actor=ADA, trigger=Trigger.BUTTON, request_key="b3", channel="C01"
    )
    assert again is not None
    assert again.came_from == named


@in_virtual_time
async def test_people_of_another_workspace_are_declined() -> None:
    rig = a_rig(start=False)
    rig.service.access.set_home("T01")
    with pytest.raises(Declined, match="own workspace"):
        await rig.service.request(ask(actor=replace(ADA, team="T99")))
    assert rig.store.rows == {}


LOW = {"most_waiting_of_app": 2, "most_waiting_of_person": 3}


async def fills(rig: Rig, *apps: str, actor: Actor = ADA) -> None:
    for number, app in enumerate(apps):
        key = f"{actor.user}{app}{number}"
        # The same ref again would be answered with the one that waits.
        await requested(rig, app=app, actor=actor, request_key=key, ref=f"branch-{key}")


@in_virtual_time
async def test_no_more_may_wait_for_one_app() -> None:
    rig = a_rig(start=False, timing=LOW)
    eve = replace(ADA, user="U0EVE")
    await fills(rig, "web", "web")
    for actor in (eve, Actor(user="cli")):
        with pytest.raises(Declined) as refused:
            await rig.service.request(ask(actor=actor, request_key="more"))
        assert str(refused.value) == (
            "2 deployments of web are waiting, and no more may wait for one app. "
            "`/deploy cancel web` removes one; or ask again when one has started."
        )
    assert len(rig.store.rows) == 2
    await rig.service.cancel(next(iter(rig.store.rows)), actor=ADA, through="button")
    await fills(rig, "web", actor=eve)


@in_virtual_time
async def test_no_more_may_wait_for_one_person() -> None:
    rig = a_rig(start=False, timing=LOW)
    await fills(rig, "web", "shop", "blog")
    with pytest.raises(Declined) as refused:
        await rig.service.request(ask(app="wiki", request_key="more"))
    assert str(refused.value) == (
        "3 deployments that you requested are waiting, and no more may wait for one person. "
        "Cancel one, or ask again when one has started. `/deploy status` lists them."
    )
    await fills(rig, "wiki", actor=replace(ADA, user="U0EVE"))
    await fills(rig, "web", actor=Actor(user="cli"))


@in_virtual_time
async def test_repeated_delivery_at_the_bound_is_no_second_request() -> None:
    rig = a_rig(start=False, timing=LOW)
    await fills(rig, "web", "web")
    assert await rig.service.request(ask(request_key="U0ADAweb1")) is None


@in_virtual_time
async def test_requests_that_nobody_approved_take_no_place_from_others() -> None:
    rig = a_rig(start=False, timing=LOW | {"most_waiting_of_person": 2})
    rig.catalog.rules = {"approval": Approval.SECOND_PERSON}
    await fills(rig, "web", "web")
    eve = replace(ADA, user="U0EVE")
    # They are bounded too, but among themselves.
    with pytest.raises(Declined, match="2 deployments of web wait for their approval"):
        await rig.service.request(ask(actor=eve, request_key="more"))
    with pytest.raises(Declined, match="2 deployments that you requested wait for their approval"):
        await rig.service.request(ask(app="shop", request_key="more"))
    rig.catalog.rules = {}
    for actor in (eve, ADA):
        await requested(rig, actor=actor, request_key=f"now{actor.user}", ref=actor.user)
    queued = [one for one in rig.store.rows.values() if one.phase is Phase.QUEUED]
    assert len(queued) == 2


@in_virtual_time
async def test_simultaneous_requests_share_the_bound() -> None:
    rig = a_rig(start=False, timing=LOW)
    asked = [
        rig.service.request(ask(request_key=str(number), ref=f"fix-{number}"))
        for number in range(6)
    ]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, Declined) for one in answers) == 4
    assert len(rig.store.rows) == 2


def live(sha: str = SHA, **changes: Any) -> Deployment:
    """A good deployment of yesterday that left OLD, which still runs."""
    given: dict[str, Any] = {
        "id": "01LIVE",
        "request_key": "live",
        "phase": Phase.SUCCEEDED,
        "live": Live.NEW,
        "sha": sha,
        "after": containers(OLD),
        "created_at": NOW - timedelta(days=1),
        "started_at": NOW - timedelta(days=1),
        "finished_at": NOW - timedelta(days=1),
    }
    return waiting(**(given | changes))


@pytest.mark.parametrize("takes_s", [0, 2])
@in_virtual_time
async def test_already_live_commit_is_shown_at_once(takes_s: float) -> None:
    rig = a_rig(live(), start=False)
    rig.refs.takes_s = takes_s
    row = await requested(rig)
    await rig.passes(takes_s + 1)
    assert rig.progress(row.id).live_sha == SHA


@in_virtual_time
async def test_commit_is_not_shown_as_live_if_something_may_change_it() -> None:
    for number, rows in enumerate(
        (
            [live(OLD_SHA)],
            [live(), waiting(id="01NEXT", request_key="n", sha=OLD_SHA)],
            [
                live(),
                live(
                    id="01LOST",
                    request_key="l",
                    phase=Phase.FAILED,
                    live=Live.UNKNOWN,
                    started_at=NOW,
                ),
            ],
            [live(phase=Phase.FAILED, failure=Failure.CRASHED)],
        )
    ):
        rig = a_rig(*rows, start=False)
        row = await requested(rig, request_key=f"r{number}")
        assert rig.progress(row.id).live_sha is None


@in_virtual_time
async def test_request_succeeds_if_the_live_commit_cannot_be_read() -> None:
    rig = a_rig(live(), start=False)
    rig.store.fail("started")
    assert rig.progress((await requested(rig)).id).live_sha is None


@pytest.mark.parametrize(
    ("now", "proven"),
    [(OLD, OLD_SHA), (RESTARTED_OLD, OLD_SHA), (OTHER_RELEASE, None)],
)
@in_virtual_time
async def test_start_checks_the_proven_commit_against_the_containers(
    now: Container, proven: str | None
) -> None:
    rig = a_rig(live(OLD_SHA), dokku=FakeDokku(now=containers(now), metadata=METADATA))
    row = await requested(rig)
    await rig.dokku.stream()
    row = await rig.until(lambda: rig.row(row.id).started_at, row.id)
    assert row.before is not None
    assert row.before.proven == proven
    assert row.previous_sha == (proven or SHA)


@in_virtual_time
async def test_release_that_failed_late_is_the_previous_one_of_the_next() -> None:
    late = live(OLD_SHA, phase=Phase.FAILED, failure=Failure.RELEASE_FAILED)
    rig = a_rig(late, dokku=FakeDokku(now=containers(OLD), metadata=METADATA))
    row = await requested(rig)
    await rig.dokku.stream()
    row = await rig.until(lambda: rig.row(row.id).started_at, row.id)
    assert row.before is not None
    assert (row.previous_sha, row.before.proven) == (OLD_SHA, OLD_SHA)


def stale() -> StoreError:
    return StaleState("it changed")


@in_virtual_time
async def test_request_for_the_commit_that_waits_last_is_answered_instead_of_stored() -> None:
    place = MessagePlace(channel="C01", ts="1.2", permalink="https://x.slack.com/archives/C01/p12")
    first = waiting(message=place)
    rig = a_rig(first, start=False)
    with pytest.raises(Declined, match=r"waiting already: <https://x.slack.com/.*\|its message>"):
        await requested(rig, request_key="again")
    assert list(rig.store.rows) == [first.id]
    assert len(rig.announcer.posted) == 0


@pytest.mark.parametrize("comes", ["posted", "started", "withdrawn", "cancelled", "never"])
@in_virtual_time
async def test_request_waits_for_the_message_of_another_one_for_the_same_commit(
    comes: str,
) -> None:
    place = MessagePlace(channel="C01", ts="1.2", permalink="https://x.slack.com/archives/C01/p12")
    first = waiting(channel="C01", message=None)
    rig = a_rig(first, start=False)
    asked = asyncio.ensure_future(requested(rig, request_key="again"))
    await rig.passes(2)
    assert not asked.done()
    if comes == "withdrawn":
        del rig.store.rows[first.id]
    elif comes == "cancelled":
        await rig.store.ask_cancel(first.id, first.requested_by, NOW)
    elif comes in {"posted", "started"}:
        phase = Phase.STARTING if comes == "started" else first.phase
        rig.store.rows[first.id] = replace(first, message=place, phase=phase)
        words = "is being deployed" if comes == "started" else "is waiting"
        with pytest.raises(Declined, match=rf"{words} already: <https://x.slack.com/.*message>"):
            await asked
        assert list(rig.store.rows) == [first.id]
        return
    row = await asked
    assert (row.id in rig.store.rows, row.ready) == (True, True)


@pytest.mark.parametrize("what", ["slow look-up", "locked", "database down"])
@in_virtual_time
async def test_request_is_never_dropped_where_that_may_be_wrong(what: str) -> None:
    first = waiting(requested_by=Actor(user="U0GRACE", team="T01"))
    rig = a_rig(first, start=False)
    if what == "slow look-up":
        rig.refs.takes_s = 2
    elif what == "locked":
        holder = Actor(user="U0ADA", team="T01", name="ada")
        rig.store.locks.held.append(
            Lock(id="L", key=first.target, app="web", holder=holder, since=NOW)
        )
    else:
        rig.store.fail("standing", times=2)
    row = await requested(rig, request_key="again")
    assert row.id in rig.store.rows
