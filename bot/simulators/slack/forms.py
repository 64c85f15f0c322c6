"""What a person fills into a view, in the shape of `view.state.values`."""

from collections.abc import Mapping
from typing import Any

from bot.simulators.slack.errors import NotPossible
from bot.simulators.slack.model import Json, interactive_elements

_INPUTS = {"plain_text_input", "static_select", "checkboxes", "radio_buttons"}


def initial_values(blocks: list[Json]) -> Json:
    """The state of a view that nobody has touched."""
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
    """The state after a person has filled in some fields.

    `filled` maps an action id (or a block id) to a text, an option's value, or a list of options'
    values for checkboxes; None empties the field.

    Raises: NotPossible for a field or an option that is not there.
    """
    state = {block_id: dict(actions) for block_id, actions in values.items()}
    for name, content in filled.items():
        block, element = _field(blocks, name)
        state[block["block_id"]][element["action_id"]] = _value(element, content)
    return state


def _field(blocks: list[Json], name: str) -> tuple[Json, Json]:
    found = [
        (block, element)
        for block, element in interactive_elements(blocks)
        if element["type"] in _INPUTS and name in {element["action_id"], block["block_id"]}
    ]
    if len(found) != 1:
        names = [element["action_id"] for _, element in interactive_elements(blocks)]
        raise NotPossible(f"{len(found)} fields are called {name!r}; the view has {names}")
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


def _option(element: Json, value: str) -> Json:
    options: list[Json] = [*element.get("options", ())]
    for group in element.get("option_groups", ()):
        options += group["options"]
    for option in options:
        if option["value"] == value:
            return option
    offered = [option["value"] for option in options]
    raise NotPossible(f"{element['action_id']} offers {offered}, not {value!r}")


def missing_inputs(blocks: list[Json], values: Json) -> dict[str, str]:
    """What the Slack client itself says against a submission, by block id."""
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
    """What a `block_actions` payload says of the element beyond its ids."""
    if element["type"] == "button":
        said: Json = {"type": "button", "text": element["text"]}
        for key in ("value", "style", "url", "confirm"):
            if key in element:
                said[key] = element[key]
        return said
    return _value(element, content)
