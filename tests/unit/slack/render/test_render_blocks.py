"""What Slack refuses is found before it is sent."""

import pytest

from bot.slack.render import blocks as kit
from tests.support.slack_limits import validate_message

BUTTON = kit.button(action_id="a", label="b", value="c")


def test_valid_message_has_no_problems() -> None:
    blocks = [kit.section("a"), kit.fields([("b", "c")]), kit.actions([BUTTON]), kit.context("d")]
    assert validate_message("text", [*blocks, kit.preformatted("x" * 5_000)]) == []


@pytest.mark.parametrize(
    ("text", "blocks", "problem"),
    [
        ("", [kit.section("a")], "text has 0"),
        ("x" * 3_000, [kit.section("a")], "text has 3000"),
        ("a", [], "0 blocks"),
        ("a", [kit.section("a")] * 51, "51 blocks"),
        ("a", [kit.section("x" * 3_001)], "3001 characters"),
        ("a", [kit.section("")], "block 0"),
        ("a", [kit.preformatted("")], "a text has 0"),
        ("a", [kit.fields([("b", "x" * 2_000)])], "a field has 2004"),
        ("a", [kit.fields([("b", "c")] * 11)], "fields"),
        ("a", [kit.section("x" * 2_900)] * 4, "11600 characters in all"),
        ("a", [kit.section("🧒" * 1_600)], "3200 characters"),
        ("a", [kit.actions([{**BUTTON, "text": kit.plain("x" * 80)}])], "75"),
        ("a", [kit.actions([{**BUTTON, "value": "x" * 2_001}])], "2000"),
        ("a", [kit.actions([{**BUTTON, "style": "purple"}])], "style"),
        ("a", [kit.actions([BUTTON, BUTTON])], "action_id a twice"),
        ("a", [{**kit.section("a"), "block_id": "b"}] * 2, "block_id b twice"),
        ("a", [{"type": "marquee"}], "unknown type"),
        (
            "a",
            [
                kit.actions(
                    [
                        {
                            **BUTTON,
                            "confirm": {
                                "title": kit.plain("x" * 101),
                                "text": kit.plain("y"),
                                "confirm": kit.plain("z"),
                                "deny": kit.plain("n"),
                            },
                        }
                    ]
                )
            ],
            "title",
        ),
    ],
)
def test_invalid_message_is_described(text: str, blocks: list[kit.Json], problem: str) -> None:
    assert problem in "\n".join(validate_message(text, blocks))
