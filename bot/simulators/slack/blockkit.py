"""The modelled part of Block Kit: tables of blocks, elements and limits.

Sources: docs.slack.dev/reference/block-kit (blocks, elements, composition objects) and
docs.slack.dev/reference/views. What is not in the tables is refused, even if Slack would
allow it: a bot that needs more gets a clear error, and this file another row.
"""

from typing import Any

from bot.simulators.slack.schema import (
    Check,
    Problems,
    also,
    array,
    boolean,
    complain,
    integer,
    matching,
    one_of,
    shape,
    string,
    typed,
)

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100

_URL = matching(r"https?://\S+", "a valid URL", most=3000)
_ID = string(most=255)


def _plain(most: int) -> Check:
    return typed(
        {"plain_text": shape({"text": string(most=most), "emoji": boolean}, required=("text",))}
    )


def _text(most: int) -> Check:
    return typed(
        {
            "plain_text": shape({"text": string(most=most), "emoji": boolean}, required=("text",)),
            "mrkdwn": shape({"text": string(most=most), "verbatim": boolean}, required=("text",)),
        }
    )


_CONFIRM = shape(
    {
        "title": _plain(100),
        "text": _text(300),
        "confirm": _plain(30),
        "deny": _plain(30),
        "style": one_of("primary", "danger"),
    },
    required=("title", "text", "confirm", "deny"),
)
_OPTION = shape(
    {"text": _text(75), "value": string(most=150), "description": _text(75)},
    required=("text", "value"),
)
_PLAIN_OPTION = shape(
    {"text": _plain(75), "value": string(most=150), "description": _plain(75)},
    required=("text", "value"),
)
_OPTION_GROUP = shape(
    {"label": _plain(75), "options": array(_PLAIN_OPTION, most=100)}, required=("label", "options")
)


def _options_or_groups(value: Any, pointer: str, problems: Problems) -> None:
    if isinstance(value, dict) and ("options" in value) == ("option_groups" in value):
        complain(problems, "must have either options or option_groups", pointer)


def _initial_is_an_option(value: Any, pointer: str, problems: Problems) -> None:
    if not isinstance(value, dict):
        return
    options = [*value.get("options", ())]
    for group in value.get("option_groups", ()):
        options += group.get("options", ()) if isinstance(group, dict) else ()
    wanted = [*value.get("initial_options", ())]
    if "initial_option" in value:
        wanted.append(value["initial_option"])
    if any(option not in options for option in wanted):
        complain(problems, "initial option must exactly match one of the options", pointer)


BUTTON = shape(
    {
        "text": _plain(75),
        "action_id": _ID,
        "url": _URL,
        "value": string(most=2000),
        "style": one_of("primary", "danger"),
        "confirm": _CONFIRM,
        "accessibility_label": string(most=75),
    },
    required=("text",),
)
STATIC_SELECT = also(
    shape(
        {
            "action_id": _ID,
            "options": array(_PLAIN_OPTION, most=100),
            "option_groups": array(_OPTION_GROUP, most=100),
            "initial_option": _PLAIN_OPTION,
            "placeholder": _plain(150),
            "confirm": _CONFIRM,
        }
    ),
    _options_or_groups,
    _initial_is_an_option,
)
EXTERNAL_SELECT = shape(
    {
        "action_id": _ID,
        "initial_option": _PLAIN_OPTION,
        "min_query_length": integer(least=0, most=255),
        "placeholder": _plain(150),
        "confirm": _CONFIRM,
    }
)
CHECKBOXES = also(
    shape(
        {
            "action_id": _ID,
            "options": array(_OPTION, most=10),
            "initial_options": array(_OPTION, most=10),
            "confirm": _CONFIRM,
        },
        required=("options",),
    ),
    _initial_is_an_option,
)
RADIO_BUTTONS = also(
    shape(
        {
            "action_id": _ID,
            "options": array(_OPTION, most=10),
            "initial_option": _OPTION,
            "confirm": _CONFIRM,
        },
        required=("options",),
    ),
    _initial_is_an_option,
)
PLAIN_TEXT_INPUT = shape(
    {
        "action_id": _ID,
        "initial_value": string(most=3000, least=0),
        "multiline": boolean,
        "min_length": integer(least=0, most=3000),
        "max_length": integer(least=1, most=3000),
        "placeholder": _plain(150),
    }
)

