"""A live message taken apart: the five parts that each rendering must have, in their order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.simulators.slack.model import Message, Rendering


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A rendering taken apart, which works only where its parts are there and in order."""

    headline: str
    facts: dict[str, str]
    snippet: str
    buttons: Sequence[str]
    footer: str


def parts_of(message: Message | Rendering) -> Parts:
    headline, facts, *rest, footer = message.blocks
    kinds = [block["type"] for block in rest]
    assert headline["type"] == "section"
    assert footer["type"] == "context"
    assert kinds == sorted(kinds, key=["section", "context", "rich_text", "actions"].index)
    assert kinds.count("rich_text") <= 1
    assert kinds.count("actions") <= 1
    assert "\n" not in message.text
    assert "#8 " not in message.text
    fields = [one["text"].split("\n", 1) for one in facts["fields"]]
    buttons = [one for block in rest if block["type"] == "actions" for one in block["elements"]]
    lines = [block for block in rest if block["type"] == "rich_text"]
    return Parts(
        headline=headline["text"]["text"],
        facts={label.strip("*"): value for label, value in fields},
        snippet=shown_lines(lines),
        buttons=[one["text"]["text"] for one in buttons],
        footer=footer["elements"][0]["text"],
    )


def shown_lines(blocks: Sequence[dict[str, Any]]) -> str:
    return "".join(
        run["text"] for block in blocks for part in block["elements"] for run in part["elements"]
    )
