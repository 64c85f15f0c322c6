"""Every sentence about a result, one table per meaning: causes, live states, failures.

Slack, the CLI, webhooks and the docs take their words from here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import assert_never

from bot.deployments.dokku_facts import Container, Containers
from bot.deployments.model import Deployment, Failure, Live, Phase, Status
from bot.deployments.verdict.decisions import Cause, Ended, LiveDetail
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.outside_changes import list_records, with_outside_changes

STATUS_ICONS: Mapping[Status, str] = {
    Status.PENDING: "🟡",
    Status.RUNNING: "🔵",
    Status.SUCCEEDED: "🟢",
    Status.FAILED: "🔴",
    Status.CANCELLED: "⚪",
}
"""In Slack, and in webhooks in Slack's format."""

LIVE: Mapping[Live, str] = {
    Live.NEW: "the new release",
    Live.PREVIOUS: "the previous release",
    Live.MIXED: "some processes new, some old",
    Live.NONE: "nothing",
    Live.UNKNOWN: "unknown",
}
"""What serves now, as a fact beside a label."""

LIVE_SENTENCES: Mapping[Live, str] = {
    Live.NEW: "The new release is serving.",
    Live.PREVIOUS: "The previous release is still serving.",
    Live.MIXED: "Some processes run the new release, others the previous one.",
    Live.NONE: "Nothing is serving.",
    Live.UNKNOWN: "What is serving now is unknown.",
}

FAILURES: Mapping[Failure, str] = {
    Failure.BUILD_FAILED: "the build failed",
    Failure.HEALTHCHECK_FAILED: "the health checks failed",
    Failure.RELEASE_FAILED: "the release failed",
    Failure.CRASHED: "the new release keeps crashing",
    Failure.NOT_DEPLOYED: "nothing new was deployed",
    Failure.REF_NOT_FOUND: "no such branch, tag or commit",
    Failure.REPO_UNREACHABLE: "the repository cannot be reached",
    Failure.APP_NOT_FOUND: "no such app",
    Failure.SERVER_UNREACHABLE: "the server cannot be reached",
    Failure.REFUSED: "Dokku refused the deployment",
    Failure.REJECTED: "rejected",
    Failure.EXPIRED: "it waited too long in the queue",
    Failure.TIMED_OUT: "it took too long",
    Failure.LOST_CONTACT: "contact was lost",
    Failure.INTERRUPTED: "interrupted",
    Failure.INTERNAL: "something unexpected happened",
}
"""Why it failed, as a fact beside the status."""

NEXT_STEPS: Mapping[Failure, str] = {
    Failure.BUILD_FAILED: "fix and push, then Retry",
    Failure.HEALTHCHECK_FAILED: "make the app answer its checks, push, then Retry",
    Failure.RELEASE_FAILED: "fix and push, then Retry",
    Failure.CRASHED: "fix and push, then Retry",
    Failure.NOT_DEPLOYED: "find out in the full log why, then Retry",
    Failure.REF_NOT_FOUND: "push it, then Retry, or deploy another ref",
    Failure.REPO_UNREACHABLE: "give the server access to the repository, then Retry",
    Failure.APP_NOT_FOUND: "create the app on the server, then Retry",
    Failure.SERVER_UNREACHABLE: "bring the server back, then Retry",
    Failure.REFUSED: "settle what stopped it, then Retry",
    Failure.REJECTED: "settle it with the approver, then Retry",
    Failure.EXPIRED: "Retry to ask again",
    Failure.TIMED_OUT: "make it faster or raise `max_duration`, then Retry",
    Failure.LOST_CONTACT: "bring the server back, then Retry",
    Failure.INTERRUPTED: "Retry",
    Failure.INTERNAL: "read the full log, then Retry",
}
"""What to do about it, where the reason does not say so itself, without the full stop."""

LOOK_FIRST = "reply status in the thread to see what is live, before you Retry"
"""Where the new release may serve, or may not."""

