"""Evidence in, verdict out. Pure: the rules that make a status a proven one.

What *ours* and *old* mean, and what proves that a command ended, stands in proof.py. Text alone
never makes a success; its absence can deny one; it names the reason.
Source: the recordings under bot/simulators/dokku/transcripts; docs/verdicts.md shows the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from bot.deployments.dokku_facts import BuildStatus, Containers
from bot.deployments.model import Failure, Live, LogFacts, LogMarker, Phase
from bot.deployments.verdict.evidence import (
    KILLED,
    PIPE_CLOSED,
    Evidence,
    all_other_ids,
    bad_end,
    dead,
    dead_by_lock,
    good_by_effect,
    good_end,
    live_of,
    ours_images,
    ours_of,
    refused_by_lock,
    released_nothing,
    source_is_ours,
    text_was_lost,
    untouched,
    was_replaced,
)
from bot.deployments.verdict.outside_changes import replaced_by, restarted_by, started_by


class Kind(StrEnum):
    """What the evidence asks the owner to do."""

    END = "end"
    CHECK = "check"
    """A good end: watch the new release for the settle time."""
    WATCH = "watch"
    """No verdict yet: look again at the next poll."""
    START_AGAIN = "start_again"
    """Dead before the release, nothing changed: start once more if allowed, else end with this."""
    REQUEUE = "requeue"
    """Dokku refused because another deploy holds its lock: nothing ran, the place is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the evidence proves, and the rule that says so."""

    kind: Kind
    rule: str
    phase: Phase | None = None
    failure: Failure | None = None
    live: Live | None = None
    reason: str = ""


Rule = Callable[[Evidence], Verdict | None]

_LIVE_SENTENCE = {
    Live.NEW: "The new release is serving.",
    Live.PREVIOUS: "The previous release is still serving.",
    Live.MIXED: "Some processes run the new release, some the old one.",
    Live.NONE: "Nothing is serving.",
    Live.UNKNOWN: "What is serving now is not known.",
}

_BY_LOCK = "; this Dokku keeps no build records, its freed lock tells so"
"""What an end says that is known by the lock alone."""

_CUT_OFF: Mapping[int | None, str] = {
    KILLED: "Dokku's command was killed on the server, as by a reboot or for lack of memory",
    PIPE_CLOSED: "Dokku's command was cut off on the server, as by somebody's `kill`",
}
"""By the exit status of a command whose output just stops."""

_CAUSES: tuple[tuple[LogMarker, Failure, str], ...] = (
    (LogMarker.APP_MISSING, Failure.APP_NOT_FOUND, "The app does not exist on the server"),
    (LogMarker.REF_MISSING, Failure.REF_NOT_FOUND, "The repository has no such ref"),
    (LogMarker.REPO_UNREACHABLE, Failure.REPO_UNREACHABLE, "Dokku could not read the repository"),
    (LogMarker.DOCKER_DOWN, Failure.BUILD_FAILED, "Docker on the server did not answer"),
    (
        LogMarker.NO_COMMAND,
        Failure.RELEASE_FAILED,
        "The image has no command to start; give it a CMD, or the app a Procfile",
    ),
    (LogMarker.CHECKS_FAILED, Failure.HEALTHCHECK_FAILED, "The health check failed"),
    (LogMarker.BUILD_FAILED, Failure.BUILD_FAILED, "The build failed"),
    (LogMarker.REFUSED, Failure.REFUSED, "Dokku refused"),
    (LogMarker.RELEASE_FAILED, Failure.RELEASE_FAILED, "The release failed"),
)


def as_sentence(text: str) -> str:
    """The text with its full stop, unless it ends a sentence already."""
    text = text.rstrip(": ")
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _live_sentence(e: Evidence, live: Live) -> str:
    if live is Live.PREVIOUS and e.after is not None:
        if any(container.state == "restarting" for container in e.after.listed):
            return "The previous release is still in place, but is itself restarting."
        if all_other_ids(e):
            who = restarted_by(e.others)
            return f"The previous release is serving; it was restarted meanwhile {who}."
    return _LIVE_SENTENCE[live]


def _end(
    rule: str, failure: Failure | None, live: Live, cause: str, said: str, *, phase: Phase
) -> Verdict:
    return Verdict(
        kind=Kind.END,
        rule=rule,
        phase=phase,
        failure=failure,
        live=live,
        reason=f"{as_sentence(cause)} {said}",
    )


def _failed(rule: str, failure: Failure, live: Live, cause: str, said: str = "") -> Verdict:
    return _end(rule, failure, live, cause, said or _LIVE_SENTENCE[live], phase=Phase.FAILED)


def cause_of(output: LogFacts, exit_status: int | None) -> tuple[Failure, str]:
    """The failure that the output's markers name, with its sentence; first match wins.

    Output that just stops names none: then the exit status tells of a kill, or of a closed pipe.
    """
    for mark, failure, sentence in _CAUSES:
        if mark in output.markers:
            return failure, f"{sentence}: {output.error}" if output.error else sentence
    sentence = _CUT_OFF.get(exit_status, "The release failed")
    return Failure.RELEASE_FAILED, f"{sentence}: {output.error}" if output.error else sentence


def _by_lock(e: Evidence) -> str:
    return _BY_LOCK if dead_by_lock(e) else ""


def lock_held_by_another(e: Evidence) -> Verdict | None:
    """Dokku refused the start: another deploy holds its lock. Nothing of ours ran."""
    if refused_by_lock(e) and not (e.cancel_asked or e.cap_reached):
        return Verdict(kind=Kind.REQUEUE, rule="lock_held_by_another")
    return None


def cancelled(e: Evidence) -> Verdict | None:
    """The record says canceled; or a cancel was asked, our command is dead, nothing changed."""
    by_record = e.record is not None and e.record.status is BuildStatus.CANCELED
    live = live_of(e)
    wanted = e.cancel_asked or e.cap_reached
    stopped = untouched(e, live) or refused_by_lock(e)
    # No record can say that the cancel came, but too late: the containers say it.
    stopped = stopped or (dead_by_lock(e) and live in {Live.NEW, Live.MIXED})
    stopped = stopped and dead(e) and not (good_end(e) or good_by_effect(e))
    if not by_record and not (wanted and stopped):
        return None
    if e.cap_reached and not e.cancel_asked:
        cause = f"It took longer than allowed and was stopped{_by_lock(e)}"
        return _failed("cancelled", Failure.TIMED_OUT, live, cause, _live_sentence(e, live))
    if not e.cancel_asked:
        cause = "It was cancelled on the server, not by this bot"
    elif live is Live.NEW:
        cause = "Cancelled, but too late"
    else:
        cause = "Cancelled"
    if dead_by_lock(e):
        cause += f", and stopped{_BY_LOCK}"
    said = _live_sentence(e, live)
    return _end("cancelled", None, live, cause, said, phase=Phase.CANCELLED)


def good_end_unreadable(e: Evidence) -> Verdict | None:
    """A good end, but the containers cannot be read: look again; at the cap it stays unknown."""
    if not good_end(e) or e.after is not None:
        return None
    if e.last_word:
        nothing = " released nothing, and" if released_nothing(e) else ""
        cause = f"Dokku's command ended well, but{nothing} its containers could not be read"
        return _failed("good_end_unreadable", Failure.INTERNAL, Live.UNKNOWN, cause)
    return Verdict(kind=Kind.CHECK, rule="good_end_unreadable")


def not_deployed(e: Evidence) -> Verdict | None:
    """A good end without a new release: skipped, nothing built, or the old containers alone."""
    live = live_of(e)
    kept = good_end(e) and live is Live.PREVIOUS and not was_replaced(e)
    # The same content again has the former image: unheard, other containers may be our own.
    kept = kept and not (text_was_lost(e) and all_other_ids(e))
    if not (kept or released_nothing(e)):
        return None
    said = _live_sentence(e, live)
    if live is Live.UNKNOWN and e.before.containers is not None:
        who = started_by(e.others)
        # Maybe of our own build: a restart starts what was built last.
        said = f"Other code was started meanwhile {who}; what is serving now is not known."
    cause = "Dokku's command ended well, but released nothing"
    return _failed("not_deployed", Failure.NOT_DEPLOYED, live, cause, said)


def good_end_not_said(e: Evidence) -> Verdict | None:
    """A good end, but Dokku never printed that it deployed: no success may rest on it."""
    if not good_end(e) or LogMarker.DEPLOYED in e.output.markers:
        return None
    cause = "Dokku's command ended well without saying that it deployed"
    if text_was_lost(e):
        cause = "Dokku recorded a good end, but the text that tells what was released is lost"
    live = live_of(e)
    # Containers of the former content, which may be our own.
    live = Live.UNKNOWN if live is Live.PREVIOUS else live
    return _failed("good_end_not_said", Failure.INTERNAL, live, cause)


def replaced_before_proof(e: Evidence) -> Verdict | None:
    """A good end, but all containers were started by somebody else.

    Their image may be the former one although it is ours as well: the same content again has the
    same image. But none of ours was ever looked at, so nobody can tell.
    """
    live = live_of(e)
    if not good_end(e) or live not in {Live.UNKNOWN, Live.PREVIOUS}:
        return None
    said = _live_sentence(e, live)
    seen = bool(ours_images(ours_of(e), e.after))
    # Of former content, the sentence on what serves says who put it there.
    cause = replaced_by(() if live is Live.PREVIOUS else e.others, seen=seen)
    return _failed("replaced_before_proof", Failure.INTERRUPTED, live, cause, said)


def commit_not_confirmed(e: Evidence) -> Verdict | None:
    """Released, but Dokku's own record of the source names another commit, or none."""
    if not good_end(e) or live_of(e) is Live.MIXED:
        return None
    if source_is_ours(e):
        return None
    cause = "Released, but the commit could not be confirmed"
    return _failed("commit_not_confirmed", Failure.INTERNAL, live_of(e), cause)


