"""`Details`, `Older` and `Newer`: what more an answer can show. To the clicker alone."""

from collections.abc import Awaitable, Callable, Mapping

from bot.deployments.model import Trigger
from bot.errors import Declined
from bot.slack.listeners import answers as say
from bot.slack.listeners.clicks import Click
from bot.slack.listeners.desk import Call, Desk
from bot.slack.listeners.payloads import Body, asker_of, delivery_key, first_action, part, word
from bot.slack.render.blocks import Answer
from bot.slack.render.history import HISTORY_NEWER, HISTORY_OLDER, HistoryPage, read_page
from bot.slack.render.proof import STATUS_DETAILS, deployment_proof, read_details, state_proof

NOT_READ = "This button is of another version of the bot. Ask again."


async def show_deployment(click: Click) -> None:
    """The proof of a result: what is stored of the deployment, nothing is read for it."""
    deployment, progress = click.desk.queries.snapshot(await click.deployment())
    await click.answers.whisper_answer(
        deployment_proof(deployment, progress, name_server=click.desk.names_server)
    )


async def on_status_details(desk: Desk, body: Body) -> None:
    """The proof of a status: what was read for it, if that was just now; else read again."""
    call = await _click(desk, body)
    asked = read_details(word(first_action(body), "value"))
    if asked is None:
        raise Declined(NOT_READ)
    found, read_at = await desk.states.read(desk.queries, *asked)
    await call.answers.whisper_answer(
        state_proof(found, read_at=read_at, name_server=desk.names_server)
    )


async def on_turn(desk: Desk, body: Body) -> None:
    """Another page of a history, in place of the one shown if only the clicker sees that one."""
    call = await _click(desk, body)
    page = read_page(word(first_action(body), "value"))
    if page is None:
        raise Declined(NOT_READ)
    answer = await history_answer(call, page)
    if part(body, "container").get("is_ephemeral"):
        await call.answers.replace(answer)
    else:
        await call.answers.whisper_answer(answer)


async def history_answer(call: Call, page: HistoryPage) -> Answer:
    """A page of an app's history, with what is live now. Declined: there is no such app name."""
    desk = call.desk
    least = (page.number + 1) * say.PAGE + 1
    rows = await desk.queries.history(page.app, server=page.server, limit=least)
    live = await desk.states.live_ids(desk.queries, page.app, rows) if rows else {}
    return say.history_answer(
        page,
        rows,
        live=live,
        now=desk.clock.now(),
        locks=await desk.service.locks.held(),
        name_server=desk.names_server,
    )


async def _click(desk: Desk, body: Body) -> Call:
    asker = await desk.admit(asker_of(body))
    return Call(
        desk=desk,
        asker=asker,
        answers=desk.answers(asker),
        trigger=Trigger.BUTTON,
        request_key=delivery_key(body),
    )


DETAIL_BUTTONS: Mapping[str, Callable[[Desk, Body], Awaitable[None]]] = {
    STATUS_DETAILS: on_status_details,
    HISTORY_OLDER: on_turn,
    HISTORY_NEWER: on_turn,
}
