"""The form that starts a deployment.

A trigger opens one modal, within 3 seconds. So the form opens with what is known by then, and is
filled in when the slower answers arrive.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from bot.deployments.app_names import did_you_mean
from bot.deployments.model import AppPolicy, Trigger
from bot.deployments.requests.service import Request
from bot.errors import BotError, Declined, SlackError
from bot.names import check_ref
from bot.slack.listeners.desk import Desk
from bot.slack.listeners.payloads import (
    Body,
    asker_of,
    delivery_key,
    meta_of,
    part,
    read_app,
    write_meta,
)
from bot.slack.listeners.targets import Target
from bot.slack.render.blocks import Json
from bot.slack.render.form import (
    APP_BLOCK,
    REF_BLOCK,
    SERVER_BLOCK,
    FormValues,
    deploy_form,
    read_form,
)

AT_ONCE_S = 0.3
"""What is known this soon is in the form from the start, so that it does not change while someone
fills it in. The trigger is valid for 3 seconds, some of which have passed."""
NOTHING_FOUND = "I found no app in this message. Choose what to deploy."

log = structlog.get_logger(__name__)

Guess = Callable[[Sequence[AppPolicy]], Awaitable[Target]]
"""(known apps): what to prefill the form with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a form is filled with."""

    apps: tuple[str, ...]
    target: Target


async def open_form(
    desk: Desk, *, trigger_id: str, channel: str, guess: Guess | None = None
) -> None:
    """Open the form; its deployment is posted in `channel`. `guess`: opened from a message."""
    trigger = Trigger.FORM if guess is None else Trigger.MESSAGE_ACTION
    metadata = write_meta(channel=channel, trigger=trigger)
    servers = desk.queries.servers.names()
    looking = asyncio.ensure_future(_look_up(desk, guess))
    done, _ = await asyncio.wait({looking}, timeout=AT_ONCE_S)
    if done:
        await desk.client.open_view(trigger_id, _filled(looking.result(), servers, metadata, guess))
        return
    try:
        opened = await desk.client.open_view(
            trigger_id, deploy_form(apps=(), servers=servers, metadata=metadata, ready=False)
        )
    except SlackError:
        looking.cancel()
        raise
    view = _filled(await looking, servers, metadata, guess)
    await desk.show_view(opened.id, view)


async def _look_up(desk: Desk, guess: Guess | None) -> _Known:
    """What to fill in; if it cannot be read now, people can type it."""
    try:
        apps = await desk.queries.known_apps()
        target = Target() if guess is None else await guess(apps)
    except BotError as error:
        log.warning("form_not_prefilled", error=type(error).__name__)
        return _Known(apps=(), target=Target())
    return _Known(apps=tuple(policy.app for policy in apps), target=target)


def _filled(known: _Known, servers: Sequence[str], metadata: str, guess: Guess | None) -> Json:
    target = known.target
    return deploy_form(
        apps=known.apps,
        servers=servers,
        metadata=metadata,
        prefill=FormValues(app=target.app, ref=target.ref, server=target.server),
        note=NOTHING_FOUND if guess is not None and target.app is None else None,
    )


async def check_form(desk: Desk, body: Body) -> dict[str, str]:
    """Mistakes in a submitted form, by block. What only a server knows is checked later."""
    values = read_form(part(body, "view"))
    errors: dict[str, str] = {}
    app = ""
    try:
        app = read_app(values.app or "")
    except Declined as declined:
        errors[APP_BLOCK] = _plain(declined)
    if values.ref is not None:
        try:
            check_ref(values.ref)
        except Declined as declined:
            errors[REF_BLOCK] = _plain(declined)
    if app:
        errors |= await _check_app(desk, app, values.server)
    return errors


async def _check_app(desk: Desk, app: str, server: str | None) -> dict[str, str]:
    """A mistake about app and server, if it is found in time for the ack."""
    try:
        policy = desk.queries.catalog.policy(app, server)
    except Declined as declined:
        # The form has no field for the server where there is one server only.
        servers = desk.queries.servers.names()
        about_server = len(servers) > 1 and (server or _is_deployable(desk, app, servers[0]))
        return {SERVER_BLOCK if about_server else APP_BLOCK: _plain(declined)}
    try:
        async with asyncio.timeout(desk.limits.form_check_s):
            known = await desk.queries.known_apps()
    except TimeoutError:
        return {}
    names = {one.app for one in known if one.server == policy.server}
    if not names or policy.app in names:
        return {}
    near = did_you_mean(app, names)
    return {APP_BLOCK: f"There is no app {app} on {policy.server}.{near}".replace("`", "")}


def _is_deployable(desk: Desk, app: str, server: str) -> bool:
    """Whether the app only needs a server."""
    try:
        desk.queries.catalog.policy(app, server)
    except Declined:
        return False
    return True


def _plain(declined: Declined) -> str:
    """Errors in a form are plain text."""
    return str(declined).replace("`", "")


async def submit_form(desk: Desk, body: Body) -> None:
    """Start the deployment, in the channel where the form was opened."""
    asker = await desk.admit(asker_of(body))
    values = read_form(part(body, "view"))
    from_message = meta_of(body).get("trigger") == Trigger.MESSAGE_ACTION
    await desk.service.request(
        Request(
            app=read_app(values.app or ""),
            ref=values.ref,
            server=values.server,
            actor=asker.actor,
            trigger=Trigger.MESSAGE_ACTION if from_message else Trigger.FORM,
            request_key=delivery_key(body),
            channel=asker.channel,
        )
    )
