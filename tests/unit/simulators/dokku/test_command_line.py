"""A command line is split into words as Dokku does."""

import pytest

from bot.simulators.dokku.commands.shared import UnmatchedQuote, split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("apps:list && version", ["apps:list", "&&", "version"]),
        ("apps:list; version", ["apps:list;", "version"]),
        ('git:sync --build a "b c"', ["git:sync", "--build", "a", '"b', 'c"']),
        ("config:set web A='x y' B=\\'z", ["config:set", "web", "A=x y", "B='z"]),
        ('config:set web "A=it\'s"', ["config:set", "web", "A=it's"]),
        ("  ps:report   web ", ["ps:report", "web"]),
        ("apps:report ''", ["apps:report", ""]),
        ("", []),
    ],
)
def test_command_line_is_split_into_words(line: str, words: list[str]) -> None:
    assert split(line) == words


@pytest.mark.parametrize("line", ["ps:report 'web", 'ps:report web"', "ps:report web\\"])
def test_unmatched_quote_is_refused(line: str) -> None:
    with pytest.raises(UnmatchedQuote):
        split(line)
