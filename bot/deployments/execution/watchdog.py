"""Polls Dokku about one running deployment, and says what the worker must do about the answer."""

import asyncio
from enum import Enum, auto

from bot.clock import Ages
from bot.deployments.dokku_facts import Pace, says_no_such_app
from bot.deployments.execution.attempt import Attempt
from bot.deployments.execution.owned import OwnedDeployment, WorkerContext
from bot.deployments.model import Deployment
from bot.deployments.ports import DeployStream, Dokku
from bot.deployments.states import COMMAND_RUNS, FETCHED
from bot.deployments.verdict.outside_changes import note_about
from bot.deployments.verdict.run_proof import Polled, proof_for
from bot.errors import DokkuError


class Contact(Enum):
    """What one poll shows of the connection to the command."""

    FINE = auto()
    DEAD = auto()
    """The command is over, but its connection does not end: give up the connection."""
    APP_GONE = auto()
    """Dokku answers that the app does not exist."""
    LOST = auto()
    """Too many polls in a row failed, and the connection is silent too."""


class Cap(Enum):
    """Where a deployment is with regard to its longest duration."""

    NOT_REACHED = auto()
    REACHED = auto()
    """Stop it."""
    OVER = auto()
    """A cancel had time to show: do not wait any longer."""


class Watchdog:
    """One cheap question a poll. It closes and ends nothing."""

    def __init__(self, owned: OwnedDeployment, dokku: Dokku, context: WorkerContext) -> None:
        self._owned = owned
        self._dokku = dokku
        self._timing = context.timing
        silence = context.timing.silent_intervals * context.timing.poll_interval
        self._silence_s = silence.total_seconds()
        """How long a connection may send nothing and still count as contact."""
        self._clock = context.clock
        self._failed_polls = 0
        self._answers = 0
        """Questions that the server had answered at the last poll."""
        self._over_since: float | None = None
        """When a poll first showed that the command is over, while its connection was open."""
        self._cap_reached_at: float | None = None
        self._ages = Ages(context.clock)

    async def poll(self, attempt: Attempt) -> Contact:
        """Ask whether the command runs."""
        observer = self._owned.deployments.observer
        began = self._clock.monotonic()
        asked = self._owned.row
        longest = self._timing.poll_timeout * self._dokku.pace.patience
        try:
            async with asyncio.timeout(longest.total_seconds()):
                polled, sha = await self._ask(asked)
        except (DokkuError, TimeoutError) as error:
            if says_no_such_app(error):
                self._owned.note_answer()
                return Contact.APP_GONE
            observer.poll_failed()
            self._owned.note_silence(error, longest, self._dokku.pace)
            return self._after_failed_poll(attempt, self._dokku.pace)
        observer.polled(self._clock.monotonic() - began)
        self._failed_polls = 0
        self._answers = self._dokku.pace.answers
        self._owned.note_answer()
        row = self._owned.row
        if row.before != asked.before:
            return Contact.FINE  # the answer is about a former start
        build_id = polled.record.id if polled.record is not None else row.build_id
        if (build_id, sha) != (row.build_id, row.sha) and row.phase in COMMAND_RUNS:
            await self._owned.record(build_id=build_id, sha=sha)
        return self._after_answer(attempt.open_stream, polled)

    def check_cap(self, *, is_cancelling: bool) -> Cap:
        """Whether the longest duration is over, counted from the first start."""
        row, now = self._owned.row, self._clock.monotonic()
        if row.started_at is None or row.phase not in COMMAND_RUNS:
            return Cap.NOT_REACHED
        if self._ages.of(row.id, row.started_at) < row.max_duration:
            return Cap.NOT_REACHED
        if self._cap_reached_at is None or is_cancelling:
            # The time that a cancel has to show begins when it was carried out.
            self._cap_reached_at = now
        proof = proof_for(row.before, self._dokku, clock=self._clock, timing=self._timing)
        patience = 2 * self._timing.poll_interval + proof.cap_grace
        over = now - self._cap_reached_at >= patience.total_seconds()
        return Cap.OVER if over else Cap.REACHED

    async def _ask(self, row: Deployment) -> tuple[Polled, str | None]:
        """The record (or the lock) and the commit, as far as they can be known now."""
        proof = proof_for(row.before, self._dokku, clock=self._clock, timing=self._timing)
        polled = await proof.poll(row)
        self._owned.note(others=note_about(polled.others))
        sha = row.sha
        if sha is None and row.phase in FETCHED:
            sha = await self._dokku.fetched_sha(row.dokku_app)
        return polled, sha

    def _after_failed_poll(self, attempt: Attempt, pace: Pace) -> Contact:
        others_answered, self._answers = pace.answers > self._answers, pace.answers
        if pace.slow and others_answered:
            return Contact.FINE  # busy, but still in contact
        self._failed_polls += 1
        enough = self._failed_polls >= self._timing.max_poll_errors
        return Contact.LOST if enough and self._is_silent(attempt.stream) else Contact.FINE

    def _after_answer(self, stream: DeployStream | None, polled: Polled) -> Contact:
        """Whether the command is over although its connection does not say so.

        Its server was switched off, or a firewall forgot the connection. SSH's own patience is
        longer than a deployment should wait.
        """
        if stream is None or not polled.is_over(stream.facts):
            self._over_since = None
            return Contact.FINE
        now = self._clock.monotonic()
        if self._over_since is None:
            self._over_since = now
        overdue = now - self._over_since >= self._silence_s
        return Contact.DEAD if overdue and self._is_silent(stream) else Contact.FINE

    def _is_silent(self, stream: DeployStream | None) -> bool:
        if stream is None:
            return True
        silent_for = self._clock.monotonic() - stream.last_byte_at
        return silent_for >= self._silence_s
