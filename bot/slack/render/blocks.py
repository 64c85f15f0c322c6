"""Block Kit as plain JSON, the buttons, and a check of what Slack would refuse.

Which buttons exist is data: `listeners/message_buttons.py`, `log_window.py`.

All mrkdwn is `verbatim`: Slack adds no links or mentions. Limits are from Slack's Block Kit
reference; lengths of single objects are left to `slack_sdk.models`. The sum over all blocks is
undocumented (about 12,000 characters); 9,000 is safely below it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bot.deployments.model import Deployment, Live
from bot.deployments.progress import Progress
from bot.slack.render.text import commit_count, cut, length, one_line, short_sha

Json = dict[str, Any]

MESSAGE_BLOCKS = 50
FALLBACK_TEXT = 3_000
"""chat.update refuses 4,000; counted after escaping."""
ALL_TEXT = 9_000
ANY_TEXT = 3_000
LONGEST_SPOKEN = 75
"""Characters. Source: Slack's Block Kit reference, button, `accessibility_label`."""
LONGEST_VALUE = 2_000
"""Characters. Source: Slack's Block Kit reference, button, `value`."""
LONGEST_CONFIRM_TEXT = 300
"""Characters. Source: Slack's Block Kit reference, confirmation dialog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A message: blocks, and a text that says the same in one line."""

    text: str
    blocks: tuple[Json, ...]


def mrkdwn(text: str) -> Json:
    """A text object; the caller makes foreign parts inert."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def plain(text: str) -> Json:
    """A text object that is shown as it is, colons included."""
    return {"type": "plain_text", "text": text, "emoji": False}


def section(text: str) -> Json:
    """A paragraph of mrkdwn."""
    return {"type": "section", "text": mrkdwn(text)}


def plain_section(text: str) -> Json:
    """A paragraph of foreign text."""
    return {"type": "section", "text": plain(text)}


def header(text: str) -> Json:
    """A heading."""
    return {"type": "header", "text": plain(text)}


def fields(facts: Iterable[tuple[str, str]]) -> Json:
    """Facts in two columns: (label, mrkdwn)."""
    return {
        "type": "section",
        "fields": [mrkdwn(f"*{label}*\n{value}") for label, value in facts],
    }


def preformatted(text: str) -> Json:
    """Literal text: rich text parses nothing, so a log can be shown unchanged. Not empty."""
    return {
        "type": "rich_text",
        "elements": [
            {
                "type": "rich_text_preformatted",
                "border": 0,
                "elements": [{"type": "text", "text": text}],
            }
        ],
    }


def context(text: str) -> Json:
    """A small grey line of mrkdwn."""
    return {"type": "context", "elements": [mrkdwn(text)]}


def actions(elements: Sequence[Json]) -> Json:
    """A row of buttons."""
    return {"type": "actions", "elements": list(elements)}


def button(*, action_id: str, label: str, value: str) -> Json:
    """A grey button; the caller adds `style` and `confirm`."""
    return {"type": "button", "action_id": action_id, "text": plain(label), "value": value}


_UNSPOKEN = "<>@"
"""A screen reader should not read these aloud. The label is plain text, so it mentions no one."""


def spoken(element: Json, label: str, end: str = "") -> Json:
    """The button with what a screen reader says of it, cut in front of `end`: which one it is."""
    room = LONGEST_SPOKEN - len(end)
    for mark in _UNSPOKEN:
        label = label.replace(mark, " ")
    words = cut(one_line(label), room - 5)[:room]
    return element | {"accessibility_label": f"{words}{end}"}


class Style(StrEnum):
    """Slack's two button colours; a button without a style is grey."""

    PRIMARY = "primary"
    DANGER = "danger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """Slack's dialog before a click counts.

    `text` may contain `{app}`, `{ref}`, `{to_server}` and `{on_server}` (empty if there is only
    one), `{live}` (the commit that this deployment left live, and since when), `{rollback}` and
    `{unverified}` (short SHAs) and `{back}` (how far the rollback goes back, if known). It is shown
    as plain text, cut to Slack's 300 characters.
    """

    title: str
    text: str
    yes: str
    no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What decides whether a button is shown."""

    deployment: Deployment
    progress: Progress = field(default_factory=Progress)
    has_older: bool = False
    """Of a log window: there are pages before the one that it shows."""
    has_newer: bool = False
    has_error: bool = False
    """A line of the log mentions an error."""


def _fixes_nothing(_now: Situation) -> str | None:
    return None


def _leads_never(_now: Situation) -> bool:
    return False


def write_value(subject: str, *, key: str = "-", rest: str | None = None) -> str:
    """A button's value: the deployment's id, the request that it answers, and what it fixes."""
    return subject if rest is None and key == "-" else f"{subject} {key} {rest or '-'}"


