"""The form that starts a deployment.

A trigger opens one modal, within 3 seconds. So the form opens with what is known by then, and is
filled in when the slower answers arrive: each such update names the version of the form that it is
for (`hash`), so that it never undoes what someone did in the meantime.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from bot.deployments.app_names import did_you_mean
from bot.deployments.model import AppPolicy, Trigger
from bot.deployments.refs import near_refs
from bot.deployments.requests.service import Request
from bot.errors import BotError, Declined, SlackError
from bot.names import check_ref
from bot.slack.client import OpenView
from bot.slack.listeners.again import channel_near
from bot.slack.listeners.answers import started_answer
from bot.slack.listeners.desk import STOPPING, Desk
from bot.slack.listeners.form_facts import read_facts
from bot.slack.listeners.payloads import (
    Asker,
    Body,
    asker_of,
    delivery_key,
    first_action,
    meta_of,
    part,
    read_app,
    word,
    write_meta,
)
from bot.slack.listeners.targets import Target
from bot.slack.render.blocks import Json
from bot.slack.render.form import (
    APP_BLOCK,
    CHOICE,
    LONGEST_VALUE,
    REF_BLOCK,
    SERVER_BLOCK,
    FormValues,
    app_options,
    block_ids,
    deploy_form,
    missing_words,
    read_form,
    ref_options,
    with_facts,
    with_values,
)

AT_ONCE_S = 0.3
"""What is known this soon is in the form from the start, so that it does not change while someone
fills it in. The trigger is valid for 3 seconds, some of which have passed."""
NOTHING_FOUND = "I found no app in this message. Choose what to deploy."
WHERE_FROM_HOME = (
    "The deployment's message goes to the channel where the app was deployed last, else to you."
)
HOME = "yes"
LONGEST_CHOICES = 2_000
"""Characters of the choices that a form keeps; Slack accepts 3,000 for everything it keeps."""
LONGEST_URL = 300
"""Characters of a response URL that a form keeps; Slack's have about 80."""

log = structlog.get_logger(__name__)

Guess = Callable[[Sequence[AppPolicy]], Awaitable[Sequence[Target]]]
"""(known apps): what to prefill the form with, the likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a form is filled with."""

    apps: Mapping[str, Sequence[str]]
    targets: Sequence[Target]


async def open_form(
    desk: Desk, asker: Asker, *, guess: Guess | None = None, from_home: bool = False
) -> None:
    """Open the form; its deployment is posted where the person is. `guess`: from a message.

    `from_home`: it is posted where the app was deployed last, to the person if nowhere.
    """
    trigger = Trigger.FORM if guess is None else Trigger.MESSAGE_ACTION
    meta = {
        "channel": asker.dm if from_home else asker.channel,
        "trigger": str(trigger),
        "home": HOME if from_home else "",
    }
    if asker.response_url and len(asker.response_url) <= LONGEST_URL:
        # Slack sends no response URL with a submission.
        meta["url"] = asker.response_url
    looking = asyncio.ensure_future(_look_up(desk, guess))
    done, _ = await asyncio.wait({looking}, timeout=AT_ONCE_S)
    if done:
        view, values = _filled(desk, looking.result(), meta, guess)
        opened = await desk.client.open_view(asker.trigger_id, view)
    else:
        waiting = deploy_form(apps={}, servers=(), metadata=write_meta(**meta), ready=False)
        try:
            opened = await desk.client.open_view(asker.trigger_id, waiting)
        except SlackError:
            looking.cancel()
            raise
        view, values = _filled(desk, await looking, meta, guess)
        shown = await desk.show_view(opened.id, view, view_hash=opened.hash)
        if shown is None:
            return
        opened = shown
    await _show_facts(desk, opened, view, values)


async def _look_up(desk: Desk, guess: Guess | None) -> _Known:
    """What to fill in; if it cannot be read now, people can type it."""
    try:
        apps = await desk.queries.known_apps()
        targets = () if guess is None else await guess(apps)
    except BotError as error:
        log.warning("form_not_prefilled", error=type(error).__name__)
        return _Known(apps={}, targets=())
    return _Known(apps=_by_app(apps), targets=targets)


