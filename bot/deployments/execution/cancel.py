"""Cancels one running deploy on Dokku: ours alone, and only when that can be told."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import structlog

from bot.aio import first_of
from bot.clock import Clock
from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.execution.owned import OwnedDeployment
from bot.deployments.ports import DeployStream, Dokku, Urgency
from bot.deployments.verdict import deploy_lock
from bot.deployments.verdict.collector import EvidenceReader
from bot.errors import DokkuError

log = structlog.get_logger(__name__)

TRIES = 5
PAUSE = timedelta(seconds=1)
ITS_FETCH = "the end of Dokku's fetch, to stop it there"


class Canceller:
    """`builds:cancel` takes no id: it kills whatever holds the app's deploy lock.

    So it is sent only while our own command is open, has passed fetching (it holds the lock) and
    our own record is shown running. Where that never comes true within 5 tries, our own channel
    is closed instead, and the deploy dies at its next line (recordings l1 to l6, m2).

    Before 0.38 there is neither, and the app's lock is the only proof of a death. A build holds
    it: the channel is closed at once, and the lock is free 2 s later (recording m1). A fetch does
    not hold it yet, so nothing would show that a silent one is dead. It is let go on for
    `FETCH_MAY_END_WITHIN`: it ends by itself, or its build begins and is hung up on at that
    instant, long before any release.
    """

    def __init__(
        self,
        *,
        held: OwnedDeployment,
        dokku: Dokku,
        reader: EvidenceReader,
        stream: DeployStream,
        builds: asyncio.Event,
        ended: asyncio.Event,
        clock: Clock,
        acts: Callable[[], None],
    ) -> None:
        """The owner sets `builds` when the output tells of the build, `ended` when it has ended.

        `acts` is called just before anything is done to the command: it may end by itself first.
        """
        self._held = held
        self._dokku = dokku
        self._reader = reader
        self._stream = stream
        self._builds = builds
        self._ended = ended
        self._clock = clock
        self._acts = acts

    async def run(self) -> None:
        """Return when the command has ended, its channel was closed, or it may not be touched."""
        if deploy_lock.keeps_no_records(self._held.row):
            await self._let_it_fetch()
        else:
            await self._ask_dokku()
        if not self._is_over():
            self._acts()
            await self._stream.close()

    async def _let_it_fetch(self) -> None:
        if self._builds.is_set():
            return
        self._held.note(Urgency.PHASE, waits_for=ITS_FETCH)
        await self._pause(deploy_lock.FETCH_MAY_END_WITHIN, self._builds.wait())
        self._held.note(waits_for=None)

    async def _ask_dokku(self) -> None:
        for _ in range(TRIES):
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
            await self._pause(PAUSE)
            if self._is_over():
                return

    async def _pause(self, duration: timedelta, *until: Coroutine[Any, Any, object]) -> None:
        """At most so long: it ends with the command, and when it is not ours any more."""
        sleep = self._clock.sleep(duration)
        await first_of(sleep, self._ended.wait(), self._held.gone.wait(), *until)

    async def _is_ours_alone(self) -> bool:
        if self._is_over() or not self._builds.is_set():
            return False
        record = await self._reader.record(self._held.row)
        return record is not None and record.status is BuildStatus.RUNNING

    def _is_over(self) -> bool:
        return self._ended.is_set() or not self._held.may_act
