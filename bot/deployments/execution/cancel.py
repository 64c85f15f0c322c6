"""Cancels one running deploy on Dokku: only this deployment's, and only if that is certain."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import structlog

from bot.clock import first_of
from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.execution.attempt import Attempt
from bot.deployments.execution.owned import OwnedDeployment, WorkerContext
from bot.deployments.model import Phase
from bot.deployments.ports import DeployStream, Dokku, Urgency
from bot.deployments.verdict.collector import EvidenceCollector
from bot.deployments.verdict.run_proof import proof_for
from bot.errors import DokkuError, StaleState

log = structlog.get_logger(__name__)

WAITS_FOR_FETCH = "Dokku's fetch to end, so that it can be stopped"


class Canceller:
    """`builds:cancel` takes no id: it kills whatever holds the app's deploy lock.

    So it is sent only while this deployment's command is open and has passed fetching (it holds
    the lock), and its record is shown running. If that is not so within 5 tries, the connection is
    closed instead, and the deploy dies at its next line (recordings l1 to l6, m2).

    Before 0.38 there is neither, and the deploy lock is the only proof of a death. A build holds
    it: the connection is closed at once, and the lock is free 2 s later (recording m1). A fetch
    does not hold it yet, so nothing would show that a silent one is dead. It may go on for
    `RunProof.fetch_wait`: it ends by itself, or its build begins and is hung up on at that
    instant, long before any release.

    A command in a one-off container does not die with any connection of the bot: `builds:cancel`
    is tried again at each poll, as long as its container runs.
    """

    def __init__(
        self,
        owned: OwnedDeployment,
        dokku: Dokku,
        collector: EvidenceCollector,
        attempt: Attempt,
        stream: DeployStream,
        context: WorkerContext,
    ) -> None:
        """`stream` is the open connection to the command of this attempt."""
        self._owned = owned
        self._dokku = dokku
        self._collector = collector
        self._attempt = attempt
        self._stream = stream
        self._clock = context.clock
        self._timing = context.timing
        self._proof = proof_for(owned.row.before, dokku, clock=context.clock, timing=context.timing)

    async def run(self) -> None:
        """Return when the command has ended, its connection was closed, or it is not to touch."""
        await self._owned.refresh_cancel_request()
        if self._attempt.stream_ended.is_set() or not await self._enter_cancelling():
            return  # it ended by itself
        await self._let_it_fetch()
        await self._ask_dokku()
        if not self._is_over() and self._proof.hangs_up:
            self._note_who_stops_it()
            await self._stream.close()

    async def _enter_cancelling(self) -> bool:
        request = self._owned.row.cancel
        detail = {"asked_by": request.by.user if request else "the time cap"}
        if self._owned.row.phase is Phase.CANCELLING:
            return True
        if not self._owned.can_move(Phase.CANCELLING):
            return False
        try:
            await self._owned.move(Phase.CANCELLING, "cancelling", detail=detail)
        except StaleState:
            return False
        return True

    async def _let_it_fetch(self) -> None:
        if not self._proof.fetch_wait or self._attempt.building.is_set():
            return
        self._owned.note(Urgency.PHASE, waits_for=WAITS_FOR_FETCH)
        await self._pause(self._proof.fetch_wait, self._attempt.building.wait())
        self._owned.note(waits_for=None)

    async def _ask_dokku(self) -> None:
        for _ in range(self._proof.cancel_tries):
            may_send = self._while_fresh()
            try:
                if await self._is_certain() and not self._is_over():
                    self._note_who_stops_it()
                    await self._dokku.cancel_build(self._owned.row.dokku_app, may_send=may_send)
            except DokkuError as error:
                # Asked again; closing the connection needs no answer.
                log.info("cancel_not_answered", deployment_id=self._owned.id, why=str(error))
            except Exception:
                # Whatever breaks here, the connection must be closed in the end.
                log.exception("cancel_failed", deployment_id=self._owned.id)
            await self._pause(self._timing.cancel_pause)
            if self._is_over():
                return

    async def _pause(self, longest: timedelta, *until: Coroutine[Any, Any, object]) -> None:
        """Ends early with the command, and when another replica owns the deployment."""
        sleep = self._clock.sleep(longest)
        await first_of(sleep, self._attempt.stream_ended.wait(), self._owned.gone.wait(), *until)

    def _while_fresh(self) -> Callable[[], bool]:
        """Whether what is asked from now on still counts when the cancel is about to be sent."""
        fresh_s = self._timing.record_fresh.total_seconds() * self._dokku.pace.patience
        until = self._clock.monotonic() + fresh_s
        return lambda: not self._is_over() and self._clock.monotonic() < until

    async def _is_certain(self) -> bool:
        """Whether what holds the app's lock is this deployment's build."""
        if self._is_over() or not self._attempt.building.is_set():
            return False
        row = self._owned.row
        record = await self._collector.record(row)
        runs = record is not None and record.status is BuildStatus.RUNNING
        return record is not None and runs and await self._proof.is_its_own(row, record)

    def _note_who_stops_it(self) -> None:
        # Noted just before anything is done to the command: it may end by itself first. Only the
        # time limit cancels without a request.
        if self._owned.row.cancel is None:
            self._attempt.stopped_at_cap()

    def _is_over(self) -> bool:
        return self._attempt.stream_ended.is_set() or not self._owned.may_act
