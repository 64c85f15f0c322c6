"""Works out what is live now from the bot's history and the current containers. Pure.

Times of the bot and of the server are never compared: the order of Dokku's build ids shows what
came later, and the containers themselves show what changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.deployments.dokku_facts import (
    NEVER_FINALIZED,
    SYNC_SOURCE,
    AppReport,
    BuildRecord,
    BuildStatus,
    Containers,
)
from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.deployments.states import ENDINGS, RUNNING, WAITING
from bot.deployments.verdict.outside_changes import running_build

NAMED = 3
"""How many records of outside changes are kept: the newest ones."""
_VERIFIED = frozenset({Live.NEW, Live.MIXED, Live.NONE})
"""Results that say what the deployment left. `previous` points back to an earlier deployment."""


class Match(StrEnum):
    """How the current containers compare with those that the last verified deployment left."""

    AS_LEFT = "as_left"
    """The same containers as when it ended (or none, as then)."""
    RESTARTED = "restarted"
    """Other containers of the same images: the same code, restarted or scaled outside the bot."""
    REPLACED = "replaced"
    """Containers of other images: a release that this bot did not deploy."""
    STARTED = "started"
    """It left nothing to compare with, and something runs now."""
    STOPPED = "stopped"
    """It left running processes, and none runs now."""
    CHANGING = "changing"
    """Changed, but a deployment of this bot is running and may have caused it."""
    UNCERTAIN = "uncertain"
    """Changed, but the result of a later deployment of this bot could not be proven."""
    NEVER = "never"
    """This bot has no verified deployment of the app."""
    UNREADABLE = "unreadable"
    """The containers cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEvidence:
    """The history and the server's answers, read as close together as possible."""

    started: Sequence[Deployment] = ()
    """Deployments of the app whose command was started, the last start first."""
    unfinished: Sequence[Deployment] = ()
    """Deployments of the app that have not ended, oldest first."""
    containers: Containers | None = None
    records: Sequence[BuildRecord] | None = None
    """Newest first. None: this Dokku version keeps none, or they could not be read."""
    report: AppReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveState:
    """What is live now, as far as it is proven."""

    match: Match
    base: Deployment | None
    """The last verified deployment: its result says what it left."""
    commit: str | None
    """The commit that this bot proved to be running. None: not proven."""
    containers: Containers | None
    replaced_processes: tuple[str, ...] = ()
    """Processes that run an image which `base` did not leave."""
    crashing: tuple[str, ...] = ()
    """Processes that Docker restarted since then, or is restarting now."""
    proven_before: str | None = None
    """When REPLACED: the commit of an earlier good deployment that left the same images."""
    according_to_dokku: str | None = None
    """The commit in Dokku's own record. It proves nothing."""
    outside_changes: tuple[BuildRecord, ...] = ()
    """Build records of others since `base` that may have changed the app, newest first."""
    outside_build: BuildRecord | None = None
    """A build that someone started outside the bot and that is running now."""
    locked: bool = False
    """Someone else holds the deploy lock. Only set where build records could not be read."""
    unproven: Deployment | None = None
    """A deployment later than `base` whose result could not be proven."""
    last_good: Deployment | None = None
    newest: Deployment | None = None
    """The deployment that was started last and has ended, whatever its result."""
    running: Deployment | None = None
    waiting: tuple[Deployment, ...] = ()


def is_good(row: Deployment) -> bool:
    """Whether the deployment succeeded and its commit was proven live."""
    return row.phase is Phase.SUCCEEDED and row.live is Live.NEW and row.sha is not None


def find_base(started: Sequence[Deployment]) -> Deployment | None:
    """The last verified deployment. `started`: the last start first."""
    return next((one for one in _ended(started) if one.live in _VERIFIED), None)


def find_unproven(started: Sequence[Deployment]) -> Deployment | None:
    """A deployment after the last verified one whose result could not be proven."""
    for one in _ended(started):
        if one.live in _VERIFIED:
            return None
        if one.live is not Live.PREVIOUS:
            return one
    return None


