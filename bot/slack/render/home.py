"""The Home tab of the app: what runs, waits, is locked, and how the last deployments ended. Pure.

It shows times, no ages: a tab that nothing happened to needs no new version.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.deployments.lock import Lock
from bot.deployments.model import Deployment, Live, Phase
from bot.deployments.progress import Progress
from bot.deployments.states import WAITING
from bot.deployments.verdict.wording import FAILURES
from bot.slack.render import blocks as kit
from bot.slack.render import words
from bot.slack.render.blocks import Button, Json, Situation, Style, button_row
from bot.slack.render.locks import lock_line, unlock_button
from bot.slack.render.text import clock_time, code, day_time, duration, link, one_line, short_sha

DEPLOY = "home_deploy"
"""The action id of the `Deploy` button."""
RECENT = 20
VIEW_BLOCKS = 100
"""Source: Slack docs, "Home tab" views."""
VIEW_BYTES = 240_000
"""Slack refuses a view of 250 kB."""
LONGEST_ENTRY = 2_900
_ENTRIES = ((24, RECENT), (12, 10), (4, 4), (0, 0))
"""(of what is unfinished or locked, of what ended): fewer while the view is too large.

Two blocks each, beside at most five headings, four counts and the first row: 98 of 100 blocks.
"""

Known = tuple[Deployment, Progress]


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeLock:
    """A lock, and whether the person who looks may end it."""

    lock: Lock
    may_end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What a person sees on the Home tab."""

    unfinished: Sequence[Known]
    """In the order in which they were requested."""
    locks: Sequence[HomeLock]
    ended: Sequence[Deployment]
    """Newest first."""
    name_server: bool
    """Whether there are several servers, so that each app's is named."""


def home_view(home: Home, *, buttons: Sequence[Button], metadata: str) -> Json:
    """The view. Shows fewer entries where Slack would refuse it."""
    for most, most_ended in _ENTRIES:
        view = _view(_blocks(home, buttons, most, most_ended), metadata)
        if len(view["blocks"]) <= VIEW_BLOCKS and len(json.dumps(view)) <= VIEW_BYTES:
            break
    return view


def sentence_view(sentence: str) -> Json:
    """For someone who may not see it, or while it cannot be read: one sentence."""
    return _view([kit.plain_section(one_line(sentence)[:LONGEST_ENTRY] or "-")], "")


def _view(blocks: Sequence[Json], metadata: str) -> Json:
    view: Json = {"type": "home", "blocks": list(blocks)}
    return view | {"private_metadata": metadata} if metadata else view


def _blocks(home: Home, buttons: Sequence[Button], most: int, most_ended: int) -> Sequence[Json]:
    start = kit.button(action_id=DEPLOY, label="Deploy", value="-")
    shown: list[Json] = [kit.actions([start | {"style": Style.PRIMARY.value}])]
    by_group = _grouped(home, buttons)
    room = _shares([len(entries) for entries in by_group.values()], most)
    for (title, entries), count in zip(by_group.items(), room, strict=True):
        shown += _group(title, entries, count)
    ended = [
        _entry(_ended(one, home), Situation(deployment=one), buttons, home) for one in home.ended
    ]
    shown += _group("Last deployments", ended, most_ended)
    if len(shown) == 1:
        shown.append(kit.section("Nothing was deployed yet."))
    elif not any(by_group.values()):
        shown.insert(1, kit.section("Nothing runs or waits, and no app is locked."))
    return shown


def _grouped(home: Home, buttons: Sequence[Button]) -> Mapping[str, Sequence[Sequence[Json]]]:
    """The entries by their heading, what needs a person first."""
    awaiting: list[Sequence[Json]] = []
    running: list[Sequence[Json]] = []
    waiting: list[Sequence[Json]] = []
    for one, progress in home.unfinished:
        entry = _entry(
            _unfinished(one, progress, home),
            Situation(deployment=one, progress=progress),
            buttons,
            home,
        )
        if one.phase is Phase.AWAITING_APPROVAL:
            awaiting.append(entry)
        else:
            (waiting if one.phase in WAITING else running).append(entry)
    return {
        "Awaiting approval": awaiting,
        "Running": running,
        "Waiting": waiting,
        "Locked": [_locked(one, home) for one in home.locks],
    }


def _group(title: str, entries: Sequence[Sequence[Json]], most: int) -> Iterator[Json]:
    """A heading, the first entries, and how many more there are."""
    if not entries:
        return
    yield kit.header(title if len(entries) == 1 else f"{title} ({len(entries)})")
    for entry in entries[:most]:
        yield from entry
    if len(entries) > most:
        yield kit.context(f"and {len(entries) - most} more")


def _shares(wanted: Sequence[int], room: int) -> Sequence[int]:
    """How many of each group are shown: the same for all, and what one leaves the others get."""
    given = [0] * len(wanted)
    while room > 0 and any(have < want for have, want in zip(given, wanted, strict=True)):
        for at, want in enumerate(wanted):
            if room > 0 and given[at] < want:
                given[at] += 1
                room -= 1
    return given


def _entry(
    facts: Sequence[str], now: Situation, buttons: Sequence[Button], home: Home
) -> Sequence[Json]:
    """A deployment with the buttons of its message."""
    return [
        kit.section(_that_fit(facts)),
        *button_row(buttons, now, name_server=home.name_server),
    ]


def _that_fit(facts: Sequence[str]) -> str:
    """The first facts, and those that follow while there is room."""
    line = ""
    for fact in facts:
        more = f" · {fact}" if line else fact
        line += more if len(line) + len(more) <= LONGEST_ENTRY else ""
    return line


def _unfinished(one: Deployment, progress: Progress, home: Home) -> Sequence[str]:
    since = one.started_at or one.queued_at or one.created_at
    usual = f" (usually {duration(progress.usual)})" if progress.usual else ""
    return [
        words.headline(one, name_server=home.name_server),
        *_message_of(one),
        words.status_words(one, progress),
        f"since {clock_time(since)}{usual}",
        f"by {words.actor_words(one.requested_by)}",
        *_commit(one),
    ]


def _ended(one: Deployment, home: Home) -> Sequence[str]:
    """The headline says how it ended, and its message why: here is what else one wants to know."""
    facts = [words.headline(one, name_server=home.name_server), *_message_of(one)]
    if one.failure is not None and one.phase is Phase.FAILED:
        facts.append(FAILURES[one.failure])
    if one.phase is not Phase.SUCCEEDED or one.live is not Live.NEW:
        facts.append(f"live when it ended: {words.live_words(one)}")
    if one.finished_at is not None:
        facts.append(duration(one.duration(one.finished_at)))
    facts.append(day_time(one.finished_at or one.created_at))
    return [*facts, f"by {words.actor_words(one.requested_by)}", *_commit(one)]


def _commit(one: Deployment) -> Sequence[str]:
    return [f"{code(short_sha(one.sha))}{words.head_words(one)}"] if one.sha else []


def _message_of(one: Deployment) -> Sequence[str]:
    place = one.message
    return [link(place.permalink, "message")] if place and place.permalink else []


def _locked(one: HomeLock, home: Home) -> Sequence[Json]:
    line = kit.section(_that_fit([lock_line(one.lock, name_server=home.name_server)]) or "🔒")
    return [line, kit.actions([unlock_button(one.lock)])] if one.may_end else [line]
