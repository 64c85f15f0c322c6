"""How states, failures and what is live are called in Slack, as tables.

Everything here is mrkdwn-safe: foreign parts are made inert on the way.
"""

from collections.abc import Mapping
from datetime import datetime

from bot.deployments.model import Actor, Deployment, Failure, Live, Phase, Progress, Status
from bot.deployments.states import COMMAND_RUNS, ENDINGS, RUNNING, WAITING, status_of
from bot.deployments.verdict.outside_changes import UNRECORDED, how_to_end_build
from bot.slack.render.text import (
    clock_time,
    code,
    duration,
    inert,
    link,
    ordinal,
    person,
    short_sha,
)

ICONS: Mapping[Status, str] = {
    Status.PENDING: "🟡",
    Status.RUNNING: "🔵",
    Status.SUCCEEDED: "🟢",
    Status.FAILED: "🔴",
    Status.CANCELLED: "⚪",
}
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
FAILURES: Mapping[Failure, str] = {
    Failure.BUILD_FAILED: "the build failed",
    Failure.HEALTHCHECK_FAILED: "the health checks failed",
    Failure.RELEASE_FAILED: "the release failed",
    Failure.CRASHED: "the new release keeps crashing",
    Failure.NOT_DEPLOYED: "nothing new was deployed",
    Failure.REF_NOT_FOUND: "no such ref",
    Failure.REPO_UNREACHABLE: "the repository cannot be reached",
    Failure.APP_NOT_FOUND: "no such app",
    Failure.SERVER_UNREACHABLE: "the server cannot be reached",
    Failure.REFUSED: "Dokku refused it",
    Failure.REJECTED: "rejected",
    Failure.EXPIRED: "it waited too long",
    Failure.TIMED_OUT: "it took too long",
    Failure.LOST_CONTACT: "contact was lost",
    Failure.INTERRUPTED: "interrupted",
    Failure.INTERNAL: "something unexpected happened",
}
LIVES: Mapping[Live, str] = {
    Live.NEW: "the new release",
    Live.PREVIOUS: "the previous release",
    Live.MIXED: "some processes new, some old",
    Live.NONE: "nothing",
    Live.UNKNOWN: "not known",
}


_NO_RECORDS = "This Dokku keeps no build records"
_CUT_OFF = (
    "Its connection was lost, and without it the bot could end somebody else's process: it stops "
    "nothing, and tells how this one ends."
)


def target_words(deployment: Deployment) -> str:
    """`myapp` `main` to production, without the app: ref and server, for mrkdwn."""
    return f"{code(deployment.ref)} to {inert(deployment.server, 60)}"


def headline(deployment: Deployment) -> str:
    """The first line, for mrkdwn."""
    status = status_of(deployment.phase)
    app = inert(deployment.app, 80)
    return f"{ICONS[status]} *{HEADLINES[status]} {app}* {target_words(deployment)}"


def plain_headline(deployment: Deployment) -> str:
    """The first line without icon and formatting, for the one-line text."""
    status = status_of(deployment.phase)
    return (
        f"{HEADLINES[status]} {inert(deployment.app, 80)} {inert(deployment.ref, 80)}"
        f" to {inert(deployment.server, 60)}"
    )


def status_words(deployment: Deployment, progress: Progress) -> str:
    """The Status fact: phase, and beside it what is known of the step or the wait."""
    if deployment.phase in ENDINGS:
        parts = [PHASES[deployment.phase]]
        if deployment.phase is Phase.FAILED and deployment.failure is not None:
            parts.append(FAILURES[deployment.failure])
    elif deployment.phase in WAITING:
        parts = _waiting_words(deployment, progress)
    else:
        parts = _running_words(deployment, progress)
    if deployment.cancel is not None and deployment.phase not in ENDINGS | {Phase.CANCELLING}:
        parts.append("cancel asked")
    return " · ".join(parts)


def version_notes(deployment: Deployment) -> tuple[str, ...]:
    """What this deployment's Dokku cannot give: before 0.38 it keeps no build records."""
    if deployment.before is None or deployment.before.builds is not None:
        return ()
    if deployment.phase not in ENDINGS:
        return (
            f"{_NO_RECORDS}: should the connection be lost, its lock and containers alone tell.",
        )
    if deployment.started_at is None:
        return ()
    if deployment.live is Live.UNKNOWN:
        return (f"{_NO_RECORDS}: nothing on it tells how the deployment ended.",)
    return ()


def reach_notes(deployment: Deployment, progress: Progress) -> tuple[str, ...]:
    """That a wish to cancel cannot be carried out, and who can: its connection was lost."""
    if not progress.cut_off or deployment.cancel is None:
        return ()
    if deployment.phase not in COMMAND_RUNS - {Phase.CANCELLING}:
        return ()
    if deployment.before is not None and deployment.before.builds is None:
        return (_CUT_OFF, UNRECORDED.mend)
    if deployment.build_id is None:
        return (_CUT_OFF,)
    return (_CUT_OFF, how_to_end_build(deployment.build_id, deployment.dokku_app))


