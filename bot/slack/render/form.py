"""The form that starts a deployment: app, ref and, if there are several, the server. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.slack.render import blocks as kit
from bot.slack.render.blocks import Json
from bot.slack.render.text import cut, one_line

FORM = "deploy_form"
"""The view's callback id."""
APP_BLOCK, REF_BLOCK, SERVER_BLOCK = "app", "ref", "server"
"""Block ids; errors are shown at these."""
VALUE = "value"
"""Action id of each input."""
MOST_OPTIONS = 100
LONGEST_LABEL = 75
LONGEST_INPUT = 255
"""The limit of Dokku and of the bot for names and refs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormValues:
    """What was chosen or typed; None: empty."""

    app: str | None = None
    ref: str | None = None
    server: str | None = None


_EMPTY = FormValues()


def deploy_form(
    *,
    apps: Sequence[str],
    servers: Sequence[str],
    metadata: str,
    prefill: FormValues = _EMPTY,
    note: str | None = None,
    ready: bool = True,
) -> Json:
    """The modal.

    `apps` become a list, or a text field if they are unknown or too many for Slack to list. Slack
    keeps `metadata` (private_metadata). `note` is a sentence above the fields. `ready=False`: a
    form without fields, shown until the apps are known.
    """
    view: Json = {
        "type": "modal",
        "callback_id": FORM,
        "title": kit.plain("Deploy an app"),
        "close": kit.plain("Close"),
        "private_metadata": metadata,
        "blocks": [],
    }
    if not ready:
        view["blocks"] = [kit.plain_section(note or "Looking up the apps …")]
        return view
    if note:
        view["blocks"].append(kit.plain_section(cut(one_line(note), 500) or "-"))
    view["blocks"] += [
        _input(APP_BLOCK, "App", _app_element(apps, prefill.app)),
        _input(
            REF_BLOCK,
            "Branch, tag or commit",
            _typed(prefill.ref, placeholder="the app's default"),
            optional=True,
        ),
    ]
    if len(servers) > 1:
        element = _choice(servers, prefill.server, placeholder="the app's own server")
        view["blocks"].append(_input(SERVER_BLOCK, "Server", element, optional=True))
    view["submit"] = kit.plain("Deploy")
    return view


def read_form(view: Mapping[str, Any]) -> FormValues:
    """The values of a submitted form (`view` of a view_submission)."""
    state = view.get("state")
    values = state.get("values") if isinstance(state, Mapping) else None
    return FormValues(
        app=_value(values, APP_BLOCK),
        ref=_value(values, REF_BLOCK),
        server=_value(values, SERVER_BLOCK),
    )


def _value(values: Any, block_id: str) -> str | None:
    block = values.get(block_id) if isinstance(values, Mapping) else None
    element = block.get(VALUE) if isinstance(block, Mapping) else None
    if not isinstance(element, Mapping):
        return None
    option = element.get("selected_option")
    value = option.get("value") if isinstance(option, Mapping) else element.get("value")
    return (value.strip() or None) if isinstance(value, str) else None


def _app_element(apps: Sequence[str], chosen: str | None) -> Json:
    names = sorted(set(apps))
    listable = all(0 < len(name) <= LONGEST_LABEL for name in names)
    if 0 < len(names) <= MOST_OPTIONS and listable and (chosen is None or chosen in names):
        return _choice(names, chosen, placeholder="Choose an app")
    return _typed(chosen, placeholder="myapp")


def _choice(names: Sequence[str], chosen: str | None, *, placeholder: str) -> Json:
    options = [
        {"text": kit.plain(cut(one_line(name), LONGEST_LABEL - 1) or "-"), "value": name}
        for name in names[:MOST_OPTIONS]
    ]
    element: Json = {
        "type": "static_select",
        "action_id": VALUE,
        "placeholder": kit.plain(placeholder),
        "options": options,
    }
    for option in options:
        if option["value"] == chosen:
            element["initial_option"] = option
    return element


def _typed(value: str | None, *, placeholder: str) -> Json:
    element: Json = {
        "type": "plain_text_input",
        "action_id": VALUE,
        "max_length": LONGEST_INPUT,
        "placeholder": kit.plain(placeholder),
    }
    if value and len(value) <= LONGEST_INPUT:
        element["initial_value"] = value
    return element


def _input(block_id: str, label: str, element: Json, *, optional: bool = False) -> Json:
    return {
        "type": "input",
        "block_id": block_id,
        "label": kit.plain(label),
        "element": element,
        "optional": optional,
    }
