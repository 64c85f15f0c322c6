"""Clicks on the buttons of a live message. `actions.BUTTONS` says which there are."""

from collections.abc import Awaitable, Callable, Mapping

from bot.deployments.model import Deployment, Trigger
from bot.errors import Declined
from bot.slack.buttons import CANCEL, FULL_LOG, RETRY, ROLLBACK, Button, find_button
from bot.slack.listeners.commands import Call, again
from bot.slack.listeners.desk import Desk
from bot.slack.listeners.log_window import NOT_KNOWN, open_log
from bot.slack.listeners.payloads import Body, asker_of, delivery_key, first_action, word
from bot.slack.listeners.replies import as_answer

NO_SUCH_BUTTON = "This version of deploybot has no such button."
LATE = "That button is no longer there: {what}. Look at the message as it is now."


async def on_click(desk: Desk, body: Body) -> None:
    """Do what a button says, if its message still has it; else say so to the clicker alone."""
    asker = asker_of(body)
    desk.admit(asker)
    act = first_action(body)
    button = find_button(word(act, "action_id"))
    if button is None:
        raise Declined(NO_SUCH_BUTTON)
    call = Call(
        desk=desk,
        asker=asker,
        answers=desk.answers(asker),
        trigger=Trigger.BUTTON,
        request_key=delivery_key(body),
        trigger_id=word(body, "trigger_id"),
    )
    if button is FULL_LOG:
        # First the modal, then the look-ups: its trigger is good for 3 seconds.
        await open_log(desk, trigger_id=word(body, "trigger_id"), deployment_id=word(act, "value"))
        return
    deployment = await desk.queries.store.get(word(act, "value"))
    if deployment is None:
        raise Declined(NOT_KNOWN)
    if not button.lasting:
        refuse_late(desk, button, deployment)
    await ACTS[button.action_id](call, deployment)


def refuse_late(desk: Desk, button: Button, deployment: Deployment) -> None:
    """Declined: the deployment went on, and its message has no such button now."""
    newest, progress = desk.queries.snapshot(deployment)
    if not button.shows(newest, progress):
        if newest.cancel is not None:
            raise Declined(LATE.format(what="its cancellation has been asked for"))
        raise Declined(LATE.format(what=f"the deployment is {newest.phase}"))


async def _cancel(call: Call, deployment: Deployment) -> None:
    sentence = await call.desk.service.cancel(
        deployment.id, actor=call.asker.actor, through=call.trigger
    )
    await call.answers.say(as_answer(sentence))


async def _retry(call: Call, deployment: Deployment) -> None:
    await again(call, deployment, back=False)


async def _rollback(call: Call, deployment: Deployment) -> None:
    await again(call, deployment, back=True)


ACTS: Mapping[str, Callable[[Call, Deployment], Awaitable[None]]] = {
    CANCEL.action_id: _cancel,
    RETRY.action_id: _retry,
    ROLLBACK.action_id: _rollback,
}
"""What a button does, but for `Full log`, which is a modal."""
