import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.errors import Declined
from bot.slack.listeners.parse import (
    About,
    Ask,
    Line,
    is_app,
    is_ref,
    read_about,
    read_ask,
    read_line,
    split_words,
    undo_escapes,
    without_mention,
)

WORDS = frozenset({"deploy", "status", "help"})

typed = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            ["myapp", "main", "to", "production", "<@U1>", "<#C1|ops>", "<http://a.io|a.io>", "@"]
        ),
    ),
    max_size=6,
).map(" ".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<@U123|ada> hello", "<@U123> hello"),
        ("<#C1|myapp>", "#myapp"),
        ("<#C1>", "#C1"),
        ("<https://git.example.com/a/b>", "https://git.example.com/a/b"),
        ("myapp <http://release-1.2.io|release-1.2.io>", "myapp release-1.2.io"),
        ("<https://evil.example.com|main>", "https://evil.example.com"),
        ("<mailto:myapp@main.io|myapp@main.io>", "myapp@main.io"),
        ("<!channel> a &amp; b &lt;c&gt;", " a & b <c>"),
        ("a < b > c", "a < b > c"),
    ],
)
def test_slack_escapes_are_undone(text: str, expected: str) -> None:
    assert undo_escapes(text) == expected


def test_quotes_and_code_marks_around_words_are_ignored() -> None:
    assert split_words("`myapp` “main”  *to* 'production'") == ("myapp", "main", "to", "production")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("STATUS myapp", Line("status", ("myapp",))),
        ("myapp main", Line(None, ("myapp", "main"))),
        ("", Line(None, ())),
        ("Deploy status", Line("deploy", ("status",))),
    ],
)
def test_command_works_in_any_case(text: str, expected: Line) -> None:
    assert read_line(text, WORDS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("myapp", Ask(app="myapp")),
        ("Myapp main", Ask(app="myapp", ref="main")),
        ("myapp@v1.2", Ask(app="myapp", ref="v1.2")),
        ("myapp@", Ask(app="myapp")),
        ("myapp main to production", Ask(app="myapp", ref="main", server="production")),
        ("myapp TO production", Ask(app="myapp", server="production")),
        ("myapp to", Ask(app="myapp", ref="to")),
        ("myapp feature/x_1 ON eu", Ask(app="myapp", ref="feature/x_1", server="eu")),
    ],
)
def test_app_ref_and_server_are_read(text: str, expected: Ask) -> None:
    assert read_ask(split_words(text)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Which app"),
        ("myapp main to", "To which server"),
        ("myapp main now please", "`now` here. `/deploy help` lists the commands"),
        ("my_app main", "is not a valid app name"),
        ("<@U1> main", "is not a valid app name"),
        ("myapp --force", "is not a valid branch"),
        ("myapp a..b", "is not a valid branch"),
        ("a" * 256, "is not a valid app name"),
        ("myapp " + "r" * 256, "is not a valid branch"),
    ],
)
def test_mistake_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(Declined, match=said) as declined:
        read_ask(split_words(text))
    assert len(str(declined.value)) < 300


@pytest.mark.parametrize(
    ("text", "rest", "expected"),
    [
        ("", False, About()),
        ("myapp", False, About(subject="myapp")),
        ("01K9ZB4M2T", False, About(subject="01k9zb4m2t")),
        ("myapp on eu", False, About(subject="myapp", server="eu")),
        ("on eu", False, About(server="eu")),
        ("myapp a1b2c3d", True, About(subject="myapp", rest="a1b2c3d")),
    ],
)
def test_subject_is_read(text: str, rest: bool, expected: About) -> None:
    assert read_about(split_words(text), rest=rest) == expected


@pytest.mark.parametrize(
    ("words", "rest"), [(("myapp", "x"), False), (("myapp", "x", "y"), True), (("MY_APP",), False)]
)
def test_invalid_subject_is_declined(words: tuple[str, ...], rest: bool) -> None:
    with pytest.raises(Declined):
        read_about(words, rest=rest)


@pytest.mark.parametrize(
    "ref",
    ["", "@", "-x", ".x", "/x", "x/", "x.", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[0",
     "a`b", "a\\b", "x.lock", "x.lock/y", "a//b", "a/.b", "a@{1}", "a\x7f", "a\u202eb"],
)  # fmt: skip
def test_ref_that_git_refuses_is_invalid(ref: str) -> None:
    assert not is_ref(ref)


def test_mentions_of_the_bot_are_removed() -> None:
    assert without_mention("<@UBOT> status <@UBOT|deploybot>", "UBOT") == (True, "status")
    assert without_mention("<@UBOTX> status", "UBOT") == (False, "<@UBOTX> status")


def valid_or_declined(words: tuple[str, ...]) -> str:
    """The sentence of Declined; empty where what was read is valid."""
    try:
        asked = read_ask(words)
    except Declined as declined:
        return str(declined)
    return "" if is_app(asked.app) and (asked.ref is None or is_ref(asked.ref)) else "invalid\n"


def subject_or_declined(words: tuple[str, ...]) -> str:
    try:
        subject = read_about(words, rest=True).subject
    except Declined as declined:
        return str(declined)
    return "" if subject is None or is_app(subject) else "invalid\n"


@given(typed)
@example("myapp to <@U1>")
@example("<|>")
def test_any_text_is_read_as_valid_or_declined_in_one_line(text: str) -> None:
    line = read_line(text, WORDS)
    for sentence in (valid_or_declined(line.rest), subject_or_declined(line.rest)):
        assert "\n" not in sentence
        assert len(sentence) < 300