def nothing_scaled_up(e: Evidence) -> Verdict | None:
    """A good end, and no process is scaled up: there is nothing to see running."""
    if not good_end(e) or e.after is None or e.after.listed:
        return None
    if e.output.ours:
        cause = "The new release was stopped or scaled down before it had proved itself"
        return _failed("nothing_scaled_up", Failure.INTERRUPTED, Live.NONE, cause)
    return Verdict(
        kind=Kind.END,
        rule="nothing_scaled_up",
        phase=Phase.SUCCEEDED,
        live=Live.NONE,
        reason="Released; no process is scaled up, so nothing is serving.",
    )


def old_beside_new(e: Evidence) -> Verdict | None:
    """A good end with old and new processes side by side: wait until all are new."""
    if not good_end(e) or live_of(e) is not Live.MIXED:
        return None
    if e.last_word:
        cause = "Not every process was replaced"
        return _failed("old_beside_new", Failure.RELEASE_FAILED, Live.MIXED, cause)
    return Verdict(kind=Kind.CHECK, rule="old_beside_new")


def new_release_seen(e: Evidence) -> Verdict | None:
    """A good end and every process is ours: watch it for the settle time."""
    return Verdict(kind=Kind.CHECK, rule="new_release_seen") if good_end(e) else None


def failed_late(e: Evidence) -> Verdict | None:
    """A bad end, but new containers serve: the proxy was switched before the failure."""
    live = live_of(e)
    if not bad_end(e) or live not in {Live.NEW, Live.MIXED}:
        return None
    _, cause = cause_of(e.output, e.exit_status)
    return _failed("failed_late", Failure.RELEASE_FAILED, live, f"Failed late. {cause}")


