"""Asks the server for everything that a verdict rests on."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from bot.clock import Clock
from bot.deployments.dokku_facts import (
    AppReport,
    BuildRecord,
    BuildStatus,
    Containers,
    Snapshot,
    says_no_such_app,
)
from bot.deployments.model import Deployment, LogFacts, LogMarker, Phase
from bot.deployments.ports import Dokku
from bot.deployments.states import FETCHED
from bot.deployments.verdict.decisions import Cause, Ended
from bot.deployments.verdict.evidence import Evidence, images_of, own_containers
from bot.deployments.verdict.outside_changes import outside_records
from bot.deployments.verdict.run_proof import (
    LockEvidence,
    candidates,
    find_record,
    left_no_trace,
    no_run_is_left,
)
from bot.deployments.verdict.stability import Look, NextLook, Watched, judge
from bot.errors import BotError, DokkuError
from bot.redaction_rules import MASK

LONGEST_PAUSE = timedelta(seconds=10)
"""Between two looks at a new release, however long the settle time is."""
_LINES_AT_ONCE = 20_000
"""Of a stored log, compared between two turns of the event loop."""
_LOCK_UNKNOWN = LockEvidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Evidence, and what was learnt on the way."""

    evidence: Evidence
    build_id: str | None
    sha: str | None
    log: Sequence[str] | None
    """Dokku's own copy of the output, if it is longer than what is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """How the watch over a new release ended."""

    ended: Ended
    after: Containers | None
    """What the last look showed."""
    others: tuple[BuildRecord, ...]
    """Records of outside changes since the snapshot, oldest first."""
    unanswered: str | None = None
    """Why the last look was not answered, as a sentence; None: it was."""


class EvidenceCollector:
    """Reads about apps of one server. Every method but `look` and `watch` may raise DokkuError."""

    def __init__(self, dokku: Dokku, *, clock: Clock, look_again: timedelta) -> None:
        """`look_again` is the pause between looks that only wait for something to change."""
        self._dokku = dokku
        self._clock = clock
        self._look_again = look_again

    async def snapshot(self, app: str, records: Sequence[BuildRecord]) -> Snapshot:
        """The state before the start; `records` were read just before."""
        keeps = await self._dokku.keeps_records()
        # Before 0.38 only the report's lock shows another deploy: one that ends between the two
        # answers must not leave its former containers in the snapshot.
        report = await self._dokku.report(app)
        containers = await self._dokku.containers(app)
        builds = frozenset(one.id for one in records) if keeps else None
        return Snapshot(builds=builds, report=report, containers=containers)

    async def record(self, row: Deployment) -> BuildRecord | None:
        """This deployment's build record; one cheap question."""
        return await find_record(row, await self._dokku.builds(row.dokku_app), self._dokku)

    async def left_no_trace(self, row: Deployment) -> bool:
        """Whether Dokku shows no trace of the command; one cheap question."""
        if row.before is not None and row.before.runner:
            return await no_run_is_left(row, self._dokku)
        return left_no_trace(row, await self._dokku.builds(row.dokku_app))

    async def record_with_output(self, row: Deployment, lines: Sequence[str]) -> BuildRecord | None:
        """Of two or more candidates, the one whose output is `lines` (one `tee` writes both)."""
        if row.before is None:
            return None
        text = "\n".join(lines).strip()
        for one in candidates(await self._dokku.builds(row.dokku_app), row.before):
            copy, _ = await self._dokku.build_output(row.dokku_app, one.id)
            if text and "\n".join(copy).strip() == text:
                return one
        return None

    async def read(
        self,
        row: Deployment,
        streamed: LogFacts | None,
        record: BuildRecord | None,
        *,
        kept: Sequence[str],
        cap_reached: bool,
        last_word: bool,
        never_began: bool = False,
        lock: LockEvidence = _LOCK_UNKNOWN,
    ) -> Read:
        """Everything of the verdict table, for a command that ended or lost its connection.

        `streamed` is what the output stated to this process. None: another process read it, so
        Dokku's copy of the output or the `kept` lines state it. `lock` was read before.
        """
        if row.before is None:
            raise ValueError("a deployment that was started has a snapshot")
        app = row.dokku_app
        keeps = await self._dokku.keeps_records()
        report, containers, records = await asyncio.gather(
            self._dokku.report(app), self._dokku.containers(app), self._dokku.builds(app)
        )
        build_id = record.id if record else row.build_id
        output, log = streamed, None
        if output is None:
            output = _with_known_phase(row, await self._dokku.facts_of(app, kept))
        # A server without a system log may keep the output to itself: its record and copy exist.
        whole = streamed is not None and streamed.phase is not None and row.exit_status is not None
        if not whole and record is not None and record.status is not BuildStatus.RUNNING:
            copy, facts = await self._dokku.build_output(app, record.id)
            # Dokku answers with nothing for an output that is gone. Lines are counted: their
            # length depends on how many secrets were known when they were masked. What was read
            # of a command in a container is a copy of the copy, so this one is never worse.
            followed = bool(row.before.runner and copy)
            if len(copy) >= len(kept) or followed:
                output = facts
                copy = await _masked_alike(copy, kept)
                longer = _size(copy) > _size(kept) or (followed and len(copy) < len(kept))
                log = copy if longer else None
        sha = row.sha
        if sha is None and _fetched(output):
            sha = await self._dokku.fetched_sha(app)
        evidence = Evidence(
            exit_status=row.exit_status,
            keeps_records=keeps,
            record=record,
            output=output,
            before=row.before,
            after=containers,
            report=report,
            others=outside_records(records, row.before, build_id),
            expected=f"{row.repo}#{sha}" if row.repo and sha else None,
            # A good end left nothing to cancel.
            cancel_asked=row.cancel is not None and row.phase is not Phase.CHECKING,
            cap_reached=cap_reached and row.phase is not Phase.CHECKING,
            last_word=last_word,
            never_began=never_began,
            lock_was_free=lock.was_free,
            lost_long=lock.lost_long,
        )
        return Read(evidence=evidence, build_id=build_id, sha=sha, log=log)

    async def look(self, app: str) -> tuple[Look, str | None]:
        """One look at the containers, and why the server did not answer, if it did not."""
        began = self._clock.monotonic()
        containers: Containers | None = None
        unanswered: str | None = None
        gone = False
        try:
            containers = await self._dokku.containers(app)
        except DokkuError as error:
            gone = says_no_such_app(error)
            unanswered = None if gone else str(error)
        done = self._clock.monotonic()
        return Look(began=began, done=done, containers=containers, app_gone=gone), unanswered

    async def last_words(
        self, app: str, processes: Sequence[str]
    ) -> tuple[str, Sequence[str]] | None:
        """The first process that logged something, and the end of its log. None: unknown."""
        for process in processes:
            try:
                lines = await self._dokku.app_log(app, process)
            except (BotError, TimeoutError):
                return None
            if any(line.strip() for line in lines):
                return process, lines
        return None

    async def watch(
        self, app: str, evidence: Evidence, first_look: Look, *, settle: timedelta, most: timedelta
    ) -> Stability:
        """Watch the release that `evidence` shows; `first_look` is its read of the containers.

        Two looks a settle time apart, more if something changes in between. Waits at most `most`;
        what is not proven then is reported as unknown.
        """
        began = self._clock.monotonic()
        own = own_containers(evidence)
        known = Watched(
            own=own, images=images_of(own, evidence.after), before=evidence.before, settle=settle
        )
        first: Look | None = None
        look, unanswered = first_look, None
        while True:
            known = replace(known, images=known.images | images_of(own, look.containers))
            over = self._clock.monotonic() - began >= most.total_seconds()
            judged = judge(first, look, known, last_word=over)
            if isinstance(judged, Ended):
                # Who replaced it is asked once, when it is known that the watch ends.
                others = await self._others(app, evidence)
                named = judge(first, look, replace(known, others=others), last_word=over)
                return Stability(
                    ended=named if isinstance(named, Ended) else judged,
                    after=look.containers,
                    others=others,
                    unanswered=unanswered,
                )
            if judged is NextLook.BEGIN_AGAIN:
                first = look
            await self._clock.sleep(self._pause(first, settle))
            look, unanswered = await self.look(app)

    async def _others(self, app: str, evidence: Evidence) -> tuple[BuildRecord, ...]:
        own_id = evidence.record.id if evidence.record else None
        try:
            records = await self._dokku.builds(app)
        except DokkuError:
            return evidence.others
        return outside_records(records, evidence.before, own_id)

    def _pause(self, first: Look | None, settle: timedelta) -> timedelta:
        looked = first.containers if first else None
        # Whether one that is down stays so is soon known.
        if first is None or (looked and not all(one.running for one in looked.listed)):
            return min(self._look_again, settle)
        left = settle - timedelta(seconds=self._clock.monotonic() - first.done)
        left = min(left, LONGEST_PAUSE)
        return left if left > timedelta(0) else min(self._look_again, settle)