def read_value(value: str) -> tuple[str, str | None, str | None]:
    """The three parts of `write_value`; None: absent. Older messages carry the id only."""
    subject, key, rest, *_ = (*value.split(" ", 2), "-", "-")
    return subject, None if key == "-" else key, None if rest == "-" else rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """How a button looks, and when it is shown. Its value in Slack begins with the deployment id.

    The rest of the value is in `write_value`.
    """

    action_id: str
    label: str
    shows: Callable[[Situation], bool]
    """Whether it is shown. Pure; asked again when a click arrives."""
    style: Style | None = None
    confirm: Confirm | None = None
    leads: Callable[[Situation], bool] = _leads_never
    """Whether it comes before the others: the next sensible thing to do."""
    fixes: Callable[[Situation], str | None] = _fixes_nothing
    """What a click means however much later it comes, such as the commit of a rollback."""


def button_row(
    buttons: Sequence[Button], situation: Situation, *, name_server: bool = True
) -> list[Json]:
    """The block with the buttons to show, in order; no block when there are none.

    Where one leads, no other one is shown as the main one.
    """
    shown = [one for one in buttons if one.shows(situation)]
    shown.sort(key=lambda one: not one.leads(situation))
    drawn = [_draw(one, situation, name_server=name_server) for one in shown]
    if shown and shown[0].leads(situation):
        for element in drawn[1:]:
            if element.get("style") == Style.PRIMARY.value:
                del element["style"]
    return [actions(drawn)] if drawn else []


def _draw(shown: Button, situation: Situation, *, name_server: bool) -> Json:
    deployment = situation.deployment
    value = write_value(deployment.id, rest=shown.fixes(situation))
    element = button(action_id=shown.action_id, label=shown.label, value=value)
    # A channel has many buttons with the same words. An app and a ref are deployed again and again,
    # so the time of the request belongs to it.
    when = f", {deployment.created_at:%d %b %H:%M} UTC"
    element = spoken(element, f"{shown.label}: {deployment.app} {deployment.ref}", when)
    if shown.style is not None:
        element["style"] = shown.style.value
    if shown.confirm is not None:
        element["confirm"] = _draw_confirm(shown.confirm, deployment, name_server=name_server)
    return element


def _draw_confirm(confirm: Confirm, deployment: Deployment, *, name_server: bool) -> Json:
    server = cut(one_line(deployment.server), 40)
    text = confirm.text.format(
        app=cut(one_line(deployment.app), 60),
        to_server=f" to {server}" if name_server else "",
        on_server=f" on {server}" if name_server else "",
        ref=cut(one_line(deployment.ref), 60),
        live=_left_live(deployment),
        rollback=short_sha(deployment.rollback_sha or ""),
        back=_way_back(deployment),
        unverified=short_sha(deployment.unverified_sha or ""),
    )
    return {
        "title": plain(confirm.title),
        # Slack counts code points, `cut` counts columns: combining characters take no column.
        "text": plain(cut(text, 290)[:LONGEST_CONFIRM_TEXT]),
        "confirm": plain(confirm.yes),
        "deny": plain(confirm.no),
    }


def _left_live(deployment: Deployment) -> str:
    """Dialogs show no date in the reader's zone, and are drawn once: a time, not an age."""
    if deployment.live is not Live.NEW or deployment.sha is None:
        return "what is live now"
    since = deployment.finished_at
    at = f" (live since {since:%Y-%m-%d %H:%M} UTC)" if since else ""
    return short_sha(deployment.sha) + at


def _way_back(deployment: Deployment) -> str:
    shipped = deployment.shipped
    if shipped is None or shipped.base != deployment.rollback_sha or shipped.behind:
        return ""
    return f" ({commit_count(shipped.ahead)} back)" if shipped.ahead else ""


def fitting(blocks: Sequence[Json]) -> tuple[Json, ...]:
    """The blocks of one message. Where not all fit, buttons stay, and a line says that more is cut.

    Blocks that come first stay first.
    """
    if len(blocks) <= MESSAGE_BLOCKS and _size(blocks) <= ALL_TEXT:
        return tuple(blocks)
    cut_off = context("More does not fit into one message.")
    buttons = [block for block in blocks if block["type"] == "actions"]
    places = MESSAGE_BLOCKS - len(buttons) - 1
    room = ALL_TEXT - _size([*buttons, cut_off])
    kept: list[Json] = []
    for block in blocks:
        if block["type"] == "actions":
            continue
        if len(kept) == places or (room := room - _size([block])) < 0:
            break
        kept.append(block)
    return (*kept, cut_off, *buttons)


def _size(blocks: Sequence[Mapping[str, Any]]) -> int:
    return sum(length(text) for _, text in texts(blocks))


def fits(text: str, blocks: Sequence[Json]) -> bool:
    """Whether a message is within Slack's limits of length; its structure is tested, not asked."""
    within = all(rich or length(one) <= ANY_TEXT for rich, one in texts(blocks))
    return within and length(text) < FALLBACK_TEXT and _size(blocks) <= ALL_TEXT


def nodes(value: Any) -> Iterator[Mapping[str, Any]]:
    """All objects in blocks, outer ones first."""
    if isinstance(value, Mapping):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from nodes(inner)


def texts(value: Any) -> Iterator[tuple[bool, str]]:
    """All texts and addresses: (part of rich text, the string)."""
    for node in nodes(value):
        for key in ("text", "url"):
            if isinstance(node.get(key), str):
                yield node.get("type") in {"text", "link"}, node[key]
