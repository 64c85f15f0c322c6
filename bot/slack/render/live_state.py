"""What is live now, in sentences of plain text: the caller makes them inert for Slack."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from bot.clock import duration_words
from bot.deployments.dokku_facts import NEVER_FINALIZED, BuildRecord, BuildStatus, Container
from bot.deployments.live.compare import LiveState, Match, is_good, released_commit
from bot.deployments.live.reader import LiveReport
from bot.deployments.model import Deployment, Live
from bot.deployments.verdict.outside_changes import SOURCES, command_of
from bot.deployments.verdict.wording import FAILURES, LIVE, name_all

_RECORD_RESULTS: Mapping[BuildStatus, str] = {
    BuildStatus.RUNNING: "running",
    BuildStatus.SUCCEEDED: "succeeded",
    BuildStatus.FAILED: "failed",
    BuildStatus.CANCELED: "cancelled",
    BuildStatus.ABANDONED: "ended with an unknown result",
}


def live_lines(report: LiveReport, *, now: datetime) -> Sequence[str]:
    """One sentence a line: what is live, what runs, what others changed, the last good one."""
    if report.missing:
        return [f"The app no longer exists on {report.server}, so nothing is live there."]
    state = report.state
    lines = [_live(report, now)]
    if state.containers is not None:
        lines.append(f"Processes: {_processes(state)}.")
    if state.crashing and state.match is not Match.UNREADABLE:
        names = name_all(state.crashing)
        lines.append(
            f"{names}: crashed and restarted by Docker. See dokku logs {report.dokku_app}."
        )
    lines += _outside_changes(report)
    good = state.last_good
    if good is not None and good is not state.base:
        lines.append(f"Last good deployment: {_commit(good.sha)} by {good.id}.")
    return lines


def _live(report: LiveReport, now: datetime) -> str:
    match report.state.match:
        case Match.AS_LEFT:
            return _as_left(report.state, now)
        case Match.RESTARTED | Match.REPLACED | Match.STARTED | Match.STOPPED as match:
            return _CHANGED_OUTSIDE[match](report)
        case Match.UNCERTAIN:
            return _uncertain(report.state)
        case Match.CHANGING:
            return (
                "A deployment is changing the app right now; its message will show the result. "
                f"{_history(report.state)}"
            )
        case Match.NEVER:
            dokku = _according_to_dokku(report.state)
            return (
                f"The bot has no verified deployment of this app.{dokku} Deploy it to verify what "
                "is live."
            )
        case Match.UNREADABLE:
            why = report.why or "The server was not asked."
            return f"What is live now is unknown. {why} {_history(report.state)}"


def _as_left(state: LiveState, now: datetime) -> str:
    base, commit = state.base, _commit(state.commit)
    if base is None:
        return "The bot knows nothing about this app."
    result = f"{base.phase}: {FAILURES[base.failure]}" if base.failure else f"{base.phase}"
    if base.live is Live.NONE or not (state.containers and state.containers.listed):
        return "Nothing is running, as when the last deployment ended."
    if base.live is Live.MIXED:
        return (
            f"Some processes run {_commit(base.sha)}, some an older release, as when the last "
            "deployment ended."
        )
    if is_good(base):
        return f"{commit} is live, deployed{_by_and_when(base, now)}. Nothing has changed since."
    if released_commit(base) is None:
        return (
            "The commit of the live release is uncertain: its deployment did not succeed "
            f"({result}). Nothing has changed since."
        )
    return (
        f"{commit} is live, but its deployment did not succeed ({result}). Nothing has changed "
        "since."
    )


def _by_and_when(base: Deployment, now: datetime) -> str:
    """` by ada 4m 0s ago`; a Slack id without a name says nothing to people."""
    name = base.requested_by.name
    who = f" by {name}" if name else ""
    if base.finished_at is None or base.finished_at > now:
        return who
    return f"{who} {duration_words(now - base.finished_at)} ago"


def _restarted(report: LiveReport) -> str:
    commit = report.state.commit
    what = f"{_commit(commit)} is live" if commit else "What the last deployment left is live"
    return f"{what}, restarted or scaled outside the bot: different containers, same code."


def _started(report: LiveReport) -> str:
    return (
        "Changed outside the bot: the last deployment left nothing running, but something runs "
        f"now. The bot can't tell which release it is.{_according_to_dokku(report.state)}"
    )


def _stopped(report: LiveReport) -> str:
    left = _left(report.state.base, "running")
    return (
        f"Nothing is running. The last deployment left {left}; since then the app crashed, or was "
        f"stopped or scaled to zero. See dokku ps:report {report.dokku_app}."
    )


def _replaced(report: LiveReport) -> str:
    state = report.state
    listed = state.containers.listed if state.containers else ()
    some = len(state.replaced_processes) < sum(
        one.state in {"running", "restarting"} for one in listed
    )
    names = name_all(state.replaced_processes) if some else "all processes"
    runs = "runs" if some and len(state.replaced_processes) == 1 else "run"
    known = (
        f" Its code is that of {_commit(state.proven_before)}, which the bot verified earlier."
        if state.proven_before
        else ""
    )
    return (
        f"Changed outside the bot: {names} {runs} another release, which the bot has not verified."
        f"{known}{_according_to_dokku(state)}"
    )


_CHANGED_OUTSIDE: Mapping[Match, Callable[[LiveReport], str]] = {
    Match.RESTARTED: _restarted,
    Match.REPLACED: _replaced,
    Match.STARTED: _started,
    Match.STOPPED: _stopped,
}


def _uncertain(state: LiveState) -> str:
    unproven = state.unproven
    if unproven is None:
        return (
            "It is uncertain what is live now: the containers could not be read when the last "
            f"deployment ended.{_according_to_dokku(state)} {_history(state)}"
        )
    return (
        f"It is uncertain what is live now: the result of deployment {unproven.id} "
        f"({_commit(unproven.sha)}) could not be verified, and the containers have changed."
        f"{_according_to_dokku(state)}"
    )


def _history(state: LiveState) -> str:
    base = state.base
    if base is None:
        return "The bot has verified no release of this app."
    return f"The last verified deployment ({base.id}) left {_left(base, 'live')}."


def _left(base: Deployment | None, how: str) -> str:
    """`a1b2c3d live`: what a deployment left, running or live."""
    if base is None or base.live in {None, Live.UNKNOWN}:
        return f"something unknown {how}"
    if base.live is Live.MIXED:
        return "some processes on the new release and some on the previous one"
    if base.live is Live.NEW and base.sha:
        return f"{base.sha[:7]} {how}"
    return f"{LIVE[base.live]} {how}"


def _commit(sha: str | None) -> str:
    return sha[:7] if sha else "an unknown commit"


def _according_to_dokku(state: LiveState) -> str:
    sha = state.according_to_dokku
    return f" According to Dokku, the commit is {sha[:7]}." if sha else " Dokku names no commit."


def _processes(state: LiveState) -> str:
    listed = state.containers.listed if state.containers else ()
    return ", ".join(_process(one) for one in listed) or "none is scaled up"


def _process(one: Container) -> str:
    if not one.restarts:
        return f"{one.process} {one.state}"
    times = "1 restart" if one.restarts == 1 else f"{one.restarts} restarts"
    return f"{one.process} {one.state} ({times})"


def _outside_changes(report: LiveReport) -> Sequence[str]:
    """What Dokku's build records show of changes outside the bot."""
    state = report.state
    lines = []
    running = state.outside_build
    if running is not None:
        lines.append(f"Running outside the bot: {_record(running)}.")
    elif state.locked:
        lines.append("A deploy outside the bot may be running: Dokku's deploy lock is held.")
    if state.match not in _CHANGED_OUTSIDE:
        return lines
    past = [_record(one) for one in state.outside_changes if one is not running]
    if past:
        lines.append(f"Dokku's build records since then: {'; '.join(past)}.")
    elif report.keeps_records is False:
        lines.append("This Dokku version keeps no build records, so the cause is unknown.")
    elif report.keeps_records and running is None:
        lines.append("Dokku's build records show no cause; ps:scale and ps:stop leave no record.")
    return lines


def _record(one: BuildRecord) -> str:
    how = f"{'a ' if one.source in SOURCES else ''}{command_of(one)}"
    # The server's clock may be wrong: its time is shown, never compared.
    at = (
        f", {one.started_at[:19].replace('T', ' ')} by the server's clock" if one.started_at else ""
    )
    result = _RECORD_RESULTS[one.status]
    if one.status is BuildStatus.FAILED and one.exit_code == NEVER_FINALIZED:
        result = _RECORD_RESULTS[BuildStatus.ABANDONED]
    elif one.status is BuildStatus.RUNNING and one.duration is not None:
        result += f" for {duration_words(one.duration)}"
    return f"{how} ({result}{at}, Dokku build {one.id})"
