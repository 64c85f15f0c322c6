"""From the head of the queue to Dokku's command: look, snapshot, claim the app, start."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from statistics import median
from typing import Any

import structlog

from bot.deployments.dokku_facts import NO_SUCH_APP, BuildRecord, Snapshot
from bot.deployments.execution.outcome import Ending, Parts
from bot.deployments.execution.owned import OwnedDeployment
from bot.deployments.live.compare import commit_by_containers
from bot.deployments.model import BOT, AuditEntry, Blocker, Deployment, Event, Failure, Phase
from bot.deployments.ports import DeployStream, Dokku, Urgency
from bot.deployments.queue.rules import running_outside_build
from bot.deployments.requests.resolve import NotDeployable
from bot.deployments.verdict.collector import EvidenceReader, candidates
from bot.deployments.verdict.deploy_lock import keeps_no_records
from bot.deployments.verdict.outside_changes import UNRECORDED, blocker, describe_build
from bot.errors import (
    CommandFailed,
    Declined,
    DokkuError,
    LeaseLost,
    NotShown,
    OutcomeUnknown,
    StoreError,
    Unreachable,
)

log = structlog.get_logger(__name__)

KNOWN_GOOD = 3
"""Good deployments needed before a usual duration is shown."""
RECORD_PAUSE = timedelta(milliseconds=500)
WISH_LOOK = timedelta(seconds=5)
"""Between two tries to start, it is read so often whether somebody wants the end."""
REFUSED_BY_LOCK = "refused_by_lock"
"""Audit word: Dokku refused the start, nothing ran, the place in the queue is kept."""
SECOND_ATTEMPT = "…… the connection was lost; started again ……"
NEXT_START = "…… another deploy held Dokku's lock; started when it was free ……"
"""Lines of the log between two starts."""


class Blocked(Exception):
    """It cannot start now and keeps its place; the phrase says what it waits for."""

    def __init__(self, waits_for: str, *, blocker: Blocker | None = None) -> None:
        super().__init__(waits_for)
        self.blocker = blocker


class Starting:
    """Nothing is sent that changes the server before the row says `starting`."""

    def __init__(
        self,
        *,
        held: OwnedDeployment,
        dokku: Dokku,
        reader: EvidenceReader,
        ending: Ending,
        parts: Parts,
    ) -> None:
        self._held = held
        self._dokku = dokku
        self._reader = reader
        self._ending = ending
        self._parts = parts
        self._timing = parts.timing
        self._clock = parts.clock
        self.held_back = False
        """The replica stops: nothing that has not begun may begin."""
        self.entered = False
        """The row is being, or was, claimed for the start of Dokku's command."""

    async def start(self) -> DeployStream | None:
        """The running command; None: it ended before. Blocked, DokkuError: it keeps its place."""
        try:
            ready = await self._look_up()
            if ready is None:
                return None
            snapshot = await self._clear(ready)
        except CommandFailed as failed:
            if failed.exit_status != NO_SUCH_APP:
                raise
            cause = f"{self._held.row.dokku_app} does not exist on {self._held.row.server}"
            await self._ending.unstarted(Failure.APP_NOT_FOUND, cause)
            return None
        if self.held_back:
            raise Blocked("the bot, which is being restarted")
        self.entered = True
        await self._enter(ready, snapshot)
        await self._part_the_log()
        return await self._command()

    async def never_began(self, idle: timedelta) -> bool:
        """The former owner died on its way to the command. True: it waits again, or has ended.

        A record is there half a second after a command was sent; without one, nothing ran.
        `idle`: for how long nobody has owned it. Raises DokkuError: nobody can tell yet.
        """
        row = self._held.row
        keeps = await self._dokku.keeps_records()
        patience = self._timing.record_wait - idle
        began = self._clock.monotonic()
        while row.before is not None and keeps:
            if candidates(await self._dokku.builds(row.dokku_app), row.before):
                break
            if self._clock.monotonic() - began >= patience.total_seconds():
                await self._leave()
                return True
            await self._clock.sleep(RECORD_PAUSE)
        # Sent, or an old Dokku that cannot tell: the cap counts from now.
        await self.note_started()
        return False

    async def _leave(self) -> None:
        if self._held.row.attempt == 1:
            await self._held.move(Phase.QUEUED, "never_began")
            return
        cause = "The bot died as it started the deployment for the second time; nothing of it ran"
        await self._ending.unstarted(Failure.INTERRUPTED, cause)

    async def start_again(self) -> DeployStream | None:
        """The second attempt, in the same message. None: it ended before the command started."""
        row = self._held.row
        if row.before is None:
            raise ValueError("a deployment that was started has a snapshot")
        records = await self._dokku.builds(row.dokku_app)
        held = keeps_no_records(row) and (await self._dokku.report(row.dokku_app)).locked
        if held or running_outside_build(records) is not None:
            raise Blocked("another build")
        note = Event(
            type="deployment.note",
            text=f"The connection to {row.server} was lost before the release. "
            f"Starting {row.app} again, once.",
        )
        changes: dict[str, Any] = {
            "attempt": row.attempt + 1,
            "before": replace(row.before, builds=_ids(records, row.before)),
            "build_id": None,
            "exit_status": None,
            "event": note,
        }
        if row.phase is Phase.STARTING:
            audit = AuditEntry(actor=BOT, through="runner", action="started_again")
            await self._held.record(audit=audit, **changes)
        else:
            await self._held.move(Phase.STARTING, "started_again", **changes)
        await self._note_in_log(SECOND_ATTEMPT)
        return await self._command()

    async def _part_the_log(self) -> None:
        """What a start that was refused has printed says nothing of the next one."""
        if await self._held.ask(lambda store: store.logs.read(self._held.id)):
            await self._note_in_log(NEXT_START)

    async def _note_in_log(self, line: str) -> None:
        try:
            await self._held.append_log(["", line, ""])
        except LeaseLost:
            raise
        except StoreError as error:
            log.warning("log_not_kept", deployment_id=self._held.id, why=str(error))

    async def _look_up(self) -> Deployment | None:
        row = self._held.row
        if row.ready:
            return row
        found = await self._parts.resolver.look_up(row)
        if isinstance(found, NotDeployable):
            await self._ending.unstarted(found.failure, found.sentence)
            return None
        return replace(row, ref=found.ref, repo=found.repo, sha=found.sha, ready=True)

    async def _clear(self, row: Deployment) -> Snapshot:
        records = await self._dokku.builds(row.dokku_app)
        foreign = running_outside_build(records)
        if foreign is not None:
            what = await self._describe(foreign)
            raise Blocked(what, blocker=self._blocker(foreign, what))
        snapshot = await self._reader.snapshot(row.dokku_app, records)
        if snapshot.builds is None and snapshot.report.locked:
            # Before 0.38 the flag is the lock; later it stays set after any failed build.
            raise Blocked(UNRECORDED.what, blocker=UNRECORDED)
        if snapshot.containers is None:
            # Started all the same, whatever runs afterwards could not be told from what ran before.
            raise NotShown(row.dokku_app, row.server)
        return snapshot

    def _blocker(self, running: BuildRecord, what: str) -> Blocker:
        row = self._held.row
        return blocker(
            running,
            what,
            app=row.dokku_app,
            now=self._clock.now(),
            longest=row.max_duration,
            known=self._held.deployments.progress(row.id).blocker,
        )

    async def _describe(self, running: BuildRecord) -> str:
        row = self._held.row
        ours = await self._held.ask(lambda store: store.recent(app=row.app, server=row.server))
        if any(one.build_id == running.id for one in ours):
            return f"an earlier deployment whose end is not known (Dokku build {running.id})"
        return describe_build(running)

    async def _enter(self, row: Deployment, snapshot: Snapshot) -> None:
        started = await self._held.ask(lambda store: store.started(row.target))
        # The history alone does not know what somebody else deployed since.
        proven = commit_by_containers(started, snapshot.containers)
        await self._held.move(
            Phase.STARTING,
            "starting",
            detail={"sha": row.sha or "", "ref": row.ref},
            ref=row.ref,
            repo=row.repo,
            sha=row.sha,
            ready=True,
            before=replace(snapshot, proven=proven),
            previous_sha=proven or snapshot.report.sha,
            started_at=None,
            exit_status=None,
            build_id=None,
        )
        await self.note_usual()

    async def note_usual(self) -> None:
        """Show how long good deployments of the app take, once 3 are known."""
        target = self._held.row.target
        durations = await self._held.ask(lambda store: store.good_durations(target))
        usual = None
        if len(durations) >= KNOWN_GOOD:
            usual = timedelta(seconds=median(one.total_seconds() for one in durations))
        self._held.note(place=None, waits_for=None, blocker=None, usual=usual)

    async def _command(self) -> DeployStream | None:
        row = self._held.row
        if row.repo is None:
            raise ValueError("a prepared deployment has a repository")
        tries = self._timing.start_tries
        for number in range(1, tries + 1):
            # A lease may run out while its owner stands still: ask the database, then start.
            if (await self._held.confirm()).cancel is not None:
                await self._ending.cancelled_unstarted()
                return None
            try:
                if number > 1:
                    await self._mind_others()
                stream = await self._dokku.deploy(row.dokku_app, row.repo, row.pinned)
            except Unreachable as error:
                if number == tries or error.final:
                    await self._ending.unstarted(Failure.SERVER_UNREACHABLE, str(error))
                    return None
                self._held.note(Urgency.PHASE, waits_for=f"the server (try {number} of {tries})")
                await self._pause(self._timing.start_window / tries)
            except Declined as error:
                # Not even sent: asked again it would be declined again.
                await self._ending.unstarted(Failure.REFUSED, str(error))
                return None
            except OutcomeUnknown as error:
                # Sent, perhaps: whoever takes it over looks for its record.
                log.warning("start_not_answered", deployment_id=row.id, why=str(error))
                await self.note_started()
                return None
            else:
                break
        await self.note_started()
        self._held.note(waits_for=None)
        return stream

    async def _mind_others(self) -> None:
        """Between two tries somebody may have begun a build, or ended one: look anew. Blocked.

        A second attempt has no place in the queue to go back to; its first one's end is told.
        Raises Unreachable: the question was not answered, so this try has failed too.
        """
        row = self._held.row
        if row.before is None:
            raise ValueError("a deployment that was claimed has a snapshot")
        try:
            came = await self._came_first(row, row.before)
        except Unreachable:
            raise
        except DokkuError as error:
            raise Unreachable(str(error)) from error
        if came is None:
            return
        if row.attempt == 1:
            self.entered = False
            await self._held.move(Phase.QUEUED, "others_came_first")
        raise came

    async def _came_first(self, row: Deployment, before: Snapshot) -> Blocked | None:
        if before.builds is None:
            locked = (await self._dokku.report(row.dokku_app)).locked
            return Blocked(UNRECORDED.what, blocker=UNRECORDED) if locked else None
        records = await self._dokku.builds(row.dokku_app)
        foreign = running_outside_build(records, before.builds)
        if foreign is not None:
            what = await self._describe(foreign)
            return Blocked(what, blocker=self._blocker(foreign, what))
        new = {one.id for one in records} - before.builds
        return Blocked("another look at what runs") if new else None

    async def _pause(self, whole: timedelta) -> None:
        """Between two tries; a wish to cancel ends it, through whatever it came."""
        until = self._clock.monotonic() + whole.total_seconds()
        while self._held.row.cancel is None:
            left = timedelta(seconds=until - self._clock.monotonic())
            if left <= timedelta(0):
                return
            await self._clock.sleep(min(left, WISH_LOOK))
            await self._held.refresh_cancel_request()

    async def note_started(self) -> None:
        """The first start of Dokku's command, for all that is known: the cap counts from here."""
        row = self._held.row
        if row.started_at is not None:
            return
        audit = await self._held.ask(lambda store: store.audit_of(row.id))
        told = any(entry.action == REFUSED_BY_LOCK for _, entry in audit)
        event = None if told else Event(type="deployment.started")
        await self._held.record(started_at=self._clock.now(), event=event)


def last_attempt(text: str) -> Sequence[str]:
    """The lines of a kept log that belong to the start that was made last."""
    lines = text.removesuffix("\n").split("\n") if text else []
    begins = [place for place, line in enumerate(lines) if line in {SECOND_ATTEMPT, NEXT_START}]
    return lines[begins[-1] + 2 :] if begins else lines


def _ids(records: Sequence[BuildRecord], before: Snapshot) -> frozenset[str] | None:
    return None if before.builds is None else before.builds | {one.id for one in records}
