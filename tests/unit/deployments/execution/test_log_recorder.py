"""The recorder always reads the stream on, and stores what it read in order."""

import asyncio
from dataclasses import replace

from bot.deployments.execution.attempt import FLUSH_BYTES, Attempt, LogRecorder
from bot.deployments.execution.owned import OwnedDeployment
from bot.deployments.model import Phase
from tests.support.fake_dokku import FakeStream
from tests.support.memory_store import refused
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time


class Recording:
    def __init__(
        self, rig: Rig, stream: FakeStream, recorder: LogRecorder, owned: OwnedDeployment
    ) -> None:
        self.rig, self.stream, self.recorder, self.owned = rig, stream, recorder, owned
        self.following = asyncio.create_task(recorder.follow())

    @property
    def stored(self) -> list[str]:
        return self.rig.store.logs.get(self.owned.id, [])


async def recording() -> Recording:
    rig = a_rig(waiting(phase=Phase.STARTING), start=False)
    fence = await rig.store.leases.claim(rig.row().id, "one", rig.timing.lease)
    rig.cache.put(rig.row())
    owned = OwnedDeployment(replace(rig.row(), fence=fence or 0), context=rig.context)
    stream = FakeStream(rig.dokku, "b1")
    recorder = LogRecorder(owned, stream, Attempt(rig.clock.monotonic()), rig.context)
    return Recording(rig, stream, recorder, owned)


@in_virtual_time
async def test_lines_are_stored_within_two_seconds() -> None:
    it = await recording()
    it.stream.say("one", "two")
    await it.rig.passes(1.6)
    assert it.stored == ["one", "two"]
    assert it.rig.progress().tail == ("one", "two")


@in_virtual_time
async def test_full_batch_is_stored_at_once() -> None:
    it = await recording()
    it.stream.say("x" * FLUSH_BYTES)
    await it.rig.passes(0.3)
    assert len(it.stored) == 1


@in_virtual_time
async def test_burst_of_lines_takes_few_writes() -> None:
    it = await recording()
    for number in range(100):
        it.stream.say(str(number))
        await it.rig.passes(0.001)
    it.stream.end(0)
    await it.following
    assert it.stored == [str(number) for number in range(100)]
    assert it.rig.store.calls.count("append_log") <= 3


@in_virtual_time
async def test_phase_follows_the_output_and_never_goes_back() -> None:
    it = await recording()
    it.stream.say("> fetching", "> building", "> releasing")
    await it.rig.passes(1)
    assert it.rig.row().phase is Phase.RELEASING
    it.stream.say("> building")
    await it.rig.passes(1)
    assert it.rig.row().phase is Phase.RELEASING


@in_virtual_time
async def test_store_outage_neither_stalls_the_stream_nor_loses_lines() -> None:
    it = await recording()
    it.rig.store.fail("append_log", times=50)
    for number in range(100):
        it.stream.say(f"line {number}")
        await it.rig.passes(0.5)
        assert it.stream.read == len(it.stream.printed)
    it.stream.end(0)
    await it.following
    assert it.stored == it.stream.printed


@in_virtual_time
async def test_refused_lines_do_not_delay_the_end() -> None:
    it = await recording()
    it.rig.store.fail("append_log", refused(), times=1000)
    it.stream.say("one")
    it.stream.end(0)
    async with asyncio.timeout(30):
        await it.following
    assert it.stored == []


@in_virtual_time
async def test_error_while_saving_the_phase_does_not_stop_recording() -> None:
    it = await recording()
    it.rig.store.fail("save", RuntimeError("a bug"), times=2)
    it.stream.say("> fetching")
    await it.rig.passes(1)
    it.stream.say("> building")
    await it.rig.passes(1)
    it.stream.say("> releasing")
    await it.rig.passes(2)
    assert it.rig.row().phase is Phase.RELEASING
    it.stream.end(0)
    await it.following
    assert it.stored == ["> fetching", "> building", "> releasing"]


@in_virtual_time
async def test_lost_lease_keeps_reading_but_stores_nothing() -> None:
    it = await recording()
    it.stream.say("before the loss")
    await it.rig.passes(2)
    it.owned.lose()
    it.stream.say("after the loss")
    await it.rig.passes(2)
    assert it.stream.read == 2
    it.stream.end(0)
    await it.following
    assert it.stored == ["before the loss"]
    assert it.rig.progress().tail == ("before the loss",)


@in_virtual_time
async def test_cancelled_recorder_leaves_no_task_running() -> None:
    it = await recording()
    it.stream.say("one")
    await it.rig.passes(0.1)
    it.following.cancel()
    await asyncio.gather(it.following, return_exceptions=True)
    assert it.stored == ["one"]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("record")]
