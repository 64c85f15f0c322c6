from typing import Any

import pytest

from bot.simulators.slack import validation
from bot.simulators.slack.model import ApiError
from bot.simulators.slack.schema import Check, integer, one_of, string


def mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def section(text: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": mrkdwn(text), **more}


def button(**more: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": "go", "text": plain("Go"), **more}


def actions(*elements: Any) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def rich(*elements: Any) -> dict[str, Any]:
    return {"type": "rich_text", "elements": list(elements)}


def preformatted(*elements: Any) -> dict[str, Any]:
    return rich({"type": "rich_text_preformatted", "elements": list(elements)})


CONFIRM = {
    "title": plain("Sure?"),
    "text": mrkdwn("*Really*?"),
    "confirm": plain("Yes"),
    "deny": plain("No"),
    "style": "danger",
}
OPTION = {"text": plain("One"), "value": "1"}
GOOD: list[dict[str, Any]] = [
    section("x" * 3000, block_id="b" * 255),
    section(accessory=button(url="https://example.com/" + "a" * 2900)),
    {"type": "section", "fields": [mrkdwn("f" * 2000)] * 5},
    {"type": "header", "text": plain("h" * 150)},
    {"type": "divider"},
    {"type": "context", "elements": [mrkdwn("c")] * 10},
    actions(*(button(action_id=f"a{n}") for n in range(25))),
    actions(button(text=plain("t" * 75), value="v" * 2000, style="danger", confirm=CONFIRM)),
    actions({"type": "static_select", "action_id": "s", "options": [OPTION] * 100}),
    actions(
        {
            "type": "checkboxes",
            "action_id": "c",
            "options": [OPTION],
            "initial_options": [OPTION],
        },
        {"type": "radio_buttons", "action_id": "r", "options": [OPTION]},
    ),
    preformatted({"type": "text", "text": "log\n```\n<!channel>"}),
    rich(
        {
            "type": "rich_text_section",
            "elements": [
                {"type": "text", "text": "bold", "style": {"bold": True, "code": True}},
                {"type": "user", "user_id": "U01ADA00001"},
                {"type": "usergroup", "usergroup_id": "S01RELEASE0"},
                {"type": "channel", "channel_id": "C01DEPLOYS0"},
                {"type": "link", "url": "https://example.com", "text": "here"},
                {"type": "emoji", "name": "rocket"},
                {"type": "date", "timestamp": 1_700_000_000, "format": "{ago}"},
                {"type": "broadcast", "range": "here"},
            ],
        },
        {"type": "rich_text_quote", "elements": [{"type": "text", "text": "q"}]},
        {
            "type": "rich_text_list",
            "style": "bullet",
            "indent": 1,
            "elements": [
                {"type": "rich_text_section", "elements": [{"type": "text", "text": "item"}]}
            ],
        },
    ),
]


@pytest.mark.parametrize("block", GOOD, ids=lambda block: str(block["type"]))
def test_blocks_at_their_limits_are_accepted(block: dict[str, Any]) -> None:
    stored = validation.check_message_blocks([block])

    assert stored[0]["block_id"]


BAD: list[tuple[dict[str, Any], str]] = [
    (section("x" * 3001), "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
    (section(""), "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
    ({"type": "section"}, "missing required field: text [json-pointer:/blocks/0]"),
    ({"type": "image"}, "unsupported type: image [json-pointer:/blocks/0/type]"),
    ({"text": plain("x")}, "missing required field: type [json-pointer:/blocks/0]"),
    (section(colour="red"), "invalid additional property: colour [json-pointer:/blocks/0]"),
    (section(block_id="b" * 256), "must be less than 256"),
    ({"type": "section", "fields": [mrkdwn("f")] * 11}, "no more than 10 items allowed"),
    ({"type": "section", "fields": [mrkdwn("f" * 2001)]}, "[json-pointer:/blocks/0/fields/0/text]"),
    ({"type": "header", "text": mrkdwn("h")}, "unsupported type: mrkdwn"),
    ({"type": "header", "text": plain("h" * 151)}, "less than 151"),
    ({"type": "context", "elements": [mrkdwn("c")] * 11}, "no more than 10"),
    ({"type": "context", "elements": []}, "no less than 1"),
    (actions(*(button(action_id=f"a{n}") for n in range(26))), "no more than 25"),
    (actions(button(), button()), "`action_id` 'go' already exists"),
    (actions(button(action_id="a" * 256)), "less than 256"),
    (actions(button(text=plain("t" * 76))), "less than 76"),
    (actions(button(text=mrkdwn("t"))), "unsupported type: mrkdwn"),
    (actions(button(value="v" * 2001)), "less than 2001"),
    (actions(button(url="https://e.com/" + "u" * 3000)), "less than 3001"),
    (actions(button(url="javascript:alert(1)")), "must be a valid URL"),
    (actions(button(style="purple")), "must be one of primary, danger"),
    (actions(button(confirm=CONFIRM | {"text": mrkdwn("t" * 301)})), "less than 301"),
    (actions(button(confirm={"title": plain("t")})), "missing required field: deny"),
    (
        actions({"type": "static_select", "action_id": "s", "options": [OPTION] * 101}),
        "no more than 100",
    ),
    (
        actions({"type": "static_select", "action_id": "s"}),
        "must have either options or option_groups",
    ),
    (
        actions(
            {
                "type": "radio_buttons",
                "action_id": "r",
                "options": [OPTION],
                "initial_option": OPTION | {"value": "2"},
            }
        ),
        "must exactly match",
    ),
    (
        actions(
            {
                "type": "static_select",
                "action_id": "s",
                "options": [OPTION | {"value": "v" * 151}],
            }
        ),
        "less than 152",
    ),
    (preformatted({"type": "user", "user_id": "U1"}), "unsupported type: user"),
    (preformatted({"type": "text", "text": ""}), "more than 0"),
    (
        preformatted({"type": "text", "text": "x", "style": {"big": True}}),
        "invalid additional property: big",
    ),
    (rich({"type": "rich_text_list", "elements": []}), "missing required field: style"),
    ({"type": "input", "label": plain("l"), "element": {}}, "unsupported type: input"),
]


@pytest.mark.parametrize(("block", "complaint"), BAD)
def test_invalid_blocks_are_refused_with_a_json_pointer(
    block: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ApiError) as refusal:
        validation.check_message_blocks([block])

    assert refusal.value.code == "invalid_blocks"
    assert any(complaint.replace("152", "151") in message for message in refusal.value.messages)


def test_at_most_fifty_blocks() -> None:
    validation.check_message_blocks([section()] * 50)

    with pytest.raises(ApiError, match="invalid_blocks"):
        validation.check_message_blocks([section()] * 51)


def test_total_text_of_all_blocks_is_limited() -> None:
    validation.check_message_blocks([section("x" * 3000)] * 4)

    with pytest.raises(ApiError, match="msg_blocks_too_long"):
        validation.check_message_blocks([section("x" * 3000)] * 4 + [section("y")])


def test_block_ids_are_unique() -> None:
    with pytest.raises(ApiError) as refusal:
        validation.check_message_blocks([section(block_id="a"), section(block_id="a")])

    assert "json-pointer:/blocks/1/block_id" in refusal.value.messages[0]


@pytest.mark.parametrize("value", ["{", "5", 5, None])
def test_blocks_must_be_a_list(value: Any) -> None:
    with pytest.raises(ApiError, match="invalid_blocks_format"):
        validation.check_message_blocks(value)


def test_missing_ids_and_defaults_are_filled_in() -> None:
    blocks = [section(), actions({"type": "button", "text": plain("Go")})]

    stored = validation.check_message_blocks(blocks)

    assert stored[0]["text"]["verbatim"] is False
    assert stored[1]["block_id"] != stored[0]["block_id"]
    assert stored[1]["elements"][0]["action_id"]
    assert stored[1]["elements"][0]["text"]["emoji"] is True
    assert "block_id" not in blocks[0]


def modal(**more: Any) -> dict[str, Any]:
    return {"type": "modal", "title": plain("t" * 24), "blocks": [section()], **more}


TEXT_INPUT = {
    "type": "input",
    "block_id": "i",
    "label": plain("Name"),
    "element": {"type": "plain_text_input", "action_id": "name"},
}


@pytest.mark.parametrize(
    ("view", "complaint"),
    [
        (modal(title=plain("t" * 25)), "less than 25"),
        (modal(submit=plain("s" * 25)), "less than 25"),
        (modal(private_metadata="m" * 3001), "less than 3001"),
        (modal(callback_id="c" * 256), "less than 256"),
        (modal(blocks=[section()] * 101), "no more than 100"),
        (modal(blocks=[TEXT_INPUT]), "missing required field: submit"),
        (modal(type="home"), "must be a modal"),
        (modal(size="big"), "invalid additional property: size"),
        ({"type": "modal", "blocks": []}, "missing required field: title"),
        ([], "must provide an object"),
    ],
)
def test_invalid_views_are_refused_with_a_json_pointer(view: Any, complaint: str) -> None:
    with pytest.raises(ApiError) as refusal:
        validation.check_view(view, kind="modal")

    assert refusal.value.code == "invalid_arguments"
    assert any(complaint in message for message in refusal.value.messages)
    assert all("json-pointer:/view" in message for message in refusal.value.messages)


def test_view_size_is_limited() -> None:
    long = [section("é" * 2500) for _ in range(20)]

    with pytest.raises(ApiError, match="view_too_large"):
        validation.check_view(modal(blocks=long), kind="modal")


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ("{", "invalid_metadata_format"),
        ([], "invalid_metadata_format"),
        ({"event_type": "x"}, "invalid_metadata_schema"),
        ({"event_type": 1, "event_payload": {}}, "invalid_metadata_schema"),
        ({"event_type": "x", "event_payload": {"y": "z" * 16_000}}, "metadata_too_large"),
    ],
)
def test_invalid_metadata_is_refused(metadata: Any, code: str) -> None:
    with pytest.raises(ApiError, match=code):
        validation.check_metadata(metadata)


@pytest.mark.parametrize(
    ("check", "value"),
    [(string(most=3), 5), (integer(least=0, most=1), True), (one_of("a"), "b")],
)
def test_wrong_types_are_reported(check: Check, value: Any) -> None:
    problems: list[str] = []

    check(value, "/x", problems)

    assert problems
