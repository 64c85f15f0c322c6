"""What the words of the bot are answered with: status, history, apps, help. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime

from bot.deployments.live.reader import LiveReport
from bot.deployments.model import AppPolicy, Deployment, Progress
from bot.deployments.states import ENDINGS, status_of
from bot.slack.render import words
from bot.slack.render.blocks import Answer, context, section
from bot.slack.render.live_state import standing_lines
from bot.slack.render.text import code, day_time, inert, link, short_sha

LONGEST_SECTION = 2_900
LONGEST_LIST = 8_000
"""Characters; what does not fit is counted. Slack refuses messages of some 12,000."""
APPS_A_LINE = 10

LONGEST_SENTENCE = 600
UNFINISHED = 10
"""Waiting deployments of an app that are shown."""

Known = tuple[Deployment, Progress]
Snapshots = Callable[[Deployment], Known]


def status_answer(deployment: Deployment, progress: Progress, *, now: datetime) -> Answer:
    """Where one deployment stands, with the way to its message."""
    facts = [words.status_words(deployment, progress)]
    facts.append(words.elapsed_words(deployment, progress, now))
    if deployment.sha:
        facts.append(f"commit {code(short_sha(deployment.sha))}")
    if deployment.phase in ENDINGS:
        facts.append(f"live at its end: {words.live_words(deployment)}")
    line = " · ".join(facts)
    blocks = [section(f"{words.headline(deployment)}\n{line}")]
    if deployment.reason and deployment.phase in ENDINGS:
        blocks.append(section(inert(deployment.reason, 500)))
    blocks.append(context(f"{inert(deployment.id, 40)}{_message_of(deployment)}"))
    return Answer(text=f"{words.plain_headline(deployment)}: {line}", blocks=tuple(blocks))


def standing_answer(found: Sequence[LiveReport], snapshot: Snapshots, *, now: datetime) -> Answer:
    """What is live of an app now, on each server, and what is under way there.

    `snapshot` gives the newest row and progress of a deployment.
    """
    blocks = []
    for seen in found:
        text = f"*{inert(seen.app, 80)}* on {inert(seen.server, 60)}"
        for line in standing_lines(seen):  # what matters most comes first
            shown = f"\n{inert(line, LONGEST_SENTENCE)}"
            text += shown if len(text) + len(shown) <= LONGEST_SECTION else ""
        blocks.append(section(text))
        standing = seen.state
        unfinished = [standing.running] if standing.running else []
        for one, progress in map(snapshot, [*unfinished, *standing.waiting][:UNFINISHED]):
            blocks.append(section(_under_way(one, progress, now)))
        if standing.newest is not None and not unfinished:
            blocks.append(context(f"Last end: {_past(standing.newest, now)}"))
    return Answer(text=" ".join(_in_short(seen, snapshot) for seen in found), blocks=tuple(blocks))


def _in_short(seen: LiveReport, snapshot: Snapshots) -> str:
    words_ = f"{inert(seen.app, 80)} on {inert(seen.server, 60)}: "
    words_ += inert(standing_lines(seen)[0], LONGEST_SENTENCE)
    running = seen.state.running
    if running is not None:
        one, progress = snapshot(running)
        words_ += f" {words.plain_headline(one)}: {words.status_words(one, progress)}."
    return words_


def and_standing(answer: Answer, more: Answer) -> Answer:
    """Where one deployment stands, and what became of its app since."""
    return Answer(text=answer.text, blocks=(*answer.blocks, *more.blocks))


def _under_way(one: Deployment, progress: Progress, now: datetime) -> str:
    return (
        f"{words.headline(one)} · {words.status_words(one, progress)}"
        f" · {words.elapsed_words(one, progress, now)} · {inert(one.id, 40)}{_message_of(one)}"
    )


def unfinished_answer(unfinished: Sequence[Known], *, now: datetime) -> Answer:
    """All that runs and waits, oldest first."""
    if not unfinished:
        return _one("Nothing is being deployed.")
    lines = [
        f"{words.headline(one)} · {words.status_words(one, progress)}"
        f" · {words.elapsed_words(one, progress, now)}{_message_of(one)}"
        for one, progress in unfinished
    ]
    return _listed(f"{len(lines)} unfinished:", lines)


def history_answer(app: str, found: Sequence[Deployment], *, now: datetime) -> Answer:
    """The newest deployments of an app."""
    return _listed(f"The newest deployments of {code(app)}:", [_past(one, now) for one in found])


def _past(one: Deployment, now: datetime) -> str:
    commit = f" {code(short_sha(one.sha))}" if one.sha else ""
    facts = [
        f"{words.ICONS[status_of(one.phase)]} {words.target_words(one)}{commit}",
        words.status_words(one, Progress()),
    ]
    if one.phase in ENDINGS:
        facts.append(f"live then: {words.live_words(one)}")
    facts += [
        words.elapsed_words(one, Progress(), now),
        f"by {words.actor_words(one.requested_by)}",
        day_time(one.created_at),
    ]
    return " · ".join(facts) + _message_of(one)


def apps_answer(known: Sequence[AppPolicy], *, servers: Sequence[str]) -> Answer:
    """What can be deployed, by server."""
    lines = []
    for server in servers:
        names = sorted({one.app for one in known if one.server == server})
        if not names:
            names_words = ["no app is known, or the server does not answer at the moment"]
        else:
            shown = [code(name) for name in names]
            rows = [shown[at : at + APPS_A_LINE] for at in range(0, len(shown), APPS_A_LINE)]
            names_words = [", ".join(row) for row in rows]
        names_words[0] = f"*{inert(server, 60)}*: {names_words[0]}"
        lines += names_words
    return _listed("Apps that can be deployed:", lines)


def help_answer(rows: Sequence[tuple[str, str]]) -> Answer:
    """The words, each with its one sentence."""
    return _listed("What I understand:", [f"{code(usage)} {summary}" for usage, summary in rows])


def started_answer(deployment: Deployment) -> Answer:
    """A deployment that a reply in another one's thread has started."""
    return _one(
        f"Started: {inert(deployment.app, 80)} {words.target_words(deployment)}"
        f"{_message_of(deployment)}"
    )


def already_words(deployment: Deployment, *, back: bool) -> str:
    """The same act is under way: which deployment, and where."""
    act = "That roll back" if back else "That retry"
    return f"{act} is already under way: {inert(deployment.id, 40)}{_message_of(deployment)}."


def _message_of(deployment: Deployment) -> str:
    place = deployment.message
    return f" · {link(place.permalink, 'message')}" if place and place.permalink else ""


def _one(line: str) -> Answer:
    return Answer(text=line, blocks=(section(line),))


def _listed(title: str, lines: Sequence[str]) -> Answer:
    """A list in as few blocks as its lines need."""
    texts = [title]
    for place, line in enumerate(lines):
        if sum(map(len, texts)) + len(line) > LONGEST_LIST:
            texts.append(f"and {len(lines) - place} more lines")
            break
        if len(texts[-1]) + len(line) < LONGEST_SECTION:
            texts[-1] += f"\n{line}"
        else:
            texts.append(line)
    return Answer(text=title, blocks=tuple(section(text) for text in texts))