def released_commit(row: Deployment) -> str | None:
    """The one commit that the deployment left running. None: several, none, or not certain."""
    # INTERNAL: Dokku did not confirm the commit. An interruption leaves its containers proven.
    uncertain = row.failure is Failure.INTERNAL
    return row.sha if row.live is Live.NEW and not uncertain else None


def may_return_to(row: Deployment) -> bool:
    """Whether a rollback may deploy its commit: it was seen live, and was not seen crashing."""
    return released_commit(row) is not None and row.failure is not Failure.CRASHED


def compare_containers(base: Deployment, now: Containers) -> Match:
    """Return AS_LEFT, RESTARTED, REPLACED, STARTED or STOPPED."""
    left = base.after or Containers()
    left_up = [one for one in left.listed if one.is_up]
    up = [one for one in now.listed if one.is_up]
    if not up:
        return Match.STOPPED if left_up else Match.AS_LEFT
    if not _images(left):
        return Match.STARTED
    if replaced_processes(base, now):
        return Match.REPLACED
    return Match.AS_LEFT if now.ids == left.ids else Match.RESTARTED


def replaced_processes(base: Deployment, now: Containers) -> tuple[str, ...]:
    """Processes that run an image which `base` did not leave."""
    left = base.after or Containers()
    return tuple(
        one.process
        for one in now.listed
        if one.is_up and one.id not in left.ids and one.image not in _images(left)
    )


def commit_by_history(started: Sequence[Deployment]) -> str | None:
    """The live commit according to the history only; the containers may show another."""
    base = find_base(started)
    if base is None or not is_good(base) or find_unproven(started) is not None:
        return None
    return base.sha


def find_source(started: Sequence[Deployment], now: Containers) -> Deployment | None:
    """The deployment that made the current containers, however it ended.

    The last verified one counts also by its images: a restart changes the ids. An older one counts
    only by its containers, or by its images where it was good.
    """
    base = find_base(started)
    for one in _ended(started):
        if one.after is None or one.live not in _VERIFIED:
            continue
        if one.live is Live.NONE and one.failure is not Failure.CRASHED:
            continue  # what it left down may be an older release
        if _are_its_own(one.after, now, images=one is base or is_good(one)):
            return one
    return None


def previous_commit(
    started: Sequence[Deployment], now: Containers | None, report: AppReport
) -> tuple[str | None, str | None]:
    """The commit that this bot proved to be in the containers, and the commit called previous.

    Only where no deployment of this bot made them does Dokku's own record name the previous one.
    """
    if now is None:
        return None, report.sha
    source = find_source(started, now)
    if source is None:
        # Without containers nothing serves, whatever Dokku built last.
        nothing = not now.listed and find_base(started) is not None
        return None, None if nothing else report.sha
    if source.live is Live.MIXED:
        return None, None  # several commits serve
    commit = source.sha if source.live is Live.NONE else released_commit(source)
    return commit, commit or report.sha


def _are_its_own(left: Containers, now: Containers, *, images: bool) -> bool:
    """Whether what runs (or, if nothing runs, what is listed) are the containers `left`."""
    up = [one for one in now.listed if one.is_up] or list(now.listed)
    known = _images(left) if images else frozenset()
    return bool(up) and all(one.id in left.ids or one.image in known for one in up)


def compare_live(evidence: LiveEvidence) -> LiveState:
    """Compare the history with what the server shows."""
    ended = _ended(evidence.started)
    base = find_base(evidence.started)
    running = next((one for one in evidence.unfinished if one.phase in RUNNING), None)
    unproven = find_unproven(evidence.started)
    now = evidence.containers
    match = _match(base, now, running=running is not None, unproven=unproven is not None)
    same = match in {Match.AS_LEFT, Match.RESTARTED}
    replaced = replaced_processes(base, now) if base and now and match is Match.REPLACED else ()
    records = evidence.records or ()
    own = _own_builds(evidence)
    return LiveState(
        match=match,
        base=base,
        commit=released_commit(base) if base and same else None,
        containers=now,
        replaced_processes=replaced,
        crashing=_crashing(base, now),
        proven_before=_proven_before(ended, base, now) if replaced else None,
        according_to_dokku=evidence.report.sha if evidence.report else None,
        outside_changes=() if match is Match.AS_LEFT else _outside_changes(base, records, own),
        outside_build=running_build(records, own) if running is None else None,
        locked=evidence.records is None
        and running is None
        and evidence.report is not None
        and evidence.report.locked,
        unproven=unproven,
        last_good=next((one for one in ended if is_good(one)), None),
        newest=ended[0] if ended else None,
        running=running,
        waiting=tuple(one for one in evidence.unfinished if one.phase in WAITING),
    )


