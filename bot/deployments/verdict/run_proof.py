"""How a Dokku proves that a deploy still runs, or is dead: build records, or before 0.38 the lock.

Nothing else in the domain knows the difference, but the rules that read the evidence.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from bot.clock import Clock
from bot.deployments.dokku_facts import SYNC_SOURCE, BuildRecord, BuildStatus, Snapshot
from bot.deployments.model import Deployment, LogFacts, LogMarker
from bot.deployments.ports import Dokku
from bot.deployments.progress import Blocker
from bot.deployments.timing import Timing
from bot.deployments.verdict.outside_changes import UNRECORDED, outside_records, running_build


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """The answer to one poll."""

    record: BuildRecord | None
    lock_free: bool = False
    """Before 0.38: the app's deploy lock is free."""
    others: tuple[BuildRecord, ...] = ()
    """Records of outside changes since the start, oldest first."""

    def is_over(self, output: LogFacts) -> bool:
        """The command has ended: by its record, or by the lock that it held since its build."""
        if self.record is not None:
            return self.record.status is not BuildStatus.RUNNING
        return self.lock_free and LogMarker.BUILDING in output.markers


@dataclass(frozen=True, slots=True, kw_only=True)
class LockEvidence:
    """What the deploy lock shows of a command whose connection ended; nothing from 0.38 on."""

    was_free: bool = False
    """It was free for long enough that a good end would have been complete."""
    lost_long: bool = False
    """The connection ended longer ago than a silent fetch can outlive it."""


class RunProof(Protocol):
    """One way of proof. Every question may raise DokkuError."""

    cancel_tries: int
    """How often `builds:cancel` is tried; 0: it cannot be aimed at this build."""
    fetch_wait: timedelta
    """How long a cancel lets a fetch go on, before it hangs up."""
    cap_grace: timedelta
    """How much longer than two polls a cancel at the time limit may take to show."""
    hangs_up: bool
    """Whether closing the stream ends the command."""

    def blocker_in(self, snapshot: Snapshot) -> Blocker | None:
        """Another deploy that only the snapshot shows; asks nothing."""
        ...

    async def poll(self, row: Deployment) -> Polled:
        """Whether the command runs; one cheap question."""
        ...

    async def in_the_way(
        self, app: str, records: Sequence[BuildRecord], known: Collection[str] = frozenset()
    ) -> BuildRecord | Blocker | None:
        """Another deploy of the app that runs now; `records` with `known` ids do not count."""
        ...

    async def is_its_own(self, row: Deployment, record: BuildRecord) -> bool:
        """Whether a running record is still certainly this deployment's: it may be killed."""
        ...

    async def was_sent(self, row: Deployment, patience: timedelta) -> bool:
        """Whether a start whose owner died was sent; True also if that cannot be known.

        A record exists half a second after a command was sent; without one, nothing ran.
        """
        ...

    async def lock_evidence(self, row: Deployment, ended_at: float | None) -> LockEvidence:
        """What the lock shows; `ended_at` is when the connection ended, in monotonic seconds.

        None: it may still be open, so a free lock proves nothing of a fetch.
        """
        ...


def proof_for(before: Snapshot | None, dokku: Dokku, *, clock: Clock, timing: Timing) -> RunProof:
    """The proof of the Dokku that a snapshot was taken of; without one, of a current Dokku."""
    if before is not None and before.builds is None:
        return DeployLock(dokku, clock=clock, timing=timing)
    if before is not None and before.runner:
        return DetachedRun(dokku, clock=clock, timing=timing)
    return BuildRecords(dokku, clock=clock, timing=timing)


