from typing import Any
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.errors import Declined
from bot.slack.listeners.payloads import (
    UNKNOWN_TEAM,
    About,
    Ask,
    Line,
    asker_of,
    delivery_key,
    is_app,
    is_ref,
    meta_of,
    read_about,
    read_ask,
    read_line,
    split_words,
    undo_escapes,
    without_mention,
    write_meta,
)

COMMAND = {
    "command": "/deploy",
    "text": "myapp",
    "team_id": "T1",
    "user_id": "U1",
    "user_name": "ada",
    "channel_id": "C1",
    "trigger_id": "1.2.3",
    "response_url": "https://hooks.example.com/1",
}
CLICK = {
    "type": "block_actions",
    "user": {"id": "U1", "username": "ada", "team_id": "T1"},
    "team": {"id": "T9"},
    "channel": {"id": "C1"},
    "container": {"message_ts": "5.1", "thread_ts": "4.1"},
    "response_url": "https://hooks.example.com/2",
    "trigger_id": "1.2.4",
    "actions": [{"action_id": "deployment_retry", "action_ts": "6.1", "value": "X"}],
}


def event(**changes: Any) -> dict[str, Any]:
    inner = {"type": "message", "user": "U1", "channel": "C1", "ts": "7.1", **changes}
    return {"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": inner}


def test_command_says_who_and_where() -> None:
    asker = asker_of(COMMAND)
    assert (asker.actor.user, asker.actor.team, asker.actor.name) == ("U1", "T1", "ada")
    assert (asker.channel, asker.response_url) == ("C1", "https://hooks.example.com/1")


def test_click_says_the_persons_team_and_the_thread() -> None:
    asker = asker_of(CLICK)
    assert asker.actor.team == "T1"
    assert (asker.channel, asker.thread_ts) == ("C1", "4.1")


def test_modal_carries_its_channel() -> None:
    body = {
        "type": "view_submission",
        "user": {"id": "U1", "team_id": "T1"},
        "view": {"id": "V1", "hash": "h", "private_metadata": write_meta(channel="C1", x=None)},
    }
    assert asker_of(body).channel == "C1"
    assert meta_of(body) == {"channel": "C1"}
    assert delivery_key(body) == "view:V1:h"


@pytest.mark.parametrize(
    ("changes", "shared", "team"),
    [
        ({}, False, "T1"),
        ({"team": "T2"}, False, "T2"),
        ({"team": "T1", "user_team": "T3"}, True, "T3"),
        ({"source_team": "T4"}, True, "T4"),
        ({}, True, UNKNOWN_TEAM),
    ],
)
def test_team_of_an_author_is_never_guessed_in_a_shared_channel(
    changes: dict[str, str], shared: bool, team: str
) -> None:
    assert asker_of({**event(**changes), "is_ext_shared_channel": shared}).actor.team == team


def test_direct_message_is_recognised() -> None:
    assert asker_of(event(channel="D1")).direct
    assert not asker_of(event()).direct


def test_message_and_its_mention_are_one_delivery() -> None:
    mention = {**event(type="app_mention"), "event_id": "Ev2"}
    assert delivery_key(event()) == delivery_key(mention) == "event:C1:7.1"
    other = {"type": "event_callback", "event_id": "Ev3", "event": {"type": "app_home_opened"}}
    assert delivery_key(other) == "event:Ev3"


def test_two_clicks_differ_but_a_repeated_one_does_not() -> None:
    again = {**CLICK, "actions": [{**CLICK["actions"][0], "action_ts": "6.2"}]}  # type: ignore[index]
    assert delivery_key(CLICK) == delivery_key(dict(CLICK))
    assert delivery_key(CLICK) != delivery_key(again)
    assert delivery_key(COMMAND) == "command:1.2.3"
    assert delivery_key({"type": "message_action", "trigger_id": "9"}) == "message_action:9"


@pytest.mark.parametrize("metadata", ["", "{", "[]", "null", '{"a": 1}', 5])
def test_private_metadata_of_another_shape_reads_as_empty(metadata: object) -> None:
    assert meta_of({"view": {"private_metadata": metadata}}) == {}


