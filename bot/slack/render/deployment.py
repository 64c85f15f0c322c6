"""The live message: a deployment and its progress in, Block Kit out."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from bot.deployments.model import Deployment, Live, Phase
from bot.deployments.progress import Progress
from bot.deployments.states import ENDINGS, RUNNING, WAITING
from bot.deployments.verdict.wording import next_step
from bot.slack.render import blocks as kit
from bot.slack.render import text as txt
from bot.slack.render import words
from bot.slack.render.blocks import Button, Situation, button_row

ROLL_BACK = "Roll back"
"""The label of the buttons that roll back."""
SNIPPET_LINES = 10
RUNNING_LINES = 3
"""While it runs: enough to see that it moves on. The rest is behind `Full log`."""
SNIPPET_COLUMNS = 160
REASON_LONGEST = 700
NOTE_LONGEST = 500
"""Room for what to do, at the end, e.g. about a changed host key; a host name comes twice in it."""
NOTES_TOGETHER = 5_000
MOST_NOTES = 4
_SHRINKING = (SNIPPET_LINES, 5, 2, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A message ready to send."""

    text: str
    blocks: tuple[kit.Json, ...]
    shown_hash: str
    """Of everything but elapsed time, check time and pace: with an equal hash no edit is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Volatile:
    """The parts that change as time passes."""

    elapsed: str
    checked: str | None
    pace: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What is shown around the deployment's own facts."""

    buttons: Sequence[Button]
    commit_url: str | None
    compare_url: str | None
    name_server: bool


_STILL = _Volatile(elapsed="-", checked=None, pace=None)


def render(
    deployment: Deployment,
    progress: Progress,
    *,
    now: datetime,
    buttons: Sequence[Button],
    commit_url: str | None = None,
    compare_url: str | None = None,
    name_server: bool = True,
    updates_every: timedelta | None = None,
    running: int = 0,
) -> Rendered:
    """Render the one message of a deployment as it is now.

    `commit_url` is the commit's page, `compare_url` that of the comparison with the live commit.
    `name_server` is False if there is only one server.
    `updates_every` is the interval of routine refreshes and `running` the number of deployments
    that share Slack's limit; both are shown if the interval is longer than 10 s. Shows fewer log
    lines if Slack would refuse the message.
    """
    volatile = _Volatile(
        elapsed=words.elapsed_words(deployment, progress, now),
        checked=_checked(progress),
        pace=_pace(updates_every, running),
    )
    frame = _Frame(
        buttons=buttons, commit_url=commit_url, compare_url=compare_url, name_server=name_server
    )
    for most_lines in _SHRINKING:
        text, blocks = _compose(deployment, progress, frame, volatile, most_lines)
        if kit.fits(text, blocks):
            break
    still = _compose(deployment, progress, frame, _STILL, most_lines)
    digest = hashlib.sha256(json.dumps(still, sort_keys=True).encode()).hexdigest()
    return Rendered(text=text, blocks=tuple(blocks), shown_hash=digest)


def snippet(deployment: Deployment, progress: Progress, most_lines: int = SNIPPET_LINES) -> str:
    """The log lines to show: while it runs the last ones, at a failure those around the error."""
    failed = deployment.phase is Phase.FAILED
    if not failed and deployment.phase not in RUNNING:
        return ""
    most_lines = most_lines if failed else min(most_lines, RUNNING_LINES)
    lines = [txt.log_line(line) for line in (failed and progress.excerpt) or progress.tail]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(txt.cut(line, SNIPPET_COLUMNS) for line in lines[-most_lines:]).strip("\n")


def _compose(
    deployment: Deployment,
    progress: Progress,
    frame: _Frame,
    volatile: _Volatile,
    most_lines: int,
) -> tuple[str, list[kit.Json]]:
    blocks = [
        kit.section(words.headline(deployment, name_server=frame.name_server)),
        kit.fields(_facts(deployment, progress, volatile, frame.commit_url)),
    ]
    if shipped := words.shipped_lines(deployment, frame.compare_url):
        blocks.append(kit.section("\n".join(shipped)))
    if reason := _reason(deployment):
        blocks.append(kit.plain_section(txt.cut(reason, REASON_LONGEST)))
    situation = Situation(deployment=deployment, progress=progress)
    if step := _next_step(situation, frame.buttons):
        blocks.append(kit.section(step))
    notes = _notes(deployment, progress, name_server=frame.name_server)
    blocks += map(kit.context, notes)
    shown = snippet(deployment, progress, most_lines) if most_lines else ""
    if shown.strip():
        blocks.append(kit.preformatted(shown))
    blocks += button_row(frame.buttons, situation, name_server=frame.name_server)
    blocks.append(kit.context(_context(deployment, progress, volatile)))
    headline = words.plain_headline(deployment, name_server=frame.name_server)
    return _one_line(headline, deployment, progress, volatile, step, notes), blocks


def _next_step(now: Situation, buttons: Sequence[Button]) -> str:
    if now.deployment.phase not in {Phase.FAILED, Phase.CANCELLED}:
        return ""
    offers = any(one.label == ROLL_BACK and one.shows(now) for one in buttons)
    return next_step(now.deployment, offers_roll_back=offers)