def _by_app(policies: Sequence[AppPolicy]) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for policy in policies:
        found.setdefault(policy.app, []).append(policy.server)
    return found


def _filled(
    desk: Desk, known: _Known, meta: Mapping[str, str], guess: Guess | None
) -> tuple[Json, FormValues]:
    found = [FormValues(app=one.app, ref=one.ref, server=one.server) for one in known.targets]
    values = found[0] if found else FormValues()
    choices = _that_fit(found)
    written = json.dumps([[one.app, one.ref, one.server] for one in choices])
    view = deploy_form(
        apps=known.apps,
        servers=desk.queries.servers.names(),
        metadata=write_meta(
            **meta,
            app=values.app,
            server=values.server,
            choices=written if len(choices) > 1 else None,
        ),
        prefill=values,
        choices=choices,
        facts=(missing_words(values.app),) if values.app else (),
        note=_note(meta, values, guess),
    )
    return view, values


def _note(meta: Mapping[str, str], values: FormValues, guess: Guess | None) -> str | None:
    if meta.get("home"):
        return WHERE_FROM_HOME
    return NOTHING_FOUND if guess is not None and values.app is None else None


def _that_fit(found: Sequence[FormValues]) -> Sequence[FormValues]:
    """Those that a form can keep and offer."""
    kept: list[FormValues] = []
    size = 0
    for one in found:
        size += sum(len(value) + 6 for value in (one.app, one.ref, one.server) if value)
        if size > LONGEST_CHOICES:
            break
        if len(one.ref or "") <= LONGEST_VALUE and len(one.app or "") <= LONGEST_VALUE:
            kept.append(one)
    return kept


async def _show_facts(desk: Desk, opened: OpenView, view: Json, values: FormValues) -> None:
    """Below the fields: what is live, runs and waits. Meanwhile the app's refs are listed too."""
    if values.app is None:
        return
    desk.queries.warm_refs(values.app, values.server)
    facts = await read_facts(desk, values.app, values.server)
    metadata = view["private_metadata"]
    await desk.show_view(
        opened.id, with_facts(view, facts, metadata=metadata), view_hash=opened.hash
    )


async def on_form_change(desk: Desk, body: Body) -> None:
    """Someone chose an app, or another reading of the message."""
    await desk.admit(asker_of(body))
    view, action = part(body, "view"), first_action(body)
    view_id, turn = word(view, "id"), word(action, "action_ts")
    meta = meta_of(body)
    async with desk.repeats.hold(view_id):
        if not desk.turns.is_newest(view_id, turn):
            return
        if word(action, "action_id") == CHOICE:
            values = _chosen(meta, word(part(action, "selected_option"), "value"))
            generation = int(meta.get("generation", "0")) + 1
            meta |= {"generation": str(generation)}
            changed = with_values(view, values, generation=generation)
        else:
            values = read_form(view)
            changed = with_facts(view, (), metadata="")
        meta = {key: one for key, one in meta.items() if key not in {"app", "server"}}
        metadata = write_meta(**meta, app=values.app, server=values.server)
        facts = (missing_words(values.app),) if values.app else ()
        changed = with_facts(changed, facts, metadata=metadata)
        # Without a hash: whoever acted last decides, whatever a look-up showed in the meantime.
        shown = await desk.show_view(view_id, changed)
    if shown is not None:
        await _show_facts(desk, shown, changed, values)


def _chosen(meta: Mapping[str, str], place: str) -> FormValues:
    try:
        app, ref, server = json.loads(meta.get("choices", "[]"))[int(place)]
    except (ValueError, IndexError, TypeError):
        return FormValues()
    return FormValues(app=app, ref=ref, server=server)


