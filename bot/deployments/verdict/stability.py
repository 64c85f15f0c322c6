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
from bot.deployments.verdict.decisions import Cause, Ended, LiveDetail, app_gone, failed
from bot.deployments.verdict.evidence import images_of, release_of, shares_of
from bot.deployments.verdict.outside_changes import release_commands

DOWN = frozenset({"restarting", "exited", "dead", "removing", "missing"})
"""Docker's states of a process that ran and does not run now."""

GONE = frozenset({"exited", "dead", "missing"})
"""The ones of those that Docker does not start again by itself."""

_STOPPED_WITH = frozenset({None, 0, 130, 137, 143})
"""Exit statuses of a process that was stopped: its own, or those of SIGINT, SIGKILL, SIGTERM."""

LONGEST_DOUBT = timedelta(seconds=20)
"""How long a container may be down before it counts, where someone may be starting or stopping it
at that moment: `ps:stop` first ends the processes, then sets `Restore`."""

_SEVERITY = (Cause.CRASHED, Cause.NEVER_STARTED, Cause.ENDED_BY_ITSELF, Cause.NOT_RUNNING)
"""Of several causes, the first names the result."""
_FAILURES = {
    Cause.CRASHED: Failure.CRASHED,
    Cause.NEVER_STARTED: Failure.RELEASE_FAILED,
    Cause.ENDED_BY_ITSELF: Failure.RELEASE_FAILED,
    Cause.NOT_RUNNING: Failure.INTERRUPTED,
}


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
    app_gone: bool = False
    """Dokku says that the app does not exist."""


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
    if now.app_gone:
        return app_gone()
    if now.containers is None:
        if not last_word:
            return NextLook.WAIT
        return failed("unreadable", Failure.INTERNAL, Live.UNKNOWN, Cause.UNREADABLE)
    listed = now.containers.listed
    if not listed:
        return failed("stopped", Failure.INTERRUPTED, Live.NONE, Cause.STOPPED)
    images = known.images | images_of(known.own, now.containers)
    before = known.before.containers
    of = {one: release_of(one, known.own, images, before) for one in listed}
    releases = set(of.values())
    if Live.UNKNOWN in releases:
        live = Live.NONE if _are_gone(listed) else Live.UNKNOWN
        by = release_commands(known.others)
        return failed("replaced", Failure.INTERRUPTED, live, Cause.REPLACED, by=by)
    if _is_stopped_outside(now.containers, known):
        return failed("stopped", Failure.INTERRUPTED, Live.NONE, Cause.STOPPED_OUTSIDE)
    shares = shares_of(now.containers, known.own, images, before)
    new = tuple(one for one in listed if of[one] is Live.NEW)
    if down := _down(first, now, new, known, shares, last_word=last_word):
        return down
    if Live.PREVIOUS in releases:
        return _previous_in_place(releases, shares, last_word=last_word)
    return _all_new(first, now, listed, known, last_word=last_word)


def _is_stopped_outside(now: Containers, known: Watched) -> bool:
    """Whether someone ran `ps:stop` since the start.

    `Restore` alone does not say: it may be left from an earlier stop, and a process that crashed
    was not stopped.
    """
    earlier = known.before.containers
    ended_well = all(not one.restarts and one.exit_code in _STOPPED_WITH for one in now.listed)
    return now.stopped and ended_well and not (earlier is not None and earlier.stopped)


def _previous_in_place(
    releases: set[Live], shares: tuple[tuple[Live, str], ...], *, last_word: bool
) -> Ended | NextLook:
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
    return failed(
        "old_beside_new",
        Failure.RELEASE_FAILED,
        Live.MIXED,
        Cause.NOT_ALL_REPLACED,
        shares=shares,
    )


def _down(
    first: Look | None,
    now: Look,
    new: tuple[Container, ...],
    known: Watched,
    shares: tuple[tuple[Live, str], ...],
    *,
    last_word: bool,
) -> Ended | NextLook | None:
    """Whether a process of the new release is down; None: each of them runs."""
    earlier = _by_id(first)
    causes = {one: cause for one in new if (cause := _how_down(one, earlier.get(one.id)))}
    if not causes:
        return None
    doubted = [one for one in causes if _may_pass(one)]
    if len(doubted) == len(causes) and not last_word:
        if first is None or any(not _is_alike(one, earlier.get(one.id)) for one in doubted):
            return NextLook.BEGIN_AGAIN
        if now.began - first.done < min(known.settle, LONGEST_DOUBT).total_seconds():
            return NextLook.WAIT
    down = tuple(sorted((cause, one.process) for one, cause in causes.items()))
    cause = min(causes.values(), key=_SEVERITY.index)
    return failed(
        str(cause),
        _FAILURES[cause],
        live := _live_by(shares),
        cause,
        detail=next((why for one in causes if (why := _why(one))), ""),
        down=down,
        live_detail=_detail_of(live, cause),
        shares=shares if live is Live.MIXED else (),
    )


def _how_down(one: Container, earlier: Container | None) -> Cause | None:
    if one.never_started:
        return Cause.NEVER_STARTED
    if one.ended_well:
        return Cause.ENDED_BY_ITSELF
    if has_crashed(one, earlier):
        return Cause.CRASHED
    return None if one.running else Cause.NOT_RUNNING


def _may_pass(one: Container) -> bool:
    """Whether it may be down only because someone starts or stops it at this moment.

    Docker starts a process that crashes again: one that has exited without a restart was stopped,
    or ended well.
    """
    if one.never_started:
        return not one.problem
    exited = one.state == "exited" and one.restarts == 0 and one.exit_code is not None
    return exited or one.state not in DOWN | {"running"}


def _is_alike(one: Container, earlier: Container | None) -> bool:
    return earlier is not None and earlier.state == one.state


def _why(one: Container) -> str:
    """Docker's own reason, where it gives one."""
    if one.problem:
        return one.problem
    return "its memory ran out (Docker: OOMKilled)" if one.oom_killed else ""


def _live_by(shares: tuple[tuple[Live, str], ...]) -> Live:
    kinds = {release for release, _ in shares}
    if len(kinds) > 1:
        return Live.MIXED
    return kinds.pop() if kinds else Live.NONE


def _detail_of(live: Live, cause: Cause) -> LiveDetail:
    if live is not Live.NEW:
        return LiveDetail.NONE
    # A process that crashes may be up between two crashes; one that is down otherwise is not.
    return LiveDetail.DEPLOYED if cause is Cause.CRASHED else LiveDetail.OTHERS_RUN


def _by_id(look: Look | None) -> dict[str, Container]:
    return {one.id: one for one in look.containers.listed} if look and look.containers else {}


def _all_new(
    first: Look | None,
    now: Look,
    listed: tuple[Container, ...],
    known: Watched,
    *,
    last_word: bool,
) -> Ended | NextLook:
    earlier = _by_id(first)
    ran = all(one.running for one in earlier.values())
    if first is None or not ran or earlier.keys() != {one.id for one in listed}:
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


def _are_gone(listed: tuple[Container, ...]) -> bool:
    return all(one.state in GONE for one in listed)


def has_crashed(now: Container, earlier: Container | None) -> bool:
    """It restarted or exited: by count, by state, or because its start moved."""
    if now.restarts > 0 or now.state in DOWN:
        return True
    if earlier is None or earlier.never_started:
        return False
    return earlier.started_at != now.started_at
