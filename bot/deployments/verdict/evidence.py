"""What evidence proves, before any rule: pure facts about one deployment.

A container is *this deployment's* when its own output names the container, or when it has the
image of such a container and was not there before. It is *previous* when it was there before the
start, or has the image of one that was and is not this deployment's. Other ids prove nothing, and
an image does not identify a release: building the same content again gives the same image.

Source: the recordings under bot/simulators/dokku/transcripts.
"""

from dataclasses import dataclass

from bot.deployments.dokku_facts import (
    NEVER_FINALIZED,
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
    Snapshot,
)
from bot.deployments.model import Live, LogFacts, LogMarker

PIPE_CLOSED = 141
"""Exit status of a command whose output pipe was closed (SIGPIPE), or that was cancelled."""
KILLED = -1
"""Exit status of a command that a signal ended on the server (recording n1)."""
KILLED_CHILD = 137
"""Exit status of a shell whose child was killed (SIGKILL)."""
TERMINATED = 143
"""The same, if it was asked to end (SIGTERM)."""

_FETCH_FAILED = frozenset({LogMarker.REF_MISSING, LogMarker.REPO_UNREACHABLE})

_NAME_A_FAILURE = _FETCH_FAILED | {
    LogMarker.APP_MISSING,
    LogMarker.BUILD_FAILED,
    LogMarker.CHECKS_FAILED,
    LogMarker.DOCKER_DOWN,
    LogMarker.NO_COMMAND,
    LogMarker.REFUSED,
    LogMarker.RELEASE_FAILED,
}
_LAST_MARKERS = frozenset({LogMarker.DEPLOYED, LogMarker.DEPLOY_SKIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that was read about one deployment. Nothing here is guessed."""

    exit_status: int | None
    """Of this deployment's command; None: the connection was lost before it came."""
    keeps_records: bool
    """This Dokku has build records (>= 0.38)."""
    record: BuildRecord | None
    """This deployment's build record; None: no record can be it, or several can."""
    output: LogFacts
    """What this deployment's output states; Dokku's copy if the connection was lost."""
    before: Snapshot
    after: Containers | None
    """None: the containers could not be read."""
    report: AppReport | None
    """None: it could not be read."""
    others: tuple[BuildRecord, ...] = ()
    """Records of outside changes since the snapshot, oldest first."""
    expected: str | None
    """`repo#sha` that the metadata shows after a good end; None: the commit is not known."""
    app_gone: bool = False
    """Dokku says that the app does not exist: someone destroyed or renamed it since the start."""
    cancel_asked: bool = False
    cap_reached: bool = False
    last_word: bool = False
    """Waiting longer is not allowed: what cannot be proven by now is reported as unknown."""
    never_began: bool = False
    """The connection was lost before a byte came, and Dokku, which records each start at once, has
    no record of this one."""
    run_unseen: bool = False
    """A one-off container was started to run the command, and no build is certainly its own."""
    lock_was_free: bool = False
    """Before 0.38: the deploy lock was free, a moment before everything else was read."""
    unanswered: str | None = None
    """Why the last question was not answered, as a sentence; None: it was."""
    lost_long: bool = False
    """Before 0.38: the connection was lost longer ago than a silent fetch can outlive it."""


def images_of(ids: frozenset[str], *reads: Containers | None) -> frozenset[str]:
    """Images of the containers with these ids, in any of the reads."""
    return frozenset(
        container.image
        for read in reads
        if read
        for container in read.listed
        if container.id in ids
    )


def release_of(
    container: Container, own: frozenset[str], images: frozenset[str], before: Containers | None
) -> Live:
    """NEW (this deployment's), PREVIOUS or UNKNOWN for one container."""
    if container.id in own:
        return Live.NEW
    if before is not None and container.id in before.ids:
        return Live.PREVIOUS
    if container.image in images:
        return Live.NEW
    if before is not None and container.image in before.images:
        return Live.PREVIOUS
    return Live.UNKNOWN


def shares_of(
    after: Containers, own: frozenset[str], images: frozenset[str], before: Containers | None
) -> tuple[tuple[Live, str], ...]:
    """Which release each process runs, without those that are down."""
    return tuple(
        (release_of(container, own, images, before), container.process)
        for container in after.listed
        if container.is_up
    )


def live_from(after: Containers | None, own: frozenset[str], before: Containers | None) -> Live:
    """What serves now, judged by the containers. Those that are down serve nothing."""
    if after is None:
        return Live.UNKNOWN
    kinds = {release for release, _ in shares_of(after, own, images_of(own, after), before)}
    if not kinds:
        return Live.NONE
    if Live.UNKNOWN in kinds:
        return Live.UNKNOWN
    if len(kinds) > 1:
        return Live.MIXED
    return kinds.pop()


def live_of(e: Evidence) -> Live:
    """What serves now."""
    return live_from(e.after, own_containers(e), e.before.containers)


def ended_well(e: Evidence) -> bool:
    """Exit status 0 or, when the connection was lost, Dokku's record of success."""
    if e.exit_status is not None:
        return e.exit_status == 0
    return e.record is not None and e.record.status is BuildStatus.SUCCEEDED


def ended_badly(e: Evidence) -> bool:
    """A bad exit status or, when the connection was lost, a record of failure."""
    if e.exit_status is not None:
        return e.exit_status != 0
    if e.record is None:
        return is_dead_by_lock(e) and _gave_up(e.output)
    recorded = e.record.status is BuildStatus.FAILED and e.record.exit_code not in {
        PIPE_CLOSED,
        NEVER_FINALIZED,
        None,
    }
    ended = e.record.status in {BuildStatus.FAILED, BuildStatus.ABANDONED}
    # The client of a command in a container does not go away by itself: what its output names as a
    # failure ended it.
    named = bool(e.before.runner and e.output.markers & _NAME_A_FAILURE)
    return recorded or (ended and (named or _gave_up(e.output)))


def _gave_up(output: LogFacts) -> bool:
    """Dokku's output says why it stopped; before a release its records never do."""
    fetched = LogMarker.BUILDING in output.markers
    return LogMarker.BUILD_FAILED in output.markers or (
        not fetched and bool(output.markers & _FETCH_FAILED)
    )


def is_dead(e: Evidence) -> bool:
    """Dokku's command is proven not to run any more."""
    ended = e.record is not None and e.record.status is not BuildStatus.RUNNING
    return e.exit_status is not None or e.never_began or ended or is_dead_by_lock(e)


def is_dead_by_lock(e: Evidence) -> bool:
    """The connection was lost, and the deploy lock, which the command held, is free.

    A build holds it from the end of its fetch. Before 0.38 a dead deploy has released it
    (recording m1); later versions leave the file behind.
    """
    if e.exit_status is not None or e.keeps_records:
        return False
    held_it = LogMarker.BUILDING in e.output.markers or e.lost_long
    free = e.lock_was_free and e.report is not None and not e.report.locked
    return held_it and free


def source_is_confirmed(e: Evidence) -> bool:
    """Dokku's record of the source names this deployment's commit."""
    return e.expected is not None and e.report is not None and e.report.metadata == e.expected


def ended_well_by_effect(e: Evidence) -> bool:
    """Before 0.38: the recorded source became this commit, which only a good end writes."""
    if e.keeps_records or e.exit_status is not None:
        return False
    return source_is_confirmed(e) and e.before.report.metadata != e.expected


def _all_replaced(e: Evidence) -> bool:
    """Every container is another one than before, of another image."""
    before, after = e.before.containers, e.after
    if before is None or after is None or not after.listed:
        return False
    return not (after.ids & before.ids or after.images & before.images)


def own_containers(e: Evidence) -> frozenset[str]:
    """This deployment's containers: those that its output names.

    If the output was lost on the way to a good end: those that replaced all previous ones.
    """
    if e.output.named_containers or not (ended_well_by_effect(e) and _all_replaced(e) and e.after):
        return e.output.named_containers
    return e.after.ids


def refused_by_lock(e: Evidence) -> bool:
    """Dokku refused the start: another deploy holds the deploy lock."""
    refused = LogMarker.LOCKED in e.output.markers and LogMarker.BUILDING not in e.output.markers
    return refused and e.exit_status != 0 and is_dead(e)


def untouched(e: Evidence, live: Live) -> bool:
    """The same release (or still nothing) is serving."""
    return live is Live.PREVIOUS or (live is Live.NONE and e.after == e.before.containers)


def all_containers_differ(e: Evidence) -> bool:
    """No container from before the start is listed any more."""
    before, after = e.before.containers, e.after
    return before is not None and after is not None and not after.ids & before.ids


def released_nothing(e: Evidence) -> bool:
    """A good end whose output shows that no release began: no container can be this one's."""
    if not ended_well(e) or e.output.named_containers:
        return False
    # Dokku records success only for builds, so beside such a record an output that never reached
    # the build is incomplete.
    built_nothing = e.exit_status is not None and LogMarker.BUILDING not in e.output.markers
    return LogMarker.DEPLOY_SKIPPED in e.output.markers or built_nothing


def output_was_lost(e: Evidence) -> bool:
    """A good end is recorded, but neither the output nor Dokku's copy of it reaches that end."""
    return e.exit_status is None and not e.output.markers & _LAST_MARKERS


def containers_were_replaced(e: Evidence) -> bool:
    """Dokku reported this deployment's containers as deployed, but only others run now."""
    said = LogMarker.DEPLOYED in e.output.markers and bool(e.output.named_containers)
    return said and all_containers_differ(e)
