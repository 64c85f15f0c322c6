"""Message actions: shortcuts in the menu of a message."""

import re
from collections.abc import Sequence
from dataclasses import replace

from bot.deployments.model import AppPolicy, Deployment, Trigger
from bot.errors import Declined
from bot.names import slash
from bot.slack.listeners.commands import status
from bot.slack.listeners.desk import Call, Desk
from bot.slack.listeners.modals import open_form
from bot.slack.listeners.payloads import Body, asker_of, delivery_key, part, word
from bot.slack.listeners.targets import Target, find_targets, message_text

DEPLOY_FROM_MESSAGE = "deploy_from_message"
DEPLOYMENT_STATUS = "deployment_status"
"""The callback ids in the app's manifest."""
_ID = re.compile(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b")


async def on_deploy_from_message(desk: Desk, body: Body) -> None:
    """Open the form with what the message names; on a deployment's message, the same deployment.

    Slack's rule: a shortcut is followed by a modal that confirms what will happen.
    """
    asker = await desk.admit(asker_of(body))
    message = part(body, "message")

    async def guess(apps: Sequence[AppPolicy]) -> Sequence[Target]:
        deployment = await _deployment_of(desk, asker.channel, message)
        if deployment is not None:
            return [_again(deployment)]
        found = find_targets(message_text(message), apps)
        if found and found[0].app is not None:
            return found
        root = await _deployment_of_thread(desk, asker.channel, message)
        if root is None:
            return found
        again = _again(root)
        return [replace(again, ref=one.ref) for one in found if one.ref] or [again]

    await open_form(desk, asker, guess=guess)


async def on_deployment_status(desk: Desk, body: Body) -> None:
    """Answer in the thread of the deployment that the message, or its thread, belongs to."""
    asker = await desk.admit(asker_of(body))
    message = part(body, "message")
    deployment = await _deployment_of(desk, asker.channel, message)
    if deployment is None:
        deployment = await _deployment_of_thread(desk, asker.channel, message)
    if deployment is None:
        raise Declined(
            "This message belongs to no deployment of mine. Choose *Deployment status* on a "
            f"deployment's message or in its thread; {slash('status')} lists what is running."
        )
    below = replace(asker, thread_ts=word(message, "thread_ts") or word(message, "ts"))
    await status(
        Call(
            desk=desk,
            asker=asker,
            answers=desk.answers(below, aloud=True),
            trigger=Trigger.MESSAGE_ACTION,
            request_key=delivery_key(body),
            about=deployment,
        )
    )


def _again(deployment: Deployment) -> Target:
    return Target(app=deployment.app, ref=deployment.ref or None, server=deployment.server)


async def _deployment_of_thread(desk: Desk, channel: str, message: Body) -> Deployment | None:
    thread = word(message, "thread_ts")
    return await desk.queries.store.by_message(channel, thread) if thread else None


async def _deployment_of(desk: Desk, channel: str, message: Body) -> Deployment | None:
    """By the place of the message, else by the one id in its text (an abandoned copy)."""
    found = await desk.queries.store.by_message(channel, word(message, "ts"))
    if found is not None:
        return found
    ids = set(_ID.findall(message_text(message)))
    return await desk.queries.store.get(ids.pop()) if len(ids) == 1 else None
