"""Cancels one running deploy on Dokku: ours alone, and only when that can be told."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.deployments.evidence import EvidenceReader
from bot.deployments.held import Held
from bot.deployments.lock import keeps_no_records
from bot.deployments.model import Phase
from bot.deployments.ports import DeployStream, Dokku
from bot.deployments.readings import BuildStatus
from bot.deployments.waits import first_of
from bot.errors import DokkuError

log = structlog.get_logger(__name__)

TRIES = 5
PAUSE = timedelta(seconds=1)


class Canceller:
    """`builds:cancel` takes no id: it kills whatever holds the app's lock.

    So it is sent only while our own command is open, has passed fetching (it holds the lock) and
    our own record is shown running. Where that never comes true within 5 tries, our own channel
    is closed instead, and the deploy dies at its next line (recordings l1 to l6, m2). Before
    0.38 there is neither: the channel is closed at once.
    """

    def __init__(
        self,
        *,
        held: Held,
        dokku: Dokku,
        reader: EvidenceReader,
        stream: DeployStream,
        ended: asyncio.Event,
        clock: Clock,
        acts: Callable[[], None],
    ) -> None:
        """`ended` is set by the owner when the stream has ended.

        `acts` is called just before anything is done to the command: it may end by itself first.
        """
        self._held = held
        self._dokku = dokku
        self._reader = reader
        self._stream = stream
        self._ended = ended
        self._clock = clock
        self._acts = acts

    async def run(self) -> None:
        """Return when the command has ended, its channel was closed, or it is not ours any more."""
        for _ in range(0 if keeps_no_records(self._held.row) else TRIES):
            try:
                if await self._is_ours_alone() and not self._is_over():
                    self._acts()
                    await self._dokku.cancel_build(self._held.row.dokku_app)
            except DokkuError as error:
                # Asked again; the last resort needs no answer.
                log.info("cancel_not_answered", deployment_id=self._held.id, why=str(error))
            except Exception:
                # Whatever breaks here, the last resort must be reached.
                log.exception("cancel_failed", deployment_id=self._held.id)
            sleep = self._clock.sleep(PAUSE)
            await first_of(sleep, self._ended.wait(), self._held.gone.wait())
            if self._is_over():
                return
        if not self._is_over():
            self._acts()
            await self._stream.close()

    async def _is_ours_alone(self) -> bool:
        if self._is_over() or self._stream.facts.phase not in {Phase.BUILDING, Phase.RELEASING}:
            return False
        record = await self._reader.record(self._held.row)
        return record is not None and record.status is BuildStatus.RUNNING

    def _is_over(self) -> bool:
        return self._ended.is_set() or self._held.lost