async def form_options(desk: Desk, body: Body) -> list[Json]:
    """What a searched field offers for the text typed so far; Slack waits 3 seconds for it."""
    # Not `Desk.admit`: it is asked at each key, and changes nothing.
    await desk.service.access.admit(asker_of(body).actor)
    typed = word(body, "value").strip()
    if word(body, "action_id") == APP_BLOCK:
        return app_options({one.app for one in await desk.queries.known_apps()}, typed)
    meta = meta_of(body)
    values = read_form(part(body, "view"))
    app, server = values.app or meta.get("app"), values.server or meta.get("server")
    names: Sequence[tuple[str, str]] = ()
    if app is not None:
        try:
            async with asyncio.timeout(desk.limits.options_s):
                names = await desk.queries.ref_names(app, server)
        except (BotError, TimeoutError) as error:
            # What was typed can always be chosen.
            log.info("refs_not_listed", app=app, error=type(error).__name__)
    return ref_options(names, typed)


async def check_form(desk: Desk, body: Body) -> dict[str, str]:
    """Mistakes in a submitted form, by block. What only a server knows is checked later."""
    view = part(body, "view")
    values = read_form(view)
    if desk.stopping():
        # At a field, so that the form stays open with what was filled in.
        return {block_ids(view).get(APP_BLOCK, APP_BLOCK): STOPPING}
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
        errors |= _check_policy(desk, app, values.server)
    if app and not errors.keys() & {APP_BLOCK, SERVER_BLOCK}:
        ref = None if REF_BLOCK in errors else values.ref
        try:
            async with asyncio.timeout(desk.limits.form_check_s):
                errors |= await _check_existence(desk, app, values.server, ref)
        except (TimeoutError, BotError) as error:
            log.info("form_not_checked_in_time", error=type(error).__name__)
    now = block_ids(view)
    return {now.get(field, field): sentence for field, sentence in errors.items()}


def _check_policy(desk: Desk, app: str, server: str | None) -> dict[str, str]:
    """A mistake about app and server that the settings show."""
    try:
        desk.queries.catalog.policy(app, server)
    except Declined as declined:
        # The form has no field for the server where there is one server only.
        servers = desk.queries.servers.names()
        about_server = len(servers) > 1 and (server or _is_deployable(desk, app, servers[0]))
        return {SERVER_BLOCK if about_server else APP_BLOCK: _plain(declined)}
    return {}


async def _check_existence(
    desk: Desk, app: str, server: str | None, ref: str | None
) -> dict[str, str]:
    """An app that its server does not have, or a ref that its repository does not have."""
    policy = desk.queries.catalog.policy(app, server)
    known = await desk.queries.known_apps()
    names = {one.app for one in known if one.server == policy.server}
    if names and policy.app not in names:
        near = did_you_mean(app, names)
        where = f" on {policy.server}" if desk.names_server else ""
        return {APP_BLOCK: f"There is no app {app}{where}.{near}".replace("`", "")}
    if ref is None or not await desk.queries.is_missing(ref, app, server):
        return {}
    refs: Sequence[str] = ()
    with contextlib.suppress(TimeoutError):  # the mistake is known; what it may mean can be missing
        async with asyncio.timeout(AT_ONCE_S):
            refs = near_refs(ref, [name for name, _ in await desk.queries.ref_names(app, server)])
    more = f" Did you mean {' or '.join(refs)}?" if refs else ""
    return {REF_BLOCK: f"The repository of {app} has no branch or tag {ref}.{more}"}


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
    values, meta = read_form(part(body, "view")), meta_of(body)
    from_message = meta.get("trigger") == Trigger.MESSAGE_ACTION
    app, channel = read_app(values.app or ""), asker.channel
    if meta.get("home"):
        newest = await desk.queries.history(app, server=values.server, limit=1)
        channel = channel_near(newest[0], channel) if newest else channel
    new = await desk.service.request(
        Request(
            app=app,
            ref=values.ref,
            server=values.server,
            actor=asker.actor,
            trigger=Trigger.MESSAGE_ACTION if from_message else Trigger.FORM,
            request_key=delivery_key(body),
            channel=channel,
        )
    )
    if new is not None and new.channel != asker.channel:
        await desk.answers(asker).say(started_answer(new, name_server=desk.names_server))
