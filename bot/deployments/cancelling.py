"""Cancels one running deploy on Dokku: ours alone, and only when that can be told."""

import asyncio
import contextlib
from datetime import timedelta

from bot.clock import Clock
from bot.deployments.evidence import EvidenceReader
from bot.deployments.held import Held
from bot.deployments.model import BuildStatus, Phase
from bot.deployments.ports import DeployStream, Dokku
from bot.errors import DokkuError

TRIES = 5
PAUSE = timedelta(seconds=1)


class Canceller:
    """`builds:cancel` takes no id: it kills whatever holds the app's lock.

    So it is sent only while our own command is open, has passed fetching (it holds the lock) and
    our own record is shown running. Where that never comes true within 5 tries, our own channel
    is closed instead, and the deploy dies at its next line (recordings l1 to l6, m2).
    """

    def __init__(
        self,
        *,
        held: Held,
        dokku: Dokku,
        reader: EvidenceReader,
        stream: DeployStream,
        clock: Clock,
    ) -> None:
        self._held = held
        self._dokku = dokku
        self._reader = reader
        self._stream = stream
        self._clock = clock
        self.ended = asyncio.Event()
        """Set by the owner when the stream has ended."""

    async def run(self) -> None:
        """Return when the command has ended, or its channel was closed."""
        for _ in range(TRIES):
            with contextlib.suppress(DokkuError):  # asked again; the last resort needs no answer
                if await self._is_ours_alone():
                    await self._dokku.cancel_build(self._held.row.dokku_app)
            if await self._ended_within(PAUSE):
                return
        await self._stream.close()

    async def _is_ours_alone(self) -> bool:
        if self._stream.facts.phase not in {Phase.BUILDING, Phase.RELEASING}:
            return False
        record = await self._reader.record(self._held.row)
        return record is not None and record.status is BuildStatus.RUNNING

    async def _ended_within(self, pause: timedelta) -> bool:
        sleeping = asyncio.ensure_future(self._clock.sleep(pause))
        ending = asyncio.ensure_future(self.ended.wait())
        await asyncio.wait({sleeping, ending}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sleeping, ending):
            task.cancel()
        return self.ended.is_set()
