"""What evidence proves, before any rule: pure facts about one deployment.

Words: a container is *ours* when our own command's output names it, or when it has the image of
such a container and did not stand there before; it is *old* when it stood there before the start,
or has the image of one that did and is not ours. Other ids alone prove nothing, and an image
alone is no release id: the same content again has the same image.

Source: the recordings under bot/simulators/dokku/transcripts.
"""

from dataclasses import dataclass

from bot.deployments.dokku_facts import (
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
    Snapshot,
)
from bot.deployments.model import Live, LogFacts, LogMarker
from bot.deployments.verdict.outside_changes import ENDED_WITHOUT_TELLING

PIPE_CLOSED = 141
"""Exit status of a command whose output pipe was closed (SIGPIPE), or that was cancelled."""
KILLED = -1
"""Exit status of a command that a signal ended on the server (recording n1)."""

_FETCH_FAILED = frozenset({LogMarker.REF_MISSING, LogMarker.REPO_UNREACHABLE})

_LAST_WORDS = frozenset({LogMarker.DEPLOYED, LogMarker.DEPLOY_SKIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that was read about one deployment. Nothing here is guessed."""

    exit_status: int | None
    """Of our own command; None: the line was lost before it came."""
    keeps_records: bool
    """This Dokku has build records (>= 0.38)."""
    record: BuildRecord | None
    """Our build record; None: none, or two candidates."""
    output: LogFacts
    """What our own output states; Dokku's copy of it when the line was lost."""
    before: Snapshot
    after: Containers | None
    """None: the containers could not be read."""
    report: AppReport | None
    """None: it could not be read."""
    others: tuple[BuildRecord, ...] = ()
    """Records that others began since the snapshot, oldest first."""
    expected: str | None
    """`repo#sha` that the metadata shows after a good end; None: the commit is not known."""
    cancel_asked: bool = False
    cap_reached: bool = False
    last_word: bool = False
    """Waiting longer is not allowed: what cannot be proven by now is said to be unknown."""
    never_began: bool = False
    """The line was lost before a byte came, and Dokku, which records each start at once, has not
    recorded ours."""
    lock_was_free: bool = False
    """Before 0.38: nobody held the deploy lock, a moment before everything else was read."""
    unanswered: str | None = None
    """Why the server could not be asked in the end, in a sentence; None: it answered."""
    lost_long: bool = False
    """Before 0.38: the line was lost longer ago than a fetch that prints nothing can live on."""


def ours_images(ours: frozenset[str], *reads: Containers | None) -> frozenset[str]:
    """Images of the containers that our output names, wherever they were seen."""
    return frozenset(
        container.image
        for read in reads
        if read
        for container in read.listed
        if container.id in ours
    )


def whose(
    container: Container, ours: frozenset[str], images: frozenset[str], before: Containers | None
) -> Live:
    """NEW (ours), PREVIOUS (old) or UNKNOWN for one container."""
    if container.id in ours:
        return Live.NEW
    if before is not None and container.id in before.ids:
        return Live.PREVIOUS
    if container.image in images:
        return Live.NEW
    if before is not None and container.image in before.images:
        return Live.PREVIOUS
    return Live.UNKNOWN


def serving(after: Containers | None, ours: frozenset[str], before: Containers | None) -> Live:
    """What serves now, by the containers alone. Those that are down serve nothing."""
    if after is None:
        return Live.UNKNOWN
    images = ours_images(ours, after)
    kinds = {
        whose(container, ours, images, before)
        for container in after.listed
        if container.state in {"running", "restarting"}
    }
    if not kinds:
        return Live.NONE
    if Live.UNKNOWN in kinds:
        return Live.UNKNOWN
    if len(kinds) > 1:
        return Live.MIXED
    return kinds.pop()


def live_of(e: Evidence) -> Live:
    """What serves now."""
    return serving(e.after, ours_of(e), e.before.containers)


def good_end(e: Evidence) -> bool:
    """Our command's own good end or, when the line was lost, Dokku's record of one."""
    if e.exit_status is not None:
        return e.exit_status == 0
    return e.record is not None and e.record.status is BuildStatus.SUCCEEDED


def bad_end(e: Evidence) -> bool:
    """A known end that is not good: our exit status or, when the line was lost, the record."""
    if e.exit_status is not None:
        return e.exit_status != 0
    if e.record is None:
        return dead_by_lock(e) and _gave_up(e.output)
    told = e.record.status is BuildStatus.FAILED and e.record.exit_code not in {
        PIPE_CLOSED,
        ENDED_WITHOUT_TELLING,
        None,
    }
    ended = e.record.status in {BuildStatus.FAILED, BuildStatus.ABANDONED}
    return told or (ended and _gave_up(e.output))


def _gave_up(output: LogFacts) -> bool:
    """Dokku's own text says why it went no further; its records never do so before a release."""
    fetched = LogMarker.BUILDING in output.markers
    return LogMarker.BUILD_FAILED in output.markers or (
        not fetched and bool(output.markers & _FETCH_FAILED)
    )


def dead(e: Evidence) -> bool:
    """Our command is proven not to run any more."""
    ended = e.record is not None and e.record.status is not BuildStatus.RUNNING
    return e.exit_status is not None or e.never_began or ended or dead_by_lock(e)


def dead_by_lock(e: Evidence) -> bool:
    """The line was lost, and the lock is free that our command has held since its fetch ended.

    Before 0.38 a deploy that is dead has freed it (recording m1); later the file stays.
    """
    if e.exit_status is not None or e.keeps_records:
        return False
    held_it = LogMarker.BUILDING in e.output.markers or e.lost_long
    free = e.lock_was_free and e.report is not None and not e.report.locked
    return held_it and free


def source_is_ours(e: Evidence) -> bool:
    """Dokku's own record of the source names our commit."""
    return e.expected is not None and e.report is not None and e.report.metadata == e.expected


def good_by_effect(e: Evidence) -> bool:
    """Before 0.38: the recorded source became our commit, which a good end alone writes."""
    if e.keeps_records or e.exit_status is not None:
        return False
    return source_is_ours(e) and e.before.report.metadata != e.expected


def _all_replaced(e: Evidence) -> bool:
    """Every container is another one than before, of another image."""
    before, after = e.before.containers, e.after
    if before is None or after is None or not after.listed:
        return False
    return not (after.ids & before.ids or after.images & before.images)


def ours_of(e: Evidence) -> frozenset[str]:
    """The containers that are ours: those that our output names.

    Where it was lost on the way to a good end: those that replaced all old ones.
    """
    if e.output.ours or not (good_by_effect(e) and _all_replaced(e) and e.after):
        return e.output.ours
    return e.after.ids


def refused_by_lock(e: Evidence) -> bool:
    """Dokku let our command begin nothing: another deploy holds its lock."""
    refused = LogMarker.LOCKED in e.output.markers and LogMarker.BUILDING not in e.output.markers
    return refused and e.exit_status != 0 and dead(e)


def untouched(e: Evidence, live: Live) -> bool:
    """What serves is what served before, be it nothing."""
    return live is Live.PREVIOUS or (live is Live.NONE and e.after == e.before.containers)


def all_other_ids(e: Evidence) -> bool:
    """Nothing of what stood there before the start is listed any more."""
    before, after = e.before.containers, e.after
    return before is not None and after is not None and not after.ids & before.ids


def released_nothing(e: Evidence) -> bool:
    """A good end whose text tells that no release was begun: no container can be ours."""
    if not good_end(e) or e.output.ours:
        return False
    # Dokku records a success of builds alone: beside one, a text that never came to the build is
    # no whole text.
    built_nothing = e.exit_status is not None and LogMarker.BUILDING not in e.output.markers
    return LogMarker.DEPLOY_SKIPPED in e.output.markers or built_nothing


def text_was_lost(e: Evidence) -> bool:
    """A recorded good end, and neither our output nor Dokku's copy of it goes as far as that."""
    return e.exit_status is None and not e.output.markers & _LAST_WORDS


def was_replaced(e: Evidence) -> bool:
    """Dokku named our containers and said that it deployed them; all that runs is others' own."""
    said = LogMarker.DEPLOYED in e.output.markers and bool(e.output.ours)
    return said and all_other_ids(e)