def again_notes(deployment: Deployment, progress: Progress) -> tuple[str, ...]:
    """That its commit is live already. By the history until the containers were looked at."""
    if deployment.before is not None:
        live = deployment.before.proven
    else:
        live = None if progress.waits_for else progress.live_sha
    if live is None or live != deployment.sha:
        return ()
    if deployment.phase in ENDINGS:
        return (f"{short_sha(live)} was already live before this deployment.",)
    return (f"{short_sha(live)} is already live; deploying it again.",)


def stale_notes(deployment: Deployment, progress: Progress) -> tuple[str, ...]:
    """Why the server cannot be asked, while a deployment runs there: that may be for people."""
    if progress.stale_since is None or not progress.stale_why or deployment.phase in ENDINGS:
        return ()
    return (f"{deployment.server} cannot be asked now: {progress.stale_why}",)


def foreign_notes(deployment: Deployment, progress: Progress) -> tuple[str, ...]:
    """Who else works on the app; or what to do about a build that is in the way for too long."""
    if deployment.phase in RUNNING:
        return (progress.others,) if progress.others else ()
    blocker = progress.blocker
    if deployment.phase not in WAITING or blocker is None or not blocker.stuck:
        return ()
    return (f"It has been running for longer than a deployment may. {blocker.mend}",)


def _waiting_words(deployment: Deployment, progress: Progress) -> list[str]:
    parts = [PHASES[deployment.phase]]
    if progress.place is not None:
        parts.append(f"{ordinal(progress.place)} in line")
    if not deployment.ready:
        parts.append("looking up the repository and the commit")
    elif progress.waits_for:
        parts.append(f"waits for {inert(progress.waits_for)}")
        if progress.blocker is not None and progress.blocker.since is not None:
            # An instant, and no age: a waiting message is edited only when its reason changes.
            parts[-1] += f", running since {clock_time(progress.blocker.since)}"
    return parts


def _running_words(deployment: Deployment, progress: Progress) -> list[str]:
    if progress.reading_end:
        return ["Ended, reading what is live"]
    parts = [PHASES[deployment.phase]]
    if deployment.phase is Phase.CANCELLING:
        if deployment.cancel is not None:
            parts.append(f"asked by {actor_words(deployment.cancel.by)}")
    elif progress.step:
        parts.append(inert(progress.step, 100))
    elif deployment.phase is Phase.CHECKING:
        stale = progress.stale_since is not None
        parts.append("its end cannot be read now" if stale else "watching the new release run")
    if deployment.phase in {Phase.STARTING, Phase.CANCELLING} and progress.waits_for:
        parts.append(f"waits for {inert(progress.waits_for)}")
    if deployment.attempt > 1:
        parts.append(f"{ordinal(deployment.attempt)} attempt")
    return parts


def actor_words(actor: Actor) -> str:
    """Who, for mrkdwn; nobody is pinged where the name is known."""
    return person(actor.user, actor.name)


def live_words(deployment: Deployment) -> str:
    """What serves now; with the commit where that is known."""
    if deployment.live is None:
        return LIVES[Live.UNKNOWN]
    words = LIVES[deployment.live]
    if deployment.live is Live.PREVIOUS and deployment.previous_sha:
        words += f" ({previous_words(deployment)})"
    return words


def previous_words(deployment: Deployment) -> str:
    """The commit that was live at the start; whose word that is, where it is not the bot's own."""
    if deployment.previous_sha is None:
        return LIVES[Live.UNKNOWN]
    words = code(short_sha(deployment.previous_sha))
    proven = deployment.before is not None and deployment.before.proven is not None
    return words if proven else f"{words} according to Dokku"


def commit_words(deployment: Deployment, commit_url: str | None) -> str:
    """The short SHA, linked where the forge is known; or why there is none."""
    if deployment.sha is not None:
        return link(commit_url, code(short_sha(deployment.sha)))
    if deployment.phase in ENDINGS:
        return "not known"
    return "not known yet" if deployment.ready else "being looked up"


def elapsed_words(deployment: Deployment, progress: Progress, now: datetime) -> str:
    """`1m 20s (usually 2m 10s)`.

    A waiting message is edited only when its place changes; a counted time would stand still.
    """
    if deployment.phase in WAITING:
        return f"since {clock_time(deployment.queued_at or deployment.created_at)}"
    elapsed = duration(deployment.duration(now))
    return f"{elapsed} (usually {duration(progress.usual)})" if progress.usual else elapsed


def address(url: str) -> str:
    """The app's own address, as a link where it is one."""
    return link(url, inert(url.removeprefix("https://").removeprefix("http://"), 100))
