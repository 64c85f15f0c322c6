"""The answers to commands: status, history, apps, help. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from bot.deployments.live.reader import LiveReport
from bot.deployments.lock import ALL, Lock
from bot.deployments.locks.rules import covering
from bot.deployments.model import AppKey, AppPolicy, Deployment, Live, Phase
from bot.deployments.progress import Progress
from bot.deployments.states import ENDINGS, WAITING, status_of
from bot.slack.render import words
from bot.slack.render.blocks import FALLBACK_TEXT, Answer, Json, context, fitting, section
from bot.slack.render.history import HistoryPage, page_buttons
from bot.slack.render.live_state import live_mrkdwn
from bot.slack.render.locks import lock_line
from bot.slack.render.proof import details_row
from bot.slack.render.text import (
    as_fits,
    code,
    day_time,
    inert,
    length,
    link,
    plain_times,
    short_sha,
)

LONGEST_SECTION = 2_900
LONGEST_LIST = 8_000
"""Characters; the rest is counted. Slack refuses messages of about 12,000."""
APPS_A_LINE = 10
PAGE = 10
"""Deployments on a page of a history."""
UNFINISHED = 10
"""How many running and waiting deployments of an app are shown."""

_EXPECTED = {
    Phase.SUCCEEDED: Live.NEW,
    Phase.FAILED: Live.PREVIOUS,
    Phase.CANCELLED: Live.PREVIOUS,
}
"""What such an end leaves live, so that a list need not say it."""

Known = tuple[Deployment, Progress]
Snapshots = Callable[[Deployment], Known]


def status_answer(
    deployment: Deployment, progress: Progress, *, now: datetime, name_server: bool = True
) -> Answer:
    """The state of one deployment, with a link to its message."""
    facts = [words.status_words(deployment, progress)]
    facts.append(words.elapsed_words(deployment, progress, now))
    if deployment.sha:
        facts.append(f"commit {code(short_sha(deployment.sha))}")
    if deployment.phase in ENDINGS:
        facts.append(f"live when it ended: {words.live_words(deployment)}")
    line = " · ".join(facts)
    blocks = [section(f"{words.headline(deployment, name_server=name_server)}\n{line}")]
    text = f"{words.plain_headline(deployment, name_server=name_server)}: {plain_times(line)}"
    if deployment.phase in ENDINGS and (reason := words.reason_words(deployment)):
        blocks.append(section(inert(reason, 500)))
        text += f" · {inert(reason, 500)}"
    blocks.append(context(f"{inert(deployment.id, 40)}{_message_of(deployment)}"))
    return Answer(text=text, blocks=tuple(blocks))


def live_answer(
    found: Sequence[LiveReport],
    snapshot: Snapshots,
    *,
    now: datetime,
    locks: Sequence[Lock] = (),
    name_server: bool = True,
) -> Answer:
    """What is live for an app now, on each server, and what is running and waiting there.

    `snapshot` gives the newest row and progress of a deployment; `locks` are those in force. The
    proof is behind a button.
    """
    blocks: list[Json] = []
    texts: list[str] = []
    for report in found:
        key = AppKey(server=report.server, dokku_app=report.dokku_app)
        held = [lock_line(one, name_server=name_server) for one in covering(locks, key)]
        blocks += map(section, held)
        first, *others = live_mrkdwn(report, now=now, name_server=name_server)
        named = f" on {inert(report.server, 60)}"
        # The first sentence names the server only where a release is proven live.
        where = named if name_server and named not in first else ""
        shown = f"*{inert(report.app, 80)}*{where}: {first}"
        for line in others:  # what matters most comes first
            shown += f"\n{line}" if length(shown) + length(line) < LONGEST_SECTION else ""
        blocks.append(section(shown))
        texts += [*held, shown]
        state = report.state
        running = [state.running] if state.running else []
        for one, progress in map(snapshot, [*running, *state.waiting][:UNFINISHED]):
            texts.append(_unfinished(one, progress, now, name_server=name_server))
            blocks.append(section(texts[-1]))
        # The deployment that left the live release is already named above.
        if state.newest is not None and state.newest is not state.base and not running:
            past = _past(state.newest, now, name_server=name_server)
            texts.append(f"Last deployment: {past}")
            blocks.append(context(texts[-1]))
    blocks += details_row(found)
    return Answer(text=_spoken(texts), blocks=fitting(blocks))


def _spoken(lines: Sequence[str]) -> str:
    """The lines of an answer as its one-line text, as far as they fit."""
    plain = (plain_times(line).replace("\n", " ") for line in lines)
    return as_fits(plain, " ", FALLBACK_TEXT)


def with_live_state(answer: Answer, more: Answer) -> Answer:
    """The state of one deployment, and what is live for its app now."""
    return Answer(text=answer.text, blocks=fitting((*answer.blocks, *more.blocks)))


def _unfinished(one: Deployment, progress: Progress, now: datetime, *, name_server: bool) -> str:
    return (
        f"{words.headline(one, name_server=name_server)} · {words.status_words(one, progress)}"
        f" · {words.elapsed_words(one, progress, now)}"
        f" · by {words.actor_words(one.requested_by)}{_message_of(one)}"
    )


def queue_answer(
    unfinished: Sequence[Known],
    locks: Sequence[Lock],
    *,
    servers: Sequence[str],
    now: datetime,
    name_server: bool = True,
) -> Answer:
    """By server: the locks, what runs, and what waits for what, in the order in which it starts."""
    lines = [lock_line(one, name_server=False) for one in locks if one.key == ALL]
    for server in servers:
        here = [one for one in unfinished if one[0].server == server]
        held = [lock_line(one, name_server=False) for one in locks if one.key.server == server]
        shown = [*held, *(_place(*one, now) for one in sorted(here, key=_by_turn))]
        # Named only beside others: with one server, there is nothing to tell apart.
        title = [f"*{inert(server, 60)}*"] if name_server else []
        lines += [*title, *(shown or ["Nothing runs or waits."])]
    return _listed("Queue:", lines)


def _by_turn(known: Known) -> tuple[bool, str, int, datetime]:
    one, progress = known
    return (one.phase in WAITING, one.app, progress.place or 0, one.queued_at or one.created_at)


def _place(one: Deployment, progress: Progress, now: datetime, *, name_server: bool = False) -> str:
    return (
        f"{words.headline(one, name_server=name_server)} · {words.status_words(one, progress)}"
        f" · {words.elapsed_words(one, progress, now)}"
        f" · by {words.actor_words(one.requested_by)}{_message_of(one)}"
    )


def unfinished_answer(
    unfinished: Sequence[Known],
    *,
    now: datetime,
    locks: Sequence[Lock] = (),
    name_server: bool = True,
) -> Answer:
    """Everything running or queued, oldest first; and the locks."""
    held = [lock_line(one, name_server=name_server) for one in locks]
    if not unfinished:
        return _listed("Nothing is running or queued.", held)
    lines = [_place(*one, now, name_server=name_server) for one in unfinished]
    count = "1 deployment" if len(lines) == 1 else f"{len(lines)} deployments"
    return _listed(f"{count} running or queued:", [*lines, *held])


def history_answer(
    page: HistoryPage,
    found: Sequence[Deployment],
    *,
    live: Mapping[AppKey, str | None],
    now: datetime,
    locks: Sequence[Lock] = (),
    name_server: bool = True,
) -> Answer:
    """A page of an app's deployments, the live one marked; on the first one, also the locks.

    `found` is the history from its newest deployment to at least one behind the page, if there
    is one. `live` is the deployment that is live on each server: "" for none, None for unknown.
    """
    begin = page.number * PAGE
    shown = found[begin : begin + PAGE]
    held = dict.fromkeys(
        lock_line(lock, name_server=name_server)
        for key in (live if page.number == 0 else ())
        for lock in covering(locks, key)
    )
    lines = [*held, *(_past(one, now, live=live, name_server=name_server) for one in shown)]
    if not shown:
        lines.append("There are no deployments on this page.")
    lines += [
        f"What is live now{f' on {inert(key.server, 60)}' if name_server else ''} could not be "
        "read in time."
        for key, one in live.items()
        if one is None
    ]
    number = f" (page {page.number + 1})" if page.number else ""
    listed = _listed(f"Latest deployments of {code(page.app)}{number}:", lines)
    more = page_buttons(page, has_older=len(found) > begin + PAGE)
    return Answer(text=listed.text, blocks=(*listed.blocks, *more))


def _past(
    one: Deployment,
    now: datetime,
    *,
    live: Mapping[AppKey, str | None] | None = None,
    name_server: bool = True,
) -> str:
    """Who, what, when, how long, with which result."""
    commit = f" {code(short_sha(one.sha))}" if one.sha and one.ref != one.sha else ""
    subject = inert(one.shipped.head.subject, 72) if one.shipped else ""
    named = f" _{subject}_" if subject.strip("-") else ""
    target = words.target_words(one, name_server=name_server)
    facts = [
        f"{words.ICONS[status_of(one.phase)]} {target}{commit}{named}",
        f"by {words.actor_words(one.requested_by)}",
        day_time(one.created_at),
        words.elapsed_words(one, Progress(), now),
        words.status_words(one, Progress()),
    ]
    if one.phase in ENDINGS and one.live is not _EXPECTED.get(one.phase):
        facts.append(f"live when it ended: {words.live_words(one)}")
    if live and live.get(one.target) == one.id:
        facts.append("*live now*")
    return " · ".join(facts) + _message_of(one)


def apps_answer(
    known: Sequence[AppPolicy], *, servers: Sequence[str], name_server: bool = True
) -> Answer:
    """What can be deployed, by server."""
    lines = []
    for server in servers:
        names = sorted({one.app for one in known if one.server == server})
        if not names:
            names_words = ["no apps found; the server may not be answering"]
        else:
            shown = [code(name) for name in names]
            rows = [shown[at : at + APPS_A_LINE] for at in range(0, len(shown), APPS_A_LINE)]
            names_words = [", ".join(row) for row in rows]
        if name_server:
            names_words[0] = f"*{inert(server, 60)}*: {names_words[0]}"
        lines += names_words
    return _listed("Apps the bot can deploy:", lines)


def help_answer(rows: Sequence[tuple[str, str]]) -> Answer:
    """The commands, each with its summary."""
    return _listed("Commands:", [f"{code(usage)} {summary}" for usage, summary in rows])


def started_answer(deployment: Deployment, *, name_server: bool = True) -> Answer:
    """A deployment that was started, with a link to its message somewhere else."""
    return _one(
        f"Started: {inert(deployment.app, 80)} "
        f"{words.target_words(deployment, name_server=name_server)}{_message_of(deployment)}"
    )


def already_words(deployment: Deployment, *, back: bool) -> str:
    """The same retry or rollback was started before: which deployment, and where."""
    what = "That rollback" if back else "That retry"
    return f"{what} has already been started: {inert(deployment.id, 40)}{_message_of(deployment)}."


def _message_of(deployment: Deployment) -> str:
    place = deployment.message
    return f" · {link(place.permalink, 'message')}" if place and place.permalink else ""


def _one(line: str) -> Answer:
    return Answer(text=line, blocks=(section(line),))


def _listed(title: str, lines: Sequence[str]) -> Answer:
    """A list, in as few blocks as possible."""
    texts = [title]
    for place, line in enumerate(lines):
        if sum(map(length, texts)) + length(line) > LONGEST_LIST:
            texts.append(f"and {len(lines) - place} more")
            break
        if length(texts[-1]) + length(line) < LONGEST_SECTION:
            texts[-1] += f"\n{line}"
        else:
            texts.append(line)
    return Answer(text=_spoken(texts), blocks=tuple(section(text) for text in texts))
