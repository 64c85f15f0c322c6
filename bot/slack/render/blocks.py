"""Block Kit pieces as plain JSON. All mrkdwn is `verbatim`: Slack adds no links or mentions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One thing to say in Slack: blocks, and a text that says the same in one line."""

    text: str
    blocks: tuple[Json, ...]


def mrkdwn(text: str) -> Json:
    """A text object; foreign parts were made inert by the caller."""
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
