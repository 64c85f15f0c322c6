"""An owner stops by the clock, not by an answer, before each act that has no fence."""

import asyncio

from bot.deployments.model import Phase
from tests.support.fake_dokku import FakeStream
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time


async def building() -> tuple[Rig, FakeStream]:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say("> fetching", "> building")
    await rig.until_phase(Phase.BUILDING)
    return rig, stream


async def logging_in_without_a_lease() -> Rig:
    """The deploy command waits for a slow login, in which the lease runs out."""
    rig = a_rig()
    rig.dokku.login_s = 30.0
    row = waiting()
    rig.store.rows[row.id], rig.store.leases[row.id] = row, rig.store.new_lease()
    rig.dispatcher.look_for_work()
    await rig.until_phase(Phase.STARTING)
    rig.store.fail("renew", times=6)
    await rig.until(lambda: rig.dokku.asked.count("deploy") == 1, row.id)
    return rig


@in_virtual_time
async def test_start_is_not_sent_when_the_lease_ran_out_during_the_login() -> None:
    rig = await logging_in_without_a_lease()
    await rig.passes(32)
    assert rig.dokku.streams == []
    assert rig.row().started_at is None
    stream = await rig.begun()  # the lease was renewed: it is sent now, once
    assert rig.dokku.streams == [stream]
    assert rig.dokku.asked.count("deploy") == 2


@in_virtual_time
async def test_start_that_was_withheld_looks_again_what_runs_meanwhile() -> None:
    rig = await logging_in_without_a_lease()
    rig.dokku.add_record("p1", source="git-hook")
    await rig.passes(40)
    assert rig.dokku.asked.count("deploy") == 1
    assert rig.row().phase is Phase.QUEUED
    assert "p1" in (rig.progress().waits_for or "")


@in_virtual_time
async def test_cancel_that_waited_for_its_turn_is_not_sent_without_a_lease() -> None:
    rig, stream = await building()
    await rig.passes(5)
    rig.store.hanging.add("renew")
    rig.dokku.cancel_s = 20.0
    await rig.cancel()
    await rig.passes(25)
    assert rig.dokku.asked.count("cancel_build") == 1
    assert rig.dokku.cancels == []
    assert not stream.closed
    rig.store.hanging.clear()
    rig.dokku.cancel_s = None
    await rig.until_ended()
    assert len(rig.dokku.cancels) == 1


@in_virtual_time
async def test_renewal_that_hangs_stops_the_owner_and_no_later_renewal() -> None:
    rig, _ = await building()
    rig.store.hanging.add("renew")
    await rig.passes(15.1)
    assert not rig.dispatcher.shows(rig.row().id)
    rig.store.hanging.clear()
    await rig.passes(10)
    assert rig.dispatcher.shows(rig.row().id)


@in_virtual_time
async def test_stopped_process_acts_on_nothing_until_it_has_asked_again() -> None:
    """SIGSTOP for a minute: no timer ran, so nothing told it that its lease is over."""
    rig, _ = await building()
    rig.store.hanging.add("renew")
    loop = asyncio.get_running_loop()
    loop._virtual.now_s += 60  # type: ignore[attr-defined]  # the clock goes on, the process did not
    assert not rig.dispatcher.shows(rig.row().id)
