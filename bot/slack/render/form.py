"""The form that starts a deployment: app, ref and, if there are several, the server. Pure.

Slack keeps what was typed as long as a block's id and its element's action id stay. So a form that
is updated keeps its ids, and one that is filled with another choice gets new ones (`generation`).
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.deployments.refs import near_refs
from bot.names import is_ref
from bot.slack.render import blocks as kit
from bot.slack.render.blocks import Json
from bot.slack.render.text import code, cut, inert, one_line

FORM = "deploy_form"
"""The view's callback id."""
APP_BLOCK, REF_BLOCK, SERVER_BLOCK = "app", "ref", "server"
"""The block ids of the first generation, and the action ids of all; errors are shown at them."""
CHOICE = "form_choice"
"""Block and action id of the choice between several readings of a message."""
FACTS = "facts"
MOST_OPTIONS = 100
LONGEST_LABEL = 75
LONGEST_VALUE = 150
"""Slack's limits of an option."""
LONGEST_INPUT = 255
"""The limit of Dokku and of the bot for names and refs."""
LONGEST_FACTS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FormValues:
    """What was chosen or typed; None: empty."""

    app: str | None = None
    ref: str | None = None
    server: str | None = None


_EMPTY = FormValues()


def deploy_form(
    *,
    apps: Mapping[str, Sequence[str]],
    servers: Sequence[str],
    metadata: str,
    prefill: FormValues = _EMPTY,
    choices: Sequence[FormValues] = (),
    facts: Sequence[str] = (),
    note: str | None = None,
    ready: bool = True,
) -> Json:
    """The modal.

    `apps` (app -> its servers) become a list that can be searched, or a text field if none is
    known. Slack keeps `metadata` (private_metadata). `choices`: several readings of a message, of
    which `prefill` is one. `facts` (mrkdwn) are shown below the fields, `note` is a sentence above
    them. `ready=False`: a form without fields, shown until the apps are known.
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
    if len(choices) > 1:
        view["blocks"].append(_choices(choices, prefill))
    app = _input(APP_BLOCK, "App", _app_element(apps, len(servers) > 1, prefill.app))
    # Choosing an app shows at once what is live there.
    app["dispatch_action"] = app["element"]["type"] != "plain_text_input"
    view["blocks"] += [
        app,
        _input(REF_BLOCK, "Branch, tag or commit", _ref_element(prefill.ref), optional=True),
    ]
    if len(servers) > 1:
        element = _server_element(servers, prefill.server)
        view["blocks"].append(_input(SERVER_BLOCK, "Server", element, optional=True))
    view["submit"] = kit.plain("Deploy")
    return with_facts(view, facts, metadata=metadata)


def with_facts(view: Mapping[str, Any], facts: Sequence[str], *, metadata: str) -> Json:
    """The same form with other facts below its fields; what was typed stays."""
    kept = ("type", "callback_id", "title", "submit", "close")
    made: Json = {key: copy.deepcopy(view[key]) for key in kept if view.get(key)}
    made["private_metadata"] = metadata
    made["blocks"] = [
        copy.deepcopy(block) for block in view["blocks"] if block.get("block_id") != FACTS
    ]
    text = "\n".join(facts)
    if text:
        made["blocks"].append({**kit.context(cut_lines(text)), "block_id": FACTS})
    return made


def cut_lines(text: str) -> str:
    """Whole lines, up to Slack's limit of a text: half a line might end inside a mark."""
    kept = ""
    for line in text.split("\n"):
        if len(kept) + len(line) >= LONGEST_FACTS:
            break
        kept += f"\n{line}" if kept else line
    return kept or "-"


def with_values(view: Mapping[str, Any], values: FormValues, *, generation: int) -> Json:
    """The same form filled with other values, under new block ids: Slack shows them only so."""
    made = with_facts(view, (), metadata=str(view.get("private_metadata", "")))
    given = {APP_BLOCK: values.app, REF_BLOCK: values.ref, SERVER_BLOCK: values.server}
    for block in made["blocks"]:
        field = field_of(block.get("block_id", ""))
        if field not in given or block.get("type") != "input":
            continue
        block["block_id"] = f"{field}-{generation}"
        block["element"] = _refilled(block["element"], field, given[field])
    return made


def field_of(block_id: str) -> str:
    """`app` for `app` and `app-2`."""
    return block_id.partition("-")[0]


def read_form(view: Mapping[str, Any]) -> FormValues:
    """The values of a form (`view` of a submission, or of an action in it)."""
    state = view.get("state")
    values = state.get("values") if isinstance(state, Mapping) else None
    fields: dict[str, str | None] = {}
    for block_id, block in values.items() if isinstance(values, Mapping) else ():
        field = field_of(str(block_id))
        fields[field] = _value(block, field)
    return FormValues(
        app=fields.get(APP_BLOCK), ref=fields.get(REF_BLOCK), server=fields.get(SERVER_BLOCK)
    )


def _value(block: Any, action_id: str) -> str | None:
    element = block.get(action_id) if isinstance(block, Mapping) else None
    if not isinstance(element, Mapping):
        return None
    option = element.get("selected_option")
    value = option.get("value") if isinstance(option, Mapping) else element.get("value")
    return (value.strip() or None) if isinstance(value, str) else None


def block_ids(view: Mapping[str, Any]) -> Mapping[str, str]:
    """Field -> the block id that it has now."""
    found = (str(block.get("block_id", "")) for block in view.get("blocks", ()))
    return {field_of(block_id): block_id for block_id in found}


