"""A bot killed at any moment of a deploy: exactly one true result is reported."""

import asyncio
from collections.abc import Sequence

import pytest

from bot.deployments.model import Failure, Live, Phase
from tests.support.builders import METADATA, OLD, containers
from tests.support.fake_dokku import GOOD, FakeDokku
from tests.support.memory_store import MemoryStore
from tests.support.playing_dokku import FAILING, PlayingDokku
from tests.support.rig import a_rig, waiting
from tests.support.virtual_time import LoopClock, in_virtual_time


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
        new = dokku.is_new
        if row.phase is Phase.SUCCEEDED:
            assert new
            assert row.live is Live.NEW
            assert dokku.metadata == METADATA
        else:
            assert row.live is (Live.NEW if new else Live.PREVIOUS)
            assert status or new or row.failure is Failure.INTERRUPTED
        if status == 0 and not new:
            # Only a deploy that died before its release is started again.
            assert (row.failure, row.attempt) == (Failure.INTERRUPTED, 1)
            assert GOOD[2] in dokku.streams[0].printed
        assert len(dokku.streams) <= 2
        events = store.event_types(row.id)
        assert events.count("deployment.started") == 1
        assert events.count("deployment.finished") == 1
        assert store.owner(row.id) is None
        playing.cancel()

    run()


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize(("lines", "status"), [(GOOD, 0), (FAILING, 1)])
def test_bot_killed_at_any_moment_reports_one_true_result(
    lines: Sequence[str], status: int, *, clean: bool
) -> None:
    for moment in range(75):
        kill_at(moment, lines, status, clean=clean)


def test_fake_dokku_begins_with_the_old_release() -> None:
    assert FakeDokku().now == containers(OLD)