class BuildRecords(RunProof):
    """Dokku 0.38 and newer: `builds:list` has a record of each command."""

    fetch_wait = timedelta(0)
    cap_grace = timedelta(0)
    hangs_up = True

    def __init__(self, dokku: Dokku, *, clock: Clock, timing: Timing) -> None:
        self._dokku = dokku
        self._clock = clock
        self._timing = timing
        self.cancel_tries = timing.cancel_tries

    def blocker_in(self, snapshot: Snapshot) -> Blocker | None:  # noqa: ARG002 - as the protocol
        # The report's lock flag stays set after any failed build.
        return None

    async def poll(self, row: Deployment) -> Polled:
        records = await self._dokku.builds(row.dokku_app)
        record = await find_record(row, records, self._dokku)
        known = record.id if record else row.build_id
        others = outside_records(records, row.before, known) if row.before else ()
        return Polled(record=record, others=others)

    async def in_the_way(
        self,
        app: str,  # noqa: ARG002 - as the protocol
        records: Sequence[BuildRecord],
        known: Collection[str] = frozenset(),
    ) -> BuildRecord | Blocker | None:
        return running_build(records, known)

    async def is_its_own(self, row: Deployment, record: BuildRecord) -> bool:
        return row.build_id in {None, record.id}

    async def was_sent(self, row: Deployment, patience: timedelta) -> bool:
        if row.before is None or not await self._dokku.keeps_records():
            return True
        began = self._clock.monotonic()
        while not candidates(await self._dokku.builds(row.dokku_app), row.before):
            if self._clock.monotonic() - began >= patience.total_seconds():
                return False
            await self._clock.sleep(self._timing.trace_pause)
        return True

    async def lock_evidence(
        self,
        row: Deployment,  # noqa: ARG002 - as the protocol
        ended_at: float | None,  # noqa: ARG002 - as the protocol
    ) -> LockEvidence:
        return LockEvidence()


class DetachedRun(BuildRecords):
    """The same, where a one-off container runs the command, and Dokku's records alone prove it."""

    hangs_up = False

    def __init__(self, dokku: Dokku, *, clock: Clock, timing: Timing) -> None:
        super().__init__(dokku, clock=clock, timing=timing)
        # The bot has no connection to the command that it could close instead.
        self.fetch_wait = timing.run_wait

    async def is_its_own(self, row: Deployment, record: BuildRecord) -> bool:
        known = await super().is_its_own(row, record)
        return known and row.before is not None and await is_run_alive(row, row.before, self._dokku)

    async def was_sent(self, row: Deployment, patience: timedelta) -> bool:
        if row.before is None or row.before.run:
            return True
        patience += self._timing.run_wait - self._timing.record_wait
        return await self.left_trace(row, patience)

    async def left_trace(self, row: Deployment, patience: timedelta) -> bool:
        """Whether its container or its build shows up within this time."""
        began = self._clock.monotonic()
        while await no_run_is_left(row, self._dokku):
            if self._clock.monotonic() - began >= patience.total_seconds():
                return False
            await self._clock.sleep(self._timing.trace_pause)
        return True


class DeployLock(RunProof):
    """Dokku before 0.38: no records; a build holds the app's deploy lock, a dead one frees it."""

    cancel_tries = 0
    hangs_up = True

    def __init__(self, dokku: Dokku, *, clock: Clock, timing: Timing) -> None:
        self._dokku = dokku
        self._clock = clock
        self._limits = timing.lock
        self.fetch_wait = self.cap_grace = timing.lock.fetch_lives_on

    def blocker_in(self, snapshot: Snapshot) -> Blocker | None:
        return UNRECORDED if snapshot.report.locked else None

    async def poll(self, row: Deployment) -> Polled:
        report = await self._dokku.report(row.dokku_app)
        return Polled(record=None, lock_free=not report.locked)

    async def in_the_way(
        self,
        app: str,
        records: Sequence[BuildRecord],  # noqa: ARG002 - as the protocol
        known: Collection[str] = frozenset(),  # noqa: ARG002 - as the protocol
    ) -> BuildRecord | Blocker | None:
        return UNRECORDED if (await self._dokku.report(app)).locked else None

    async def is_its_own(
        self,
        row: Deployment,  # noqa: ARG002 - as the protocol
        record: BuildRecord,  # noqa: ARG002 - as the protocol
    ) -> bool:
        return False

    async def was_sent(
        self,
        row: Deployment,  # noqa: ARG002 - as the protocol
        patience: timedelta,  # noqa: ARG002 - as the protocol
    ) -> bool:
        return True

    async def lock_evidence(self, row: Deployment, ended_at: float | None) -> LockEvidence:
        if row.exit_status is not None:
            return LockEvidence()
        now = self._clock.monotonic()
        lost_for = timedelta(seconds=now - ended_at if ended_at is not None else 0)
        until = now if ended_at is None else ended_at + self._limits.dies_within.total_seconds()
        return LockEvidence(
            was_free=await self._was_free(row.dokku_app, until=until),
            lost_long=lost_for >= self._limits.fetch_lives_on,
        )

    async def _was_free(self, app: str, *, until: float) -> bool:
        """Ask at least once, and while it is held until `until` (monotonic seconds)."""
        while (await self._dokku.report(app)).locked:
            if self._clock.monotonic() >= until:
                return False
            await self._clock.sleep(self._limits.pause)
        await self._clock.sleep(self._limits.stays_free)
        return True


