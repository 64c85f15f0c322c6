"""What is live now, in sentences. They hold no mrkdwn: whoever shows them makes them inert."""

from collections.abc import Callable, Mapping, Sequence

from bot.clock import duration_words
from bot.deployments.dokku_facts import BuildRecord, BuildStatus, Container
from bot.deployments.live.compare import LiveState, Match, is_good, released_commit
from bot.deployments.live.reader import LiveReport
from bot.deployments.model import Deployment, Live
from bot.deployments.verdict.outside_changes import NEVER_FINALIZED, SOURCES, command_of
from bot.slack.render.words import FAILURES, LIVES

_ENDS: Mapping[BuildStatus, str] = {
    BuildStatus.RUNNING: "running",
    BuildStatus.SUCCEEDED: "ended well",
    BuildStatus.FAILED: "failed",
    BuildStatus.CANCELED: "cancelled",
    BuildStatus.ABANDONED: "ended without telling how",
}


def standing_lines(seen: LiveReport) -> Sequence[str]:
    """One sentence a line: what is live, what runs, what others did, what was good last."""
    if seen.missing:
        return [f"The app does not exist on {seen.server} any more: nothing of it is live there."]
    standing = seen.state
    lines = [_live(seen)]
    if standing.containers is not None:
        lines.append(f"Processes: {_processes(standing)}.")
    if standing.crashing and standing.match is not Match.UNREADABLE:
        names = ", ".join(standing.crashing)
        lines.append(f"{names}: crashed and restarted by Docker; look at dokku logs {seen.app}.")
    lines += _others(seen)
    good = standing.last_good
    if good is not None and good is not standing.base:
        lines.append(f"Last good deployment: {_commit(good.sha)} by {good.id}.")
    return lines


def _live(seen: LiveReport) -> str:
    match seen.state.match:
        case Match.AS_LEFT:
            return _as_left(seen.state)
        case Match.RESTARTED | Match.REPLACED | Match.STARTED | Match.STOPPED as match:
            return _DRIFTED[match](seen)
        case Match.UNCERTAIN:
            return _uncertain(seen.state)
        case Match.CHANGING | Match.NEVER | Match.UNREADABLE:
            return _not_told(seen)


def _not_told(seen: LiveReport) -> str:
    standing = seen.state
    if standing.match is Match.CHANGING:
        return (
            "A deployment of this bot is changing it at this moment; its message tells the "
            f"end. {_history(standing)}"
        )
    if standing.match is Match.NEVER:
        return (
            f"No release of it was proven live by this bot.{_dokkus_word(standing)} "
            "Deploy it to have it proven."
        )
    why = seen.why or "The server was not asked."
    return f"What is live now is not known. {why} {_history(standing)}"


def _as_left(standing: LiveState) -> str:
    base, short = standing.base, _commit(standing.commit)
    if base is None:
        return "Nothing is known of it."
    same = f"the containers are those that were seen at the end of deployment {base.id}"
    why = f": {FAILURES[base.failure]}" if base.failure else ""
    if base.live is Live.NONE or not (standing.containers and standing.containers.listed):
        said = f"Nothing runs, as at the end of deployment {base.id}."
    elif base.live is Live.MIXED:
        said = f"Some processes run {_commit(base.sha)}, some an older release: {same}."
    elif is_good(base):
        said = f"{short} is live: {same}."
    elif released_commit(base) is None:
        said = f"A release whose commit is not certain is live ({base.phase}{why}): {same}."
    else:
        said = f"{short} is live, but was never proven good ({base.phase}{why}): {same}."
    return said


def _restarted(seen: LiveReport) -> str:
    standing = seen.state
    commit = standing.commit
    was = f"{_commit(commit)} is live" if commit else f"What {_by(standing)} left is live"
    return (
        f"{was}, restarted or scaled outside the bot: other containers, the same code as "
        f"at the end of {_by(standing)}."
    )


def _started(seen: LiveReport) -> str:
    return (
        f"Changed outside the bot: {_by(seen.state)} left nothing running, and something runs "
        f"now. Whose release it is, is not proven.{_dokkus_word(seen.state)}"
    )


