"""A log that is stored in one piece, as the log window sees it."""

from collections.abc import Sequence
from typing import Any

from bot.deployments.log_pages import LogPages, choose, paginate
from bot.deployments.model import Deployment
from bot.slack.listeners.log_window import LOG_BUTTONS
from bot.slack.render import log
from bot.slack.render.blocks import Button
from bot.slack.render.log import complaint_at, reason_at


def pages_of(text: str, first: int | None = None, most: int = 1) -> LogPages:
    """What a store gives of this log."""
    pages = paginate(text)
    shown = choose(len(pages), first, most)
    size = len(text.encode())
    return LogPages(
        first=shown[0], texts=[pages[number] for number in shown], count=len(pages), size=size
    )


def first_error(text: str) -> int | None:
    """The page that *First error* shows."""
    at = reason_at(text)
    at = complaint_at(text) if at is None else at
    if at is None:
        return None
    reached = 0
    for number, page in enumerate(paginate(text)):
        reached += len(page)
        if at < reached:
            return number
    raise AssertionError("the place is not in the text")


def log_view(
    deployment: Deployment,
    text: str,
    *,
    page: int | None = None,
    buttons: Sequence[Button] = LOG_BUTTONS,
) -> Any:
    """The window at a page of this log."""
    found = first_error(text) is not None
    return log.log_view(deployment, pages_of(text, page), has_error=found, buttons=buttons)
