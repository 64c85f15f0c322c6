"""Late verdicts from streams that end after the result, and deploys that never began."""

from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.model import Deployment, Failure, Live, LogFacts, Phase
from bot.deployments.timing import Timing
from tests.support.builders import (
    NEW,
    NOW,
    a_container,
    containers,
)
from tests.support.fake_dokku import DOWN, GOOD, read_facts
from tests.support.lost_deployments import (
    a_lost_deployment,
    an_idle_rig,
    build_succeeds,
    late_look,
)
from tests.support.virtual_time import in_virtual_time, set_wall_clock, settle

SLOW_S = 5.0


@in_virtual_time
async def test_ended_stream_corrects_at_once() -> None:
    rig = an_idle_rig(a_lost_deployment())
    rig.dokku.keeps = False
    build_succeeds(rig.dokku)
    # The image did not change: only the stream shows whose container it is.
    rig.dokku.now = containers(a_container(NEW.id))
    assert (await late_look(rig)).live is Live.UNKNOWN
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    assert (rig.row().phase, rig.row().live) == (Phase.SUCCEEDED, Live.NEW)
    assert rig.row().exit_status == 0


@in_virtual_time
async def test_stream_that_ends_during_a_look_is_still_used() -> None:
    rig = an_idle_rig(a_lost_deployment())
    rig.dokku.keeps = False
    build_succeeds(rig.dokku)
    rig.dokku.answer_s = SLOW_S
    await rig.late.look()
    await rig.passes(SLOW_S)
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    await rig.passes(60)
    assert (rig.row().phase, rig.row().live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_facts_of_the_stream_are_kept_during_a_server_outage() -> None:
    rig = an_idle_rig(a_lost_deployment())
    rig.dokku.keeps = False
    build_succeeds(rig.dokku)
    rig.dokku.down = DOWN
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    assert rig.row().live is Live.UNKNOWN
    rig.dokku.down = None
    assert (await late_look(rig)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_unanswered_look_for_an_ended_stream_is_repeated_at_once() -> None:
    rig = an_idle_rig(a_lost_deployment())
    rig.dokku.keeps = False
    build_succeeds(rig.dokku)
    rig.dokku.fail("builds", DOWN, times=2)
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    assert (rig.row().phase, rig.row().live) == (Phase.SUCCEEDED, Live.NEW)
    assert rig.clock.monotonic() < rig.timing.late_interval.total_seconds()


@in_virtual_time
async def test_look_for_an_ended_stream_gives_up_while_the_server_is_down() -> None:
    rig = an_idle_rig(a_lost_deployment())
    rig.dokku.down = DOWN
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    assert rig.row().live is Live.UNKNOWN
    assert rig.dokku.asked.count("builds") == rig.timing.max_poll_errors


@pytest.mark.parametrize(
    "row", [a_lost_deployment(live=Live.PREVIOUS), a_lost_deployment(late_over=True)]
)
@in_virtual_time
async def test_proven_or_abandoned_result_is_not_read_again(row: Deployment) -> None:
    rig = an_idle_rig(row)
    build_succeeds(rig.dokku)
    await rig.late.stream_ended(row, 0, read_facts(GOOD))
    await late_look(rig)
    assert rig.row() == row
    assert rig.dokku.asked == []


@in_virtual_time
async def test_stream_of_a_deleted_row_is_ignored() -> None:
    rig = an_idle_rig()
    await rig.late.stream_ended(a_lost_deployment(), 0, LogFacts())
    await settle()
    assert rig.dokku.asked == []


@in_virtual_time
async def test_stream_facts_leave_memory_after_the_correction() -> None:
    rig = an_idle_rig(a_lost_deployment())
    rig.dokku.keeps = False
    build_succeeds(rig.dokku)
    await rig.late.stream_ended(rig.row(), 0, read_facts(GOOD))
    await late_look(rig)
    assert rig.late._stream_ends == {}


@pytest.mark.parametrize("stream_ended", [True, False])
@in_virtual_time
async def test_no_output_and_no_record_prove_it_never_began(
    stream_ended: bool,
) -> None:
    rig = an_idle_rig(
        a_lost_deployment(
            build_id=None, finished_at=NOW - Timing().sent_lives_on - timedelta(seconds=1)
        )
    )
    rig.dokku.records.clear()
    if stream_ended:
        await rig.late.stream_ended(rig.row(), None, LogFacts())
    row = await late_look(rig)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS)


@pytest.mark.parametrize(
    "changes",
    [
        {"finished_at": NOW - Timing().sent_lives_on + timedelta(seconds=60)},
        {"finished_at": NOW - timedelta(hours=1), "build_id": "b0"},
        {"finished_at": NOW - timedelta(hours=1), "started_at": None},
    ],
    ids=["too early to say", "it had a record once", "it was never on its way"],
)
@in_virtual_time
async def test_missing_record_alone_does_not_prove_it_never_began(changes: dict[str, Any]) -> None:
    rig = an_idle_rig(a_lost_deployment(**{"build_id": None} | changes))
    rig.dokku.records.clear()
    assert (await late_look(rig)).live is Live.UNKNOWN


@in_virtual_time
async def test_clock_that_is_set_forward_proves_nothing_sooner() -> None:
    rig = an_idle_rig(a_lost_deployment(build_id=None, finished_at=NOW))
    rig.dokku.records.clear()
    assert (await late_look(rig)).live is Live.UNKNOWN
    set_wall_clock(timedelta(hours=1))
    assert (await late_look(rig)).live is Live.UNKNOWN
    await rig.passes(Timing().sent_lives_on.total_seconds())
    assert (await late_look(rig)).live is Live.PREVIOUS


@in_virtual_time
async def test_any_stored_output_proves_it_began() -> None:
    rig = an_idle_rig(a_lost_deployment(build_id=None, finished_at=NOW - timedelta(hours=1)))
    rig.dokku.records.clear()
    rig.store.logs[a_lost_deployment().id] = ["> fetching"]
    assert (await late_look(rig)).live is Live.UNKNOWN
