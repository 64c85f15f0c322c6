"""The buttons and the cursor of a history: which page of which app."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from bot.slack.render.blocks import LONGEST_VALUE, Json, actions, button, spoken
from bot.slack.render.proof import ALL_SERVERS

HISTORY_OLDER, HISTORY_NEWER = "history_older", "history_newer"
"""The buttons' action ids."""
MOST_PAGES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """Which page of an app's history, on one server or (None) on all."""

    app: str
    server: str | None = None
    number: int = 0


def page_buttons(page: HistoryPage, *, has_older: bool) -> Sequence[Json]:
    """A row with `Older` and `Newer`, as far as there is more. A click shows one page, always."""
    row: list[Json] = []
    if has_older and page.number + 1 < MOST_PAGES:
        row.append(_turn(page, HISTORY_OLDER, "Older", page.number + 1))
    if page.number > 0:
        row.append(_turn(page, HISTORY_NEWER, "Newer", page.number - 1))
    fits = all(len(one["value"]) <= LONGEST_VALUE for one in row)
    return (actions(row),) if row and fits else ()


def read_page(value: str) -> HistoryPage | None:
    """What a button's value names. None: it was not written by `page_buttons`."""
    parts = value.split(" ")
    if len(parts) != 3 or not parts[0].isdecimal() or not parts[0].isascii():  # noqa: PLR2004
        return None
    number, server, app = int(parts[0]), unquote(parts[1]), unquote(parts[2])
    if number >= MOST_PAGES or not app:
        return None
    return HistoryPage(app=app, server=None if parts[1] == ALL_SERVERS else server, number=number)


def _turn(page: HistoryPage, action_id: str, label: str, number: int) -> Json:
    server = quote(page.server or "", errors="replace") or ALL_SERVERS
    value = f"{number} {server} {quote(page.app, errors='replace')}"
    element = button(action_id=action_id, label=label, value=value)
    return spoken(element, f"{label} deployments: {page.app}")