def silent_processes(evidence: Evidence, ended: Ended) -> Sequence[str]:
    """The processes of the new release that went down: their own logs may say why.

    After a failed check, only those of which no previous container is left: `logs` would show
    what that one printed. Dokku removes most containers whose check failed.
    """
    ran = (Cause.CRASHED, Cause.ENDED_BY_ITSELF)
    down = [process for cause, process in ended.down if cause in ran]
    if LogMarker.CHECKS_FAILED not in evidence.output.markers or evidence.after is None:
        return down
    before = evidence.before.containers
    known = before.ids if before else frozenset()
    old = {one.process for one in evidence.after.listed if one.id in known}
    new = [one.process for one in evidence.after.listed if one.id not in known]
    return [*down, *(process for process in new if process not in old)]


def blind(
    row: Deployment,
    output: LogFacts,
    *,
    cap_reached: bool,
    unanswered: str | None = None,
    app_gone: bool = False,
) -> Evidence:
    """The evidence when the server has stopped answering: the output alone, and no more waiting.

    `app_gone`: it answers that the app does not exist.
    """
    empty = Snapshot(builds=None, report=AppReport(), containers=None)
    return Evidence(
        exit_status=row.exit_status,
        keeps_records=True,
        record=None,
        output=output,
        before=row.before or empty,
        after=None,
        report=None,
        expected=None,
        app_gone=app_gone,
        cancel_asked=row.cancel is not None,
        cap_reached=cap_reached,
        last_word=True,
        unanswered=unanswered,
    )


