"""Evidence in, decision out. Pure: the rules that make a result a proven one.

A refusal by the deploy lock and a cancel come first: both say how to read a bad end. Then the
command's end is classified, and each kind of end has its own function, in which the first match
wins. Output alone never makes a success; its absence can deny one; it names the cause.
Source: the recordings under bot/simulators/dokku/transcripts; docs/verdicts.md shows the table.
"""

from dataclasses import replace
from enum import Enum, auto

from bot.deployments.dokku_facts import BuildStatus, Containers
from bot.deployments.model import Failure, Live, LogMarker, Phase
from bot.deployments.verdict.decisions import (
    Cause,
    Decision,
    Ended,
    LiveDetail,
    LookAgain,
    ReadAgain,
    Requeue,
    StartAgain,
    WatchRelease,
    app_gone,
    failed,
)
from bot.deployments.verdict.evidence import (
    Evidence,
    all_containers_differ,
    containers_were_replaced,
    ended_badly,
    ended_well,
    ended_well_by_effect,
    images_of,
    is_dead,
    is_dead_by_lock,
    live_of,
    output_was_lost,
    own_containers,
    refused_by_lock,
    released_nothing,
    shares_of,
    source_is_confirmed,
    untouched,
)
from bot.deployments.verdict.named_failures import named_failure, was_killed
from bot.deployments.verdict.outside_changes import change_commands, release_commands


class CommandEnd(Enum):
    """What is known of the end of Dokku's command."""

    GOOD = auto()
    """Exit status 0 or, when the connection was lost, a build record of success."""
    BAD = auto()
    """A known end that is not good."""
    GOOD_BY_EFFECT = auto()
    """Dokku before 0.38: the recorded source became this commit, and its containers run."""
    RUNNING = auto()
    """The build record, or before 0.38 the deploy lock, shows it running."""
    DEAD = auto()
    """It does not run any more, and nothing recorded how far it got."""
    UNKNOWN = auto()
    """Nothing shows whether it runs."""


def decide(e: Evidence) -> Decision:
    """What to do about a command that has ended, or whose connection was lost."""
    decision = _decide(e)
    if isinstance(decision, Ended) and decision.live is Live.MIXED:
        return replace(decision, shares=_shares(e))
    return decision


def _decide(e: Evidence) -> Decision:
    if e.app_gone:
        return app_gone()
    if refused_by_lock(e) and not (e.cancel_asked or e.cap_reached):
        return Requeue()
    if (cancelled := _after_cancel(e)) is not None:
        return cancelled
    end = command_end(e)
    match end:
        case CommandEnd.GOOD:
            return _after_good_end(e)
        case CommandEnd.BAD:
            return _after_bad_end(e)
        case CommandEnd.GOOD_BY_EFFECT:
            return WatchRelease(rule="end_seen_by_effect")
        case CommandEnd.RUNNING:
            return _while_running(e)
        case CommandEnd.DEAD:
            return _after_unknown_death(e)
        case CommandEnd.UNKNOWN:
            return _without_contact(e)


def command_end(e: Evidence) -> CommandEnd:
    """Classify the end of Dokku's command; the order matters, the first match wins."""
    if ended_well(e):
        return CommandEnd.GOOD
    if ended_badly(e):
        return CommandEnd.BAD
    if ended_well_by_effect(e) and live_of(e) is Live.NEW:
        return CommandEnd.GOOD_BY_EFFECT
    shown_running = e.record is not None and e.record.status is BuildStatus.RUNNING
    lock_held = not e.keeps_records and e.report is not None and e.report.locked
    if shown_running or lock_held:
        return CommandEnd.RUNNING
    return CommandEnd.DEAD if is_dead(e) else CommandEnd.UNKNOWN


def before_start(
    cause: str, after: Containers | None, *, failure: Failure | None, phase: Phase = Phase.FAILED
) -> Ended:
    """A result before Dokku's command was started: the containers say what serves, if read."""
    if after is None:
        live = Live.UNKNOWN
    elif any(container.is_up for container in after.listed):
        live = Live.PREVIOUS
    else:
        live = Live.NONE
    return Ended(
        rule="before_start",
        phase=phase,
        failure=failure,
        live=live,
        cause=Cause.NOT_STARTED,
        detail=cause,
    )


