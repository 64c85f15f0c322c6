"""What is live now: the bot's own history and the containers of this moment, compared. Pure.

Times of the bot and of the server are never compared: what came later is told by the order of
Dokku's build ids, and what changed by the containers themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.deployments.dokku_facts import (
    SYNC_SOURCE,
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
)
from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.deployments.states import ENDINGS, RUNNING, WAITING
from bot.deployments.verdict.outside_changes import NEVER_FINALIZED

NAMED = 3
"""Foreign records that are worth naming: the newest ones."""
_LEFT_SOMETHING = frozenset({Live.NEW, Live.MIXED, Live.NONE})
"""Ends that say what they left; after `previous` that is what an earlier one left."""


class Match(StrEnum):
    """How the containers of now stand to the last end that says what it left."""

    AS_LEFT = "as_left"
    """The very containers that were seen at that end (or none, as then)."""
    RESTARTED = "restarted"
    """Other containers of the same images: the same code, restarted or scaled elsewhere."""
    REPLACED = "replaced"
    """Containers of other images: another release, which this bot did not bring."""
    STARTED = "started"
    """That end left nothing to compare with, and something runs now."""
    STOPPED = "stopped"
    """That end left running processes, and none runs now."""
    CHANGING = "changing"
    """Not as left, but a deployment of this bot is at work and may have done it."""
    UNCERTAIN = "uncertain"
    """Not as left, but a later deployment of this bot has an end that could not be proven."""
    NEVER = "never"
    """No end of this bot says what it left."""
    UNREADABLE = "unreadable"
    """The containers cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the answer rests on, read as one."""

    started: Sequence[Deployment] = ()
    """Of the app, those whose command was started, the last start first."""
    unfinished: Sequence[Deployment] = ()
    """Of the app, oldest first."""
    containers: Containers | None = None
    records: Sequence[BuildRecord] | None = None
    """Newest first; None: this Dokku keeps none, or they could not be read."""
    report: AppReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is live now, as far as it is proven."""

    match: Match
    base: Deployment | None
    """The last end that says what it left."""
    commit: str | None
    """The commit that runs, by the bot's own proof; None: not proven."""
    containers: Containers | None
    strangers: tuple[str, ...] = ()
    """Processes whose image is none of those left."""
    crashing: tuple[str, ...] = ()
    """Processes that were restarted by Docker since, or are at this moment."""
    seen_before: str | None = None
    """Another release: the commit, proven live earlier, whose images these are."""
    according_to_dokku: str | None = None
    """The commit that Dokku's own record names; it proves nothing."""
    foreign: tuple[BuildRecord, ...] = ()
    """What others did since that end and may have changed the app, newest first."""
    foreign_running: BuildRecord | None = None
    locked: bool = False
    """A deploy outside this bot may run: all that a Dokku without records can tell."""
    unproven: Deployment | None = None
    """A deployment later than `base` whose end could not be proven."""
    last_good: Deployment | None = None
    newest: Deployment | None = None
    """The started one that ended last, whatever its end."""
    running: Deployment | None = None
    waiting: tuple[Deployment, ...] = ()


def is_good(row: Deployment) -> bool:
    """An end that proved its commit live."""
    return row.phase is Phase.SUCCEEDED and row.live is Live.NEW and row.sha is not None


def base_of(started: Sequence[Deployment]) -> Deployment | None:
    """The last end that says what it left; `started`: the last start first."""
    return next((one for one in _ended(started) if one.live in _LEFT_SOMETHING), None)


def unproven_of(started: Sequence[Deployment]) -> Deployment | None:
    """An end that could not be proven, later than the last one that says what it left."""
    for one in _ended(started):
        if one.live in _LEFT_SOMETHING:
            return None
        if one.live is not Live.PREVIOUS:
            return one
    return None


def released_commit(row: Deployment) -> str | None:
    """The commit of all that it left running; None: several, none, or not certain."""
    uncertain = row.failure in {Failure.INTERNAL, Failure.INTERRUPTED}
    return row.sha if row.live is Live.NEW and not uncertain else None


def compare(base: Deployment, now: Containers) -> Match:
    """AS_LEFT, RESTARTED, REPLACED, STARTED or STOPPED."""
    left = base.after or Containers()
    left_up = [one for one in left.listed if _is_up(one)]
    up = [one for one in now.listed if _is_up(one)]
    if not up:
        return Match.STOPPED if left_up else Match.AS_LEFT
    if not _images(left):
        return Match.STARTED
    if strangers(base, now):
        return Match.REPLACED
    return Match.AS_LEFT if now.ids == left.ids else Match.RESTARTED