CAUSES: Mapping[Cause, str] = {
    Cause.OWN_FAULT: "The bot lost track of it because of an internal error; see the bot's log",
    Cause.APP_MISSING: "The app does not exist on the server",
    Cause.REF_MISSING: "The repository has no such branch, tag or commit",
    Cause.REPO_UNREACHABLE: "Dokku could not read the repository",
    Cause.DOCKER_DOWN: "Docker on the server did not answer",
    Cause.NO_COMMAND: "The image has no start command; add a CMD to it or a Procfile to the app",
    Cause.CHECKS_FAILED: "The health checks failed",
    Cause.BUILD_FAILED: "The build failed",
    Cause.REFUSED: "Dokku refused the deployment",
    Cause.RELEASE_FAILED: "The release failed",
    Cause.OUT_OF_MEMORY: "A process was killed or gave up, probably because memory ran out; "
    "add memory or swap on the server",
    Cause.DISK_FULL: "The server's disk is full; free some space there, for example with "
    "`docker system prune`",
    Cause.RATE_LIMITED: "The image registry limits how often this server may pull; wait, or use "
    "`dokku registry:login`",
    Cause.REGISTRY_REFUSED: "The image registry refused access; check the image's name, or use "
    "`dokku registry:login`",
    Cause.NO_CREDENTIALS: "Dokku may not read the repository: the server has no valid credentials; "
    "add them with `dokku git:auth`",
    Cause.NO_DEPLOY_KEY: "The repository does not accept the server's deploy key; add the one that "
    "`dokku git:public-key` shows",
    Cause.HOST_KEY_UNKNOWN: "The server does not trust the repository's host key; check it, then "
    "use `dokku git:allow-host`",
    Cause.SUBMODULE: "Dokku could not fetch a submodule; give the server access to the submodule's "
    "own repository",
    Cause.LFS: "Dokku could not download the repository's Git LFS files; check its LFS quota",
    Cause.FOLDER_OWNER: "A folder on the server belongs to the wrong user; give it back with "
    "`chown -R dokku:dokku`",
    Cause.APP_FILE: "Dokku started no build: a file of the repository is not valid",
    Cause.KILLED: "Dokku's command was killed on the server, for example by a reboot or "
    "because memory ran out",
    Cause.CUT_OFF: "Dokku's command was cut off on the server, for example by `kill`",
    Cause.CANCELLED: "Cancelled",
    Cause.CANCELLED_TOO_LATE: "Cancelled, but too late",
    Cause.CANCELLED_ON_SERVER: "It was cancelled on the server, not by the bot",
    Cause.TIME_LIMIT: "It took longer than allowed and was stopped",
    Cause.TIME_LIMIT_UNCONFIRMED: "It took longer than allowed, and how it ended on the "
    "server is unknown",
    Cause.UNREADABLE: "Dokku's command succeeded, but the app's containers could not be read",
    Cause.UNREADABLE_RELEASED_NOTHING: "Dokku's command succeeded but released nothing, and "
    "the app's containers could not be read",
    Cause.RELEASED_NOTHING: "Dokku's command succeeded, but released nothing",
    Cause.NOT_REPORTED_DEPLOYED: "Dokku's command succeeded, but did not report a deployment",
    Cause.OUTPUT_LOST: "Dokku recorded a success, but the output that names the new "
    "containers was lost",
    Cause.COMMIT_NOT_CONFIRMED: "Released, but the commit could not be confirmed",
    Cause.STOPPED: "The new release was stopped or scaled down before it was confirmed as stable",
    Cause.STOPPED_OUTSIDE: "Someone stopped the app (`ps:stop`) before the new release was "
    "confirmed as stable",
    Cause.NOTHING_SCALED_UP: "Released, but no process is scaled up, so nothing is serving",
    Cause.NOT_ALL_REPLACED: "Not every process was replaced",
    Cause.NEVER_BEGAN: "The connection was lost before Dokku's command started, so nothing ran",
    Cause.DIED_WITH_CONNECTION: "The bot stopped or its connection dropped during the "
    "deployment, and Dokku's command died with it",
    Cause.RUN_NEVER_BEGAN: "The runner's container ended before a build began; check that its SSH "
    "client can log in to the server",
    Cause.RUN_UNSEEN: "The runner began no build that is certainly this deployment's, and still "
    "may; see `run:list` and `builds:list`",
    Cause.RUN_ENDED: "Dokku's command ended without saying how, and a runner leaves no exit "
    "status; see the log, then retry",
    Cause.NO_CONTACT: "Contact with Dokku was lost, so the result is unknown",
    Cause.APP_GONE: "Someone destroyed or renamed the app on the server during the deployment",
    Cause.STABLE: "The new release is running and has stayed up",
    Cause.NOT_UP: "The new release's containers kept changing, so it could not be "
    "confirmed as stable",
    Cause.PREVIOUS_RETURNED: "The previous release replaced the new one before it was "
    "confirmed as stable",
}
"""Causes whose sentence needs nothing but an error line behind it, without the full stop."""