def failed(e: Evidence) -> Verdict | None:
    """A bad end and nothing of ours serves: the markers name the reason."""
    if not bad_end(e):
        return None
    failure, cause = cause_of(e.output, e.exit_status)
    live = live_of(e)
    return _failed("failed", failure, live, cause, _live_sentence(e, live))


def still_running(e: Evidence) -> Verdict | None:
    """No end known, and the record is shown running, or (before 0.38) the lock is held.

    Look again. At the cap: unknown.
    """
    shown = e.record is not None and e.record.status is BuildStatus.RUNNING
    held = not e.keeps_records and e.report is not None and e.report.locked
    if not (shown or held):
        return None
    if e.last_word:
        cause = "It took longer than allowed, and its end on the server could not be confirmed"
        return _failed("still_running", Failure.TIMED_OUT, Live.UNKNOWN, cause)
    return Verdict(kind=Kind.WATCH, rule="still_running")


def ended_without_telling(e: Evidence) -> Verdict | None:
    """The line was lost and the command died with it; nobody recorded how far it came."""
    if not dead(e):
        return None
    if e.never_began:
        cause = "The connection was lost before Dokku had begun, so nothing of it ran"
    else:
        cause = "The connection or the bot died during the deployment, and Dokku's command with it"
    live = live_of(e)
    said = _live_sentence(e, live)
    end = _failed("ended_without_telling", Failure.INTERRUPTED, live, f"{cause}{_by_lock(e)}", said)
    again = untouched(e, live) and not good_by_effect(e)
    return replace(end, kind=Kind.START_AGAIN) if again else end


def end_seen_by_effect(e: Evidence) -> Verdict | None:
    """No records on this Dokku: the recorded source became our commit, our containers run."""
    if not good_by_effect(e) or live_of(e) is not Live.NEW:
        return None
    return Verdict(kind=Kind.CHECK, rule="end_seen_by_effect")


def no_contact(e: Evidence) -> Verdict:
    """Nothing says how it ended: look again; when no more waiting is allowed, it is unknown."""
    if not e.last_word:
        return Verdict(kind=Kind.WATCH, rule="no_contact")
    cause = "Contact with Dokku was lost, and how the deployment ended is not known"
    return _failed("no_contact", Failure.LOST_CONTACT, Live.UNKNOWN, cause)


RULES: tuple[Rule, ...] = (
    lock_held_by_another,
    cancelled,
    good_end_unreadable,
    not_deployed,
    good_end_not_said,
    replaced_before_proof,
    commit_not_confirmed,
    nothing_scaled_up,
    old_beside_new,
    new_release_seen,
    failed_late,
    failed,
    end_seen_by_effect,
    still_running,
    ended_without_telling,
)
"""First match wins; `no_contact` is what remains."""


def decide(evidence: Evidence) -> Verdict:
    """The verdict on a deployment whose command has ended, or whose line was lost."""
    for rule in RULES:
        verdict = rule(evidence)
        if verdict is not None:
            return verdict
    return no_contact(evidence)


def before_start(failure: Failure, cause: str, after: Containers | None) -> Verdict:
    """An end before Dokku's command was started: one read of the containers, else unknown."""
    if after is None:
        live = Live.UNKNOWN
    elif any(container.state in {"running", "restarting"} for container in after.listed):
        live = Live.PREVIOUS
    else:
        live = Live.NONE
    return Verdict(
        kind=Kind.END,
        rule="before_start",
        phase=Phase.FAILED,
        failure=failure,
        live=live,
        reason=f"{as_sentence(cause)} {_LIVE_SENTENCE[live]}",
    )