def strangers(base: Deployment, now: Containers) -> tuple[str, ...]:
    """Processes that run an image which that end did not leave."""
    left = base.after or Containers()
    return tuple(
        one.process
        for one in now.listed
        if _is_up(one) and one.id not in left.ids and one.image not in _images(left)
    )


def believed_commit(started: Sequence[Deployment]) -> str | None:
    """The commit that the history alone calls live; the containers may tell otherwise."""
    base = base_of(started)
    if base is None or not is_good(base) or unproven_of(started) is not None:
        return None
    return base.sha


def proven_commit(started: Sequence[Deployment], now: Containers | None) -> str | None:
    """The commit that this bot proved live and whose containers (or images) these are."""
    base = base_of(started)
    if base is None or base.after is None or now is None or not is_good(base):
        return None
    same = compare(base, now) in {Match.AS_LEFT, Match.RESTARTED}
    return base.sha if same else None


def stand(facts: Facts) -> Standing:
    """The whole answer."""
    ended = _ended(facts.started)
    base = base_of(facts.started)
    running = next((one for one in facts.unfinished if one.phase in RUNNING), None)
    unproven = unproven_of(facts.started)
    now = facts.containers
    match = _match(base, now, running=running is not None, unproven=unproven is not None)
    same = match in {Match.AS_LEFT, Match.RESTARTED}
    others = strangers(base, now) if base and now and match is Match.REPLACED else ()
    records = facts.records or ()
    ours = _is_ours(facts)
    return Standing(
        match=match,
        base=base,
        commit=released_commit(base) if base and same else None,
        containers=now,
        strangers=others,
        crashing=_crashing(base, now),
        seen_before=_seen_before(ended, base, now) if others else None,
        according_to_dokku=facts.report.sha if facts.report else None,
        foreign=() if match is Match.AS_LEFT else _foreign(base, records, ours),
        foreign_running=next(
            (one for one in records if one.status is BuildStatus.RUNNING and one.id not in ours),
            None,
        )
        if running is None
        else None,
        locked=facts.records is None
        and running is None
        and facts.report is not None
        and facts.report.locked,
        unproven=unproven,
        last_good=next((one for one in ended if is_good(one)), None),
        newest=ended[0] if ended else None,
        running=running,
        waiting=tuple(one for one in facts.unfinished if one.phase in WAITING),
    )


def _match(
    base: Deployment | None, now: Containers | None, *, running: bool, unproven: bool
) -> Match:
    if now is None:
        return Match.UNREADABLE
    found = Match.NEVER
    if base is not None:
        # What a look could not read it cannot be compared with.
        found = Match.UNCERTAIN if base.after is None else compare(base, now)
    if found is not Match.AS_LEFT and running:
        return Match.CHANGING
    if found not in {Match.AS_LEFT, Match.RESTARTED} and unproven:
        return Match.UNCERTAIN
    return found


def _ended(started: Sequence[Deployment]) -> list[Deployment]:
    return [one for one in started if one.phase in ENDINGS]


def _is_up(container: Container) -> bool:
    return container.state in {"running", "restarting"}


def _images(read: Containers) -> frozenset[str]:
    """Containers that are gone have no image."""
    return read.images - {""}


def _crashing(base: Deployment | None, now: Containers | None) -> tuple[str, ...]:
    left = {one.id: one.restarts for one in base.after.listed} if base and base.after else {}
    listed = now.listed if now else ()
    return tuple(
        one.process
        for one in listed
        if one.state == "restarting" or one.restarts > left.get(one.id, 0)
    )


def _seen_before(
    ended: Sequence[Deployment], base: Deployment | None, now: Containers | None
) -> str | None:
    """Only where every running process has an image that one earlier release left."""
    images = {one.image for one in now.listed if _is_up(one)} if now else set()
    for one in ended:
        if one is not base and is_good(one) and one.after and images <= _images(one.after):
            return one.sha
    return None


def _is_ours(facts: Facts) -> frozenset[str]:
    rows = (*facts.started, *facts.unfinished)
    return frozenset(one.build_id for one in rows if one.build_id)


def _foreign(
    base: Deployment | None, records: Sequence[BuildRecord], ours: frozenset[str]
) -> tuple[BuildRecord, ...]:
    found = [
        one
        for one in records
        if one.id not in ours and _is_later(one, base) and not _changed_nothing(one)
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
    """A `git:sync` that ended without telling: refused, nothing to do, or a failed build.

    Our own refused starts leave such records as well. A `ps:restart` always ends like this.
    """
    untold = record.status is BuildStatus.ABANDONED or (
        record.status is BuildStatus.FAILED and record.exit_code == NEVER_FINALIZED
    )
    return untold and record.source == SYNC_SOURCE


def _age(record: BuildRecord) -> tuple[int, str]:
    """Build ids sort by time (base 36 of milliseconds, in front)."""
    return len(record.id), record.id