def own_fault() -> Ended:
    """The bot itself failed to follow a deployment that was started: nothing else is known."""
    return failed("own_fault", Failure.INTERNAL, Live.UNKNOWN, Cause.OWN_FAULT)


def _after_cancel(e: Evidence) -> Ended | None:
    """The record says canceled; or a stop was requested, and the command died without a result."""
    canceled_by_record = e.record is not None and e.record.status is BuildStatus.CANCELED
    if not canceled_by_record and not _was_stopped(e):
        return None
    live = live_of(e)
    detail, by = _live_detail(e, live)
    by_lock = is_dead_by_lock(e)
    if e.cap_reached and not e.cancel_asked:
        return failed(
            "cancelled",
            Failure.TIMED_OUT,
            live,
            Cause.TIME_LIMIT,
            by_lock=by_lock,
            live_detail=detail,
            live_by=by,
        )
    if not e.cancel_asked:
        cause = Cause.CANCELLED_ON_SERVER
    elif live is Live.NEW:
        cause = Cause.CANCELLED_TOO_LATE
    else:
        cause = Cause.CANCELLED
    return Ended(
        rule="cancelled",
        phase=Phase.CANCELLED,
        failure=None,
        live=live,
        cause=cause,
        by_lock=by_lock,
        live_detail=detail,
        live_by=by,
    )


def _was_stopped(e: Evidence) -> bool:
    """Whether a requested cancel (or the time limit) ended the command, perhaps too late."""
    if not (e.cancel_asked or e.cap_reached):
        return False
    if not is_dead(e) or ended_well(e) or ended_well_by_effect(e):
        return False
    live = live_of(e)
    # No record can say that the cancel came too late: the containers say it.
    too_late = is_dead_by_lock(e) and live in {Live.NEW, Live.MIXED}
    return untouched(e, live) or refused_by_lock(e) or too_late


def _after_good_end(e: Evidence) -> Decision:
    """No success yet: the containers must be this deployment's, and the release must stay up.

    What can be said without containers comes first, then what denies a success, then the watch.
    """
    live = live_of(e)
    if e.after is None:
        return _good_end_unreadable(e)
    if released_nothing(e) or _kept_previous(e, live):
        return _not_deployed(e, live)
    if LogMarker.DEPLOYED not in e.output.markers:
        # Containers with the former image may be this deployment's: the same content again.
        shown = Live.UNKNOWN if live is Live.PREVIOUS else live
        lost = output_was_lost(e)
        cause = Cause.OUTPUT_LOST if lost else Cause.NOT_REPORTED_DEPLOYED
        return failed("good_end_not_said", Failure.INTERNAL, shown, cause)
    if live in {Live.UNKNOWN, Live.PREVIOUS}:
        return _replaced_before_proof(e, live)
    if live is not Live.MIXED and not source_is_confirmed(e):
        cause = Cause.COMMIT_NOT_CONFIRMED
        return failed("commit_not_confirmed", Failure.INTERNAL, live, cause)
    if not e.after.listed:
        return _nothing_scaled_up(e)
    if live is not Live.MIXED:
        return WatchRelease(rule="new_release_seen")
    if not e.last_word:
        return ReadAgain(rule="old_beside_new")
    cause = Cause.NOT_ALL_REPLACED
    return failed("old_beside_new", Failure.RELEASE_FAILED, Live.MIXED, cause)


def _good_end_unreadable(e: Evidence) -> Decision:
    if not e.last_word:
        return ReadAgain(rule="good_end_unreadable")
    nothing = released_nothing(e)
    cause = Cause.UNREADABLE_RELEASED_NOTHING if nothing else Cause.UNREADABLE
    return failed("good_end_unreadable", Failure.INTERNAL, Live.UNKNOWN, cause)


def _kept_previous(e: Evidence, live: Live) -> bool:
    """Only containers of the previous release run, and none of this one were replaced."""
    if live is not Live.PREVIOUS or containers_were_replaced(e):
        return False
    # The same content again has the former image: with the output lost, other containers may be
    # this deployment's.
    return not (output_was_lost(e) and all_containers_differ(e))


def _not_deployed(e: Evidence, live: Live) -> Ended:
    detail, by = _live_detail(e, live)
    if live is Live.UNKNOWN and e.before.containers is not None:
        # Perhaps of this deployment's build: a restart starts what was built last.
        detail, by = LiveDetail.OTHER_CODE, release_commands(e.others)
    return failed(
        "not_deployed",
        Failure.NOT_DEPLOYED,
        live,
        Cause.RELEASED_NOTHING,
        live_detail=detail,
        live_by=by,
    )


