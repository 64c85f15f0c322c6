"""Message actions: shortcuts in the menu of a message."""

import re
from collections.abc import Sequence
from dataclasses import replace

from bot.deployments.model import AppPolicy, Deployment
from bot.slack.listeners.desk import Desk
from bot.slack.listeners.modals import open_form
from bot.slack.listeners.payloads import Body, asker_of, part, word
from bot.slack.listeners.targets import Target, find_target, message_text

DEPLOY_FROM_MESSAGE = "deploy_from_message"
"""The callback id in the app's manifest."""
_ID = re.compile(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b")


async def on_deploy_from_message(desk: Desk, body: Body) -> None:
    """Open the form with what the message names; on a deployment's message, the same deployment.

    Slack's rule: a shortcut is followed by a modal that confirms what will happen.
    """
    asker = await desk.admit(asker_of(body))
    message = part(body, "message")

    async def guess(apps: Sequence[AppPolicy]) -> Target:
        deployment = await _deployment_of(desk, asker.channel, message)
        if deployment is not None:
            return Target(app=deployment.app, ref=deployment.ref or None, server=deployment.server)
        found = find_target(message_text(message), apps)
        if found.app is not None:
            return found
        thread = word(message, "thread_ts")
        root = await desk.queries.store.by_message(asker.channel, thread) if thread else None
        if root is None:
            return found
        return replace(found, app=root.app, ref=found.ref or root.ref, server=root.server)

    await open_form(desk, trigger_id=word(body, "trigger_id"), channel=asker.channel, guess=guess)


async def _deployment_of(desk: Desk, channel: str, message: Body) -> Deployment | None:
    """By the place of the message, else by the one id in its text (an abandoned copy)."""
    found = await desk.queries.store.by_message(channel, word(message, "ts"))
    if found is not None:
        return found
    ids = set(_ID.findall(message_text(message)))
    return await desk.queries.store.get(ids.pop()) if len(ids) == 1 else None
