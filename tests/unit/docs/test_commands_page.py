from pathlib import Path

from bot.slack.listeners.commands import COMMANDS
from bot.slack.listeners.log_window import LOG_BUTTONS
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from tools.docs.commands_page import commands_page

PAGE = Path(__file__).parents[3] / "docs" / "commands.md"


def test_page_is_up_to_date_with_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == commands_page()


def test_page_has_every_command_and_button() -> None:
    page = commands_page()
    for row in COMMANDS:
        assert row.summary in page
    for button in (*MESSAGE_BUTTONS, *LOG_BUTTONS):
        assert f"| {button.label} |" in page
