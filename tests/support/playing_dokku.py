"""A fake Dokku whose deploys run by themselves, and die with their client like real ones."""

import asyncio
from collections.abc import Sequence

from bot.deployments.dokku_facts import BuildStatus
from tests.support.builders import METADATA, NEW, containers
from tests.support.fake_dokku import GOOD, FakeDokku, FakeStream

BUILDING = GOOD[1]
"""Line before which the lock is taken."""
SOURCE_AFTER_LOCK_S = 0.4
"""A successful deploy releases the lock first and then writes its source (recording 0.35.20 b)."""
SWITCH = GOOD[3]
"""Line after which the new release serves."""
FAILING = (*GOOD[:2], "> error build_failed ERROR: failed to solve")


class PlayingDokku(FakeDokku):
    """`lines` are printed one by one; `status` is how the command ends."""

    lines: Sequence[str] = GOOD
    status = 0
    line_s = 0.6

    def __init__(self, *, keeps: bool = True) -> None:
        super().__init__(keeps=keeps)
        self.most_alive = 0
        self._playing: list[FakeStream] = []

    @property
    def alive(self) -> frozenset[str]:
        """Builds that are running on the server."""
        return frozenset(one.build_id for one in self._playing if one.exit_status is None)

    async def watch(self) -> None:
        """Run each deploy that comes. Never returns."""
        playing: set[asyncio.Task[None]] = set()
        number = 1
        while True:
            task = asyncio.create_task(self._play(await self.stream(number)))
            playing.add(task)
            task.add_done_callback(playing.discard)
            number += 1

    @property
    def is_new(self) -> bool:
        """Whether the new release really serves."""
        return self.now == containers(NEW)

    async def _play(self, stream: FakeStream) -> None:
        self._playing.append(stream)
        self.most_alive = max(self.most_alive, len(self.alive))
        try:
            await self._run(stream)
        finally:
            self._playing.remove(stream)
            self._free_lock()

    async def _run(self, stream: FakeStream) -> None:
        for line in self.lines:
            await asyncio.sleep(self.line_s)
            if stream.exit_status is not None:
                return  # cancelled
            if stream.ended:
                self._die(stream)
                return
            stream.say(line)
            if line == BUILDING:
                self.locked = not self.keeps
            if line == SWITCH:
                self.now = containers(NEW)
        self._free_lock()
        if self.status == 0:
            await asyncio.sleep(SOURCE_AFTER_LOCK_S)
            self.metadata = METADATA
        await asyncio.sleep(0.2)
        if stream.exit_status is not None:
            return
        if stream.ended:
            # Nothing was left to print: it ended without its client.
            ended = BuildStatus.SUCCEEDED if self.status == 0 else BuildStatus.ABANDONED
            self._note(stream, ended, None)
        else:
            stream.end(self.status)

    def _free_lock(self) -> None:
        """Only a Dokku without records reads this flag; there a dead deploy releases the lock."""
        self.locked = False

    def _die(self, stream: FakeStream) -> None:
        """Its client is gone: the next line kills it."""
        if self.is_new:
            self._note(stream, BuildStatus.FAILED, 141)
        else:
            self._note(stream, BuildStatus.ABANDONED, None)

    def _note(self, stream: FakeStream, status: BuildStatus, code: int | None) -> None:
        stream.record_status, stream.record_code = status, code
        self.set_status(stream.build_id, status, code)
