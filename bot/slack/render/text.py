"""Makes foreign text harmless: log lines, refs, names and sentences the bot did not write.

Slack reads `&`, `<` and `>` as control characters, and may turn plain `@here` into a mention even
when those are escaped. What went through `inert` or `code` cannot ping, link or change the layout
around it.
Source: Slack docs, "Formatting message text" (escaping, automatic parsing).
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import wcwidth

from bot.clock import duration_words
from bot.deployments.refs import MOST_COUNTED
from bot.names import break_mentions

ELLIPSIS = "…"

_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi: text must read as it is
    "\u2028\u2029\ufeff\ufff9-\ufffb]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_LOOKALIKES = str.maketrans({"*": "\u2217", "`": "\u02cb", "~": "\u223c"})
_URL = re.compile(r"https?://[^\s<>|\"'`]{1,1900}")
_TIME = re.compile(r"<!date\^[^|>]*\|([^>]*)>")
_SLACK_USER = re.compile(r"[UW][A-Z0-9]{1,30}")


def one_line(text: str) -> str:
    """Controls, bidi markers and line breaks become spaces; runs of white space become one."""
    # All that is replaced is unprintable; nearly every text is printable.
    if not text.isprintable():
        text = _CONTROLS.sub(" ", _SURROGATES.sub("\ufffd", text))
    return " ".join(text.split())


def log_line(text: str) -> str:
    """Like `one_line`, but keeps the indentation: tabs become 4 spaces."""
    if not text.isprintable():
        text = _CONTROLS.sub("", _SURROGATES.sub("\ufffd", text.expandtabs(4)))
    return text.rstrip()


def log_text(text: str) -> str:
    """Many log lines, each as by `log_line`."""
    return "\n".join(log_line(line) for line in text.split("\n"))


def length(text: str) -> int:
    """Length in UTF-16 units, the safest count for Slack's limits."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def as_fits(parts: Iterable[str], between: str, most: int) -> str:
    """The parts in order, in less than `most` characters; `…` says that some had no room."""
    line, whole = "", True
    for part in parts:
        more = f"{between}{part}" if line else part
        if length(line) + length(more) < most - 2:
            line += more
        else:
            whole = False
    return line if whole else f"{line} {ELLIPSIS}".lstrip()


def cut(text: str, most: int, size: Callable[[str], int] = length) -> str:
    """At most `most` columns, and at most twice as many characters; never half a character.

    `size` counts characters. A single visible one can carry hundreds of combining markers, or
    become five when it is escaped, hence the second bound.
    """
    if text.isascii() and len(text) <= most and size(text) <= 2 * most:
        return text
    columns = characters = 0
    kept: list[str] = []
    known: dict[str, tuple[int, int]] = {}
    for grapheme in wcwidth.iter_graphemes(text):
        if grapheme not in known:
            known[grapheme] = max(0, wcwidth.width(grapheme)), size(grapheme)
        columns += known[grapheme][0]
        characters += known[grapheme][1]
        if columns > most or characters > 2 * most:
            break
        kept.append(grapheme)
    else:
        return text
    while kept and _columns(kept) >= most:
        kept.pop()
    return "".join(kept) + ELLIPSIS


def _columns(graphemes: list[str]) -> int:
    return max(0, wcwidth.width("".join(graphemes)))


def escape(text: str) -> str:
    """Escape Slack's three control characters, and nothing else, as its docs ask."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def inert(text: str, most: int = 150) -> str:
    """Foreign text for mrkdwn: one line, cut, unformatted, escaped. Never empty."""
    return _harmless(cut(one_line(text), most, _sent).translate(_LOOKALIKES))


def code(text: str, most: int = 80) -> str:
    """Foreign text as inline code; a back-tick cannot end it early."""
    return f"`{_harmless(cut(one_line(text), most, _sent).replace('`', chr(0x2CB)))}`"


def _harmless(text: str) -> str:
    return break_mentions(escape(text)) or "-"


def _sent(text: str) -> int:
    return length(_harmless(text))


def link(url: str | None, label: str) -> str:
    """`label` (already mrkdwn) as a link, or without one if the URL is not safe."""
    if url is None or not _URL.fullmatch(url):
        return label
    return f"<{escape(url)}|{label}>"


def short_sha(sha: str) -> str:
    """The first 7 digits."""
    return sha[:7]


def counted(number: int) -> str:
    """How many commits: `12`, `1000+`."""
    return f"{MOST_COUNTED}+" if number > MOST_COUNTED else str(number)


def commit_count(number: int) -> str:
    """`1 commit`, `12 commits`, `1000+ commits`."""
    return f"{counted(number)} commit{'' if number == 1 else 's'}"


def duration(value: timedelta) -> str:
    """`45s`, `1m 20s`, `1h 5m`."""
    return duration_words(value)


def age_words(age: timedelta) -> str:
    """How long ago: `45 seconds ago`, `1 minute ago`, `3 hours ago`, `12 days ago`."""
    seconds = max(0, int(age.total_seconds()))
    for unit, length_s in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length_s:
            number = seconds // length_s
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return f"{seconds} second{'' if seconds == 1 else 's'} ago"


def clock_time(instant: datetime) -> str:
    """The time in each reader's zone; `12:03:20 UTC` in a client that cannot."""
    return f"<!date^{int(instant.timestamp())}^{{time_secs}}|{instant:%H:%M:%S} UTC>"


def plain_times(mrkdwn: str) -> str:
    """Replace `clock_time` and `day_time` by their text in UTC: for plain text."""
    return _TIME.sub(r"\1", mrkdwn)


def day_time(instant: datetime) -> str:
    """Date and time in each reader's zone."""
    return (
        f"<!date^{int(instant.timestamp())}^{{date_short_pretty}} {{time}}"
        f"|{instant:%Y-%m-%d %H:%M} UTC>"
    )


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `11th`."""
    teens = number % 100 in {11, 12, 13}
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def mention(user: str) -> str | None:
    """`<@U…>`, which pings; None: not a Slack user."""
    return f"<@{user}>" if _SLACK_USER.fullmatch(user) else None


def person(user: str, name: str | None) -> str:
    """A person, for mrkdwn; without a ping if the name is known."""
    if mention(user) is None:
        return inert(name or user, 40)
    return f"{break_mentions('@')}{inert(name, 40)}" if name else f"<@{user}>"