_STYLE = shape(
    {
        "bold": boolean,
        "italic": boolean,
        "strike": boolean,
        "underline": boolean,
        "code": boolean,
    }
)
_TEXT_PART = shape({"text": string(most=12_000), "style": _STYLE}, required=("text",))
_LINK_PART = shape(
    {"url": _URL, "text": string(most=12_000), "unsafe": boolean, "style": _STYLE},
    required=("url",),
)
_PARTS = {
    "text": _TEXT_PART,
    "link": _LINK_PART,
    "user": shape(
        {"user_id": matching("[UW][A-Z0-9]+", "a user id", most=30), "style": _STYLE},
        required=("user_id",),
    ),
    "usergroup": shape(
        {"usergroup_id": matching("S[A-Z0-9]+", "a user group id", most=30), "style": _STYLE},
        required=("usergroup_id",),
    ),
    "channel": shape(
        {"channel_id": matching("[CDG][A-Z0-9]+", "a channel id", most=30), "style": _STYLE},
        required=("channel_id",),
    ),
    "emoji": shape(
        {"name": string(most=100), "unicode": string(most=100), "style": _STYLE},
        required=("name",),
    ),
    "broadcast": shape(
        {"range": one_of("here", "channel", "everyone"), "style": _STYLE}, required=("range",)
    ),
    "date": shape(
        {
            "timestamp": integer(least=1, most=2**40),
            "format": string(most=500),
            "url": _URL,
            "fallback": string(most=500),
            "style": _STYLE,
        },
        required=("timestamp", "format"),
    ),
}
_INLINE = array(typed(_PARTS), most=1000, least=0)
_SECTION = shape({"elements": _INLINE}, required=("elements",))
_BORDER = integer(least=0, most=1)
_RICH_ELEMENTS = {
    "rich_text_section": _SECTION,
    "rich_text_quote": shape({"elements": _INLINE, "border": _BORDER}, required=("elements",)),
    # Only text and links are literal; anything else inside is refused by Slack.
    "rich_text_preformatted": shape(
        {
            "elements": array(typed({"text": _TEXT_PART, "link": _LINK_PART}), most=1000),
            "border": _BORDER,
        },
        required=("elements",),
    ),
    "rich_text_list": shape(
        {
            "elements": array(typed({"rich_text_section": _SECTION}), most=1000),
            "style": one_of("bullet", "ordered"),
            "indent": integer(least=0, most=8),
            "offset": integer(least=0, most=10_000),
            "border": _BORDER,
        },
        required=("elements", "style"),
    ),
}


def _section_has_text(value: Any, pointer: str, problems: Problems) -> None:
    if isinstance(value, dict) and "text" not in value and "fields" not in value:
        complain(problems, "missing required field: text", pointer)


_SELECTS = {
    "static_select": STATIC_SELECT,
    "external_select": EXTERNAL_SELECT,
    "checkboxes": CHECKBOXES,
    "radio_buttons": RADIO_BUTTONS,
}
_EVERYWHERE = {
    "section": also(
        shape(
            {
                "block_id": _ID,
                "text": _text(3000),
                "fields": array(_text(2000), most=10),
                "accessory": typed({"button": BUTTON, **_SELECTS}),
                "expand": boolean,
            }
        ),
        _section_has_text,
    ),
    "header": shape({"block_id": _ID, "text": _plain(150)}, required=("text",)),
    "divider": shape({"block_id": _ID}),
    "context": shape(
        {"block_id": _ID, "elements": array(_text(3000), most=10)}, required=("elements",)
    ),
    "actions": shape(
        {"block_id": _ID, "elements": array(typed({"button": BUTTON, **_SELECTS}), most=25)},
        required=("elements",),
    ),
    "rich_text": shape(
        {"block_id": _ID, "elements": array(typed(_RICH_ELEMENTS), most=1000)},
        required=("elements",),
    ),
}
_INPUT = shape(
    {
        "block_id": _ID,
        "label": _plain(2000),
        "hint": _plain(2000),
        "optional": boolean,
        "dispatch_action": boolean,
        "element": typed({"plain_text_input": PLAIN_TEXT_INPUT, **_SELECTS}),
    },
    required=("label", "element"),
)

external_options: Check = also(
    shape(
        {
            "options": array(_PLAIN_OPTION, most=100, least=0),
            "option_groups": array(_OPTION_GROUP, most=100, least=0),
        }
    ),
    _options_or_groups,
)
"""The answer to `block_suggestion`."""
message_blocks: Check = array(typed(_EVERYWHERE), most=MESSAGE_BLOCKS, least=0)
view_blocks: Check = array(typed({**_EVERYWHERE, "input": _INPUT}), most=VIEW_BLOCKS, least=0)


def _input_needs_submit(value: Any, pointer: str, problems: Problems) -> None:
    blocks = value.get("blocks") if isinstance(value, dict) else None
    if (
        isinstance(blocks, list)
        and any(isinstance(block, dict) and block.get("type") == "input" for block in blocks)
        and "submit" not in value
    ):
        complain(problems, "missing required field: submit", pointer)


_VIEW = {
    "blocks": view_blocks,
    "private_metadata": string(most=3000, least=0),
    "callback_id": string(most=255, least=0),
    "external_id": string(most=255, least=0),
}
view: Check = typed(
    {
        "modal": also(
            shape(
                {
                    **_VIEW,
                    "title": _plain(24),
                    "submit": _plain(24),
                    "close": _plain(24),
                    "clear_on_close": boolean,
                    "notify_on_close": boolean,
                },
                required=("title", "blocks"),
            ),
            _input_needs_submit,
        ),
        "home": shape(_VIEW, required=("blocks",)),
    }
)
