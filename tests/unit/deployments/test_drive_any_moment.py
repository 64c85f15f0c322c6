"""Killed at any moment of a deploy: no end is wrong, none is missing, none is told twice."""

import asyncio
from collections.abc import Sequence

import pytest

from bot.deployments.model import BuildStatus, Failure, Live, Phase
from tests.support.builders import METADATA, NEW, OLD, containers
from tests.support.fake_dokku import GOOD, FakeDokku, FakeStream
from tests.support.memory_store import MemoryStore
from tests.support.rig import a_rig, waiting
from tests.support.virtual_time import LoopClock, in_virtual_time

LINE_S = 0.6
SWITCH = GOOD[3]
"""Line after which the new release serves."""


class PlayingDokku(FakeDokku):
    """Deploys go by themselves, and die with their client."""

    lines: Sequence[str] = GOOD
    status = 0

    def play(self, stream: FakeStream) -> asyncio.Task[None]:
        return asyncio.create_task(self._play(stream))

    async def _play(self, stream: FakeStream) -> None:
        for line in self.lines:
            await asyncio.sleep(LINE_S)
            if stream.ended:
                # The client is gone: the next line kills it.
                switched = self.now == containers(NEW)
                status = BuildStatus.FAILED if switched else BuildStatus.ABANDONED
                self.mark(stream.build_id, status, 141 if switched else None)
                stream.record_status = status
                stream.record_code = 141 if switched else None
                return
            stream.say(line)
            if line == SWITCH:
                self.now = containers(NEW)
        if self.status == 0:
            self.metadata = METADATA
        await asyncio.sleep(0.2)
        if stream.ended:
            self.mark(stream.build_id, BuildStatus.SUCCEEDED)
            stream.record_status = BuildStatus.SUCCEEDED
        else:
            stream.end(self.status)

    async def watch(self) -> None:
        """Play each deploy that comes."""
        for number in range(1, 10):
            stream = await self.stream(number)
            await self._play(stream)


def kill_at(moment: int, lines: Sequence[str], status: int, *, clean: bool) -> None:
    @in_virtual_time
    async def run() -> None:
        dokku = PlayingDokku()
        dokku.lines, dokku.status = lines, status
        playing = asyncio.create_task(dokku.watch())
        store = MemoryStore(LoopClock())
        rig = a_rig(waiting(), store=store, dokku=dokku)
        await rig.passes(moment * 0.21)
        if clean:
            await rig.stop(timeout_s=0)
        else:
            await rig.crash()
        for stream in dokku.streams:
            stream.lose()
        again = a_rig(store=store, dokku=dokku)
        row = await again.until_ended(within_s=300)
        await again.passes(30)
        row = again.row()
        new = dokku.now == containers(NEW)
        if row.phase is Phase.SUCCEEDED:
            assert new
            assert row.live is Live.NEW
            assert dokku.metadata == METADATA
        else:
            assert row.live is (Live.NEW if new else Live.PREVIOUS)
            assert status or new or row.failure is Failure.INTERRUPTED
        if status == 0 and not new:
            # Only what died before its release is started again.
            assert (row.failure, row.attempt) == (Failure.INTERRUPTED, 1)
            assert GOOD[2] in dokku.streams[0].said
        assert len(dokku.streams) <= 2
        told = store.told(row.id)
        assert told.count("deployment.started") == 1
        assert told.count("deployment.finished") == 1
        assert store.owner(row.id) is None
        playing.cancel()

    run()


FAILING = (*GOOD[:2], "> error build_failed ERROR: failed to solve")


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize(("lines", "status"), [(GOOD, 0), (FAILING, 1)])
def test_killed_at_any_moment(lines: Sequence[str], status: int, *, clean: bool) -> None:
    for moment in range(75):
        kill_at(moment, lines, status, clean=clean)


def test_the_fakes_begin_with_the_old_release() -> None:
    assert FakeDokku().now == containers(OLD)
