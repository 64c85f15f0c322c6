"""What people type and fill in, in the form that apps receive it."""

import html
import re
from collections.abc import Mapping
from typing import Any, Literal

from bot.simulators.slack.model import Json, NotPossible, interactive_elements
from bot.simulators.slack.workspace import Workspace

_INPUTS = {"plain_text_input", "external_select", "static_select", "checkboxes", "radio_buttons"}
_PIECES = re.compile(
    r"(?P<done><(?:[@#!][^<>\s]+|https?://[^<>\s]+)>)"
    r"|(?P<url>https?://[^\s<>|]+[^\s<>|.,;:!?)'\"])"
    r"|(?P<user>(?<!\w)@[a-z0-9._-]*[a-z0-9])"
    r"|(?P<channel>(?<!\w)#[a-z0-9_-]+)"
)


def as_text(workspace: Workspace, typed: str, *, style: Literal["message", "command"]) -> str:
    """Convert typed text as Slack does: escape `& < >`, turn `@name` and links into tokens.

    Messages get `<@U1>`, commands with `should_escape` get `<@U1|ada>`. Existing tokens
    (`<@U1>`) stay.
    """
    with_names = style == "command"
    parts: list[str] = []
    end = 0
    for match in _PIECES.finditer(typed):
        parts += [_escape(typed[end : match.start()]), _token(workspace, match, with_names)]
        end = match.end()
    return "".join([*parts, _escape(typed[end:])])


def _token(workspace: Workspace, match: re.Match[str], with_names: bool) -> str:
    piece = match.group()
    match match.lastgroup:
        case "done":
            return piece
        case "url":
            return f"<{_escape(piece)}>"
        case "user":
            for user in workspace.users.values():
                if user.name == piece[1:]:
                    return f"<@{user.id}|{user.name}>" if with_names else f"<@{user.id}>"
        case _:
            for channel in workspace.channels.values():
                if channel.name == piece[1:] and channel.kind != "im":
                    return f"<#{channel.id}|{channel.name}>"
    return _escape(piece)


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def initial_values(blocks: list[Json]) -> Json:
    """Return the state of a view before any input."""
    values: Json = {}
    for block, element in interactive_elements(blocks):
        if element["type"] in _INPUTS:
            values.setdefault(block["block_id"], {})[element["action_id"]] = _initial(element)
    return values


def _initial(element: Json) -> Json:
    match element["type"]:
        case "plain_text_input":
            return {"type": element["type"], "value": element.get("initial_value") or None}
        case "checkboxes":
            return {
                "type": element["type"],
                "selected_options": element.get("initial_options", []),
            }
        case _:
            return {"type": element["type"], "selected_option": element.get("initial_option")}


def fill(blocks: list[Json], values: Json, filled: Mapping[str, Any]) -> Json:
    """Return the state after a user has filled in some fields.

    `filled` maps an action id (or a block id) to a text, an option's value, or a list of options'
    values for checkboxes; None clears the field.

    Raises NotPossible if the field or option does not exist.
    """
    state = {block_id: dict(actions) for block_id, actions in values.items()}
    for name, content in filled.items():
        block, element = field(blocks, name)
        state[block["block_id"]][element["action_id"]] = _value(element, content)
    return state


def field(blocks: list[Json], name: str) -> tuple[Json, Json]:
    """The one block and element with this action or block id. NotPossible."""
    found = [
        (block, element)
        for block, element in interactive_elements(blocks)
        if element["type"] in _INPUTS and name in {element["action_id"], block["block_id"]}
    ]
    if len(found) != 1:
        names = [element["action_id"] for _, element in interactive_elements(blocks)]
        raise NotPossible(f"{len(found)} fields are named {name!r}; the view has {names}")
    return found[0]


def _value(element: Json, content: Any) -> Json:
    match element["type"]:
        case "plain_text_input":
            return {"type": element["type"], "value": content or None}
        case "checkboxes":
            return {
                "type": element["type"],
                "selected_options": [_option(element, value) for value in content or ()],
            }
        case _:
            chosen = None if content is None else _option(element, content)
            return {"type": element["type"], "selected_option": chosen}


def _option(element: Json, value: Any) -> Json:
    if element["type"] == "external_select":
        if not isinstance(value, dict):
            raise NotPossible(f"{element['action_id']} takes an option that the app has offered")
        return value
    options: list[Json] = [*element.get("options", ())]
    for group in element.get("option_groups", ()):
        options += group["options"]
    for option in options:
        if option["value"] == value:
            return option
    offered = [option["value"] for option in options]
    raise NotPossible(f"{element['action_id']} offers {offered}, not {value!r}")


def missing_inputs(blocks: list[Json], values: Json) -> dict[str, str]:
    """Return the errors that the Slack client itself shows on submission, by block id."""
    problems: dict[str, str] = {}
    for block, element in interactive_elements(blocks):
        if block["type"] != "input":
            continue
        value = values[block["block_id"]][element["action_id"]]
        content = value.get("value") or value.get("selected_option")
        content = content or value.get("selected_options")
        if not content:
            if not block.get("optional", False):
                problems[block["block_id"]] = "This field is required"
            continue
        if element["type"] == "plain_text_input":
            least = element.get("min_length", 0)
            most = element.get("max_length", 3000)
            if not least <= len(content) <= most:
                problems[block["block_id"]] = f"Enter between {least} and {most} characters"
    return problems


def action_value(element: Json, content: Any = None) -> Json:
    """Return the part of a `block_actions` payload about the element, without its ids."""
    if element["type"] == "button":
        shown: Json = {"type": "button", "text": element["text"]}
        for key in ("value", "style", "url", "confirm"):
            if key in element:
                shown[key] = element[key]
        return shown
    return _value(element, content)
