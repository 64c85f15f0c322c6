"""Reads what a person typed. Pure; raises only Declined, with a sentence for the person.

Slack's own spelling is undone here and nowhere else: with `should_escape` a command arrives with
`<@U…|name>`, `<#C…|name>` and `<https://…|label>` in it, and every text with `&amp;`.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from bot.errors import Declined
from bot.names import LONGEST_NAME, check_app, check_ref, quoted

_ESCAPED = re.compile(r"<((?:[@#!]|[a-z][a-z0-9+.-]*:)[^<>|]*)(?:\|([^<>]*))?>")
_QUOTES = "`'\"*\u201c\u201d\u2018\u2019\u00ab\u00bb"
"""Also the typographic ones, which phones insert."""
_BEFORE_SERVER = frozenset({"to", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """`APP [REF] [to SERVER]`, each part valid in form; whether it exists is checked elsewhere."""

    app: str
    ref: str | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """`[APP|ID] [on SERVER]`, and one more word if the command takes one."""

    subject: str | None = None
    server: str | None = None
    rest: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of chat: the command (lower case), if there is one, and the words after it."""

    word: str | None
    rest: tuple[str, ...]


def is_app(text: str) -> bool:
    """Whether it has the form of an app's name."""
    return _passes(check_app, text)


def is_ref(text: str) -> bool:
    """Whether it has the form of a branch, tag, commit or `refs/…` name."""
    return _passes(check_ref, text)


def _passes(check: Callable[[str], str], text: str) -> bool:
    try:
        check(text)
    except Declined:
        return False
    return True


def undo_escapes(text: str) -> str:
    """What the person typed, before Slack escaped it.

    A link whose label only lacks the scheme was typed as its label (`release-1.2.io`); any other
    label is dropped for the address, because a label can say anything. User mentions stay
    `<@U…>`: they are never an app, a ref or a server.
    """

    def one(match: re.Match[str]) -> str:
        target, label = match[1], match[2]
        if target.startswith("@"):
            return f"<{target}>"
        if target.startswith("#"):
            return f"#{label}" if label else target
        if target.startswith("!"):
            return ""
        if label and target in {f"http://{label}", f"https://{label}", f"mailto:{label}"}:
            return label
        return target

    text = _ESCAPED.sub(one, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def split_words(text: str) -> tuple[str, ...]:
    """The words of a line, without the quotes and code markers that people put around them."""
    stripped = (word.strip(_QUOTES) for word in undo_escapes(text).split())
    return tuple(word for word in stripped if word)


def read_line(text: str, known: Collection[str]) -> Line:
    """Read a line of chat. Commands work in any case; `known` are the names of the table."""
    words = split_words(text)
    if words and words[0].lower() in known:
        return Line(words[0].lower(), words[1:])
    return Line(None, words)


def without_mention(text: str, bot_user: str) -> tuple[bool, str]:
    """Whether the text mentions the bot, and the text without those mentions."""
    mention = re.compile(rf"<@{re.escape(bot_user)}(?:\|[^<>]*)?>")
    rest, found = mention.subn(" ", text)
    return found > 0, rest.strip()


def read_app(word: str) -> str:
    """An app's name. Capitals are accepted: Dokku's names have none, but phones add one."""
    return check_app(word.lower())


def read_ask(words: Sequence[str]) -> Ask:
    """Read `APP [REF] [to SERVER]`; `APP@REF` counts as two words."""
    left, server = _take_server(words, 1)
    if len(left) == 1 and "@" in left[0][1:]:
        left = tuple(part for part in left[0].partition("@")[::2] if part)
    if not left:
        raise Declined(
            "Which app? Use `/deploy APP [REF] [to SERVER]`, or just `/deploy` for a form."
        )
    _refuse_more(left, 2)
    app = read_app(left[0])
    return Ask(app=app, ref=check_ref(left[1]) if len(left) > 1 else None, server=server)


def read_about(words: Sequence[str], *, rest: bool = False) -> About:
    """Read `[APP|ID] [on SERVER]`; with `rest`, one more word after the subject."""
    left, server = _take_server(words, 0)
    _refuse_more(left, 2 if rest else 1)
    if not left:
        return About(server=server)
    # An id, or a part of one, has the shape of an app's name; the service tells them apart.
    subject = read_app(left[0])
    return About(subject=subject, server=server, rest=left[1] if len(left) > 1 else None)


def _refuse_more(words: Sequence[str], most: int) -> None:
    if len(words) > most:
        raise Declined(
            f"I don't understand `{quoted(words[most])}` here. `/deploy help` lists the commands."
        )


def _take_server(words: Sequence[str], least: int) -> tuple[tuple[str, ...], str | None]:
    """Split off a trailing `to SERVER` that follows at least `least` words.

    `APP to` alone deploys a branch called `to`.
    """
    if len(words) >= least + 2 and words[-2].lower() in _BEFORE_SERVER:
        if len(words[-1]) > LONGEST_NAME:
            raise Declined(f"`{quoted(words[-1])}` is not a valid server name.")
        return tuple(words[:-2]), words[-1]
    if len(words) > 2 and words[-1].lower() in _BEFORE_SERVER:  # noqa: PLR2004 - APP REF to
        raise Declined("To which server? Use `/deploy APP [REF] to SERVER`.")
    return tuple(words), None