DOWN: Mapping[Cause, tuple[str, str]] = {
    Cause.CRASHED: ("does not stay up", "do not stay up"),
    Cause.NEVER_STARTED: ("never started", "never started"),
    Cause.ENDED_BY_ITSELF: ("ended by itself with status 0", "ended by themselves with status 0"),
    Cause.NOT_RUNNING: ("is paused or not running", "are paused or not running"),
}
"""What is said of a process that is down, and of several."""

LATE = "Failed after new containers had started."
BY_LOCK = " (inferred from the released deploy lock)"
_ADVISES = re.compile(
    r"(?:^|[.;?] )(?:(?:add|check|deploy|free|give|look|pin|put|retry|see|set|update|use|wait)\b"
    r"|an operator (?:can|has)|if its|someone who may|did you mean)",
    re.IGNORECASE,
)
"""A sentence of the reason, or its second half, that says what to do."""
_STOPPED_WORDS = frozenset({Cause.CANCELLED, Cause.CANCELLED_TOO_LATE, Cause.CANCELLED_ON_SERVER})


def as_sentence(text: str) -> str:
    """The text with its full stop, unless it ends a sentence already."""
    text = text.rstrip(": ")
    return text if text.endswith((".", "?", "!")) else f"{text}."


def beside_facts(reason: str, *, failure: Failure | None, live: Live | None) -> str:
    """What a reason says besides the facts around it: how it ended, and what serves now.

    Slack shows those two as separate facts. Empty if the reason says only them.
    """
    said = [as_sentence(CAUSES[Cause.STABLE]), as_sentence(CAUSES[Cause.CANCELLED])]
    said += [LIVE_SENTENCES[live]] if live is not None else []
    for sentence in said:
        reason = re.sub(rf"(?:^|(?<=\s)){re.escape(sentence)}(?:\s+|$)", "", reason)
    lead = FAILURES[failure] if failure is not None else ""
    if lead and reason[: len(lead)].casefold() == lead.casefold():
        rest = reason[len(lead) :]
        reason = rest.lstrip(":. ") if rest[:1] in {":", ".", ""} else reason
    return reason.strip()


AFTER_CANCEL = {
    Live.NEW: "Next: Roll back, if the new release must not stay.",
    Live.MIXED: "Next: Roll back, or Retry.",
    Live.NONE: "Next: Roll back, or Retry.",
}


def next_step(deployment: Deployment, *, offers_roll_back: bool) -> str:
    """What to do about a failure, or a cancel that came too late, as one short sentence.

    Empty where all is as it was wanted, and where the reason says what to do. `offers_roll_back`:
    its message has the button.
    """
    failure, live = deployment.failure, deployment.live
    if deployment.phase is Phase.CANCELLED and offers_roll_back:
        return AFTER_CANCEL.get(live, "") if live else ""
    if failure is None or _ADVISES.search(deployment.reason or ""):
        return ""
    step = NEXT_STEPS[failure]
    if live is Live.UNKNOWN and deployment.started_at is not None:
        step = LOOK_FIRST
    elif offers_roll_back and live in {Live.NEW, Live.MIXED, Live.NONE}:
        step = f"Roll back, or {step}"
    return f"Next: {step}."


