"""What is live now, in sentences for people; the proof is in `proof.py`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.clock import duration_words
from bot.deployments.dokku_facts import NEVER_FINALIZED, BuildRecord, BuildStatus
from bot.deployments.live.compare import LiveState, Match, is_good, released_commit
from bot.deployments.live.reader import LiveReport
from bot.deployments.model import Deployment, Live
from bot.deployments.verdict.outside_changes import SOURCES, command_of
from bot.deployments.verdict.wording import FAILURES, LIVE, name_all
from bot.slack.render.text import age_words, code, inert, mention, one_line

LONGEST_SENTENCE = 600

_RECORD_RESULTS: Mapping[BuildStatus, str] = {
    BuildStatus.RUNNING: "running",
    BuildStatus.SUCCEEDED: "succeeded",
    BuildStatus.FAILED: "failed",
    BuildStatus.CANCELED: "cancelled",
    BuildStatus.ABANDONED: "ended with an unknown result",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Headline:
    """The first line: a commit and its subject, where it is proven live, and what follows."""

    rest: str
    commit: str = ""
    subject: str = ""
    since: str = ""
    """What has changed, said after the processes."""


def live_lines(report: LiveReport, *, now: datetime, name_server: bool = True) -> Sequence[str]:
    """What is live, in one line; then, a line each, crashes and what others did. Plain text."""
    first = _headline(report, now, name_server=name_server)
    subject = f' "{one_line(first.subject)}"' if first.subject else ""
    return [f"{first.commit}{subject} {_paragraph(report, first)}".strip(), *_troubles(report)]


def live_mrkdwn(report: LiveReport, *, now: datetime, name_server: bool = True) -> Sequence[str]:
    """The same lines for Slack; foreign parts are inert."""
    first = _headline(report, now, name_server=name_server)
    commit = f"{code(first.commit)} " if first.commit else ""
    subject = f"*{inert(first.subject, 100)}* " if first.subject else ""
    line = f"{commit}{subject}{inert(_paragraph(report, first), LONGEST_SENTENCE)}"
    return [line, *(inert(one, LONGEST_SENTENCE) for one in _troubles(report))]


def _paragraph(report: LiveReport, first: _Headline) -> str:
    shown = "" if report.missing or report.state.containers is None else _processes(report.state)
    return " ".join(part for part in (first.rest, shown, first.since) if part)


def _troubles(report: LiveReport) -> Sequence[str]:
    if report.missing:
        return ()
    state = report.state
    lines = []
    if state.crashing and state.match is not Match.UNREADABLE:
        names = name_all(state.crashing)
        lines.append(
            f"{names}: crashed and restarted by Docker. See dokku logs {report.dokku_app}."
        )
    return [*lines, *_outside_changes(report)]


def _headline(report: LiveReport, now: datetime, *, name_server: bool) -> _Headline:
    where = f" on {report.server}" if name_server else ""
    if report.missing:
        there = " there" if where else ""
        return _Headline(rest=f"The app no longer exists{where}, so nothing is live{there}.")
    state = report.state
    match state.match:
        case Match.AS_LEFT:
            return _as_left(state, now, where)
        case Match.RESTARTED:
            return _restarted(state, now, where)
        case Match.REPLACED | Match.STARTED | Match.STOPPED as match:
            return _Headline(rest=_CHANGED_OUTSIDE[match](report))
        case Match.UNCERTAIN:
            return _Headline(rest=_uncertain(state))
        case Match.CHANGING:
            rest = "A deployment is changing the app right now; its message will show the result."
            return _Headline(rest=f"{rest} {_history(state)}")
        case Match.NEVER:
            dokku = _according_to_dokku(state)
            return _Headline(
                rest=f"The bot has no verified deployment of this app.{dokku} Deploy it to verify "
                "what is live."
            )
        case Match.UNREADABLE:
            why = report.why or "The server was not asked."
            return _Headline(rest=f"What is live now is unknown. {why} {_history(state)}")


def _as_left(state: LiveState, now: datetime, where: str) -> _Headline:
    base = state.base
    if base is None:
        return _Headline(rest="The bot knows nothing about this app.")
    if base.live is Live.NONE or not (state.containers and state.containers.listed):
        return _Headline(rest="Nothing is running, as when the last deployment ended.")
    if base.live is Live.MIXED:
        return _Headline(
            rest=f"Some processes run {_commit(base.sha)}, some an older release, as when the last "
            "deployment ended."
        )
    quiet = not state.crashing and state.outside_build is None and state.running is None
    since = "Nothing changed since." if quiet else ""
    if released_commit(base) is None:
        return _Headline(
            rest="The commit of the live release is uncertain: its deployment did not succeed "
            f"({_result(base)}).",
            since=since,
        )
    return _named(base, where, _how(base, now), since)


def _restarted(state: LiveState, now: datetime, where: str) -> _Headline:
    base = state.base
    since = "Restarted or scaled outside the bot since: different containers, same code."
    if base is None or state.commit is None:
        return _Headline(rest=f"What the last deployment left is live{where}.", since=since)
    return _named(base, where, _how(base, now), since)


def _named(base: Deployment, where: str, how: str, since: str) -> _Headline:
    """The commit is proven live: it is named with its subject, where that is stored."""
    shipped = base.shipped
    return _Headline(
        commit=_commit(base.sha),
        subject=one_line(shipped.head.subject) if shipped else "",
        rest=f"is live{where}, {how}.",
        since=since,
    )


def _how(base: Deployment, now: datetime) -> str:
    who = _by_and_when(base, now)
    if is_good(base):
        return f"deployed{who}"
    return f"but its deployment{who} did not succeed ({_result(base)})"


def _result(base: Deployment) -> str:
    return f"{base.phase}: {FAILURES[base.failure]}" if base.failure else f"{base.phase}"


def _by_and_when(base: Deployment, now: datetime) -> str:
    """` by @ada 4 minutes ago`; a Slack id without a name says nothing to people."""
    by = base.requested_by
    name = f"@{by.name}" if by.name and mention(by.user) else by.name
    who = f" by {name}" if name else ""
    if base.finished_at is None or base.finished_at > now:
        return who
    return f"{who} {age_words(now - base.finished_at)}"


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
        f"It is uncertain what is live now: the result of a later deployment "
        f"({_commit(unproven.sha)}) could not be verified, and the containers have changed."
        f"{_according_to_dokku(state)}"
    )


def _history(state: LiveState) -> str:
    base = state.base
    if base is None:
        return "The bot has verified no release of this app."
    return f"The last verified deployment left {_left(base, 'live')}."


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
    """`web 2, worker 1 running.`: how many processes of each kind are in which state."""
    listed = state.containers.listed if state.containers else ()
    if not listed:
        return "No process is scaled up."
    kinds: dict[str, dict[str, list[int]]] = {}
    for one in listed:
        kind = one.process.rpartition(".")[0] or one.process
        kinds.setdefault(one.state, {}).setdefault(kind, []).append(one.restarts)
    groups = [
        f"{', '.join(_counted(kind, restarts) for kind, restarts in found.items())} {state_}"
        for state_, found in kinds.items()
    ]
    return f"{'; '.join(groups)}."


def _counted(kind: str, restarts: Sequence[int]) -> str:
    total = sum(restarts)
    times = f" ({total} restart{'' if total == 1 else 's'})" if total else ""
    return f"{kind} {len(restarts)}{times}"


def _outside_changes(report: LiveReport) -> Sequence[str]:
    """What Dokku's build records show of changes outside the bot."""
    state = report.state
    lines = []
    running = state.outside_build
    if running is not None:
        lines.append(f"Running outside the bot: {record_words(running)}.")
    elif state.locked:
        lines.append("A deploy outside the bot may be running: Dokku's deploy lock is held.")
    if state.match is not Match.RESTARTED and state.match not in _CHANGED_OUTSIDE:
        return lines
    past = [record_words(one) for one in state.outside_changes if one is not running]
    if past:
        lines.append(f"Dokku's build records since then: {'; '.join(past)}.")
    elif report.keeps_records is False:
        lines.append("This Dokku version keeps no build records, so the cause is unknown.")
    elif report.keeps_records and running is None:
        lines.append("Dokku's build records show no cause; ps:scale and ps:stop leave no record.")
    return lines


def record_words(one: BuildRecord) -> str:
    """One of Dokku's build records: what, with which result, when."""
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
