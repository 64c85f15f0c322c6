"""What people ask for, while Slack, Dokku or the database has trouble."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.dokku_facts import BuildStatus, Container
from bot.deployments.model import Actor, Deployment, Failure, Live, Phase, Trigger
from bot.deployments.ports import CannotTell, NotThere
from bot.deployments.requests.service import Request
from bot.errors import DatabaseDown, Declined, SlackError, StaleState, StoreError
from tests.support.builders import (
    METADATA,
    NOW,
    OLD,
    OLD_SHA,
    RESTARTED_OLD,
    SHA,
    STRANGER,
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
async def test_row_then_message_then_work() -> None:
    rig = a_rig()
    row = await requested(rig)
    assert rig.announcer.posted == [row.id]
    assert rig.store.rows[row.id].message is not None
    assert rig.store.actions(row.id)[0] == "requested"
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_the_same_delivery_twice_is_one_deployment() -> None:
    rig = a_rig()
    await requested(rig)
    assert await rig.service.request(ask()) is None
    assert len(rig.store.rows) == 1


@in_virtual_time
async def test_a_message_that_cannot_be_posted_leaves_nothing() -> None:
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
async def test_a_bug_while_posting_leaves_nothing_either() -> None:
    rig = a_rig()
    rig.announcer.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await rig.service.request(ask())
    await rig.passes(60)
    assert rig.store.rows == {}
    assert rig.dokku.streams == []


@in_virtual_time
async def test_what_an_error_was_told_of_never_starts_though_the_database_was_away() -> None:
    rig = a_rig()
    rig.announcer.error = SlackError("Slack is down.", code="internal_error")
    rig.store.fail("withdraw", times=3)
    with pytest.raises(SlackError):
        await rig.service.request(ask())
    (row,) = rig.store.rows.values()
    assert row.id in rig.service.in_progress
    await rig.passes(30)
    assert rig.store.rows == {}
    assert rig.service.in_progress == set()
    assert rig.dokku.streams == []


@in_virtual_time
async def test_a_row_whose_writing_was_not_confirmed_never_starts() -> None:
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
    assert rig.service.in_progress == set()
    assert await rig.service.request(ask()) is not None


@in_virtual_time
async def test_a_place_that_could_not_be_stored_is_stored_later_and_then_it_starts() -> None:
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
    assert rig.service.in_progress == set()


@in_virtual_time
async def test_a_request_that_is_cut_off_leaves_the_row_for_the_next_process() -> None:
    rig = a_rig()
    rig.announcer.takes_s = 60
    asking = asyncio.create_task(rig.service.request(ask()))
    await rig.passes(2)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert len(rig.store.rows) == 1
    assert rig.service.in_progress == set()


@in_virtual_time
async def test_a_ref_that_is_known_to_be_wrong_is_said_to_the_asker_alone() -> None:
    rig = a_rig()
    rig.refs.answer = NotThere()
    with pytest.raises(Declined, match="no branch, tag or commit nope"):
        await rig.service.request(ask(ref="nope"))
    assert rig.store.rows == {}
    assert rig.announcer.posted == []


@in_virtual_time
async def test_a_ref_that_turns_out_wrong_later_ends_the_message() -> None:
    rig = a_rig()
    rig.refs.answer, rig.refs.takes_s = NotThere(), 2
    row = await requested(rig, ref="nope")
    assert rig.progress(row.id).waits_for == "looking up the commit"
    row = await rig.until_ended(within_s=30)
    assert (row.failure, row.live) == (Failure.REF_NOT_FOUND, Live.PREVIOUS)
    assert rig.dokku.streams == []


@in_virtual_time
async def test_a_slow_look_up_delays_no_post() -> None:
    rig = a_rig()
    rig.refs.takes_s = 3
    began = rig.clock.monotonic()
    await requested(rig)
    assert rig.clock.monotonic() - began < 1
    (await rig.begun()).succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.sha) == (Phase.SUCCEEDED, SHA)


@in_virtual_time
async def test_a_server_that_is_down_delays_no_post_and_ends_it() -> None:
    rig = a_rig()
    rig.dokku.down = DOWN
    await requested(rig)
    row = await rig.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.SERVER_UNREACHABLE, Live.UNKNOWN)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), DatabaseDown("away"), refused()])
@in_virtual_time
async def test_a_look_up_that_breaks_is_made_again(error: Exception) -> None:
    rig = a_rig()
    rig.refs.takes_s = 1
    row = await requested(rig)
    method = "save" if isinstance(error, StoreError) else "unfinished"
    rig.store.fail(method, error)
    (await rig.begun()).succeed()
    assert (await rig.until_ended(row.id, within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_a_commit_that_cannot_be_looked_up_goes_to_dokku_as_its_ref() -> None:
    rig = a_rig()
    rig.refs.answer = CannotTell("private")
    await requested(rig)
    await rig.begun()
    assert rig.row().sha is None
    assert rig.row().pinned == "main"


@in_virtual_time
async def test_cancelled_during_the_look_up_it_stays_cancelled() -> None:
    rig = a_rig()
    rig.refs.takes_s = 3
    row = await requested(rig)
    await rig.service.cancel(row.id, actor=ADA, through="button")
    await rig.passes(30)
    assert rig.row().phase is Phase.CANCELLED
    assert rig.dokku.streams == []
    tracked = rig.cache.get(row.id)
    assert tracked is not None
    assert tracked.deployment.phase is Phase.CANCELLED


@in_virtual_time
async def test_a_wish_does_not_overwrite_what_the_owner_wrote_meanwhile() -> None:
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
    tracked = rig.cache.get(row.id)
    assert tracked is not None
    assert tracked.deployment.phase is row.phase


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (Phase.CHECKING, "Nothing is left to cancel"),
        (Phase.SUCCEEDED, "has already ended"),
    ],
)
@in_virtual_time
async def test_a_cancel_that_meets_another_phase_is_answered_by_it(
    phase: Phase, words: str
) -> None:
    rig = a_rig(waiting(phase=Phase.BUILDING), start=False)
    row = rig.row()
    real = rig.store.ask_cancel

    async def meanwhile(*args: Any, **kwargs: Any) -> Deployment:
        rig.store.rows[row.id] = replace(row, phase=phase)
        return await real(*args, **kwargs)

    rig.store.ask_cancel = meanwhile  # type: ignore[method-assign]  # what comes between
    with pytest.raises(Declined, match=words):
        await rig.service.cancel(row.id, actor=ADA, through="button")


@in_virtual_time
async def test_a_cancel_of_what_changes_all_the_time_says_so() -> None:
    rig = a_rig(waiting(), start=False)
    rig.store.fail("save", stale(), times=3)
    with pytest.raises(Declined, match="It is changing at this moment"):
        await rig.service.cancel(rig.row().id, actor=ADA, through="button")


@in_virtual_time
async def test_a_cancel_where_the_server_hangs_is_answered_all_the_same() -> None:
    dokku = FakeDokku(hanging={"containers"})
    rig = a_rig(waiting(), dokku=dokku, start=False)
    await rig.service.cancel(rig.row().id, actor=ADA, through="button")
    assert (rig.row().phase, rig.row().live) == (Phase.CANCELLED, Live.UNKNOWN)


@in_virtual_time
async def test_a_retry_and_a_rollback_are_new_requests() -> None:
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
    assert (back.rollback_of, back.ref) == (failed.id, OLD_SHA)


@in_virtual_time
async def test_people_of_another_workspace_may_do_nothing() -> None:
    rig = a_rig(start=False)
    rig.service.access.set_home_team("T01")
    with pytest.raises(Declined, match="own workspace"):
        await rig.service.request(ask(actor=replace(ADA, team="T99")))
    assert rig.store.rows == {}


def live(sha: str = SHA, **changes: Any) -> Deployment:
    """A good end of yesterday that left OLD, which still runs."""
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
async def test_a_commit_that_is_live_is_said_to_be_from_the_beginning(takes_s: float) -> None:
    rig = a_rig(live(), start=False)
    rig.refs.takes_s = takes_s
    row = await requested(rig)
    await rig.passes(takes_s + 1)
    assert rig.progress(row.id).live_sha == SHA


@in_virtual_time
async def test_a_commit_is_not_called_live_where_something_may_change_it() -> None:
    for number, rows in enumerate(
        (
            [live(OLD_SHA)],
            [live(), waiting(id="01NEXT", request_key="n")],
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
async def test_what_is_live_is_not_worth_a_failed_request() -> None:
    rig = a_rig(live(), start=False)
    rig.store.fail("started")
    assert rig.progress((await requested(rig)).id).live_sha is None


@pytest.mark.parametrize(
    ("now", "proven"),
    [(OLD, OLD_SHA), (RESTARTED_OLD, OLD_SHA), (STRANGER, None)],
)
@in_virtual_time
async def test_at_the_start_the_containers_say_whether_it_still_is_what_was_proven(
    now: Container, proven: str | None
) -> None:
    rig = a_rig(live(OLD_SHA), dokku=FakeDokku(now=containers(now), metadata=METADATA))
    row = await requested(rig)
    await rig.dokku.stream()
    row = await rig.until(lambda: rig.row(row.id).started_at, row.id)
    assert row.before is not None
    assert row.before.proven == proven
    assert row.previous_sha == (proven or SHA)


def stale() -> StoreError:
    return StaleState("it changed")