def name_all(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def sentence_of(ended: Ended) -> str:
    """Why it ended so, and what serves now."""
    cause = as_sentence(cause_of(ended))
    live = live_sentence(ended)
    return f"{cause} {live}" if live else cause


def cause_of(ended: Ended) -> str:
    """Why it ended so, without the full stop."""
    text = _cause(ended)
    if ended.by_lock:
        text += ", and stopped" if ended.cause in _STOPPED_WORDS else ""
        text += BY_LOCK
    return f"{LATE} {text}" if ended.late else text


def _cause(ended: Ended) -> str:
    match ended.cause:
        case Cause.NOT_STARTED:
            return ended.detail
        case Cause.CRASHED | Cause.NEVER_STARTED | Cause.ENDED_BY_ITSELF | Cause.NOT_RUNNING:
            text = f"The new release was deployed, but {name_all(_down_phrases(ended))}"
            return f"{text}: {ended.detail}" if ended.detail else text
        case Cause.REPLACED | Cause.CONTAINERS_REPLACED:
            what = "Another release replaced it"
            if ended.cause is Cause.CONTAINERS_REPLACED:
                what = "Other containers replaced its own"
            if ended.by:
                what = f"It was replaced by {ended.by}"
            return f"{what} before it was confirmed as stable"
        case _:
            text = CAUSES[ended.cause]
            return f"{text}: {ended.detail}" if ended.detail else text


def not_again(lock: str) -> str:
    """The detail of a result that a lock kept from a second start; `lock` is its sentence."""
    return f"it was not started again, because {lock[0].lower()}{lock[1:]}"


def _down_phrases(ended: Ended) -> Sequence[str]:
    """`web.1 does not stay up`, and so on, for each way in which a process is down."""
    phrases = []
    for cause in dict.fromkeys((ended.cause, *(cause for cause, _ in ended.down))):
        names = [process for one, process in ended.down if one is cause]
        one, several = DOWN[cause]
        phrases.append(f"{name_all(names)} {one if len(names) == 1 else several}")
    return phrases


def _mixed_sentence(shares: Sequence[tuple[Live, str]]) -> str:
    """Which process runs which release."""
    new = [process for release, process in shares if release is Live.NEW]
    old = [process for release, process in shares if release is Live.PREVIOUS]
    if not new or not old:
        return LIVE_SENTENCES[Live.MIXED]
    runs, run = ("runs" if len(names) == 1 else "run" for names in (new, old))
    return f"{name_all(new)} {runs} the new release, {name_all(old)} {run} the previous one."


def live_sentence(ended: Ended) -> str:
    """What serves now; empty where the cause says it."""
    by = f"by {ended.live_by}" if ended.live_by else "outside the bot"
    match ended.live_detail:
        case LiveDetail.NONE:
            if ended.live is Live.MIXED:
                return _mixed_sentence(ended.shares)
            return LIVE_SENTENCES[ended.live]
        case LiveDetail.RESTARTING:
            return "The previous release is still in place, but is restarting."
        case LiveDetail.RESTARTED:
            return f"The previous release is serving; it was restarted in the meantime {by}."
        case LiveDetail.OTHER_CODE:
            return (
                f"Other code was started in the meantime {by}, so what is serving now is unknown."
            )
        case LiveDetail.DEPLOYED:
            return "The new release is still in place."
        case LiveDetail.OTHERS_RUN:
            return "Its other processes are running."
        case LiveDetail.RETURNED:
            return "The previous release is serving."
        case LiveDetail.IN_CAUSE:
            return ""
        case _:
            assert_never(ended.live_detail)


def reason_of(ended: Ended, evidence: Evidence, after: Containers | None) -> str:
    """The reason that people read, with what others did meanwhile; `after` is the newest look.

    Where the server could not be asked, it says why: someone may be able to fix that.
    """
    reason = with_outside_changes(
        sentence_of(ended),
        ended.live,
        evidence.others,
        after=after,
        output=evidence.output,
        before=evidence.before,
    )
    if evidence.unanswered and ended.live is Live.UNKNOWN:
        reason += f" The server could not be queried: {evidence.unanswered}"
    return reason


def describe(evidence: Evidence, rule: str) -> str:
    """One line for operators: which rule decided, on what evidence."""
    record = evidence.record
    none = "none, and nothing began" if evidence.never_began else "none"
    shown = f"{record.status} ({record.exit_code})" if record else none
    after = evidence.after
    seen = (
        "unreadable"
        if after is None
        else ", ".join(f"{one.process} {one.id} {_state(one)}" for one in after.listed) or "none"
    )
    markers = ", ".join(sorted(evidence.output.markers)) or "none"
    if not evidence.keeps_records:
        shown += f" (this Dokku keeps none), {_lock_words(evidence)}"
    others = f"; others: {list_records(evidence.others)}" if evidence.others else ""
    before = evidence.before
    ran = f" (ran in {before.run or before.runner})" if before.runner else ""
    return (
        f"rule {rule}; exit status {evidence.exit_status}{ran}; record {shown}; containers {seen}; "
        f"markers {markers}{others}"
    )


def _state(one: Container) -> str:
    ended = "" if one.exit_code is None or one.running else f" ({one.exit_code})"
    return f"{one.state}{ended}{' OOMKilled' if one.oom_killed else ''}"


def _lock_words(evidence: Evidence) -> str:
    if evidence.report is None:
        return "lock unreadable"
    if evidence.report.locked:
        return "lock held"
    return "lock free for a moment" if evidence.lock_was_free else "lock free"
