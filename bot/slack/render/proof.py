"""The proof behind `Details`: ids, build records and the comparison of containers. For Slack."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from urllib.parse import quote, unquote

from bot.deployments.dokku_facts import Container, Containers
from bot.deployments.live.compare import Match
from bot.deployments.live.reader import LiveReport
from bot.deployments.model import Deployment
from bot.deployments.progress import Progress
from bot.slack.render import words
from bot.slack.render.blocks import (
    LONGEST_VALUE,
    Answer,
    Json,
    actions,
    button,
    section,
    spoken,
)
from bot.slack.render.live_state import record_words
from bot.slack.render.text import clock_time, code, day_time, inert, length, plain_times

STATUS_DETAILS = "status_details"
"""The action id of the button below what is live."""
DETAILS = "Details"
ALL_SERVERS = "*"
MOST_CONTAINERS = 20
LONGEST_PROOF = 2_900
LONGEST_LINE = 500
_IMAGE_DIGITS = 12

MATCHES: Mapping[Match, str] = {
    Match.AS_LEFT: "the same containers as it left",
    Match.RESTARTED: "other containers of the same images",
    Match.REPLACED: "containers of other images",
    Match.STARTED: "it left nothing running, and something runs now",
    Match.STOPPED: "it left running processes, and none runs now",
    Match.CHANGING: "changed while a deployment of this bot is running",
    Match.UNCERTAIN: "changed, and a later result could not be verified",
    Match.NEVER: "no verified deployment to compare with",
    Match.UNREADABLE: "the containers could not be read",
}


def details_row(found: Sequence[LiveReport]) -> Sequence[Json]:
    """The button `Details` below a status: the proof for every server in the answer."""
    if not found:
        return ()
    server = quote(found[0].server, errors="replace") if len(found) == 1 else ALL_SERVERS
    value = f"{server} {quote(found[0].app, errors='replace')}"
    if len(value) > LONGEST_VALUE:
        return ()
    element = button(action_id=STATUS_DETAILS, label=DETAILS, value=value)
    return (actions([spoken(element, f"{DETAILS}: {found[0].app}")]),)


def read_details(value: str) -> tuple[str, str | None] | None:
    """App and server of `details_row`'s value; server None: all. None: the value is malformed."""
    server, _, app = value.partition(" ")
    if not server or not app:
        return None
    return unquote(app), None if server == ALL_SERVERS else unquote(server)


def state_proof(
    found: Sequence[LiveReport], *, read_at: datetime, name_server: bool = True
) -> Answer:
    """How it is known what is live, on each server."""
    texts = [_joined(_state_lines(one, name_server=name_server)) for one in found]
    texts.append(f"Read {clock_time(read_at)}.")
    return Answer(text=plain_times(texts[0])[:2_000], blocks=tuple(map(section, texts)))


def deployment_proof(
    deployment: Deployment, progress: Progress, *, name_server: bool = True
) -> Answer:
    """How the result of a deployment is known, and what is known of it besides."""
    one = deployment
    before = one.before.containers if one.before else None
    checked = clock_time(progress.checked_at) if progress.checked_at else "unknown"
    evidence = inert(one.evidence, LONGEST_LINE) if one.evidence else "none stored"
    build = code(one.build_id) if one.build_id else "unknown"
    commit = code(one.sha) if one.sha else "unknown"
    again = [f"Retry of: {code(one.retry_of)}"] if one.retry_of else []
    again += [f"Rollback of: {code(one.rollback_of)}"] if one.rollback_of else []
    lines = [
        f"*Details of {inert(one.app, 80)}* {words.target_words(one, name_server=name_server)}",
        f"Deployment: {code(one.id)}",
        *again,
        f"Rule and evidence: {evidence}",
        f"Dokku build: {build} · exit status of Dokku's command: {_known(one.exit_status)}",
        f"Started: {_at(one.started_at)} · ended: {_at(one.finished_at)} · last check: {checked}",
        f"Commit: {commit} · before: {words.previous_words(one)}",
        "Containers, before and after:",
        *_compared(before, one.after),
    ]
    return Answer(text=plain_times(_joined(lines)), blocks=(section(_joined(lines)),))