json_like = st.recursive(
    st.none() | st.text(max_size=4) | st.integers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
keys = st.sampled_from(
    ["type", "event", "user", "team", "view", "actions", "container", "command", "channel"]
)


@given(st.dictionaries(keys, json_like))
def test_no_body_raises(body: dict[str, object]) -> None:
    asker_of(body)
    assert delivery_key(body)


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


INVISIBLE = (0x200B, 0x200D, 0x200E, 0x2060, 0xFEFF, 0xAD, 0x61C, 0x180E, 0xFE0F, 0xE0100, 0x34F,
             0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800, 0xE0041)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<@U123|ada> hello", "<@U123> hello"),
        ("<#C1|myapp>", "<#myapp>"),
        ("<#C1>", "<#C1>"),
        ("myapp <tel:20261130|20261130>", "myapp 20261130"),
        ("<https://git.example.com/a/b>", "https://git.example.com/a/b"),
        ("myapp <http://release-1.2.io|release-1.2.io>", "myapp release-1.2.io"),
        ("<https://evil.example.com|main>", "https://evil.example.com"),
        ("<mailto:myapp@main.io|myapp@main.io>", "myapp@main.io"),
        ("<!channel> a &amp; b &lt;c&gt;", "<!channel> a & b <c>"),
        ("<!subteam^S1|@ops>", "<!subteam^S1>"),
        ("a < b > c", "a < b > c"),
    ],
)
def test_slack_escapes_are_undone(text: str, expected: str) -> None:
    assert undo_escapes(text) == expected


def test_quotes_and_code_marks_around_words_are_ignored() -> None:
    assert split_words("`myapp` “main”  *to* 'production'") == ("myapp", "main", "to", "production")
    assert split_words("```\nmyapp main\n```") == ("myapp", "main")


@pytest.mark.parametrize(
    "pair",
    [
        '""',
        "''",
        "\u201c\u201d",
        "\u201e\u201c",
        "\u201a\u2018",
        "\u00ab\u00bb",
        "\u2039\u203a",
        "\u201d\u201c",
        "\uff02\uff02",
        "\uff07\uff07",
        "\u00b4\u00b4",
        "\u2032\u2032",
        "\u2033\u2033",
        "``",
        "**",
        "\u275d\u275e",
    ],
)
def test_quotes_of_every_keyboard_are_ignored(pair: str) -> None:
    assert split_words(f"{pair[0]}user's-name{pair[1]}") == ("user's-name",)


@pytest.mark.parametrize("code", INVISIBLE)
def test_invisible_characters_are_ignored(code: int) -> None:
    assert split_words(f"my{chr(code)}app{chr(code)} main") == ("myapp", "main")
    assert split_words(f"myapp {chr(code)}") == ("myapp",)


@pytest.mark.parametrize(
    "text",
    ["?", "-h", "--help", "\u2014help", "\u2013h", "help.", "Help!", "/help", "help?", "-H"],
)  # fmt: skip
def test_help_is_found_as_people_type_it(text: str) -> None:
    assert read_line(text, {"help", "status"}) == Line("help", ())


def test_command_with_a_full_stop_is_the_command() -> None:
    assert read_line("status?", {"help", "status"}) == Line("status", ())
    assert read_line("h main", {"help", "status"}) == Line(None, ("h", "main"))


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
        ("<@U1> main", "name of a person, channel or group"),
        ("myapp <!channel>", "name of a person, channel or group"),
        ("myapp <!subteam^S1|@ops>", "name of a person, channel or group"),
        ("myapp <#C1|main>", "name of a person, channel or group"),
        ("myapp to <@U1>", "name of a person, channel or group"),
        ('myapp ""', "may be a branch"),
        ("myapp \u2018\u2019", "may be a branch"),
        ("myapp :rocket:", "is not a valid branch"),
        ("myapp \U0001f680", "may be a branch"),
        ("myapp <https://git.example.com/a/myapp/issues/3>", "is not a valid branch"),
        ("myapp@", "is not a valid app name"),
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


@given(st.text(min_size=1, max_size=6) | typed)
@example('""')
@example("<!channel>")
@example("\u200b")
def test_what_follows_the_app_is_understood_or_declined(text: str) -> None:
    words = split_words(f"myapp {text}")
    seen = text.strip("`").strip() and not all(_is_unseen(char) for char in text)
    try:
        ask = read_ask(words)
    except Declined:
        return
    assert ask.ref or ask.server or not seen


def _is_unseen(char: str) -> bool:
    return char.isspace() or char == "`" or ord(char) in INVISIBLE or category(char) == "Cf"


@given(typed)
@example("myapp to <@U1>")
@example("<|>")
def test_any_text_is_read_as_valid_or_declined_in_one_line(text: str) -> None:
    line = read_line(text, WORDS)
    for sentence in (valid_or_declined(line.rest), subject_or_declined(line.rest)):
        assert "\n" not in sentence
        assert len(sentence) < 300
