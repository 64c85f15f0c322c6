"""The modal with the whole log, in pages. Pure.

Pages count from the start of the log. The last, newest page is shown first.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.deployments.excerpt import explain
from bot.deployments.log_lines import means_error
from bot.deployments.log_pages import LogPages
from bot.deployments.model import Deployment
from bot.deployments.states import ENDINGS
from bot.slack.render import blocks as kit
from bot.slack.render import words
from bot.slack.render.blocks import Button, Json, Situation, button_row
from bot.slack.render.text import code, inert, length, log_text

LOG_VIEW = "deployment_log_view"
"""The view's callback id."""
_PAGE_BOUND = 8_000
"""After tabs became spaces. Views may be larger, but Slack documents no size for rich text."""

_ERROR_WORDS = ("error", "fatal", "exception", "traceback", "panic", "failed", "failure")
_LITERALS = (
    "\n !     ",  # how Dokku marks an error
    *(form for word in _ERROR_WORDS for form in (word, word.capitalize(), word.upper())),
)
"""Searched one by one: on 16 MB that takes a tenth of the time of one expression."""
_LINE = 500
ERROR_COLUMNS = 200
_END = 60_000
"""Characters at the end of a log that are read for the reason."""
_MOST_TRIED = 40
"""Lines that hold a word of errors but mean none, for each word: 16 MB may be full of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """What the modal remembers (private_metadata)."""

    id: str
    """The deployment."""
    page: int
    """From 0."""
    last: bool
    """It was the newest page when it was shown: *Refresh* then follows the log's end."""
    has_error: bool = False
    """A line was found, or may be, that means an error."""


def reason_at(text: str) -> int | None:
    """In the end of a log: where the line begins that the reason would be taken from."""
    begin = text.find("\n", len(text) - _END) + 1 if len(text) > _END else 0
    lines = text[begin:].split("\n")
    place = explain(lines).place
    if place is None or not means_error(lines[place]):
        return None
    return begin + sum(len(line) + 1 for line in lines[:place])


def complaint_at(text: str) -> int | None:
    """Where the first line begins that says that something failed; None: there is none."""
    at = len(text)
    for literal in _LITERALS:
        at = _first_before(text, literal, at)
    return at if at < len(text) else None


def _first_before(text: str, literal: str, end: int) -> int:
    """Where the first line begins that holds the literal and means an error; none: `end`."""
    at = text.find(literal, 0, end)
    for _ in range(_MOST_TRIED):
        if at < 0:
            break
        begin = text.rfind("\n", 0, at + 1) + 1
        line_end = text.find("\n", begin)
        line = text[begin : line_end if line_end >= 0 else None][:_LINE]
        if means_error(line):
            return begin
        # The next line, or what follows in a very long one.
        at = text.find(literal, max(at + 1, min(line_end, begin + _LINE)), end)
    return end


def log_view(
    deployment: Deployment,
    log: LogPages,
    *,
    buttons: Sequence[Button],
    has_error: bool,
    name_server: bool = True,
) -> Json:
    """The modal at the first of these pages."""
    place = LogPlace(
        id=deployment.id, page=log.first, last=log.first == log.count - 1, has_error=has_error
    )
    body = _bounded(log_text(log.texts[0]).strip("\n"))
    return {
        "type": "modal",
        "callback_id": LOG_VIEW,
        "title": kit.plain("Full log"),
        "close": kit.plain("Close"),
        "private_metadata": write_place(place),
        "blocks": [
            kit.section(words.headline(deployment, name_server=name_server)),
            # Above the log: below a long page nobody sees the buttons, or what one of them did.
            *button_row(buttons, _situation(deployment, place)),
            kit.context(
                f"Page {log.first + 1} of {log.count} · {log.size:,} bytes"
                f" · {inert(deployment.id, 40)}"
            ),
            kit.preformatted(body) if body.strip() else kit.plain_section(_nothing(deployment)),
        ],
    }


def with_note(view: Json, note: str) -> Json:
    """The modal with a line (mrkdwn) above the log."""
    *above, body = view["blocks"]
    return {**view, "blocks": [*above, kit.context(note), body]}


def with_error(view: Json, line: str) -> Json:
    """The modal where `First error` led: its page may be the one that was shown already."""
    return with_note(view, f"First error: {code(line, ERROR_COLUMNS)}")


def opening_view(deployment_id: str) -> Json:
    """Shown until the log is read, because a trigger expires in 3 seconds."""
    place = LogPlace(id=deployment_id, page=0, last=True)
    return {
        "type": "modal",
        "callback_id": LOG_VIEW,
        "title": kit.plain("Full log"),
        "close": kit.plain("Close"),
        "private_metadata": write_place(place),
        "blocks": [kit.plain_section("Fetching the log …")],
    }


def problem_view(deployment_id: str, sentence: str) -> Json:
    """Shown instead of a log that cannot be shown."""
    view = opening_view(deployment_id)
    view["blocks"] = [kit.section(inert(sentence, 500))]
    return view


def write_place(place: LogPlace) -> str:
    """The place as private_metadata: a JSON object of strings."""
    flags = {"last": place.last, "error": place.has_error}
    words = {name: "yes" if flag else "" for name, flag in flags.items()}
    return json.dumps({"id": place.id, "page": str(place.page), **words})


def read_place(private_metadata: Any) -> LogPlace | None:
    """Read private_metadata; None: not written by `write_place`."""
    try:
        facts = json.loads(private_metadata)
        return LogPlace(
            id=str(facts["id"]),
            page=int(facts["page"]),
            last=bool(facts["last"]),
            has_error=bool(facts.get("error")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _situation(deployment: Deployment, place: LogPlace) -> Situation:
    return Situation(
        deployment=deployment,
        has_older=place.page > 0,
        has_newer=not place.last,
        has_error=place.has_error,
    )


def _nothing(deployment: Deployment) -> str:
    if deployment.phase in ENDINGS:
        return "Dokku printed nothing for this deployment."
    return "No output is stored yet: press Refresh to read it again."


def _bounded(body: str) -> str:
    """Keep the end of a page that tabs made too long."""
    while length(body) > _PAGE_BOUND:
        body = "…" + body[-(len(body) * _PAGE_BOUND // length(body) - 1) :]
    return body
