"""The store's transaction, then the cache, then Slack."""

from dataclasses import replace

import pytest

from bot.deployments.model import BOT, AuditEntry, Event, Phase, Progress, Who
from bot.deployments.ports import Urgency
from bot.errors import StaleState
from tests.support.rig import a_rig, waiting
from tests.support.virtual_time import in_virtual_time

AUDIT = AuditEntry(actor=BOT, through="runner", action="ended")


@in_virtual_time
async def test_only_committed_rows_are_cached_and_announced() -> None:
    rig = a_rig(waiting(), start=False)
    ended = replace(rig.row(), phase=Phase.FAILED)
    rig.store.fail("save", StaleState("it changed"))
    with pytest.raises(StaleState):
        await rig.deployments.save(ended, was=Phase.QUEUED, by=Who.SERVICE, audit=AUDIT)
    assert rig.cache.get(ended.id) is None
    assert rig.announcer.changes == []
    await rig.deployments.save(ended, was=Phase.QUEUED, by=Who.SERVICE, audit=AUDIT)
    assert rig.announcer.changes == [(ended.id, Urgency.NOW)]
    assert rig.observer.ended_ids == [ended.id]


@in_virtual_time
async def test_phase_change_is_more_urgent_than_a_fact() -> None:
    rig = a_rig(start=False)
    row = waiting()
    rig.deployments.adopt(row, was=Phase.QUEUED)
    rig.deployments.adopt(replace(row, phase=Phase.STARTING), was=Phase.QUEUED)
    assert [urgency for _, urgency in rig.announcer.changes] == [Urgency.ROUTINE, Urgency.PHASE]


@in_virtual_time
async def test_unchanged_progress_is_not_announced() -> None:
    rig = a_rig(start=False)
    row = waiting()
    rig.cache.put(row)
    for _ in range(2):
        rig.deployments.note(row.id, Progress(step="step 1 of 2"))
        rig.deployments.note_waiting(row.id, position=1, waits_for="a git push")
    assert rig.announcer.changes == [
        (row.id, Urgency.ROUTINE),
        (row.id, Urgency.PHASE),
        (row.id, Urgency.ROUTINE),
        (row.id, Urgency.PHASE),
    ]
    rig.announcer.changes.clear()
    rig.deployments.note_waiting(row.id, position=1, waits_for="a git push")
    assert rig.announcer.changes == []


@in_virtual_time
async def test_correction_is_announced_with_highest_urgency() -> None:
    rig = a_rig(waiting(phase=Phase.FAILED), start=False)
    row = replace(rig.row(), reason="known now")
    event = Event(type="deployment.corrected")
    assert (await rig.deployments.correct(row, audit=AUDIT, event=event)).reason == "known now"
    assert rig.announcer.changes == [(row.id, Urgency.NOW)]