def candidates(records: Sequence[BuildRecord], before: Snapshot) -> Sequence[BuildRecord]:
    """Records that may be this deployment's: new since the snapshot, started by git:sync."""
    known = before.builds or frozenset()
    return [one for one in records if one.id not in known and one.source == SYNC_SOURCE]


def own_record(row: Deployment, records: Sequence[BuildRecord]) -> BuildRecord | None:
    """This deployment's record: by its known id, else the only candidate; None: not known."""
    if row.build_id is not None:
        return next((one for one in records if one.id == row.build_id), None)
    if row.before is None:
        return None
    new = candidates(records, row.before)
    return new[0] if len(new) == 1 else None


def left_no_trace(row: Deployment, records: Sequence[BuildRecord]) -> bool:
    """No record may be this deployment's, and none that was can have been pruned.

    Dokku prunes the oldest first, so a list that still has one from before the start is complete.
    """
    if row.before is None or not _is_complete(row.before, records):
        return False
    return not candidates(records, row.before)


def _is_complete(before: Snapshot, records: Sequence[BuildRecord]) -> bool:
    if before.builds is None:
        return False
    listed = {one.id for one in records}
    return bool(before.builds & listed) or not (before.builds or listed)


# --- a command that runs in a one-off container


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What the records show of the build that a one-off container began."""

    record: BuildRecord | None = None
    is_open: bool = False
    """A record may belong to this deployment, and nothing proves it yet."""


async def find_record(
    row: Deployment, records: Sequence[BuildRecord], dokku: Dokku
) -> BuildRecord | None:
    """This deployment's record; None: not known."""
    if row.before is None or not row.before.runner or row.build_id is not None:
        return own_record(row, records)
    return (await seek_build(row, row.before, records, dokku)).record


async def seek_build(
    row: Deployment, before: Snapshot, records: Sequence[BuildRecord], dokku: Dokku
) -> Sought:
    """The build of a deployment whose command runs in a container.

    Neither an exit status nor a stream identifies it. It must be the only build since the snapshot
    whose output begins with the deployment's repository and commit. A build ends with its
    container, so a running build without the container is not proven to be this deployment's.
    """
    new = [one for one in candidates(records, before) if one.kind == "build"]
    heads = {one.id: await dokku.build_head(row.dokku_app, one.id) for one in new}
    named = [one for one in new if heads[one.id] == f"{row.repo}#{row.pinned}"]
    unread = None in heads.values()
    if len(named) != 1 or unread:
        return Sought(is_open=unread or bool(named))
    (record,) = named
    if record.status is BuildStatus.RUNNING and not await is_run_alive(row, before, dokku):
        return Sought(is_open=True)
    return Sought(record=record)


async def is_run_alive(row: Deployment, before: Snapshot, dokku: Dokku) -> bool:
    """Whether the container of its command is listed; one whose name is not known, by its words."""
    runs = await dokku.one_offs(before.runner)
    if before.run:
        return before.run in runs
    commands = [command.split() for command in runs.values()]
    return any(row.dokku_app in words and words[-1] == row.pinned for words in commands if words)


async def no_run_is_left(row: Deployment, dokku: Dokku) -> bool:
    """Its container has ended, or never was, and no build can be the one that it began."""
    before = row.before
    if before is None or await is_run_alive(row, before, dokku):
        return False
    # Asked after the container: what it began has its record by now.
    records = await dokku.builds(row.dokku_app)
    if not _is_complete(before, records):
        return False
    sought = await seek_build(row, before, records, dokku)
    return sought == Sought()
