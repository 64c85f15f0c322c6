"""The automatic second attempt, and starts that Dokku's deploy lock refuses."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import BuildRecord, BuildStatus
from bot.deployments.lock import Lock, Standing
from bot.deployments.model import Actor, Approval, Deployment, Failure, Live, Phase
from bot.deployments.ports import Urgency
from tests.support.fake_dokku import BUILDING, FakeDokku, FakeStream
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

LOCKED = ("> fetching", "> error locked web currently has a deploy lock in place.")


async def building(rig: Rig) -> FakeStream:
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    return stream


def die(rig: Rig, stream: FakeStream) -> None:
    """Lose the connection, and the deploy with it."""
    stream.lose()
    rig.dokku.set_status(stream.build_id, BuildStatus.ABANDONED)


@in_virtual_time
async def test_lost_connection_starts_again_and_posts_a_note() -> None:
    rig = a_rig(waiting())
    die(rig, await building(rig))
    second = await rig.dokku.stream(2)
    second.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.attempt) == (Phase.SUCCEEDED, 2)
    notes = [event.text for _, event in rig.store.events if event.type == "deployment.note"]
    assert notes == [
        "The connection to the server was lost before the release. Starting web again, once."
    ]
    log = await rig.store.logs.read(row.id)
    assert log.count("started again") == 1


@pytest.mark.parametrize("keeps", [True, False])
@in_virtual_time
async def test_second_start_shows_nothing_that_the_first_one_printed(keeps: bool) -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=keeps))
    stream = await building(rig)
    stream.say("of the first start")
    await rig.passes(3)
    assert "of the first start" in rig.progress(waiting().id).tail
    die(rig, stream)
    second = await rig.dokku.stream(2)
    assert rig.progress(waiting().id).tail == ()
    second.say("> error build_failed no such file")
    second.end(1, BuildStatus.FAILED, 1)
    row = await rig.until_ended(within_s=60)
    assert row.attempt == 2
    assert "of the first start" not in rig.progress(row.id).excerpt
    log = await rig.store.logs.read(row.id)
    first, second_log = log.split("started again")
    assert "of the first start" in first
    assert "no such file" in second_log


@in_virtual_time
async def test_connection_lost_before_any_output_starts_again() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    await rig.passes(2)
    die(rig, stream)
    (await rig.dokku.stream(2)).succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.attempt) == (Phase.SUCCEEDED, 2)
    assert "started_again" in rig.store.actions(row.id)


@in_virtual_time
async def test_second_lost_connection_ends_as_interrupted() -> None:
    rig = a_rig(waiting())
    die(rig, await building(rig))
    second = await rig.dokku.stream(2)
    second.say(*BUILDING)
    await rig.passes(5)
    die(rig, second)
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 2


@in_virtual_time
async def test_outside_build_prevents_a_second_attempt() -> None:
    rig = a_rig(waiting())
    stream = await building(rig)
    rig.dokku.add_record("p1", source="git-hook")
    die(rig, stream)
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_newer_queued_deployment_prevents_a_second_attempt() -> None:
    newer = waiting(
        id="01NEWER", request_key="n", created_at=waiting().created_at + timedelta(seconds=1)
    )
    rig = a_rig(waiting(), newer)
    die(rig, await building(rig))
    row = await rig.until_ended(waiting().id, within_s=60)
    assert (row.failure, row.attempt) == (Failure.INTERRUPTED, 1)
    (await rig.dokku.stream(2)).succeed()
    assert (await rig.until_ended(newer.id, within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_newer_request_that_ended_before_its_start_prevents_no_second_attempt() -> None:
    rejected = waiting(
        id="01NEWER",
        request_key="n",
        created_at=waiting().created_at + timedelta(seconds=1),
        phase=Phase.FAILED,
        failure=Failure.REJECTED,
    )
    rig = a_rig(waiting(), rejected)
    die(rig, await building(rig))
    (await rig.dokku.stream(2)).succeed()
    row = await rig.until_ended(waiting().id, within_s=60)
    assert (row.phase, row.attempt) == (Phase.SUCCEEDED, 2)


@in_virtual_time
async def test_newer_request_that_awaits_its_approval_prevents_no_second_attempt() -> None:
    asked = waiting(
        id="01NEWER",
        request_key="n",
        created_at=waiting().created_at + timedelta(seconds=1),
        queued_at=None,
        phase=Phase.AWAITING_APPROVAL,
        approval=Approval.SECOND_PERSON,
    )
    rig = a_rig(waiting(), asked)
    die(rig, await building(rig))
    (await rig.dokku.stream(2)).succeed()
    row = await rig.until_ended(waiting().id, within_s=60)
    assert (row.phase, row.attempt) == (Phase.SUCCEEDED, 2)
    assert rig.row(asked.id).phase is Phase.AWAITING_APPROVAL


@pytest.mark.parametrize("set_late", [False, True], ids=["before the look", "at the start"])
@in_virtual_time
async def test_lock_that_prevents_a_second_attempt_is_named(
    set_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = a_rig(waiting())
    stream = await building(rig)
    lock = Lock(
        id="01LOCK",
        key=waiting().target,
        app="web",
        holder=Actor(user="U0GRACE", team="T01", name="grace"),
        reason="migration",
        since=rig.clock.now(),
    )
    if set_late:
        real = rig.store.newer

        async def newer(deployment: Deployment) -> Sequence[Deployment]:
            found = await real(deployment)
            look = rig.store.locks.standing

            async def standing() -> Standing:
                shown = await look()
                rig.store.locks.held.append(lock)
                return shown

            if not rig.store.locks.held:
                monkeypatch.setattr(rig.store.locks, "standing", standing)
            return found

        monkeypatch.setattr(rig.store, "newer", newer)
    else:
        rig.store.locks.held.append(lock)
    die(rig, stream)
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.attempt) == (Failure.INTERRUPTED, 1)
    assert "not started again" in (row.reason or "")
    assert "web on production is locked by grace until someone unlocks it: migration." in (
        row.reason or ""
    )
    assert "The previous release is still serving." in (row.reason or "")


@in_virtual_time
async def test_unknown_commit_prevents_a_second_attempt() -> None:
    rig = a_rig(waiting(sha=None), dokku=FakeDokku(fetched=None))
    die(rig, await building(rig))
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.attempt) == (Failure.INTERRUPTED, 1)


@in_virtual_time
async def test_unanswered_question_prevents_a_second_attempt() -> None:
    rig = a_rig(waiting())
    stream = await building(rig)
    real = rig.store.newer

    async def newer(deployment: Deployment) -> Sequence[Deployment]:
        rig.dokku.fail("builds")
        return await real(deployment)

    rig.store.newer = newer  # type: ignore[method-assign]  # between the verdict and the start
    die(rig, stream)
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live, row.attempt) == (Failure.INTERRUPTED, Live.PREVIOUS, 1)


@in_virtual_time
async def test_failed_logins_of_second_attempt_end_as_unreachable() -> None:
    rig = a_rig(waiting())
    stream = await building(rig)
    rig.dokku.fail("deploy", times=3)
    die(rig, stream)
    row = await rig.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.SERVER_UNREACHABLE, Live.UNKNOWN)
    assert row.started_at is not None


@in_virtual_time
async def test_unwritable_log_does_not_delay_the_second_attempt() -> None:
    rig = a_rig(waiting())
    stream = await building(rig)
    rig.store.fail("append_log")
    die(rig, stream)
    (await rig.dokku.stream(2)).succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.attempt) == (Phase.SUCCEEDED, 2)


@in_virtual_time
async def test_cancel_of_a_start_refused_by_the_lock_succeeds() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*LOCKED)
    await rig.passes(2)
    await rig.cancel()
    await rig.passes(0.5)
    stream.end(1)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert rig.dokku.cancels == []
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_refusal_as_first_output_requeues() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(LOCKED[1])
    stream.end(1)
    await rig.until_phase(Phase.QUEUED)
    row = rig.row()
    assert (row.exit_status, row.started_at, row.attempt) == (None, None, 1)
    (await rig.dokku.stream(2)).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_refused_start_cancelled_in_queue_reports_what_serves() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*LOCKED)
    stream.end(1)
    await rig.until_phase(Phase.QUEUED)
    await rig.cancel()
    assert (rig.row().phase, rig.row().live) == (Phase.CANCELLED, Live.PREVIOUS)


@in_virtual_time
async def test_old_dokku_waits_for_the_lock() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=False, locked=True))
    await rig.passes(30)
    assert rig.row().phase is Phase.QUEUED
    assert rig.progress().waits_for == (
        "another deploy outside the bot (Dokku shows only its lock)"
    )
    rig.dokku.locked = False
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_usual_duration_is_shown_after_three_good_deployments() -> None:
    base = waiting().created_at
    good = [
        waiting(
            id=f"01GOOD{n}",
            phase=Phase.SUCCEEDED,
            live=Live.NEW,
            request_key=f"g{n}",
            created_at=base - timedelta(hours=n),
            started_at=base - timedelta(hours=n),
            finished_at=base - timedelta(hours=n) + timedelta(seconds=60 + n),
        )
        for n in range(1, 4)
    ]
    rig = a_rig(*good, waiting())
    await rig.dokku.stream()
    await rig.passes(1)
    assert rig.progress(waiting().id).usual == timedelta(seconds=62)


@in_virtual_time
async def test_message_never_shows_a_wait_that_is_over() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=False, locked=True), start=False)
    shown: list[tuple[Phase, str | None]] = []

    def look(deployment_id: str, _urgency: Urgency) -> None:
        # Edits are made between two awaits of the worker.
        asyncio.get_running_loop().call_soon(
            lambda: shown.append((rig.row().phase, rig.progress(deployment_id).waits_for))
        )

    rig.announcer.changed = look  # type: ignore[assignment]
    rig.start()
    await rig.passes(6)
    rig.dokku.locked = False
    (await rig.begun()).succeed()
    await rig.until_ended(within_s=60)
    assert (Phase.QUEUED, "another deploy outside the bot (Dokku shows only its lock)") in shown
    assert {waits for phase, waits in shown if phase is not Phase.QUEUED} == {None}


@in_virtual_time
async def test_connection_lost_before_dokku_began_starts_again_at_once() -> None:
    """No record half a second after the start means that nothing ran: no need to wait."""
    rig = a_rig(waiting(), dokku=FakeDokku(makes_records=False))
    stream = await rig.begun()
    stream.lose()
    rig.dokku.makes_records = True
    (await rig.dokku.stream(2)).succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 2)


@in_virtual_time
async def test_second_connection_lost_before_dokku_began_ends_it() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(makes_records=False))
    (await rig.begun()).lose()
    (await rig.dokku.stream(2)).lose()
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert (row.reason or "").startswith("The connection was lost before Dokku's command started")
    assert len(rig.dokku.streams) == 2


@in_virtual_time
async def test_cancel_prevents_restart_after_connection_lost_before_dokku_began() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(makes_records=False))
    stream = await rig.begun()
    await rig.cancel()
    stream.lose()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_record_that_appears_late_prevents_a_second_attempt() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(record_after_s=3))
    stream = await rig.begun()
    stream.lose()
    await rig.passes(30)
    assert rig.row().phase is Phase.STARTING
    rig.dokku.set_status(stream.build_id, BuildStatus.FAILED, 1)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, row.attempt) == (Phase.FAILED, Live.PREVIOUS, 1)


@in_virtual_time
async def test_any_output_proves_that_dokku_began() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(makes_records=False))
    stream = await rig.begun()
    stream.say("> fetching")
    await rig.passes(1)
    stream.lose()
    await rig.passes(120)
    assert rig.row().phase is Phase.FETCHING
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_cancel_while_reading_the_evidence_ends_as_cancelled() -> None:
    """Requested after the request was last read and before the second start."""
    rig = a_rig(waiting())
    stream = await building(rig)
    rig.dokku.answer_s = 2.0
    die(rig, stream)
    await rig.passes(1)
    await rig.cancel()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


class SlowBuilds(FakeDokku):
    """One answer about the records is read at once but delivered late."""

    delay_s = 0.0

    async def builds(self, app: str) -> Sequence[BuildRecord]:
        records, delay_s = await super().builds(app), self.delay_s
        self.delay_s = 0.0
        await asyncio.sleep(delay_s)
        return records


@in_virtual_time
async def test_late_poll_answer_about_first_attempt_is_ignored() -> None:
    dokku = SlowBuilds()
    rig = a_rig(waiting(), dokku=dokku)
    first = await building(rig)
    (deployment_id,) = rig.store.rows
    dokku.delay_s = 6.0
    poll = asyncio.create_task(rig.dispatcher.poll(deployment_id))
    await rig.passes(0.2)
    die(rig, first)
    second = await dokku.stream(2)
    assert not poll.done()
    await poll
    await rig.passes(12)
    row = await rig.store.get(deployment_id)
    assert row is not None
    assert (row.attempt, row.build_id) == (2, second.build_id)
    second.succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED
