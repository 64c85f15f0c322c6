"""Short texts about a deployment for Slack. All are safe as mrkdwn: foreign parts are inert.

The words for failures and for what is live are in `verdict/wording.py`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from bot.deployments.model import Actor, Approval, Deployment, Failure, Live, Phase, Status
from bot.deployments.progress import Blocker, Progress
from bot.deployments.queue.waiting_list import ONE_BEFORE
from bot.deployments.states import COMMAND_RUNS, ENDINGS, RUNNING, WAITING, status_of
from bot.deployments.verdict.outside_changes import UNRECORDED, how_to_end_build
from bot.deployments.verdict.wording import FAILURES, LIVE, STATUS_ICONS, beside_facts
from bot.slack.render.text import (
    clock_time,
    code,
    commit_count,
    counted,
    duration,
    inert,
    link,
    one_line,
    ordinal,
    person,
    short_sha,
)

ICONS = STATUS_ICONS
HEADLINES: Mapping[Status, str] = {
    Status.PENDING: "Waiting to deploy",
    Status.RUNNING: "Deploying",
    Status.SUCCEEDED: "Deployed",
    Status.FAILED: "Failed:",
    Status.CANCELLED: "Cancelled:",
}
PHASES: Mapping[Phase, str] = {
    Phase.AWAITING_APPROVAL: "Awaiting approval",
    Phase.QUEUED: "Queued",
    Phase.STARTING: "Starting",
    Phase.FETCHING: "Fetching",
    Phase.BUILDING: "Building",
    Phase.RELEASING: "Releasing",
    Phase.CHECKING: "Checking",
    Phase.CANCELLING: "Cancelling",
    Phase.SUCCEEDED: "Succeeded",
    Phase.FAILED: "Failed",
    Phase.CANCELLED: "Cancelled",
}

APPROVED_BY: Mapping[Approval, str] = {
    Approval.NONE: "",
    Approval.CONFIRM: "by the requester or an approver",
    Approval.SECOND_PERSON: "by a second person",
}

SUBJECTS = 5
"""How many commits are named, its own among them."""

_FULL_SHA = re.compile("[0-9a-f]{40}")
_LONGEST_BUILD_ID = 64
"""A button carries it."""
_SAY_NO_MORE = frozenset({"release"})
"""Steps that say no more than their phase."""
_END_UNKNOWN = frozenset({Failure.LOST_CONTACT, Failure.TIMED_OUT, Failure.INTERRUPTED})
"""Failures that may leave open how Dokku's command ended."""
_NO_RECORDS = "This Dokku version keeps no build records"
_HANDED_OVER = (
    "The bot is being restarted and hands this deployment over. Dokku may stop it meanwhile: this "
    "message will show what came of it."
)
_UNSAFE = "The connection was lost, so cancelling is unsafe: it could kill another process."
_CANCEL_UNSAFE = f"{_UNSAFE} The bot reports the result when the deployment ends."
_CANCEL_AWAITS_LIFE = (
    f"{_UNSAFE} The bot cancels the build on the server once its log grows, which proves that it "
    "lives."
)
SERVER_CANCEL_LABEL = "Cancel on the server"
_LEFT = "The connection to this build was lost, and the build goes on without it."
_LEFT_AHEAD = "The build ahead goes on although the connection to it was lost."
_PRESS = (
    f"Approvers of the app, or its deployers where it has none, can end it with "
    f"{SERVER_CANCEL_LABEL}."
)
_UNPROVEN = frozenset({Failure.LOST_CONTACT, Failure.TIMED_OUT})
"""Failures after which the build may still run."""


def target_words(deployment: Deployment, *, name_server: bool = True) -> str:
    """Ref and server, for mrkdwn: `main` to production. A full SHA is shown short."""
    to = f" to {inert(deployment.server, 60)}" if name_server else ""
    return f"{code(_shown_ref(deployment))}{to}"


def headline(deployment: Deployment, *, name_server: bool = True) -> str:
    """The first line, for mrkdwn."""
    status = status_of(deployment.phase)
    app = inert(deployment.app, 80)
    target = target_words(deployment, name_server=name_server)
    return f"{ICONS[status]} *{HEADLINES[status]} {app}* {target}"


def plain_headline(deployment: Deployment, *, name_server: bool = True) -> str:
    """The first line without icon and formatting, for the one-line text."""
    status = status_of(deployment.phase)
    to = f" to {inert(deployment.server, 60)}" if name_server else ""
    ref = inert(_shown_ref(deployment), 80)
    return f"{HEADLINES[status]} {inert(deployment.app, 80)} {ref}{to}"


def _shown_ref(deployment: Deployment) -> str:
    """The ref; of a rollback the commit, and the ref that it was deployed from before."""
    name = f" ({deployment.came_from})" if deployment.came_from else ""
    return f"{_short_ref(deployment.ref)}{name}"


def _short_ref(ref: str) -> str:
    if ref == "HEAD":
        return "default branch"  # the bot may not read the repository, so its name is unknown
    return short_sha(ref) if _FULL_SHA.fullmatch(ref) else ref


def status_words(deployment: Deployment, progress: Progress) -> str:
    """The Status fact: the phase, with the step or what it waits for."""
    if deployment.phase in ENDINGS:
        parts = [PHASES[deployment.phase]]
        if deployment.phase is Phase.FAILED and deployment.failure is not None:
            parts.append(FAILURES[deployment.failure])
    elif deployment.phase in WAITING:
        parts = _waiting_words(deployment, progress)
    else:
        parts = _running_words(deployment, progress)
    if deployment.cancel is not None and deployment.phase not in ENDINGS | {Phase.CANCELLING}:
        parts.append("cancel requested")
    return " · ".join(parts)


def version_notes(deployment: Deployment, progress: Progress) -> tuple[str, ...]:
    """What cannot be known on this server: Dokku before 0.38 keeps no build records."""
    if deployment.before is None or deployment.before.builds is not None:
        return ()
    if deployment.phase not in ENDINGS:
        ended = deployment.exit_status is not None or progress.reading_end
        if ended or deployment.phase is Phase.CHECKING:
            return ()  # how the command ended is known: its connection may be lost now
        only = "only the deploy lock and the containers can show the result"
        return (f"{_NO_RECORDS}. If the connection is lost, {only}.",)
    if deployment.started_at is None:
        return ()
    end_known = deployment.exit_status is not None or deployment.failure not in _END_UNKNOWN
    if deployment.live is Live.UNKNOWN and not end_known:
        return (f"{_NO_RECORDS}, so nothing shows how the deployment ended.",)
    return ()


def left_build(deployment: Deployment, progress: Progress) -> str | None:
    """The build that approvers may cancel on the server: its own one, or the one ahead of it."""
    build = deployment.build_id
    if deployment.phase is Phase.QUEUED:
        build = progress.blocker.build if progress.blocker else None
    elif deployment.phase in COMMAND_RUNS:
        build = build if deployment.left_build == build else None
    else:
        unproven = deployment.failure in _UNPROVEN and deployment.live is Live.UNKNOWN
        build = build if unproven and not deployment.late_over else None
    return build if build and len(build) <= _LONGEST_BUILD_ID else None


def left_notes(deployment: Deployment, progress: Progress) -> tuple[str, ...]:
    """That its build goes on without a connection, or the one ahead of it, and who can end it."""
    if left_build(deployment, progress) is None or deployment.phase in ENDINGS:
        return ()
    if deployment.phase is not Phase.QUEUED:
        return (_PRESS,) if deployment.cancel else (_LEFT, _PRESS)
    left = progress.blocker is not None and progress.blocker.left
    return (_LEFT_AHEAD, _PRESS) if left else (_PRESS,)


def cancel_notes(deployment: Deployment, progress: Progress) -> tuple[str, ...]:
    """Why a cancel request cannot be carried out after a lost connection, and who can."""
    if not progress.cut_off or deployment.cancel is None:
        return ()
    if deployment.phase not in COMMAND_RUNS - {Phase.CANCELLING}:
        return ()
    if deployment.before is not None and deployment.before.builds is None:
        return (_CANCEL_UNSAFE, UNRECORDED.advice)
    if deployment.build_id is None:
        return (_CANCEL_UNSAFE,)
    return (_CANCEL_AWAITS_LIFE, how_to_end_build(deployment.build_id, deployment.dokku_app))


def hand_over_notes(deployment: Deployment, progress: Progress) -> tuple[str, ...]:
    """That the bot is being restarted while it runs."""
    return (_HANDED_OVER,) if progress.handed_over and deployment.phase in RUNNING else ()


def again_notes(deployment: Deployment, progress: Progress) -> tuple[str, ...]:
    """That its commit is live already; known from the history until the containers are read."""
    if (before := deployment.before) is not None:
        listed = before.containers.listed if before.containers else ()
        down = listed and not any(one.is_up for one in listed)
        live = None if down else before.proven
    else:
        live = None if progress.waits_for else progress.live_sha
    if live is None or live != deployment.sha:
        return ()
    if deployment.phase in ENDINGS:
        return (f"{short_sha(live)} was already live before this deployment.",)
    return (f"{short_sha(live)} is already live; deploying it again.",)


def stale_notes(
    deployment: Deployment, progress: Progress, *, name_server: bool = True
) -> tuple[str, ...]:
    """Why the server does not answer while a deployment runs there: people may have to act."""
    if progress.stale_since is None or not progress.stale_why or deployment.phase in ENDINGS:
        return ()
    server = deployment.server if name_server else "the server"
    if progress.slow:
        return (f"Still asking {server}: {progress.stale_why}",)
    return (f"No contact with {server}: {progress.stale_why}",)


def outside_notes(deployment: Deployment, progress: Progress) -> tuple[str, ...]:
    """What others changed on the app; or how to end an outside build that takes too long."""
    if deployment.phase in RUNNING:
        return (progress.others,) if progress.others else ()
    blocker = progress.blocker
    if deployment.phase not in WAITING or blocker is None or not blocker.stuck:
        return ()
    return (f"That build has been running longer than a deployment may. {blocker.advice}",)


def _waiting_words(deployment: Deployment, progress: Progress) -> list[str]:
    parts = [PHASES[deployment.phase]]
    if deployment.phase is Phase.AWAITING_APPROVAL:
        parts[0] += f" {APPROVED_BY[deployment.approval]}"
    if progress.place is not None:
        first = progress.place == 1 and progress.waits_for == ONE_BEFORE
        parts.append(f"{ordinal(progress.place)} in line{', next to start' if first else ''}")
    if not deployment.ready:
        parts.append("looking up the repository and the commit")
    elif progress.blocker is not None and progress.blocker.by is not None:
        parts.append(_locked_words(progress.blocker, progress.blocker.by))
    elif progress.waits_for:
        parts.append(f"waiting for {inert(progress.waits_for)}")
        if progress.blocker is not None and progress.blocker.since is not None:
            # A time, not an age: a waiting message is edited only when its reason changes.
            parts[-1] += f", running since {clock_time(progress.blocker.since)}"
    return parts


def _locked_words(lock: Blocker, holder: Actor) -> str:
    until = f" until {clock_time(lock.until)}" if lock.until else ""
    why = f" ({inert(lock.why)})" if lock.why else ""
    return f"🔒 locked by {actor_words(holder)}{until}{why}"


def _running_words(deployment: Deployment, progress: Progress) -> list[str]:
    if progress.reading_end:
        return ["Ended, reading what is live"]
    parts = [PHASES[deployment.phase]]
    if deployment.phase is Phase.CANCELLING:
        if deployment.cancel is not None:
            parts.append(f"requested by {actor_words(deployment.cancel.by)}")
    elif progress.step and progress.step not in _SAY_NO_MORE:
        parts.append(inert(progress.step, 100))
    elif deployment.phase is Phase.CHECKING:
        stale = progress.stale_since is not None
        parts.append("the result cannot be read right now" if stale else "watching the new release")
    if deployment.phase in {Phase.STARTING, Phase.CANCELLING} and progress.waits_for:
        parts.append(f"waiting for {inert(progress.waits_for)}")
    if deployment.attempt > 1:
        parts.append(f"{ordinal(deployment.attempt)} attempt")
    return parts


def actor_words(actor: Actor) -> str:
    """Who, for mrkdwn; pings nobody if the name is known."""
    return person(actor.user, actor.name)


