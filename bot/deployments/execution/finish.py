"""From a command's end (or a lost line) to the verdict: read, decide, watch, end."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import assert_never

from bot.deployments.dokku_facts import BuildRecord, BuildStatus
from bot.deployments.execution.log_buffer import LogBuffer
from bot.deployments.execution.log_recorder import SHOWN_LINES
from bot.deployments.execution.outcome import Ending, Parts
from bot.deployments.execution.owned import OwnedDeployment
from bot.deployments.execution.start import REFUSED_BY_LOCK, last_attempt
from bot.deployments.model import Deployment, LogFacts, Phase
from bot.deployments.ports import Dokku, Urgency
from bot.deployments.verdict import deploy_lock
from bot.deployments.verdict.collector import EvidenceReader, Read, blind
from bot.deployments.verdict.decisions import (
    Decision,
    Ended,
    LookAgain,
    ReadAgain,
    Requeue,
    StartAgain,
    WatchRelease,
)
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.rules import decide
from bot.deployments.verdict.stability import Look
from bot.errors import DokkuError

RECORD_PAUSE = timedelta(milliseconds=100)
READ_PAUSE = timedelta(seconds=2)
SOMEBODY = "another deploy outside this bot"
"""Until the next look tells its name."""


class Outcome(StrEnum):
    """What is left to do."""

    DONE = "done"
    WATCH = "watch"
    """No verdict yet: look again at the next poll."""
    LOOK_AGAIN = "look_again"
    """A good end that cannot be watched yet: look again in a moment."""
    START_AGAIN = "start_again"
    """It died before the release, and may be started once more."""


class Conclusion:
    """Acts on what the server says."""

    def __init__(
        self,
        *,
        held: OwnedDeployment,
        dokku: Dokku,
        reader: EvidenceReader,
        ending: Ending,
        buffer: LogBuffer,
        parts: Parts,
    ) -> None:
        self.cap_reached = False
        """The bot itself has stopped it, because the longest duration was over."""
        self.last_word = False
        """Waiting longer is not allowed."""
        self.lost_at = parts.clock.monotonic()
        """When the line or the former owner was heard last, in monotonic seconds."""
        self.line_ended_at = self.lost_at
        """When our line ended, however long it had been silent before."""
        self._heard: LogFacts | None = None
        self._kept: Sequence[str] | None = None
        self._first_end: tuple[Evidence, StartAgain] | None = None
        self._checking_since: float | None = None
        self._checking_over = False
        self._held = held
        self._dokku = dokku
        self._reader = reader
        self._ending = ending
        self._buffer = buffer
        self._parts = parts
        self._timing = parts.timing
        self._clock = parts.clock

    def hear(self, facts: LogFacts) -> None:
        """What our own output stated, as far as it came to this process."""
        self._heard, self._kept = facts, None

    async def conclude(self) -> Outcome:
        """Read the evidence and act on it."""
        if self._held.is_over():
            return Outcome.DONE
        await self._held.refresh_cancel_request()
        began = self._clock.monotonic()
        read = await self._read_patiently()
        if self._held.is_over():
            return Outcome.DONE  # a poll gave it up meanwhile
        if read is None:
            return await self._not_readable()
        await self._keep_what_was_learnt(read)
        return await self._act(read.evidence, decide(read.evidence), began)

    async def _act(self, evidence: Evidence, decision: Decision, began: float) -> Outcome:
        outcome = Outcome.DONE
        match decision:
            case Ended():
                await self._ending.by_evidence(evidence, decision)
            case WatchRelease():
                await self._check(evidence, began)
            case ReadAgain():
                outcome = await self._keep_checking(evidence.output.url)
            case LookAgain():
                self._held.note(reading_end=False, cut_off=True)
                outcome = Outcome.WATCH
            case StartAgain():
                if await self._may_start_again():
                    self._held.note(reading_end=False, cut_off=False)
                    self._first_end = (evidence, decision)
                    return Outcome.START_AGAIN
                await self._end_first_attempt(evidence, decision)
            case Requeue():
                await self._requeue()
            case _:
                assert_never(decision)
        return outcome

    async def end_first_attempt(self) -> None:
        """It could not be started again: the end is what the evidence said before."""
        if self._first_end is not None:
            await self._end_first_attempt(*self._first_end)

    async def _end_first_attempt(self, evidence: Evidence, decision: StartAgain) -> None:
        if self._held.row.cancel is not None:
            # Requested after the evidence was read, it is why nothing starts again.
            evidence = replace(evidence, cancel_asked=True)
        again = decide(evidence)
        ended = again if isinstance(again, Ended) else decision.otherwise
        await self._ending.by_evidence(evidence, ended)

    async def give_up(self) -> None:
        """The server does not answer any more: say what is known, and that the rest is not."""
        facts = self._heard
        if facts is None:
            facts = self._dokku.facts_of(self._held.row.dokku_app, self._kept or ())
        evidence = blind(
            self._held.row,
            facts,
            cap_reached=self.cap_reached,
            unanswered=self._held.deployments.progress(self._held.id).stale_why,
        )
        decision = decide(evidence)
        if not isinstance(decision, Ended):
            raise TypeError(f"no result of {decision} although no more waiting is allowed")
        await self._ending.by_evidence(evidence, decision)

    async def _may_start_again(self) -> bool:
        row = self._held.row
        running = self._clock.now() - (row.started_at or self._clock.now())
        return may_start_again(
            row,
            lost_for=timedelta(seconds=self._clock.monotonic() - self.lost_at),
            within=self._timing.start_again_within,
            newer=bool(await self._held.ask(lambda store: store.newer(row))),
            cap_reached=running >= row.max_duration,
        )

    async def _not_readable(self) -> Outcome:
        """The server did not answer often enough in a row."""
        row = self._held.row
        if row.exit_status == 0:
            return await self._keep_checking(None)
        if row.exit_status is None and not self.last_word:
            self._held.note(reading_end=False, cut_off=True)
            return Outcome.WATCH  # the polls count, and give up in the end
        await self.give_up()
        return Outcome.DONE

    async def _keep_checking(self, url: str | None) -> Outcome:
        """A good end that cannot be proven yet: read again, for as long as a release may take."""
        if self._checking_over:
            await self.give_up()
            return Outcome.DONE
        now = self._clock.monotonic()
        if self._checking_since is None:
            self._checking_since = now
        longest = self._held.row.max_duration.total_seconds()
        self._checking_over = now - self._checking_since >= longest
        await self._enter_checking(url)
        return Outcome.LOOK_AGAIN

    async def _read_patiently(self) -> Read | None:
        """None: the server did not answer, often enough in a row."""
        # Before the server's time begins to count: the database has a patience of its own.
        kept = await self._kept_lines()
        longest = 3 * self._timing.poll_timeout
        for number in range(self._timing.max_poll_errors):
            if number:
                await self._clock.sleep(READ_PAUSE)
            try:
                async with asyncio.timeout(longest.total_seconds()):
                    return await self._read(kept)
            except (DokkuError, TimeoutError) as error:
                self._held.note_silence(error, longest)
        return None

    async def _kept_lines(self) -> Sequence[str]:
        """What is stored of the log. Nobody adds to it while an end is read."""
        if self._kept is None:
            text = await self._held.ask(lambda store: store.logs.read(self._held.id))
            self._kept = last_attempt(text)
            if self._buffer.lines == 0:
                self._fill_buffer(self._kept)
        return self._kept

    def _fill_buffer(self, lines: Sequence[str]) -> None:
        self._buffer.add(lines)
        self._buffer.take()  # they are stored
        self._held.note(tail=self._buffer.tail(SHOWN_LINES))

    async def _read(self, kept: Sequence[str]) -> Read:
        row = self._held.row
        lost_for = timedelta(seconds=self._clock.monotonic() - self.line_ended_at)
        free = deploy_lock.tells(row) and await deploy_lock.was_free(
            self._dokku,
            row.dokku_app,
            self._clock,
            until=self.line_ended_at + deploy_lock.DIES_WITHIN.total_seconds(),
        )
        record = await self._ended_record()
        never_began = False
        if record is None and row.build_id is None:
            if row.exit_status is not None:
                record = await self._reader.same_text(row, kept)
            elif (self._heard or self._dokku.facts_of(row.dokku_app, kept)) == LogFacts():
                never_began = await self._never_began()
                record = None if never_began else await self._reader.record(row)
        return await self._reader.read(
            row,
            self._heard,
            record,
            kept=kept,
            cap_reached=self.cap_reached,
            last_word=self._checking_over if _ended_well(row) else self.last_word,
            never_began=never_began,
            lock_was_free=free,
            lost_long=lost_for >= deploy_lock.FETCH_LIVES_ON,
        )

    async def _ended_record(self) -> BuildRecord | None:
        """Our record; after our command's end it may be shown running for a moment longer."""
        row = self._held.row
        record = await self._reader.record(row)
        began = self._clock.monotonic()
        while (
            row.exit_status is not None
            and record is not None
            and record.status is BuildStatus.RUNNING
            and self._clock.monotonic() - began < self._timing.record_wait.total_seconds()
        ):
            await self._clock.sleep(RECORD_PAUSE)
            record = await self._reader.record(row)
        return record

    async def _never_began(self) -> bool:
        """Whether a line that was lost before its first byte left no trace on the server.

        Dokku writes the record half a second after the start, before it prints anything.
        """
        began = self._clock.monotonic()
        wait = self._timing.record_wait.total_seconds()
        while await self._reader.never_began(self._held.row):
            if self._clock.monotonic() - began >= wait:
                return True
            await self._clock.sleep(RECORD_PAUSE)
        return False

    async def _keep_what_was_learnt(self, read: Read) -> None:
        row = self._held.row
        if read.log is not None:
            log = read.log
            await self._held.ask(lambda store: store.logs.replace(row.id, log, fence=row.fence))
            self._kept = log
            self._fill_buffer(log)
        if read.build_id != row.build_id or read.sha != row.sha:
            await self._held.record(build_id=read.build_id, sha=read.sha)
        self._held.note_answer()

    async def _check(self, evidence: Evidence, began: float) -> None:
        await self._enter_checking(evidence.output.url)
        first = Look(began=began, done=self._clock.monotonic(), containers=evidence.after)
        app = self._held.row.dokku_app
        watched = await self._ending.checker().watch(app, evidence, first)
        if watched.after is not None:
            self._held.note(checked_at=self._clock.now())
        evidence = replace(evidence, others=watched.others, unanswered=watched.unanswered)
        await self._ending.by_evidence(evidence, watched.ended, watched.after)

    async def _enter_checking(self, url: str | None) -> None:
        if self._held.row.phase is not Phase.CHECKING:
            await self._held.move(Phase.CHECKING, "checking", url=url or self._held.row.url)
        self._held.note(Urgency.PHASE, reading_end=False, step=None)

    async def _requeue(self) -> None:
        """Dokku refused: another deploy holds its lock. Nothing of ours ran."""
        if self._held.row.cancel is not None:
            await self._ending.cancelled_unstarted()
            return
        self._parts.polls.unwatch(self._held.id)
        self._held.note(reading_end=False, cut_off=False, waits_for=SOMEBODY, tail=())
        if not self._held.can_move(Phase.QUEUED):
            # The refusal comes after the fetch; the table knows the way back by the start alone.
            await self._held.move(Phase.STARTING, "refused")
        await self._held.move(
            Phase.QUEUED, REFUSED_BY_LOCK, exit_status=None, started_at=None, build_id=None
        )


def _ended_well(row: Deployment) -> bool:
    return row.exit_status == 0 or row.phase is Phase.CHECKING


def may_start_again(
    row: Deployment, *, lost_for: timedelta, within: timedelta, newer: bool, cap_reached: bool
) -> bool:
    """Whether a deployment that died before its release is started once more by itself.

    Only the first attempt, of a known commit, that nobody wants to end, lost lately, with nothing
    newer of the app deployed or waiting.
    """
    return (
        row.attempt == 1
        and row.sha is not None
        and row.cancel is None
        and row.phase in {Phase.STARTING, Phase.FETCHING, Phase.BUILDING}
        and lost_for <= within
        and not newer
        and not cap_reached
    )
