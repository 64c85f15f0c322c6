"""A deployment's log in Slack: the modal with its pages and buttons, and the file."""

from collections.abc import Awaitable, Callable, Sequence

from bot.clock import in_thread
from bot.deployments.log_pages import LogPages
from bot.deployments.model import Deployment
from bot.deployments.states import ENDINGS
from bot.deployments.store_parts import Logs
from bot.errors import BotError, Declined, SlackError
from bot.slack.listeners.clicks import UNKNOWN_DEPLOYMENT, ActionButton, Click, Permission
from bot.slack.listeners.desk import Desk
from bot.slack.listeners.payloads import word
from bot.slack.render.blocks import Json
from bot.slack.render.log import (
    LogPlace,
    complaint_at,
    log_view,
    opening_view,
    problem_view,
    read_place,
    reason_at,
    with_error,
    with_note,
)

EMPTY = "No output of this deployment is stored yet, so there is no file to post."
NO_MESSAGE = "This deployment has no message in Slack, so there is no thread to post into."
POSTED = "Posted as a file in the thread."

NO_ERROR = "No line of this log says that something failed."
LONGEST_LINE = 500
SLICE_PAGES = 200
"""Pages that are searched at once: about 1 MB. A log may have 16 MB."""
_END_PAGES = 12
"""Pages at a log's end in which the line that says why is looked for."""

PageOf = Callable[[LogPlace], int | None]
"""Where to go from the page shown; None: to the newest page."""


async def open_log(desk: Desk, *, trigger_id: str, deployment_id: str) -> None:
    """Open the modal at the newest page: empty at first, because a trigger expires in 3 s."""
    opened = await desk.client.open_view(trigger_id, opening_view(deployment_id))
    try:
        view = await _draw(desk, deployment_id, None)
    except BotError as error:
        view = problem_view(deployment_id, str(error))
    await desk.show_view(opened.id, view)


async def post_file(
    desk: Desk, deployment: Deployment, *, channel: str, thread_ts: str | None
) -> None:
    """Upload the whole log. Declined: it is empty. SlackError: Slack refuses the file."""
    text = await desk.queries.store.logs.read(deployment.id)
    where = f" on {deployment.server}" if desk.names_server else ""
    if not text.strip():
        raise Declined(EMPTY)
    await desk.client.upload(
        channel,
        filename=f"{deployment.app}-{deployment.id}.log",
        content=text,
        title=f"Log of {deployment.app} {deployment.ref}{where}"[:150],
        thread_ts=thread_ts,
    )


def go_to(page_of: PageOf) -> Callable[[Click], Awaitable[None]]:
    """What a button calls that shows another page."""

    async def show_page(click: Click, place: LogPlace) -> Json:
        page = page_of(place)
        # A turned page needs no search; the newest one may have brought an error.
        known = None if page is None else place.has_error
        return await _draw(click.desk, place.id, page, has_error=known)

    return _in_window(show_page)


async def _post_as_file(click: Click, place: LogPlace) -> Json:
    deployment = await click.deployment()
    if deployment.message is None:
        raise Declined(NO_MESSAGE)
    at = deployment.message
    await post_file(click.desk, deployment, channel=at.channel, thread_ts=at.root)
    view = await _draw(click.desk, place.id, place.page, has_error=place.has_error)
    return with_note(view, POSTED)


async def _go_to_error(click: Click, place: LogPlace) -> Json:
    found = await find_error(click.desk.queries.store.logs, place.id)
    if found is None:
        view = await _draw(click.desk, place.id, place.page, has_error=False)
        return with_note(view, NO_ERROR)
    page, line = found
    return with_error(await _draw(click.desk, place.id, page, has_error=True), line)


async def find_error(logs: Logs, deployment_id: str) -> tuple[int, str] | None:
    """The line that says why, and its page; else the first that says that something failed.

    None: there is none. Threads search, and never more than a slice at a time.
    """
    end = await logs.pages(deployment_id, None, _END_PAGES)
    found = await in_thread(_line_of, end, reason_at)
    first = 0
    while found is None:
        piece = await logs.pages(deployment_id, first, SLICE_PAGES)
        found = await in_thread(_line_of, piece, complaint_at)
        first = piece.first + len(piece.texts)
        if first >= piece.count:
            break
    return found


def _line_of(log: LogPages, search: Callable[[str], int | None]) -> tuple[int, str] | None:
    """The line where a search of these pages ends, and the number of its page."""
    text = "".join(log.texts)
    at = search(text)
    if at is None:
        return None
    line = text[at : at + LONGEST_LINE].strip("\n").partition("\n")[0]
    number, reached = log.first, len(log.texts[0])
    while at >= reached:
        number += 1
        reached += len(log.texts[number - log.first])
    return number, line


def _in_window(
    act: Callable[[Click, LogPlace], Awaitable[Json]],
) -> Callable[[Click], Awaitable[None]]:
    """Show in the modal what `act` returns, and its errors too: a modal hides other messages."""

    async def call(click: Click) -> None:
        place = read_place(click.view.get("private_metadata"))
        if place is None:
            raise Declined(UNKNOWN_DEPLOYMENT)
        page = place.page
        try:
            view = await act(click, place)
        except Declined as declined:
            view = problem_view(place.id, str(declined))
        except SlackError as error:
            shown = await _draw(click.desk, place.id, page, has_error=place.has_error)
            view = with_note(shown, str(error))
        await click.desk.show_view(word(click.view, "id"), view)

    return call


async def _draw(
    desk: Desk, deployment_id: str, page: int | None, *, has_error: bool | None = None
) -> Json:
    """The modal at a page; None: the newest. `has_error` None: it is not known yet."""
    deployment = await desk.queries.store.get(deployment_id)
    if deployment is None:
        raise Declined(UNKNOWN_DEPLOYMENT)
    newest, _ = desk.queries.snapshot(deployment)
    logs = desk.queries.store.logs
    log = await logs.pages(deployment_id, page)
    if has_error is None:
        # What needs more than one slice is searched only when someone asks.
        small = log.count <= SLICE_PAGES
        has_error = not small or await find_error(logs, deployment_id) is not None
    return log_view(
        newest, log, has_error=has_error, buttons=LOG_BUTTONS, name_server=desk.names_server
    )


LOG_BUTTONS: Sequence[ActionButton] = (
    ActionButton(
        action_id="log_older",
        label="Older",
        shows=lambda now: now.has_older,
        permission=Permission.MEMBER,
        call=go_to(lambda place: max(0, place.page - 1)),
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="log_newer",
        label="Newer",
        shows=lambda now: now.has_newer,
        permission=Permission.MEMBER,
        call=go_to(lambda place: place.page + 1),
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="log_first_error",
        label="First error",
        shows=lambda now: now.has_error,
        permission=Permission.MEMBER,
        call=_in_window(_go_to_error),
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="log_refresh",
        label="Refresh",
        shows=lambda now: now.deployment.phase not in ENDINGS,
        permission=Permission.MEMBER,
        call=go_to(lambda place: None if place.last else place.page),
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="log_post_as_file",
        label="Post as file",
        shows=lambda _now: True,
        permission=Permission.MEMBER,
        call=_in_window(_post_as_file),
        works_when_hidden=True,
    ),
)
"""In the order in which the modal shows them."""
