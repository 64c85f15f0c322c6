"""Does the new release stay up? Pure rules over two looks at its containers.

The good end of Dokku's command does not say: a process that exits one second after its start still
gives exit status 0 and `Running: true` (recording u_crashloop), and one that lives 20 s reads
`running` with the same id nearly always (inspect_d_crash_loops). RestartCount and StartedAt show
it.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from bot.deployments.dokku_facts import BuildRecord, Container, Containers, Snapshot
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.verdict.decisions import Cause, Ended, LiveDetail, failed
from bot.deployments.verdict.evidence import images_of, release_of
from bot.deployments.verdict.outside_changes import release_commands

DOWN = frozenset({"restarting", "exited", "dead", "removing", "missing"})
"""Docker's states of a process that ran and does not run now."""

GONE = frozenset({"exited", "dead", "missing"})
"""The ones of those that Docker does not start again by itself."""


class NextLook(StrEnum):
    """No verdict yet: what the next look compares with."""

    WAIT = "wait"
    """The same first look."""
    BEGIN_AGAIN = "begin_again"
    """The release was restarted: the settle time begins with this look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One read of the containers."""

    began: float
    """Monotonic seconds just before the read."""
    done: float
    """Monotonic seconds just after it."""
    containers: Containers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is known while a release is watched."""

    own: frozenset[str]
    """Ids of this deployment's containers."""
    images: frozenset[str]
    """Their images, from any look so far."""
    before: Snapshot
    settle: timedelta
    others: tuple[BuildRecord, ...] = ()
    """Records of outside changes since the snapshot, oldest first."""


def judge(first: Look | None, now: Look, known: Watched, *, last_word: bool) -> Ended | NextLook:
    """Decide on the newest look; `first` is the look that the settle time began with."""
    if now.containers is None:
        if not last_word:
            return NextLook.WAIT
        return failed("unreadable", Failure.INTERNAL, Live.UNKNOWN, Cause.UNREADABLE)
    listed = now.containers.listed
    if not listed:
        return failed("stopped", Failure.INTERRUPTED, Live.NONE, Cause.STOPPED)
    images = known.images | images_of(known.own, now.containers)
    releases = {release_of(one, known.own, images, known.before.containers) for one in listed}
    if Live.UNKNOWN in releases:
        live = Live.NONE if _are_gone(listed) else Live.UNKNOWN
        by = release_commands(known.others)
        return failed("replaced", Failure.INTERRUPTED, live, Cause.REPLACED, by=by)
    if Live.PREVIOUS in releases:
        return _previous_in_place(releases, last_word=last_word)
    return _all_new(first, now, listed, known, last_word=last_word)


def _previous_in_place(releases: set[Live], *, last_word: bool) -> Ended | NextLook:
    if Live.NEW not in releases:
        return failed(
            "old_again",
            Failure.INTERRUPTED,
            Live.PREVIOUS,
            Cause.PREVIOUS_RETURNED,
            live_detail=LiveDetail.RETURNED,
        )
    if not last_word:
        return NextLook.WAIT
    return failed("old_beside_new", Failure.RELEASE_FAILED, Live.MIXED, Cause.NOT_ALL_REPLACED)


def _all_new(
    first: Look | None,
    now: Look,
    listed: tuple[Container, ...],
    known: Watched,
    *,
    last_word: bool,
) -> Ended | NextLook:
    earlier = {one.id: one for one in first.containers.listed} if first and first.containers else {}
    crashed = sorted(one.process for one in listed if has_crashed(one, earlier.get(one.id)))
    if crashed:
        return _crashed(crashed, gone=_are_gone(listed))
    running = all(one.running for one in listed)
    same = first is not None and earlier.keys() == {one.id for one in listed}
    if first is None or not running or not same:
        if not last_word:
            return NextLook.BEGIN_AGAIN
        return failed(
            "not_up",
            Failure.RELEASE_FAILED,
            Live.NEW,
            Cause.NOT_UP,
            live_detail=LiveDetail.DEPLOYED,
        )
    if now.began - first.done < known.settle.total_seconds():
        return NextLook.WAIT
    return Ended(
        rule="kept_running",
        phase=Phase.SUCCEEDED,
        failure=None,
        live=Live.NEW,
        cause=Cause.STABLE,
        live_detail=LiveDetail.IN_CAUSE,
    )


def _crashed(processes: list[str], *, gone: bool) -> Ended:
    return failed(
        "crashed",
        Failure.CRASHED,
        Live.NONE if gone else Live.NEW,
        Cause.CRASHED,
        detail=", ".join(processes),
        live_detail=LiveDetail.NONE if gone else LiveDetail.DEPLOYED,
    )


def _are_gone(listed: tuple[Container, ...]) -> bool:
    return all(one.state in GONE for one in listed)


def has_crashed(now: Container, earlier: Container | None) -> bool:
    """It restarted or exited: by count, by state, or because its start moved."""
    if now.restarts > 0 or now.state in DOWN:
        return True
    return earlier is not None and earlier.started_at != now.started_at
