"""A deployment's log in Slack: the modal with its pages, and the file."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from bot.deployments.model import Deployment
from bot.errors import BotError, Declined, SlackError
from bot.slack.listeners.desk import Desk
from bot.slack.listeners.payloads import Body, asker_of, first_action, part, word
from bot.slack.render.blocks import Json, context
from bot.slack.render.log import (
    LogAct,
    LogPlace,
    log_view,
    opening_view,
    problem_view,
    read_place,
    turn,
)

EMPTY = "Nothing has been logged for this deployment yet."
NOT_KNOWN = "That deployment is not known any more."
NO_MESSAGE = "This deployment has no message in Slack, so there is no thread to post into."


async def open_log(desk: Desk, *, trigger_id: str, deployment_id: str) -> None:
    """Open the modal at the newest page: empty at once, for a trigger does not wait."""
    opened = await desk.client.open_view(trigger_id, opening_view(deployment_id))
    try:
        view = await _show(desk, deployment_id, lambda _text: None)
    except BotError as error:
        view = problem_view(deployment_id, str(error))
    await desk.show_view(opened.id, view)


async def on_log_button(desk: Desk, body: Body) -> None:
    """A button of the modal: turn the page, read on, or post the file."""
    desk.admit(asker_of(body))
    view = part(body, "view")
    act = LogAct(word(first_action(body), "action_id"))
    place = read_place(view.get("private_metadata"))
    if place is None:
        raise Declined(NOT_KNOWN)
    try:
        await _ACTS[act](desk, act, place, word(view, "id"))
    except Declined as declined:
        await desk.show_view(word(view, "id"), problem_view(place.id, str(declined)))
    except SlackError as error:
        shown = await _show(desk, place.id, lambda _text: place.page)
        await desk.show_view(word(view, "id"), with_note(shown, str(error)))


async def _turn(desk: Desk, act: LogAct, place: LogPlace, view_id: str) -> None:
    shown = await _show(desk, place.id, lambda text: turn(act, place, text))
    await desk.show_view(view_id, shown)


async def _post(desk: Desk, _act: LogAct, place: LogPlace, view_id: str) -> None:
    deployment = await _deployment(desk, place.id)
    if deployment.message is None:
        raise Declined(NO_MESSAGE)
    at = deployment.message
    await post_file(desk, deployment, channel=at.channel, thread_ts=at.root)
    shown = await _show(desk, place.id, lambda _text: place.page)
    await desk.show_view(view_id, with_note(shown, "Posted as a file in the thread."))


async def _show(desk: Desk, deployment_id: str, page_of: Callable[[str], int | None]) -> Json:
    """The modal at a page. Up to 16 MB of text are cut into pages beside the event loop."""
    deployment = await _deployment(desk, deployment_id)
    text = await desk.queries.store.read_log(deployment_id)

    def draw() -> Json:
        return log_view(deployment, text, page=page_of(text))

    return await asyncio.to_thread(draw)


async def _deployment(desk: Desk, deployment_id: str) -> Deployment:
    deployment = await desk.queries.store.get(deployment_id)
    if deployment is None:
        raise Declined(NOT_KNOWN)
    return desk.queries.snapshot(deployment)[0]


async def post_file(
    desk: Desk, deployment: Deployment, *, channel: str, thread_ts: str | None
) -> None:
    """Upload the whole log. Declined: there is none. SlackError: it may not be uploaded."""
    text = await desk.queries.store.read_log(deployment.id)
    if not text.strip():
        raise Declined(EMPTY)
    await desk.client.upload(
        channel,
        filename=f"{deployment.app}-{deployment.id}.log",
        content=text,
        title=f"Log of {deployment.app} {deployment.ref} on {deployment.server}"[:150],
        thread_ts=thread_ts,
    )


def with_note(view: Json, note: str) -> Json:
    """The modal with a line below."""
    return {**view, "blocks": [*view["blocks"], context(note)]}


_ACTS: Mapping[LogAct, Callable[[Desk, LogAct, LogPlace, str], Awaitable[None]]] = {
    **dict.fromkeys(LogAct, _turn),
    LogAct.POST_AS_FILE: _post,
}