def _reason(deployment: Deployment) -> str:
    return words.reason_words(deployment) if deployment.phase in ENDINGS else ""


def _notes(deployment: Deployment, progress: Progress, *, name_server: bool) -> Sequence[str]:
    notes = (
        *words.hand_over_notes(deployment, progress),
        *words.stale_notes(deployment, progress, name_server=name_server),
        *words.again_notes(deployment, progress),
        *words.version_notes(deployment, progress),
        *words.cancel_notes(deployment, progress),
        *words.outside_notes(deployment, progress),
        *words.left_notes(deployment, progress),
        *progress.notes,
    )
    shown = [txt.inert(note, NOTE_LONGEST) for note in notes[:MOST_NOTES]]
    # Escaped, a note may be four times as long: as many whole ones as leave room for the rest.
    ends = accumulate(map(txt.length, shown))
    return [note for note, end in zip(shown, ends, strict=True) if end <= NOTES_TOGETHER]


def _facts(
    deployment: Deployment, progress: Progress, volatile: _Volatile, commit_url: str | None
) -> list[tuple[str, str]]:
    ended = deployment.phase in ENDINGS
    facts = [
        ("Status", words.status_words(deployment, progress)),
        ("Duration" if ended else "Elapsed", volatile.elapsed),
        ("Commit", words.commit_words(deployment, commit_url)),
        ("Requested by", words.requester_words(deployment)),
    ]
    if deployment.approved_by is not None:
        facts.append(("Approved by", words.actor_words(deployment.approved_by)))
    if ended:
        facts += _live_facts(deployment)
    return facts


def _live_facts(deployment: Deployment) -> list[tuple[str, str]]:
    facts = [("Live now", words.live_words(deployment))]
    if deployment.previous_sha and deployment.live is not Live.PREVIOUS:
        facts.append(("Previous", words.previous_words(deployment)))
    if deployment.url and deployment.live is not Live.NONE:
        facts.append(("Address", words.address(deployment.url)))
    return facts


def _context(deployment: Deployment, progress: Progress, volatile: _Volatile) -> str:
    parts = [txt.inert(deployment.id, 40)]
    if deployment.phase in ENDINGS:
        return parts[0]  # the rest is behind `Details`
    if deployment.retry_of:
        parts.append(f"retry of {txt.inert(deployment.retry_of, 40)}")
    if deployment.rollback_of:
        parts.append(f"rollback of {txt.inert(deployment.rollback_of, 40)}")
    if deployment.build_id:
        parts.append(f"Dokku build {txt.inert(deployment.build_id, 60)}")
    if progress.stale_since is not None:
        parts.append(f"stale since {txt.clock_time(progress.stale_since)}")
    elif volatile.checked:
        parts.append(volatile.checked)
    if volatile.pace:
        parts.append(volatile.pace)
    return " · ".join(parts)


def _checked(progress: Progress) -> str | None:
    if progress.checked_at is None:
        return None
    return f"checked {txt.clock_time(progress.checked_at)}"


def _pace(updates_every: timedelta | None, running: int) -> str | None:
    if updates_every is None or updates_every <= timedelta(seconds=10):
        return None
    return f"updated every {updates_every.total_seconds():.0f} s while {running} deployments run"


def _time_words(deployment: Deployment, volatile: _Volatile) -> str:
    if deployment.phase in WAITING:
        return f"since {deployment.queued_at or deployment.created_at:%H:%M:%S} UTC"
    return f"{'took' if deployment.phase in ENDINGS else 'elapsed'} {volatile.elapsed}"


def _one_line(
    headline: str,
    deployment: Deployment,
    progress: Progress,
    volatile: _Volatile,
    step: str,
    notes: Sequence[str],
) -> str:
    """What the blocks say, for notifications and screen readers. Never contains log lines."""
    status = txt.plain_times(words.status_words(deployment, progress))
    parts = [f"{headline}: {status}", _time_words(deployment, volatile)]
    if deployment.sha:
        parts.append(f"commit {txt.short_sha(deployment.sha)}{words.head_words(deployment)}")
    else:
        parts.append(f"commit {words.commit_words(deployment, None)}")
    if shipped := words.shipped_lines(deployment, None):
        distance, *subjects = (line.removeprefix("• ") for line in shipped)
        parts.append(f"{distance}: {'; '.join(subjects)}" if subjects else distance)
    parts.append(f"requested by {words.requester_words(deployment)}")
    if deployment.approved_by is not None:
        parts.append(f"approved by {words.actor_words(deployment.approved_by)}")
    if deployment.phase in ENDINGS:
        facts = dict(_live_facts(deployment))
        if deployment.url and "Address" in facts:
            facts["Address"] = txt.inert(deployment.url, 100)  # without the link around it
        parts += [f"{label.lower()}: {fact}" for label, fact in facts.items()]
    elif progress.stale_since is not None:
        parts.append(f"stale since {progress.stale_since:%H:%M:%S} UTC")
    if reason := _reason(deployment):
        parts.append(txt.inert(reason, 300))
    if step:
        parts.append(step)
    return txt.as_fits((*parts, *map(txt.plain_times, notes)), " · ", kit.FALLBACK_TEXT)
