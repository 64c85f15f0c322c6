"""From a command's end (or a lost line) to the verdict: read, decide, watch, end."""

import asyncio
from datetime import timedelta
from enum import StrEnum

from bot.deployments.ending import Ending, Parts
from bot.deployments.evidence import EvidenceReader, Read, blind
from bot.deployments.held import Held
from bot.deployments.log_buffer import LogBuffer
from bot.deployments.model import BuildRecord, BuildStatus, Deployment, LogFacts, Phase
from bot.deployments.ports import Urgency
from bot.deployments.recorder import SHOWN_LINES
from bot.deployments.settling import Look
from bot.deployments.states import ENDINGS
from bot.deployments.verdict import Evidence, Kind, Verdict, decide
from bot.errors import DokkuError

RECORD_PAUSE = timedelta(milliseconds=300)
READ_PAUSE = timedelta(seconds=2)


class Outcome(StrEnum):
    """What is left to do."""

    DONE = "done"
    WATCH = "watch"
    """No verdict yet: look again at the next poll."""
    START_AGAIN = "start_again"
    """It died before the release, and may be started once more."""


class Conclusion:
    """Acts on what the server says. `facts` is what our own output stated, as far as it came."""

    def __init__(
        self,
        *,
        held: Held,
        reader: EvidenceReader,
        ending: Ending,
        buffer: LogBuffer,
        parts: Parts,
    ) -> None:
        self.facts = LogFacts()
        self.cap_reached = False
        self.last_word = False
        """Waiting longer is not allowed."""
        self.lost_for = timedelta(0)
        """How long ago the line or the former owner was lost."""
        self._first_end: tuple[Evidence, Verdict] | None = None
        self._held = held
        self._reader = reader
        self._ending = ending
        self._buffer = buffer
        self._parts = parts
        self._timing = parts.timing
        self._clock = parts.clock

    async def conclude(self) -> Outcome:
        """Read the evidence and act on it."""
        if self._held.lost or self._held.row.phase in ENDINGS:
            return Outcome.DONE
        await self._held.refresh_wish()
        began = self._clock.monotonic()
        read = await self._read_patiently()
        if read is None:
            await self.give_up()
            return Outcome.DONE
        await self._keep_what_was_learnt(read)
        verdict = decide(read.evidence)
        match verdict.kind:
            case Kind.WATCH:
                self._held.note(reading_end=False)
                return Outcome.WATCH
            case Kind.REQUEUE:
                await self._requeue()
            case Kind.START_AGAIN if await self._may_start_again():
                self._held.note(reading_end=False)
                self._first_end = (read.evidence, verdict)
                return Outcome.START_AGAIN
            case Kind.END | Kind.START_AGAIN:
                await self._ending.by_evidence(read.evidence, verdict)
            case Kind.CHECK:
                await self._check(read.evidence, began)
        return Outcome.DONE

    async def end_first_attempt(self) -> None:
        """It could not be started again: the end is what the evidence said before."""
        if self._first_end is not None:
            await self._ending.by_evidence(*self._first_end)

    async def _may_start_again(self) -> bool:
        return may_start_again(
            self._held.row,
            lost_for=self.lost_for,
            within=self._timing.start_again_within,
            newer=bool(await self._parts.books.store.newer(self._held.row)),
            cap_reached=self.cap_reached,
        )

    async def give_up(self) -> None:
        """The server does not answer any more: say what is known, and that the rest is not."""
        evidence = blind(self._held.row, self.facts, cap_reached=self.cap_reached)
        await self._ending.by_evidence(evidence, decide(evidence))
        # The lease goes back although the stream is read on: late looks need it.
        await self._parts.books.store.release(self._held.id, self._held.row.fence)

    async def _read_patiently(self) -> Read | None:
        """None: the server did not answer, often enough in a row."""
        for number in range(self._timing.max_poll_errors):
            if number:
                await self._clock.sleep(READ_PAUSE)
            try:
                async with asyncio.timeout(3 * self._timing.poll_timeout.total_seconds()):
                    return await self._read()
            except (DokkuError, TimeoutError):
                self._held.note(stale_since=self._clock.now())
        return None

    async def _read(self) -> Read:
        row = self._held.row
        record = await self._ended_record()
        if record is None and row.build_id is None and row.exit_status is not None:
            kept = await self._parts.books.store.read_log(row.id)
            record = await self._reader.same_text(row, kept.splitlines())
        return await self._reader.read(
            row,
            self.facts,
            record,
            cap_reached=self.cap_reached,
            last_word=self.last_word,
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

    async def _keep_what_was_learnt(self, read: Read) -> None:
        row = self._held.row
        store = self._parts.books.store
        if read.log is not None:
            self.facts = read.evidence.output
            if len("\n".join(read.log)) > len(await store.read_log(row.id)):
                await store.replace_log(row.id, read.log, fence=row.fence)
            self._buffer.add(read.log)
            self._buffer.take()
            self._held.note(tail=self._buffer.tail(SHOWN_LINES))
        if read.build_id != row.build_id or read.sha != row.sha:
            await self._held.record(build_id=read.build_id, sha=read.sha)
        self._held.note(checked_at=self._clock.now(), stale_since=None)

    async def _check(self, evidence: Evidence, began: float) -> None:
        url = evidence.output.url or self._held.row.url
        if self._held.row.phase is not Phase.CHECKING:
            await self._held.move(Phase.CHECKING, "checking", url=url)
        self._held.note(Urgency.PHASE, reading_end=False, step=None)
        first = Look(began=began, done=self._clock.monotonic(), containers=evidence.after)
        app = self._held.row.dokku_app
        verdict, after = await self._ending.checker().watch(app, evidence, first)
        await self._ending.by_evidence(evidence, verdict, after)

    async def _requeue(self) -> None:
        self._parts.polls.unwatch(self._held.id)
        self._held.note(reading_end=False, waits_for="another deploy outside this bot", tail=())
        await self._held.move(
            Phase.QUEUED, "refused_by_lock", exit_status=None, started_at=None, build_id=None
        )


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