def _state_lines(report: LiveReport, *, name_server: bool) -> Sequence[str]:
    state = report.state
    where = f" on {inert(report.server, 60)}" if name_server else ""
    lines = [f"*Details of {inert(report.app, 80)}*{where}"]
    if report.missing:
        return [*lines, "The server has no such app."]
    base = state.base
    lines.append(f"Compared with: {_row(base) if base else 'nothing, no deployment is verified'}")
    lines.append(f"Result: {MATCHES[state.match]}")
    if report.why:
        lines.append(f"Why: {inert(report.why, LONGEST_LINE)}")
    lines.append("Containers, as left and now:")
    lines += _compared(base.after if base else None, state.containers)
    dokku = code(state.according_to_dokku) if state.according_to_dokku else "unknown"
    lines.append(f"Commit according to Dokku's own record: {dokku}")
    if state.unproven is not None:
        lines.append(f"Not verified: {_row(state.unproven)}")
    if state.newest is not None and state.newest is not base:
        lines.append(f"Last to end: {_row(state.newest)}")
    if state.last_good is not None and state.last_good is not base:
        lines.append(f"Last good: {_row(state.last_good)}")
    lines += [f"Runs or waits: {_row(one)}" for one in (state.running, *state.waiting) if one]
    records = (*state.outside_changes, *([state.outside_build] if state.outside_build else []))
    shown = dict.fromkeys(inert(record_words(one), LONGEST_LINE) for one in records)
    return [*lines, *(f"Build record of others: {one}" for one in shown)]


def _row(one: Deployment) -> str:
    commit = f" {code(one.sha[:7])}" if one.sha else ""
    build = f", Dokku build {code(one.build_id)}" if one.build_id else ""
    return f"{code(one.id)}{commit} ({words.PHASES[one.phase].lower()}{build})"


def _compared(left: Containers | None, now: Containers | None) -> Sequence[str]:
    """A line for each container that is there now, then for each that is gone."""
    if now is None:
        lines = ["• now: could not be read"]
        return [*lines, *(f"• {_container(one)}: as left" for one in _first(left))]
    known = left or Containers()
    lines = []
    for one in now.listed[:MOST_CONTAINERS]:
        if left is None:
            how = "nothing to compare with"
        elif one.id in known.ids:
            how = "the same container"
        else:
            how = "a new container, " + (
                "the same image" if one.image in known.images - {""} else "another image"
            )
        lines.append(f"• {_container(one)}: {how}")
    gone = [one for one in _first(left) if one.id not in now.ids]
    lines += [f"• {_names(one)}: gone" for one in gone]
    if left is None and not now.listed:
        return ["• none now, and nothing to compare with"]
    return lines or ["• none"]


def _first(read: Containers | None) -> Iterable[Container]:
    return read.listed[:MOST_CONTAINERS] if read else ()


def _container(one: Container) -> str:
    times = f", {one.restarts} restart{'' if one.restarts == 1 else 's'}" if one.restarts else ""
    return f"{_names(one)} {inert(one.state, 20)}{times}"


def _names(one: Container) -> str:
    image = one.image.removeprefix("sha256:")[:_IMAGE_DIGITS] or "unknown"
    return f"{inert(one.process, 40)} {code(one.id, 20)} (image {code(image, 20)})"


def _known(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _at(instant: datetime | None) -> str:
    return day_time(instant) if instant else "unknown"


def _joined(lines: Sequence[str]) -> str:
    """What fits, whole lines only."""
    text = lines[0]
    for place, line in enumerate(lines[1:], start=1):
        if length(text) + length(line) >= LONGEST_PROOF:
            return f"{text}\nand {len(lines) - place} more lines"
        text += f"\n{line}"
    return text
