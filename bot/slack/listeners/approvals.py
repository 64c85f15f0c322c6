"""Approve and reject: the buttons of a waiting deployment's message, and the two commands."""

from bot.deployments.model import Trigger
from bot.slack.listeners.clicks import Click
from bot.slack.listeners.desk import Call, Desk, as_answer
from bot.slack.listeners.payloads import (
    Body,
    asker_of,
    meta_of,
    part,
    read_about,
    word,
    write_meta,
)
from bot.slack.render.reject_form import REASON_BLOCK, VALUE, reject_form


async def approve_clicked(click: Click) -> None:
    """`Approve`, of the commit that the button names."""
    sentence = await click.desk.service.approvals.approve(
        click.deployment_id, actor=click.asker.actor, through=click.trigger, shown=click.fixed
    )
    await click.answers.say(as_answer(sentence))


async def open_reject_form(click: Click) -> None:
    """`Reject`: ask for a reason, which may be left out. Who may reject is checked after.

    At once: the trigger is good for 3 seconds.
    """
    metadata = write_meta(channel=click.asker.channel, deployment=click.deployment_id)
    view = reject_form(
        await click.deployment(), metadata=metadata, name_server=click.desk.names_server
    )
    await click.desk.client.open_view(click.trigger_id or "", view)


async def on_reject(desk: Desk, body: Body) -> None:
    """The submitted form."""
    asker = await desk.admit(asker_of(body))
    values = part(part(part(body, "view"), "state"), "values")
    sentence = await desk.service.approvals.reject(
        meta_of(body).get("deployment", ""),
        actor=asker.actor,
        through=Trigger.BUTTON,
        reason=word(part(part(values, REASON_BLOCK), VALUE), "value"),
    )
    await desk.answers(asker).say(as_answer(sentence))


async def approve(call: Call) -> None:
    """`approve APP|ID`."""
    about = read_about(call.rest)
    found = await call.desk.queries.find_awaiting(about.subject, server=about.server)
    sentence = await call.desk.service.approvals.approve(
        found.id, actor=call.asker.actor, through=call.trigger, shown=found.sha
    )
    await call.answers.say(as_answer(sentence))


async def reject(call: Call) -> None:
    """`reject APP|ID [REASON]`."""
    about = read_about(call.rest[:1])
    found = await call.desk.queries.find_awaiting(about.subject)
    sentence = await call.desk.service.approvals.reject(
        found.id, actor=call.asker.actor, through=call.trigger, reason=" ".join(call.rest[1:])
    )
    await call.answers.say(as_answer(sentence))
