"""From the head of the queue to Dokku's command: look up, snapshot, claim the app, send."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from bot.deployments.dokku_facts import NO_SUCH_APP, BuildRecord, Snapshot
from bot.deployments.execution.attempt import NEXT_START, SECOND_ATTEMPT, may_start_again
from bot.deployments.execution.owned import REFUSED_BY_LOCK, OwnedDeployment, WorkerContext
from bot.deployments.live.compare import previous_commit
from bot.deployments.lock import AppLocked
from bot.deployments.locks.rules import stopping
from bot.deployments.model import BOT, AuditEntry, Deployment, Event, Failure, NotDeployable, Phase
from bot.deployments.ports import DeployStream, Dokku, Urgency
from bot.deployments.progress import Blocker
from bot.deployments.states import ENDINGS, SECOND_START
from bot.deployments.verdict.collector import EvidenceCollector
from bot.deployments.verdict.outside_changes import (
    blocker,
    describe_build,
    running_build,
)
from bot.deployments.verdict.run_proof import RunProof, proof_for
from bot.errors import (
    CommandFailed,
    Declined,
    DokkuError,
    LeaseLost,
    NotKnown,
    NotShown,
    OtherScheduler,
    OutcomeUnknown,
    StoreError,
    Unreachable,
    Withheld,
)

log = structlog.get_logger(__name__)

INSTEAD = "Nothing was started; deploy this app with git push"
"""Where the bot could not prove the result."""
PASSED_OVER = frozenset({*ENDINGS, Phase.AWAITING_APPROVAL})
"""Phases of a newer request that, if it was never started, does not replace this deployment."""
UNPROVEN = "an earlier deployment with an unknown result"
ANOTHER_DEPLOY = "another deploy outside the bot"
"""What it waits for, until the next look names it."""


class NotStarted(Exception):
    """It ends before Dokku's command was started: `failure` None means that it was cancelled."""

    def __init__(self, failure: Failure | None, cause: str) -> None:
        super().__init__(cause)
        self.failure = failure
        self.cause = cause

    @classmethod
    def cancelled(cls, attempt: int) -> "NotStarted":
        """A cancel was requested before this attempt was sent."""
        again = " again" if attempt > 1 else ""
        return cls(None, f"Cancelled before it started{again}")