def _replaced_before_proof(e: Evidence, live: Live) -> Ended:
    """All containers were started by someone else, before this deployment's were looked at.

    Their image may be the former one and this deployment's as well, as the same content again has
    the same image: which it is cannot be known.
    """
    detail, by = _live_detail(e, live)
    seen = bool(images_of(own_containers(e), e.after))
    return failed(
        "replaced_before_proof",
        Failure.INTERRUPTED,
        live,
        Cause.REPLACED if seen else Cause.CONTAINERS_REPLACED,
        # For a previous release, the live sentence says who started it.
        by="" if live is Live.PREVIOUS else release_commands(e.others),
        live_detail=detail,
        live_by=by,
    )


def _nothing_scaled_up(e: Evidence) -> Ended:
    """No process is scaled up: there is nothing to see running."""
    if e.output.named_containers:
        return failed("nothing_scaled_up", Failure.INTERRUPTED, Live.NONE, Cause.STOPPED)
    return Ended(
        rule="nothing_scaled_up",
        phase=Phase.SUCCEEDED,
        failure=None,
        live=Live.NONE,
        cause=Cause.NOTHING_SCALED_UP,
        live_detail=LiveDetail.IN_CAUSE,
    )


def _after_bad_end(e: Evidence) -> Ended:
    """The log markers name the failure; new containers mean that it came late."""
    failure, cause = named_failure(e.output, e.exit_status)
    live = live_of(e)
    detail = "" if was_killed(cause) else e.output.error or ""
    if live in {Live.NEW, Live.MIXED}:
        return failed("failed_late", Failure.RELEASE_FAILED, live, cause, detail=detail, late=True)
    live_detail, by = _live_detail(e, live)
    return failed(
        "failed", failure, live, cause, detail=detail, live_detail=live_detail, live_by=by
    )


def _while_running(e: Evidence) -> Decision:
    if not e.last_word:
        return LookAgain(rule="still_running")
    cause = Cause.TIME_LIMIT_UNCONFIRMED
    return failed("still_running", Failure.TIMED_OUT, Live.UNKNOWN, cause)


def _after_unknown_death(e: Evidence) -> Decision:
    """The connection was lost and the command died with it; nothing recorded how far it got."""
    live = live_of(e)
    detail, by = _live_detail(e, live)
    if e.before.runner:
        cause = Cause.RUN_NEVER_BEGAN if e.never_began else Cause.RUN_ENDED
    else:
        cause = Cause.NEVER_BEGAN if e.never_began else Cause.DIED_WITH_CONNECTION
    ended = failed(
        "ended_without_telling",
        Failure.INTERRUPTED,
        live,
        cause,
        by_lock=is_dead_by_lock(e),
        live_detail=detail,
        live_by=by,
    )
    # Not the bot's connection was lost: what ended a command in a container would end it again.
    if untouched(e, live) and not ended_well_by_effect(e) and not e.before.runner:
        return StartAgain(otherwise=ended)
    return ended


def _shares(e: Evidence) -> tuple[tuple[Live, str], ...]:
    after, own = e.after or Containers(), own_containers(e)
    return shares_of(after, own, images_of(own, after), e.before.containers)


def _without_contact(e: Evidence) -> Decision:
    if not e.last_word:
        return LookAgain(rule="no_contact")
    cause = Cause.RUN_UNSEEN if e.run_unseen else Cause.NO_CONTACT
    return failed("no_contact", Failure.LOST_CONTACT, Live.UNKNOWN, cause)


def _live_detail(e: Evidence, live: Live) -> tuple[LiveDetail, str]:
    """What the sentence adds about a previous release, and who restarted it."""
    if live is not Live.PREVIOUS:
        return LiveDetail.NONE, ""
    before, after = e.before.containers or Containers(), e.after or Containers()
    restarts = {one.id: one.restarts for one in before.listed}
    # A process that crashes again and again reads `running` nearly always: its count shows it.
    if any(
        one.state == "restarting" or one.restarts > restarts.get(one.id, 0) for one in after.listed
    ):
        return LiveDetail.RESTARTING, ""
    if all_containers_differ(e):
        return LiveDetail.RESTARTED, change_commands(e.others)
    return LiveDetail.NONE, ""