def requester_words(deployment: Deployment) -> str:
    """Who asked for it, and whether it repeats another one."""
    again = " (retry)" if deployment.retry_of else ""
    again = " (rollback)" if deployment.rollback_of else again
    return f"{actor_words(deployment.requested_by)}{again}"


def live_words(deployment: Deployment) -> str:
    """What serves now; with the commit if it is known."""
    if deployment.live is None:
        return LIVE[Live.UNKNOWN]
    words = LIVE[deployment.live]
    if deployment.live is Live.PREVIOUS and deployment.previous_sha:
        words += f" ({previous_words(deployment)})"
    return words


def previous_words(deployment: Deployment) -> str:
    """The commit that was live at the start; marked if only Dokku says so."""
    if deployment.previous_sha is None:
        return LIVE[Live.UNKNOWN]
    commit = code(short_sha(deployment.previous_sha))
    proven = deployment.before is not None and deployment.before.proven is not None
    return commit if proven else f"{commit} according to Dokku"


def commit_words(deployment: Deployment, commit_url: str | None) -> str:
    """The short SHA, linked if the forge is known, with its subject; or why there is none."""
    if deployment.sha is not None:
        return link(commit_url, code(short_sha(deployment.sha))) + head_words(deployment)
    if deployment.phase in ENDINGS:
        return "unknown"
    return "not known yet" if deployment.ready else "being looked up"


def head_words(deployment: Deployment) -> str:
    """Subject and author of its commit, with a space before them; empty if unknown."""
    if deployment.shipped is None:
        return ""
    head = deployment.shipped.head
    subject = f' "{inert(head.subject, 100)}"' if head.subject.strip() else ""
    return f"{subject} by {inert(head.author, 40)}" if head.author.strip() else subject


def reason_words(deployment: Deployment) -> str:
    """Why it ended so, as far as status and live state beside it do not say it; plain text."""
    reason = one_line(deployment.reason or "")
    return beside_facts(reason, failure=deployment.failure, live=deployment.live)


def distance_words(deployment: Deployment) -> str:
    """How far its commit is from the live one; empty if unknown, or if it is the same."""
    shipped = deployment.shipped
    if shipped is None or shipped.base is None or not (shipped.ahead or shipped.behind):
        return ""
    base = code(short_sha(shipped.base))
    if deployment.phase in ENDINGS and shipped.base == deployment.previous_sha:
        base = "the previous release"  # its commit is one of the facts
    if not shipped.behind:
        return f"{commit_count(shipped.ahead)} since {base}"
    if shipped.ahead:
        return f"{commit_count(shipped.ahead)} ahead of {base}, {counted(shipped.behind)} behind"
    back = f"goes back {commit_count(shipped.behind)} from {base}"
    if deployment.rollback_of is not None or deployment.phase in ENDINGS:
        return back.capitalize()
    return f"⚠️ Behind what is live: {back}"


def shipped_lines(deployment: Deployment, compare_url: str | None) -> Sequence[str]:
    """What it ships beside its own commit, for mrkdwn: the distance, then the first subjects.

    If it adds nothing, they are the subjects of what it takes back.
    """
    shipped, distance = deployment.shipped, distance_words(deployment)
    if shipped is None or not distance:
        return ()
    # Its own subject is shown as a fact.
    begin = 1 if shipped.ahead else 0
    shown = [f"• {inert(one.subject, 100)}" for one in shipped.listed[begin:SUBJECTS]]
    more = (shipped.ahead or shipped.behind) - begin - len(shown)
    lines = [f"{distance} ({link(compare_url, 'compare')})" if compare_url else distance, *shown]
    return (*lines, f"• and {counted(more)} more") if more > 0 else lines


def elapsed_words(deployment: Deployment, progress: Progress, now: datetime) -> str:
    """`1m 20s (usually 2m 10s)`.

    A waiting message is edited only when its place changes, so a counted time would be wrong.
    """
    if deployment.phase in WAITING:
        return f"since {clock_time(deployment.queued_at or deployment.created_at)}"
    elapsed = duration(deployment.duration(now))
    return f"{elapsed} (usually {duration(progress.usual)})" if progress.usual else elapsed


def address(url: str) -> str:
    """The app's address, as a link if it is a URL."""
    return link(url, inert(url.removeprefix("https://").removeprefix("http://"), 100))