def _with_known_phase(row: Deployment, kept: LogFacts) -> LogFacts:
    """What the stored lines state, and the phase of the row, which may be further.

    A killed process may have moved the deployment on by lines that it never stored.
    """
    if row.phase in FETCHED:
        return replace(kept, markers=kept.markers | {LogMarker.BUILDING})
    return kept


def _size(lines: Sequence[str]) -> tuple[int, int]:
    return len(lines), sum(len(line) for line in lines)


async def _masked_alike(copy: Sequence[str], kept: Sequence[str]) -> Sequence[str]:
    """Dokku's copy, masked at least where the stored lines are: a secret then is one still."""
    alike: list[str] = []
    for at in range(0, len(kept), _LINES_AT_ONCE):
        pairs = zip(copy[at : at + _LINES_AT_ONCE], kept[at : at + _LINES_AT_ONCE], strict=False)
        alike += [
            mine if MASK in mine and _same_line(mine, theirs) else theirs for theirs, mine in pairs
        ]
        await asyncio.sleep(0)
    return [*alike, *copy[len(alike) :]]


def _same_line(masked: str, whole: str) -> bool:
    """Whether all that is readable of one line is in the other, in order."""
    at = 0
    parts = masked.split(MASK)
    for part in parts:
        at = whole.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return whole.startswith(parts[0]) and whole.endswith(parts[-1])


def _fetched(output: LogFacts) -> bool:
    return output.phase in FETCHED or LogMarker.BUILDING in output.markers
