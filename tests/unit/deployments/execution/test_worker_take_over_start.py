"""A replica dies while it sends Dokku's command: the next one finds out whether it was sent."""

from dataclasses import replace

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.timing import Timing
from tests.support.builders import OTHER_RELEASE, containers
from tests.support.fake_dokku import BUILDING, DOWN, FakeDokku
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time


async def killed(rig: Rig) -> Rig:
    """Kill the replica, and start another on the same database and server."""
    await rig.crash()
    return a_rig(store=rig.store, dokku=rig.dokku)


@in_virtual_time
async def test_kill_before_the_command_was_sent_requeues() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(login_s=30))
    await rig.until_phase(Phase.STARTING)
    await rig.passes(1)
    again = await killed(rig)
    rig.dokku.login_s = 0.1
    stream = await rig.dokku.stream()
    await again.passes(2)
    stream.succeed()
    row = await again.until_ended(within_s=120)
    assert (row.phase, row.attempt) == (Phase.SUCCEEDED, 1)
    assert again.store.event_types(row.id) == ["deployment.started", "deployment.finished"]
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_handover_before_the_record_appears_does_not_start_twice() -> None:
    """The command was just sent: its record is not there yet, and it must not run twice."""
    rig = a_rig(waiting())
    rig.dokku.record_after_s = 3
    await rig.until_phase(Phase.STARTING)
    await rig.dokku.stream()
    rig.store.rows[rig.row().id] = replace(rig.row(), started_at=None)
    await rig.crash()
    rig.store.leases[rig.row().id].until = 0
    again = a_rig(store=rig.store, dokku=rig.dokku)
    await again.passes(20)
    assert again.row().phase is Phase.STARTING
    assert len(rig.dokku.streams) == 1
    rig.dokku.streams[0].succeed()
    row = await again.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert again.store.event_types(row.id) == ["deployment.started", "deployment.finished"]


@in_virtual_time
async def test_unanswered_question_at_takeover_is_retried() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(login_s=30))
    await rig.until_phase(Phase.STARTING)
    again = await killed(rig)
    rig.dokku.login_s = 0.1
    rig.dokku.fail("builds", times=3)
    stream = await rig.dokku.stream()
    await again.passes(3)
    stream.succeed()
    assert (await again.until_ended(within_s=120)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_free_lock_on_old_dokku_allows_a_second_attempt() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(login_s=30, keeps=False))
    await rig.until_phase(Phase.STARTING)
    again = await killed(rig)
    rig.dokku.login_s = 0.1
    (await rig.dokku.stream()).succeed()
    row = await again.until_ended(within_s=120)
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 2)


@in_virtual_time
async def test_kill_before_the_second_command_ends_as_interrupted() -> None:
    rig = a_rig(waiting())
    (await rig.begun()).say(*BUILDING)
    await rig.passes(5)
    again = await killed(rig)
    rig.dokku.login_s = 30
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    await again.until(lambda: again.row().attempt == 2)
    await again.passes(1)
    third = await killed(again)
    row = await third.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1


@in_virtual_time
async def test_another_release_before_second_command_is_unknown() -> None:
    rig = a_rig(waiting())
    (await rig.begun()).say(*BUILDING)
    await rig.passes(5)
    again = await killed(rig)
    rig.dokku.login_s = 30
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    await again.until(lambda: again.row().attempt == 2)
    await again.passes(1)
    third = await killed(again)
    rig.dokku.now = containers(OTHER_RELEASE)
    row = await third.until_ended(within_s=120)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.UNKNOWN)


@in_virtual_time
async def test_unsent_command_is_corrected_later_to_never_began() -> None:
    """Only the server knows whether the command was sent, and it was down until then."""
    rig = a_rig(waiting())
    rig.dokku.hanging.add("deploy")
    await rig.until_phase(Phase.STARTING)
    await rig.passes(1)
    again = await killed(rig)
    rig.dokku.down = DOWN
    row = await again.until_ended()
    assert (row.failure, row.live) == (Failure.LOST_CONTACT, Live.UNKNOWN)
    rig.dokku.down = None
    await again.late.look()
    await again.passes(Timing().sent_lives_on.total_seconds() - 10)
    assert again.row().failure is Failure.LOST_CONTACT
    await again.late.look()
    await again.passes(15)
    assert again.row().failure is Failure.LOST_CONTACT
    await again.late.look()
    await again.passes(5)
    row = again.row()
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert "before Dokku's command started, so nothing ran" in (row.reason or "")
    assert not rig.dokku.streams


@in_virtual_time
async def test_sent_command_is_not_corrected_to_never_began() -> None:
    rig = a_rig(waiting())
    rig.dokku.hanging.add("deploy")
    await rig.until_phase(Phase.STARTING)
    await rig.passes(1)
    again = await killed(rig)
    rig.dokku.down = DOWN
    await again.until_ended()
    rig.dokku.down = None
    rig.dokku.add_record("b1", BuildStatus.RUNNING)
    await again.late.look()
    await again.passes(5)
    assert again.row().live is Live.UNKNOWN
    rig.dokku.set_status("b1", BuildStatus.ABANDONED)
    await again.late.look()
    await again.passes(5)
    assert "Dokku's command died with it" in (again.row().reason or "")