def app_options(apps: Iterable[str], typed: str) -> list[Json]:
    """The apps that contain what was typed, those that begin with it first."""
    return [_option(name) for name in _matching(apps, typed.lower()) if _fits(name)][:MOST_OPTIONS]


def ref_options(names: Iterable[tuple[str, str]], typed: str) -> list[Json]:
    """(name, kind) of branches and tags, in their order; and always what was typed, as it is.

    Where none contains what was typed, those that are spelled alike. Mistakes are shown at the
    field when the form is submitted.
    """
    kinds = dict(names)
    matching = _matching(kinds, typed) or near_refs(typed, kinds)
    found = [name for name in matching if _fits(name) and is_ref(name)]
    options = [_option(name, kinds[name]) for name in found]
    if typed in kinds or not _fits(typed):
        return options[:MOST_OPTIONS]
    return [*options[: MOST_OPTIONS - 1], _option(typed, "as typed")]


def _matching(names: Iterable[str], typed: str) -> list[str]:
    found = [name for name in names if typed.lower() in name.lower()]
    return sorted(found, key=lambda name: not name.lower().startswith(typed.lower()))


def _fits(value: str) -> bool:
    return 0 < len(value) <= LONGEST_VALUE


def _label(text: str) -> str:
    """Slack counts code points, `cut` counts columns: combining characters take no column."""
    return cut(one_line(text), LONGEST_LABEL - 1)[:LONGEST_LABEL] or "-"


def _option(name: str, description: str | None = None) -> Json:
    option: Json = {
        "text": kit.plain(_label(name)),
        "value": name,
    }
    if description is not None:
        option["description"] = kit.plain(description)
    return option


def _app_element(apps: Mapping[str, Sequence[str]], grouped: bool, chosen: str | None) -> Json:
    names = sorted(name for name in apps if _fits(name))
    if not names or (chosen is not None and not _fits(chosen)):
        return _typed(APP_BLOCK, chosen, placeholder="myapp")
    if len(names) > MOST_OPTIONS or (chosen is not None and chosen not in apps):
        return _searched(APP_BLOCK, chosen, placeholder="Choose an app")
    element: Json = {
        "type": "static_select",
        "action_id": APP_BLOCK,
        "placeholder": kit.plain("Choose an app"),
    }
    if grouped:
        groups: dict[str, list[Json]] = {}
        for name in names:
            groups.setdefault(", ".join(apps[name]) or "-", []).append(_option(name))
        element["option_groups"] = [
            {"label": kit.plain(_label(label)), "options": options}
            for label, options in sorted(groups.items())
        ]
    else:
        element["options"] = [_option(name) for name in names]
    if chosen is not None:
        element["initial_option"] = _option(chosen)
    return element


def _ref_element(chosen: str | None) -> Json:
    if chosen is not None and not _fits(chosen):
        return _typed(REF_BLOCK, chosen, placeholder="the app's default")
    return _searched(REF_BLOCK, chosen, placeholder="the app's default")


def _server_element(servers: Sequence[str], chosen: str | None) -> Json:
    element: Json = {
        "type": "static_select",
        "action_id": SERVER_BLOCK,
        "placeholder": kit.plain("the app's own server"),
        "options": [_option(name) for name in servers[:MOST_OPTIONS]],
    }
    if chosen in servers[:MOST_OPTIONS] and chosen is not None:
        element["initial_option"] = _option(chosen)
    return element


def _refilled(element: Mapping[str, Any], field: str, value: str | None) -> Json:
    made = {key: one for key, one in element.items() if not key.startswith("initial_")}
    if value is None:
        return made
    if made["type"] == "plain_text_input":
        return made | ({"initial_value": value} if len(value) <= LONGEST_INPUT else {})
    options = [*made.get("options", ())]
    for group in made.get("option_groups", ()):
        options += group["options"]
    if made["type"] == "external_select":
        return made | ({"initial_option": _option(value)} if _fits(value) else {})
    same = next((one for one in options if one.get("value") == value), None)
    if same is not None:
        return made | {"initial_option": same}
    return _searched(field, value, placeholder="Choose an app") if field == APP_BLOCK else made


def _choices(choices: Sequence[FormValues], chosen: FormValues) -> Json:
    options = [
        {
            "text": kit.plain(_label(_choice_words(one))),
            "value": str(place),
        }
        for place, one in enumerate(choices)
    ]
    element: Json = {
        "type": "static_select",
        "action_id": CHOICE,
        "placeholder": kit.plain("Choose what to deploy"),
        "options": options,
    }
    if chosen in choices:
        element["initial_option"] = options[choices.index(chosen)]
    return {
        "type": "section",
        "block_id": CHOICE,
        "text": kit.plain(f"The message names {len(choices)} things to deploy:"),
        "accessory": element,
    }


def _choice_words(one: FormValues) -> str:
    return f"{one.app or 'app?'} · {one.ref or 'default branch'}"


def _searched(action_id: str, value: str | None, *, placeholder: str) -> Json:
    """A list that Slack asks the bot for while someone types."""
    element: Json = {
        "type": "external_select",
        "action_id": action_id,
        "placeholder": kit.plain(placeholder),
        "min_query_length": 0,
    }
    if value is not None and _fits(value):
        element["initial_option"] = _option(value)
    return element


def _typed(action_id: str, value: str | None, *, placeholder: str) -> Json:
    element: Json = {
        "type": "plain_text_input",
        "action_id": action_id,
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


def server_words(server: str, *, several: bool) -> str:
    """`*production*: ` in front of a fact, where there are several servers."""
    return f"*{inert(server, 60)}*: " if several else ""


def missing_words(app: str) -> str:
    """The fact shown while the app's state is being read."""
    return f"Looking up what is live for {code(app)} …"
