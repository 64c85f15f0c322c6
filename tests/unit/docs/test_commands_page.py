from pathlib import Path

from bot.slack.buttons import BUTTONS
from bot.slack.listeners.commands import LATER, WORDS
from tools.docs.commands_page import commands_page

PAGE = Path(__file__).parents[3] / "docs" / "commands.md"


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == commands_page()


def test_every_word_and_button_is_on_the_page() -> None:
    page = commands_page()
    for row in WORDS:
        assert row.summary in page
    for button in BUTTONS:
        assert f"| {button.label} |" in page
    assert all(f"`{word}`" in page for word in LATER)
