"""Whatever others write, nothing that the bot shows pings, links, spoofs a label or breaks."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.simulators.slack import blockkit
from bot.simulators.slack.schema import Problems
from bot.simulators.slack.validation import check_message_blocks, check_view
from bot.slack.render.blocks import Json
from bot.slack.render.text import plain_times
from tests.support.slack_limits import validate_message
from tests.unit.slack.render.every_render import (
    PAGE,
    PARTS,
    PERMALINK,
    RENDERS,
    Make,
    Shown,
    Source,
    renders,
)
from tests.unit.slack.render.test_render_properties import FOREIGN, mrkdwn_of

OWN = re.compile(
    r"<!date\^\d+\^[^|<>]*\|[^<>]*>"
    rf"|<{re.escape(PERMALINK)}\|message>|<{re.escape(PAGE)}\|[^<>]*>"
    r"|<http://a\.example\|a\.example>"
)
OWN_PINGS = re.compile(r"<@U1>|<@U0ADA>|<!subteam\^S0OPS>")
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Controls and marks that turn the direction of writing."""
MARKS = "*_~`"
PLAIN, MARKED = "abcdefgh", "`a*b_~c*"
"""Of the same length; the second one is full of marks."""

MAKES = {make: name for name, make in RENDERS.items()}
"""One row for each way to make something, even where it calls several functions of the table."""
EVERY = pytest.mark.parametrize("make", MAKES, ids=MAKES.values())


def test_table_has_every_render() -> None:
    found = set(renders()) - PARTS
    assert found - set(RENDERS) == set()
    # A row may name a function that returns a string, such as a form's words.
    assert {name for name in RENDERS if name not in found} == set()


def check_limits(shown: Shown) -> None:
    """By Slack's SDK, by the simulated Slack's own table, and by the bot's check."""
    view: Any = None if shown.view is None else json.loads(json.dumps(shown.view))
    blocks = json.loads(json.dumps(list(shown.blocks)))
    match shown.kind:
        case "message":
            assert validate_message(shown.text, blocks) == []
            check_message_blocks(blocks)
        case "modal" | "home":
            check_view(view, kind=shown.kind)
        case "options":
            problems: Problems = []
            blockkit.external_options({"options": blocks}, "", problems)
            assert problems == []
        case "sentence":
            assert 0 < len(shown.text) < 3_000


def parts(shown: Shown) -> Iterator[tuple[str, str]]:
    """(kind of text, the text) of all that is shown."""
    if shown.text:
        yield "mrkdwn", shown.text
    inside: Any = shown.view if shown.view is not None else list(shown.blocks)
    yield from _parts(inside)


def _parts(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if isinstance(node.get("text"), str) and node.get("type") in {
            *("mrkdwn", "plain_text", "text", "link"),
        }:
            yield node["type"], node["text"]
        if isinstance(node.get("accessibility_label"), str):
            yield "plain_text", node["accessibility_label"]
        for inner in node.values():
            yield from _parts(inner)
    elif isinstance(node, list | tuple):
        for inner in node:
            yield from _parts(inner)


def check_harmless(shown: Shown) -> None:
    for kind, text in parts(shown):
        text.encode("utf-8")
        if kind != "text" or shown.kind == "message":
            assert not UNSEEN.search(text), (kind, text)
        if kind == "mrkdwn":
            bare = OWN.sub("", text)
            bare = OWN_PINGS.sub("", bare) if shown.pings else bare
            assert not re.search(r"[<>]", bare), bare
            assert not re.search(r"@(?!\u2060)", bare), bare
            assert "```" not in bare
    for node in mrkdwn_of(shown.view if shown.view is not None else list(shown.blocks)):
        assert node["verbatim"] is True


@pytest.mark.slow
@EVERY
@settings(deadline=None, max_examples=8)
@given(data=st.data(), seed=st.integers(min_value=0, max_value=1_000_000))
def test_foreign_text_is_harmless_and_fits(make: Make, data: st.DataObject, seed: int) -> None:
    pool = data.draw(st.lists(FOREIGN, min_size=1, max_size=5))
    number = 0

    def foreign() -> str:
        nonlocal number
        number += 1
        return pool[number % len(pool)]

    for shown in make(Source(foreign, seed)):
        check_limits(shown)
        check_harmless(shown)


@EVERY
@pytest.mark.parametrize(
    "character", ["<", "&", "@", "`", "\N{ROCKET}", "e\N{COMBINING ACUTE ACCENT}"]
)
def test_longest_foreign_text_fits(make: Make, character: str) -> None:
    """Escaped, made harmless or counted as Slack counts, these take the most room."""
    for seed in range(3):
        for shown in make(Source(lambda: character * 3_000, seed)):
            check_limits(shown)
            check_harmless(shown)


@EVERY
@pytest.mark.parametrize("seed", range(6))
def test_marks_in_foreign_text_change_no_layout(make: Make, seed: int) -> None:
    """The same blocks, lines and marks as with plain text: it cannot pose as one of the bot's."""
    plain = [_layout(one) for one in make(Source(lambda: PLAIN, seed))]
    marked = [_layout(one) for one in make(Source(lambda: MARKED, seed))]
    assert marked == plain


@EVERY
@pytest.mark.parametrize("seed", range(3))
def test_line_breaks_in_foreign_text_add_no_line(make: Make, seed: int) -> None:
    plain = [_lines(one) for one in make(Source(lambda: "ab cd", seed))]
    broken = [_lines(one) for one in make(Source(lambda: "ab\ncd", seed))]
    assert broken == plain


def _layout(shown: Shown) -> Sequence[object]:
    found: list[object] = [shown.kind]
    if shown.kind == "options":
        return found  # no branch may have such a name, so none is offered
    for kind, text in parts(shown):
        if kind == "mrkdwn":
            bare = re.sub(r"`[^`]*`", "``", text)  # inside ticks nothing is formatted
            found.append((kind, [bare.count(mark) for mark in MARKS if mark != "_"]))
        else:
            found.append(kind)
    return found


def _lines(shown: Shown) -> Sequence[object]:
    return [
        (kind, plain_times(text).count("\n") if kind != "text" else 0)
        for kind, text in parts(shown)
    ]


def test_options_are_what_slack_takes() -> None:
    problems: Problems = []
    wrong: list[Json] = [{"text": {"type": "plain_text", "text": "x" * 76}, "value": "x"}]
    blockkit.external_options({"options": wrong}, "", problems)
    assert problems
