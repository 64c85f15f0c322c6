"""Asks the server for everything that a verdict rests on."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.deployments.dokku_facts import (
    SYNC_SOURCE,
    AppReport,
    BuildRecord,
    BuildStatus,
    Snapshot,
)
from bot.deployments.model import Deployment, LogFacts, LogMarker, Phase
from bot.deployments.ports import Dokku
from bot.deployments.states import FETCHED
from bot.deployments.verdict import deploy_lock
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.outside_changes import outside_records
from bot.redaction_rules import MASK


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Evidence, and what was learnt on the way."""

    evidence: Evidence
    build_id: str | None
    sha: str | None
    log: Sequence[str] | None
    """Dokku's own text of the build, where it is longer than what is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What one poll told."""

    record: BuildRecord | None
    lock_free: bool = False
    """Before 0.38: nobody holds the app's deploy lock."""
    others: tuple[BuildRecord, ...] = ()
    """Records that others began since the start, oldest first."""

    def is_over(self, output: LogFacts) -> bool:
        """Our command has ended: by its record, or by the lock that it held since its build."""
        if self.record is not None:
            return self.record.status is not BuildStatus.RUNNING
        return self.lock_free and LogMarker.BUILDING in output.markers


def candidates(records: Sequence[BuildRecord], before: Snapshot) -> Sequence[BuildRecord]:
    """Records that may be ours: new since the snapshot, started like ours."""
    known = before.builds or frozenset()
    return [one for one in records if one.id not in known and one.source == SYNC_SOURCE]


def our_record(row: Deployment, records: Sequence[BuildRecord]) -> BuildRecord | None:
    """The record by its known id, else the only candidate; None when it cannot be told."""
    if row.build_id is not None:
        return next((one for one in records if one.id == row.build_id), None)
    if row.before is None:
        return None
    new = candidates(records, row.before)
    return new[0] if len(new) == 1 else None


def no_trace(row: Deployment, records: Sequence[BuildRecord]) -> bool:
    """No record may be ours, and none that was can have been pruned: the oldest go first."""
    if row.before is None or row.before.builds is None:
        return False
    known, listed = row.before.builds, {one.id for one in records}
    complete = bool(known & listed) or not (known or listed)
    return complete and not candidates(records, row.before)


class EvidenceReader:
    """Reads about one app on one server. Every method may raise DokkuError."""

    def __init__(self, dokku: Dokku) -> None:
        self._dokku = dokku

    async def snapshot(self, app: str, records: Sequence[BuildRecord]) -> Snapshot:
        """The state before the start; `records` were read just before."""
        keeps = await self._dokku.keeps_records()
        # Before 0.38 the report's lock alone tells of somebody's deploy: one that ends between the
        # two answers must not leave its former containers in the snapshot.
        report = await self._dokku.report(app)
        containers = await self._dokku.containers(app)
        builds = frozenset(one.id for one in records) if keeps else None
        return Snapshot(builds=builds, report=report, containers=containers)

    async def record(self, row: Deployment) -> BuildRecord | None:
        """Our build record; one cheap question."""
        return our_record(row, await self._dokku.builds(row.dokku_app))

    async def never_began(self, row: Deployment) -> bool:
        """Dokku shows no trace of our command; one cheap question."""
        return no_trace(row, await self._dokku.builds(row.dokku_app))

    async def poll(self, row: Deployment) -> Polled:
        """Our build record; before 0.38, which has none, the deploy lock. One cheap question."""
        if deploy_lock.keeps_no_records(row):
            report = await self._dokku.report(row.dokku_app)
            return Polled(record=None, lock_free=not report.locked)
        records = await self._dokku.builds(row.dokku_app)
        record = our_record(row, records)
        known = record.id if record else row.build_id
        others = outside_records(records, row.before, known) if row.before else ()
        return Polled(record=record, others=others)

    async def same_text(self, row: Deployment, ours: Sequence[str]) -> BuildRecord | None:
        """Of two or more candidates, the one whose text is ours (one `tee` writes both)."""
        if row.before is None:
            return None
        text = "\n".join(ours).strip()
        for one in candidates(await self._dokku.builds(row.dokku_app), row.before):
            lines, _ = await self._dokku.build_output(row.dokku_app, one.id)
            if text and "\n".join(lines).strip() == text:
                return one
        return None

    async def read(
        self,
        row: Deployment,
        heard: LogFacts | None,
        record: BuildRecord | None,
        *,
        kept: Sequence[str],
        cap_reached: bool,
        last_word: bool,
        never_began: bool = False,
        lock_was_free: bool = False,
        lost_long: bool = False,
    ) -> Read:
        """Everything of the verdict's table, for a command that ended or whose line was lost.

        `heard` is what our own output stated to this process; None: another process heard it,
        and Dokku's copy of the text or the lines `kept` of it must tell, as where nothing of a
        deploy was heard. `lock_was_free` and
        `lost_long` are what the lock told before (see `Evidence`).
        """
        if row.before is None:
            raise ValueError("a deployment that was started has a snapshot")
        app = row.dokku_app
        keeps = await self._dokku.keeps_records()
        report, containers, records = await asyncio.gather(
            self._dokku.report(app), self._dokku.containers(app), self._dokku.builds(app)
        )
        build_id = record.id if record else row.build_id
        output = _as_known(row, self._dokku.facts_of(app, kept)) if heard is None else heard
        log: Sequence[str] | None = None
        # A server without a system log may keep the text to itself: its record and copy are there.
        whole = heard is not None and heard.phase is not None and row.exit_status is not None
        if not whole and record is not None and record.status is not BuildStatus.RUNNING:
            told, facts = await self._dokku.build_output(app, record.id)
            # Dokku answers with nothing for a text that is gone. Lines are counted: their
            # length depends on how many secrets were known when they were masked.
            if len(told) >= len(kept):
                output = facts
                told = _masked_alike(told, kept)
                log = told if _size(told) > _size(kept) else None
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
            lock_was_free=lock_was_free,
            lost_long=lost_long,
        )
        return Read(evidence=evidence, build_id=build_id, sha=sha, log=log)


def blind(
    row: Deployment, output: LogFacts, *, cap_reached: bool, unanswered: str | None = None
) -> Evidence:
    """What is left when the server does not answer any more: our own line, and no more waiting."""
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
        cancel_asked=row.cancel is not None,
        cap_reached=cap_reached,
        last_word=True,
        unanswered=unanswered,
    )


def _as_known(row: Deployment, kept: LogFacts) -> LogFacts:
    """What the lines that were kept state, and what the row tells of those that were not.

    A process that was killed may have moved the deployment on by lines that it never stored.
    """
    if row.phase in FETCHED:
        return replace(kept, markers=kept.markers | {LogMarker.BUILDING})
    return kept


def _size(lines: Sequence[str]) -> tuple[int, int]:
    return len(lines), sum(len(line) for line in lines)


def _masked_alike(told: Sequence[str], kept: Sequence[str]) -> Sequence[str]:
    """Dokku's text, masked at least where the kept one is: what was a secret then still is."""
    alike = [
        mine if MASK in mine and _same_line(mine, theirs) else theirs
        for theirs, mine in zip(told, kept, strict=False)
    ]
    return [*alike, *told[len(alike) :]]


def _same_line(masked: str, whole: str) -> bool:
    """Whether all that is readable of one line stands in the other, in order."""
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
