"""A deployment's log in Slack: the modal with its pages and buttons, and the file."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bot.deployments.model import Deployment
from bot.deployments.states import ENDINGS
from bot.errors import BotError, Declined, SlackError
from bot.slack.listeners.clicks import UNKNOWN_DEPLOYMENT, ActionButton, Click, Permission
from bot.slack.listeners.desk import Desk
from bot.slack.listeners.payloads import word
from bot.slack.render.blocks import Json, context
from bot.slack.render.log import (
    LogPlace,
    first_error,
    log_view,
    opening_view,
    problem_view,
    read_place,
)

EMPTY = "No output of this deployment is stored yet, so there is no file to post."
NO_MESSAGE = "This deployment has no message in Slack, so there is no thread to post into."
POSTED = "Posted as a file in the thread."

PageOf = Callable[[LogPlace, str], int | None]
"""Where to go from the page shown, in the log as it is now; None: to the newest page."""


async def open_log(desk: Desk, *, trigger_id: str, deployment_id: str) -> None:
    """Open the modal at the newest page: empty at first, because a trigger expires in 3 s."""
    opened = await desk.client.open_view(trigger_id, opening_view(deployment_id))
    try:
        view = await _draw(desk, deployment_id, lambda _text: None)
    except BotError as error:
        view = problem_view(deployment_id, str(error))
    await desk.show_view(opened.id, view)


async def post_file(
    desk: Desk, deployment: Deployment, *, channel: str, thread_ts: str | None
) -> None:
    """Upload the whole log. Declined: it is empty. SlackError: Slack refuses the file."""
    text = await desk.queries.store.logs.read(deployment.id)
    if not text.strip():
        raise Declined(EMPTY)
    await desk.client.upload(
        channel,
        filename=f"{deployment.app}-{deployment.id}.log",
        content=text,
        title=f"Log of {deployment.app} {deployment.ref} on {deployment.server}"[:150],
        thread_ts=thread_ts,
    )


def go_to(page_of: PageOf) -> Callable[[Click], Awaitable[None]]:
    """What a button calls that shows another page."""

    async def show_page(click: Click, place: LogPlace) -> Json:
        return await _draw(click.desk, place.id, lambda text: page_of(place, text))

    return _in_window(show_page)


async def _post_as_file(click: Click, place: LogPlace) -> Json:
    deployment = await click.deployment()
    if deployment.message is None:
        raise Declined(NO_MESSAGE)
    at = deployment.message
    await post_file(click.desk, deployment, channel=at.channel, thread_ts=at.root)
    return with_note(await _draw(click.desk, place.id, lambda _text: place.page), POSTED)


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
            view = with_note(await _draw(click.desk, place.id, lambda _text: page), str(error))
        await click.desk.show_view(word(click.view, "id"), view)

    return call


async def _draw(desk: Desk, deployment_id: str, page_of: Callable[[str], int | None]) -> Json:
    """The modal at a page. A thread cuts the text into pages: it may be 16 MB."""
    deployment = await desk.queries.store.get(deployment_id)
    if deployment is None:
        raise Declined(UNKNOWN_DEPLOYMENT)
    newest, _ = desk.queries.snapshot(deployment)
    text = await desk.queries.store.logs.read(deployment_id)

    def draw() -> Json:
        return log_view(newest, text, page=page_of(text), buttons=LOG_BUTTONS)

    return await asyncio.to_thread(draw)


def with_note(view: Json, note: str) -> Json:
    """The modal with a line below."""
    return {**view, "blocks": [*view["blocks"], context(note)]}


LOG_BUTTONS: Sequence[ActionButton] = (
    ActionButton(
        action_id="log_older",
        label="Older",
        shows=lambda now: now.has_older,
        permission=Permission.MEMBER,
        call=go_to(lambda place, _text: max(0, place.page - 1)),
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="log_newer",
        label="Newer",
        shows=lambda now: now.has_newer,
        permission=Permission.MEMBER,
        call=go_to(lambda place, _text: place.page + 1),
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="log_first_error",
        label="First error",
        shows=lambda now: now.has_error,
        permission=Permission.MEMBER,
        call=go_to(lambda _place, text: first_error(text)),
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="log_refresh",
        label="Refresh",
        shows=lambda now: now.deployment.phase not in ENDINGS,
        permission=Permission.MEMBER,
        call=go_to(lambda place, _text: None if place.last else place.page),
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