def _match(
    base: Deployment | None, now: Containers | None, *, running: bool, unproven: bool
) -> Match:
    if now is None:
        return Match.UNREADABLE
    found = Match.NEVER
    if base is not None:
        # Its containers could not be read when it ended: there is nothing to compare with.
        found = Match.UNCERTAIN if base.after is None else compare_containers(base, now)
    if found is not Match.AS_LEFT and running:
        return Match.CHANGING
    if found not in {Match.AS_LEFT, Match.RESTARTED} and unproven:
        return Match.UNCERTAIN
    return found


def _ended(started: Sequence[Deployment]) -> list[Deployment]:
    return [one for one in started if one.phase in ENDINGS]


def _images(read: Containers) -> frozenset[str]:
    """Image ids; containers that are gone have none."""
    return read.images - {""}


def _crashing(base: Deployment | None, now: Containers | None) -> tuple[str, ...]:
    left = {one.id: one.restarts for one in base.after.listed} if base and base.after else {}
    listed = now.listed if now else ()
    return tuple(
        one.process
        for one in listed
        if one.state == "restarting" or one.restarts > left.get(one.id, 0)
    )


def _proven_before(
    ended: Sequence[Deployment], base: Deployment | None, now: Containers | None
) -> str | None:
    """The commit of one earlier good deployment that left the images of all running processes."""
    images = {one.image for one in now.listed if one.is_up} if now else set()
    for one in ended:
        if one is not base and is_good(one) and one.after and images <= _images(one.after):
            return one.sha
    return None


def _own_builds(evidence: LiveEvidence) -> frozenset[str]:
    rows = (*evidence.started, *evidence.unfinished)
    return frozenset(one.build_id for one in rows if one.build_id)


def _outside_changes(
    base: Deployment | None, records: Sequence[BuildRecord], own: frozenset[str]
) -> tuple[BuildRecord, ...]:
    found = [
        one
        for one in records
        if one.id not in own and _is_later(one, base) and not _changed_nothing(one)
    ]
    return tuple(sorted(found, key=_age, reverse=True)[:NAMED])


def _is_later(record: BuildRecord, base: Deployment | None) -> bool:
    if base is None:
        return True
    if base.build_id is not None:
        return _age(record) > (len(base.build_id), base.build_id)
    known = base.before.builds if base.before else None
    return known is not None and record.id not in known


def _changed_nothing(record: BuildRecord) -> bool:
    """Whether it is a `git:sync` without a result: refused, nothing to do, or a failed build.

    Refused starts of this bot leave such records too. A `ps:restart` always ends like this.
    """
    no_result = record.status is BuildStatus.ABANDONED or (
        record.status is BuildStatus.FAILED and record.exit_code == NEVER_FINALIZED
    )
    return no_result and record.source == SYNC_SOURCE


def _age(record: BuildRecord) -> tuple[int, str]:
    """Sort key: build ids start with the time, as base 36 of milliseconds."""
    return len(record.id), record.id


_AFTER_THE_FETCH = frozenset(
    {Failure.BUILD_FAILED, Failure.HEALTHCHECK_FAILED, Failure.RELEASE_FAILED, Failure.CRASHED}
)


def was_fetched(row: Deployment) -> bool:
    """Whether Dokku fetched its commit, so that the commit is known to be in its repository."""
    got_on = row.phase in {Phase.BUILDING, Phase.RELEASING, Phase.CHECKING, Phase.SUCCEEDED}
    return got_on or row.failure in _AFTER_THE_FETCH