def _stopped(seen: LiveReport) -> str:
    return (
        "Nothing runs: stopped, scaled to none or crashed for good since the end of "
        f"{_by(seen.state)}, which left {_what(seen.state.base)} running. "
        f"dokku ps:report {seen.app} tells more."
    )


def _by(standing: LiveState) -> str:
    return f"deployment {standing.base.id}" if standing.base else "no deployment"


def _replaced(seen: LiveReport) -> str:
    standing = seen.state
    listed = standing.containers.listed if standing.containers else ()
    some = len(standing.replaced_processes) < sum(
        one.state in {"running", "restarting"} for one in listed
    )
    runs = f"{', '.join(standing.replaced_processes)} run" if some else "all processes run"
    before = standing.proven_before
    known = (
        f" Its code is that of {_commit(before)}, which this bot proved live before."
        if before
        else ""
    )
    return (
        f"Changed outside the bot since {_by(standing)}: {runs} another release, which this bot "
        f"has not proven.{known}{_dokkus_word(standing)}"
    )


_DRIFTED: Mapping[Match, Callable[[LiveReport], str]] = {
    Match.RESTARTED: _restarted,
    Match.REPLACED: _replaced,
    Match.STARTED: _started,
    Match.STOPPED: _stopped,
}


def _uncertain(standing: LiveState) -> str:
    late = standing.unproven
    if late is None:
        return (
            "What is live now is not certain: the containers could not be read at the end of the "
            f"last deployment.{_dokkus_word(standing)} {_history(standing)}"
        )
    return (
        f"What is live now is not certain: the end of deployment {late.id} ({_commit(late.sha)}) "
        f"could not be proven, and what runs is not what was seen before it."
        f"{_dokkus_word(standing)}"
    )


def _history(standing: LiveState) -> str:
    base = standing.base
    if base is None:
        return "This bot has proven no release of it."
    return f"Deployment {base.id} left {_what(base)} live, and was the last to tell."


def _what(base: Deployment | None) -> str:
    if base is None or base.live is None:
        return "something unknown"
    if base.live is Live.NEW and base.sha:
        return base.sha[:7]
    return LIVES[base.live]


def _commit(sha: str | None) -> str:
    return sha[:7] if sha else "an unknown commit"


def _dokkus_word(standing: LiveState) -> str:
    sha = standing.according_to_dokku
    return f" According to Dokku it is {sha[:7]}." if sha else " Dokku names no commit either."


def _processes(standing: LiveState) -> str:
    listed = standing.containers.listed if standing.containers else ()
    return ", ".join(_process(one) for one in listed) or "none is scaled up"


def _process(one: Container) -> str:
    times = f" ({one.restarts} restarts)" if one.restarts else ""
    return f"{one.process} {one.state}{times}"


def _others(seen: LiveReport) -> Sequence[str]:
    """What Dokku's records tell of others."""
    standing = seen.state
    lines = []
    now = standing.outside_build
    if now is not None:
        lines.append(f"Under way outside the bot: {_record(now)}.")
    elif standing.locked:
        lines.append("A deploy outside the bot may be under way: Dokku's deploy lock is held.")
    if standing.match not in _DRIFTED:
        return lines
    past = [_record(one) for one in standing.outside_changes if one is not now]
    if past:
        lines.append(f"Dokku's records since: {'; '.join(past)}.")
    elif seen.keeps_records is False:
        lines.append("This Dokku keeps no build records: what did it cannot be told.")
    elif seen.keeps_records and now is None:
        lines.append("Dokku's records name nothing that did it: ps:scale and ps:stop leave none.")
    return lines


def _record(one: BuildRecord) -> str:
    how = f"{'a ' if one.source in SOURCES else ''}{command_of(one)}"
    # Its own clock tells the time, and may be wrong: it is shown, never compared.
    at = (
        f", {one.started_at[:19].replace('T', ' ')} by the server's clock" if one.started_at else ""
    )
    ended = _ENDS[one.status]
    if one.status is BuildStatus.FAILED and one.exit_code == NEVER_FINALIZED:
        ended = _ENDS[BuildStatus.ABANDONED]
    elif one.status is BuildStatus.RUNNING and one.duration is not None:
        ended += f" for {duration_words(one.duration)}"
    return f"{how} ({ended}{at}, Dokku build {one.id})"
