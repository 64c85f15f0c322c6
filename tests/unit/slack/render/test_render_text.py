"""Foreign text made harmless."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.slack.render import text as txt


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a & b < c > d", "a &amp; b &lt; c &gt; d"),
        ("<!channel>", "&lt;!channel&gt;"),
        ("@here", "@\u2060here"),
        ("*bold* `code` ~no~", "\u2217bold\u2217 \u02cbcode\u02cb \u223cno\u223c"),
        ("my_app_1", "my_app_1"),
        ("two\nlines\tand\x00more", "two lines and more"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\ud800", "\ufffd"),
        ("   ", "-"),
        ("", "-"),
    ],
)
def test_inert(raw: str, shown: str) -> None:
    assert txt.inert(raw) == shown


@pytest.mark.parametrize(
    ("raw", "most", "shown"),
    [
        ("short", 10, "short"),
        ("exactly ten", 11, "exactly ten"),
        ("much too long", 8, "much to…"),
        ("日本語日本語", 6, "日本…"),
        ("e\u0301e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301…"),
        ("", 5, ""),
    ],
)
def test_cut_counts_columns(raw: str, most: int, shown: str) -> None:
    assert txt.cut(raw, most) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (45, "45s"), (80, "1m 20s"), (120, "2m 0s"), (3_900, "1h 5m"), (-3, "0s")],
)
def test_durations(seconds: int, shown: str) -> None:
    assert txt.duration(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (13, "13th"), (21, "21st")],
)
def test_ordinals(number: int, shown: str) -> None:
    assert txt.ordinal(number) == shown


@pytest.mark.parametrize(
    ("url", "linked"),
    [
        ("https://x.example/a?b=1&c=2", "<https://x.example/a?b=1&amp;c=2|label>"),
        ("http://x.example", "<http://x.example|label>"),
        ("javascript:alert(1)", "label"),
        ("https://x.example|<!here>", "label"),
        ("https://x.example/a b", "label"),
        (None, "label"),
    ],
)
def test_only_plain_web_urls_are_linked(url: str | None, linked: str) -> None:
    assert txt.link(url, "label") == linked


def test_people_with_a_known_name_are_not_pinged() -> None:
    assert txt.person("U0ADA", "ada") == "@\u2060ada"
    assert txt.person("U0ADA", None) == "<@U0ADA>"
    assert txt.person("cli", None) == "cli"
    assert txt.person("<!here>", None) == "&lt;!here&gt;"


def test_times_are_shown_in_the_readers_zone() -> None:
    instant = datetime(2026, 11, 24, 12, 3, 20, tzinfo=UTC)
    assert txt.clock_time(instant) == "<!date^1795521800^{time_secs}|12:03:20 UTC>"
    assert txt.plain_times(f"since {txt.clock_time(instant)}.") == "since 12:03:20 UTC."
    assert txt.day_time(instant).endswith("|2026-11-24 12:03 UTC>")


def test_log_lines_keep_their_indentation() -> None:
    assert txt.log_text("\tone\x07  \n  two\u202e\n") == "    one\n  two\n"