class Blocked(Exception):
    """It cannot start now and keeps its position; the phrase says what it waits for."""

    def __init__(self, waits_for: str, *, blocker: Blocker | None = None) -> None:
        super().__init__(waits_for)
        self.blocker = blocker


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A deployment that may start: looked up, nothing in its way, and what ran before."""

    row: Deployment
    snapshot: Snapshot


class Start:
    """Sends nothing that changes the server before the row says `starting`.

    Its methods raise NotStarted, Blocked, or DokkuError: then it keeps its position.
    """

    def __init__(
        self,
        owned: OwnedDeployment,
        dokku: Dokku,
        collector: EvidenceCollector,
        context: WorkerContext,
    ) -> None:
        self._owned = owned
        self._dokku = dokku
        self._collector = collector
        self._look_up = context.look_up
        self._check_start = context.check_start
        self._read_commits = context.read_commits
        self._timing = context.timing
        self._clock = context.clock

    async def prepare(self) -> Ready:
        """Check its requester again, look up the commit, and read what runs now."""
        try:
            await self._check_start(self._owned.row)
        except NotKnown as unknown:
            raise Blocked(str(unknown)) from unknown
        except Declined as declined:
            raise NotStarted(Failure.REFUSED, str(declined)) from declined
        try:
            return await self._unblocked(await self._resolved())
        except OtherScheduler as error:
            raise NotStarted(Failure.REFUSED, f"{error} {INSTEAD}") from error
        except CommandFailed as failed:
            if failed.exit_status != NO_SUCH_APP:
                raise
            cause = f"{self._owned.row.dokku_app} does not exist on the server"
            raise NotStarted(Failure.APP_NOT_FOUND, cause) from failed

    async def send(self, ready: Ready) -> DeployStream | None:
        """Claim the app and send the command. None: whether it was sent is not known."""
        await self._claim_app(ready)
        await self._divide_log()
        return await self._send_command()

    async def was_sent(self, idle: timedelta) -> bool:
        """Whether a start whose owner died was sent. False: it is queued again.

        `idle` is how long nobody has owned it. Raises DokkuError: it cannot be known yet.
        """
        row = self._owned.row
        patience = self._timing.record_wait - idle
        if not await self._proof(row.before).was_sent(row, patience):
            await self._leave()
            return False
        # Sent, or an old Dokku that cannot show it: the cap counts from now.
        await self._owned.record_start()
        return True

    async def send_again(self) -> DeployStream | None:
        """The second attempt, in the same message. None: whether it was sent is not known."""
        row = self._owned.row
        if row.before is None:
            raise ValueError("a deployment that was started has a snapshot")
        records = await self._dokku.builds(row.dokku_app)
        if await self._proof(row.before).in_the_way(row.dokku_app, records) is not None:
            raise Blocked("another build")
        note = Event(
            type="deployment.note",
            text="The connection to the server was lost before the release. "
            f"Starting {row.app} again, once.",
        )
        changes: dict[str, Any] = {
            "attempt": row.attempt + 1,
            "before": replace(row.before, builds=_with_ids_of(records, row.before)),
            "build_id": None,
            "exit_status": None,
            "event": note,
        }
        if row.phase is Phase.STARTING:
            audit = AuditEntry(actor=BOT, through="runner", action=SECOND_START)
            await self._owned.record(audit=audit, **changes)
        else:
            await self._owned.move(Phase.STARTING, SECOND_START, **changes)
        await self._add_to_log(SECOND_ATTEMPT)
        return await self._send_command()

    async def may_send_again(self, last_contact: float) -> bool:
        """Whether it may be started once more; `last_contact` in monotonic seconds.

        Raises AppLocked: only someone's lock is in the way.
        """
        row = self._owned.row
        running = self._clock.now() - (row.started_at or self._clock.now())
        later = await self._owned.ask(lambda store: store.newer(row))
        if not may_start_again(
            row,
            lost_for=timedelta(seconds=self._clock.monotonic() - last_contact),
            within=self._timing.start_again_within,
            # What ended before its start changed nothing; what is not approved may never start.
            newer=any(one.started_at or one.phase not in PASSED_OVER for one in later),
            cap_reached=running >= row.max_duration,
        ):
            return False
        standing = await self._owned.ask(lambda store: store.locks.standing())
        lock = stopping(standing.locks, row.target, row.requested_by, self._clock.now())
        if lock is not None:
            raise AppLocked(lock)
        return True

    async def requeue(self) -> None:
        """Dokku refused: another deploy holds its lock. Nothing of this deployment ran."""
        if self._owned.row.cancel is not None:
            raise NotStarted.cancelled(self._owned.row.attempt)
        self._owned.note(reading_end=False, cut_off=False, waits_for=ANOTHER_DEPLOY, tail=())
        if not self._owned.can_move(Phase.QUEUED):
            # The refusal comes after the fetch; the table knows the way back only by the start.
            await self._owned.move(Phase.STARTING, "refused")
        await self._owned.move(
            Phase.QUEUED, REFUSED_BY_LOCK, exit_status=None, started_at=None, build_id=None
        )

    def _proof(self, before: Snapshot | None) -> RunProof:
        return proof_for(before, self._dokku, clock=self._clock, timing=self._timing)

    async def _leave(self) -> None:
        if self._owned.row.attempt == 1:
            await self._owned.move(Phase.QUEUED, "never_began")
            return
        cause = "The bot stopped while starting the deployment a second time; nothing ran"
        raise NotStarted(Failure.INTERRUPTED, cause)

    async def _divide_log(self) -> None:
        """What a refused start printed says nothing about the next one."""
        if await self._owned.ask(lambda store: store.logs.read(self._owned.id)):
            await self._add_to_log(NEXT_START)

    async def _add_to_log(self, line: str) -> None:
        try:
            await self._owned.append_log(["", line, ""])
        except LeaseLost:
            raise
        except StoreError as error:
            log.warning("log_line_not_stored", deployment_id=self._owned.id, why=str(error))

    async def _resolved(self) -> Deployment:
        row = self._owned.row
        if row.ready:
            return row
        found = await self._look_up(row)
        if isinstance(found, NotDeployable):
            raise NotStarted(found.failure, found.sentence)
        return replace(row, ref=found.ref, repo=found.repo, sha=found.sha, ready=True)

    async def _unblocked(self, row: Deployment) -> Ready:
        records = await self._dokku.builds(row.dokku_app)
        build = running_build(records)
        if build is not None:
            raise await self._blocked_by(build)
        snapshot = await self._collector.snapshot(row.dokku_app, records)
        other = self._proof(snapshot).blocker_in(snapshot)
        if other is not None:
            raise await self._blocked_by(other)
        if snapshot.containers is None:
            # Without them, what runs afterwards could not be compared with what ran before.
            raise NotShown(row.dokku_app, row.server)
        return Ready(row=row, snapshot=snapshot)

    async def _blocked_by(self, other: BuildRecord | Blocker) -> Blocked:
        if isinstance(other, Blocker):
            return Blocked(other.what, blocker=other)
        row = self._owned.row
        own = await self._is_own(other)
        known = blocker(
            other,
            f"{UNPROVEN} (Dokku build {other.id})" if own else describe_build(other),
            app=row.dokku_app,
            now=self._clock.now(),
            longest=row.max_duration,
            known=self._owned.deployments.progress(row.id).blocker,
            own=own,
        )
        return Blocked(known.what, blocker=known)

    async def _is_own(self, build: BuildRecord) -> bool:
        row = self._owned.row
        recent = await self._owned.ask(lambda store: store.recent(app=row.app, server=row.server))
        return any(one.build_id == build.id for one in recent)

    async def _claim_app(self, ready: Ready) -> None:
        row, snapshot = ready.row, ready.snapshot
        started = await self._owned.ask(lambda store: store.started(row.target))
        # The history does not know what was deployed outside the bot since.
        proven, previous = previous_commit(started, snapshot.containers, snapshot.report)
        await self._owned.move(
            Phase.STARTING,
            "starting",
            detail={"sha": row.sha or "", "ref": row.ref},
            ref=row.ref,
            repo=row.repo,
            sha=row.sha,
            ready=True,
            before=replace(snapshot, proven=proven),
            previous_sha=previous,
            started_at=None,
            exit_status=None,
            build_id=None,
        )
        self._read_commits(self._owned.row)
        await self._owned.show_usual_duration()

    async def _send_command(self) -> DeployStream | None:
        row = self._owned.row
        if row.repo is None:
            raise ValueError("a resolved deployment has a repository")
        tries, number, look_again = self._timing.start_tries, 1, False
        while True:
            # A lease may run out while its owner is suspended: ask the database, then start.
            if (await self._owned.confirm()).cancel is not None:
                raise NotStarted.cancelled(self._owned.row.attempt)
            try:
                if look_again:
                    await self._give_way()
                stream = await self._open(row, row.repo)
            except Withheld:
                log.info("start_withheld", deployment_id=row.id)
                look_again = True
                continue  # waits for the lease
            except Unreachable as error:
                if number == tries or error.final:
                    raise NotStarted(Failure.SERVER_UNREACHABLE, str(error)) from error
                self._owned.note(Urgency.PHASE, waits_for=f"the server (try {number} of {tries})")
                await self._pause(self._timing.start_window / tries)
                number, look_again = number + 1, True
                continue
            except Declined as error:
                # Not even sent, and it would be declined again.
                raise NotStarted(Failure.REFUSED, str(error)) from error
            except OutcomeUnknown as error:
                # Perhaps it was sent: the next owner looks for its record.
                log.warning("start_not_answered", deployment_id=row.id, why=str(error))
                stream = None
            break
        # First: the database may be slow, and the message must not show a wait that is over.
        self._owned.note(waits_for=None)
        await self._owned.record_start()
        return stream

    async def _open(self, row: Deployment, repo: str) -> DeployStream | None:
        """Send the command. None: it was sent, and does not run on a connection of the bot."""
        return await self._dokku.deploy(
            row.dokku_app, repo, row.pinned, may_send=self._owned.has_right
        )

    async def _give_way(self) -> None:
        """Between two tries another build may have begun or ended: look again. Raises Blocked.

        A second attempt has no position to go back to; the first one's result is reported.
        Raises Unreachable: the question was not answered, so this try has failed too.
        """
        row = self._owned.row
        if row.before is None:
            raise ValueError("a deployment that claimed its app has a snapshot")
        try:
            blocked = await self._came_first(row, row.before)
        except Unreachable:
            raise
        except DokkuError as error:
            raise Unreachable(str(error)) from error
        if blocked is None:
            return
        if row.attempt == 1:
            await self._owned.move(Phase.QUEUED, "others_came_first")
        raise blocked

    async def _came_first(self, row: Deployment, before: Snapshot) -> Blocked | None:
        known = before.builds or frozenset()
        records = await self._dokku.builds(row.dokku_app)
        other = await self._proof(before).in_the_way(row.dokku_app, records, known)
        if other is not None:
            return await self._blocked_by(other)
        new = {one.id for one in records} - known
        return Blocked("another look at what is running") if new else None

    async def _pause(self, whole: timedelta) -> None:
        """Between two tries; a cancel request ends it, through whatever it came."""
        until = self._clock.monotonic() + whole.total_seconds()
        while self._owned.row.cancel is None:
            left = timedelta(seconds=until - self._clock.monotonic())
            if left <= timedelta(0):
                return
            await self._clock.sleep(min(left, self._timing.cancel_request_look))
            await self._owned.refresh_cancel_request()


def _with_ids_of(records: Sequence[BuildRecord], before: Snapshot) -> frozenset[str] | None:
    return None if before.builds is None else before.builds | {one.id for one in records}
