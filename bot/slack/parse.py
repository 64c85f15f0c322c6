"""What a person typed, read into words. Pure, and nothing here ever raises.

Slack's own spelling is undone here and nowhere else: with `should_escape` a command arrives with
`<@U…|name>`, `<#C…|name>` and `<https://…|label>` in it, and every text with `&amp;`.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

LONGEST_NAME = 255
"""Characters of an app or a ref."""

_ESCAPED = re.compile(r"<((?:[@#!]|[a-z][a-z0-9+.-]*:)[^<>|]*)(?:\|([^<>]*))?>")
_APP = re.compile(r"[a-z0-9][^/:_A-Z\s@<>&`'\"\\\x00-\x1f\x7f-\x9f]*")
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)")
_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{5,25}", re.IGNORECASE)
_QUOTES = "`'\"*\u201c\u201d\u2018\u2019\u00ab\u00bb"
"""Also the typographic ones, which telephones put in by themselves."""
_BEFORE_SERVER = frozenset({"to", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """`APP [REF] [to SERVER]`, each part valid by itself; whether it exists is not known here."""

    app: str
    ref: str | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """`[APP|ID] [on SERVER]`, and a word behind it where the command takes one."""

    subject: str | None = None
    server: str | None = None
    rest: str | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with the line, and the next step: one sentence for the one who typed it."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of chat: a word of the table (lower case), or none, and what follows it."""

    word: str | None
    rest: tuple[str, ...]


def is_app(text: str) -> bool:
    """Dokku's rule for app names, within 255 characters, without what Slack or quoting use."""
    return len(text) <= LONGEST_NAME and _APP.fullmatch(text) is not None


def is_ref(text: str) -> bool:
    """Git's check-ref-format for one branch, tag, commit or `refs/…` name; no leading dash."""
    return (
        0 < len(text) <= LONGEST_NAME
        and text != "@"
        and text[0] not in "-/."
        and text[-1] not in "/."
        and _REF_FORBIDDEN.search(text) is None
        and text.isprintable()
    )


def is_id(text: str) -> bool:
    """Whether it reads as a deployment id, or the first six or more of its characters.

    A digit is required: `decade` is more likely an app.
    """
    return _ID.fullmatch(text) is not None and any(c.isdigit() for c in text)


def undo_escapes(text: str) -> str:
    """What the person typed, from what Slack made of it.

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
    """The words of a line, without the quotes and code marks that people put around them."""
    stripped = (word.strip(_QUOTES) for word in undo_escapes(text).split())
    return tuple(word for word in stripped if word)


def read_line(text: str, known: Collection[str]) -> Line:
    """A line of chat. The first word counts in any case; `known` are the words of the table."""
    words = split_words(text)
    if words and words[0].lower() in known:
        return Line(words[0].lower(), words[1:])
    return Line(None, words)


def without_mention(text: str, bot_user: str) -> tuple[bool, str]:
    """Whether the text mentions the bot, and the text without those mentions."""
    mention = re.compile(rf"<@{re.escape(bot_user)}(?:\|[^<>]*)?>")
    rest, found = mention.subn(" ", text)
    return found > 0, rest.strip()


def read_app(word: str) -> str | Mistake:
    """An app's name. Capitals are forgiven: Dokku's names have none, telephones begin with one."""
    for candidate in (word, word.lower()):
        if is_app(candidate):
            return candidate
    return Mistake(
        f"“{_shown(word)}” cannot be the name of an app: it begins with a lower-case letter or a "
        "digit and has no capitals, colons, slashes or underscores. `/deploy apps` lists them."
    )


def read_ask(words: Sequence[str]) -> Ask | Mistake:
    """`APP [REF] [to SERVER]`; `APP@REF` counts as two words."""
    taken = _take_server(words)
    if isinstance(taken, Mistake):
        return taken
    left, server = taken
    if len(left) == 1 and "@" in left[0][1:]:
        name, _, typed = left[0].partition("@")
        left = (name, typed) if typed else (name,)
    if not left:
        return Mistake("Which app? `/deploy APP [REF] [to SERVER]`, or `/deploy` alone for a form.")
    if len(left) > 2:  # noqa: PLR2004 - an app and a ref
        return Mistake(
            f"“{_shown(left[2])}” is one word too many: `/deploy APP [REF] [to SERVER]`. "
            "`/deploy help` tells more."
        )
    app = read_app(left[0])
    if isinstance(app, Mistake):
        return app
    ref = left[1] if len(left) > 1 else None
    if ref is not None and not is_ref(ref):
        return Mistake(f"“{_shown(ref)}” cannot be a branch, tag or commit. ")
    return Ask(app=app, ref=ref, server=server)


def read_about(words: Sequence[str], *, rest: bool = False) -> About | Mistake:
    """`[APP|ID] [on SERVER]`; with `rest`, one more word is taken behind the subject."""
    taken = _take_server(words)
    if isinstance(taken, Mistake):
        return taken
    left, server = taken
    most = 2 if rest else 1
    if len(left) > most:
        return Mistake(f"“{_shown(left[most])}” is one word too many. `/deploy help` tells more.")
    if not left:
        return About(server=server)
    subject = left[0] if is_id(left[0]) else read_app(left[0])
    if isinstance(subject, Mistake):
        return subject
    return About(subject=subject, server=server, rest=left[1] if len(left) > 1 else None)


def _take_server(words: Sequence[str]) -> tuple[tuple[str, ...], str | None] | Mistake:
    """Split a trailing `to SERVER` off. `APP to` alone deploys a branch called `to`."""
    if len(words) > 2 and words[-2].lower() in _BEFORE_SERVER:  # noqa: PLR2004 - APP to SERVER
        server = words[-1]
        if len(server) > LONGEST_NAME or not server.isprintable() or "<" in server:
            return Mistake(f"“{_shown(server)}” is no server of mine.")
        return tuple(words[:-2]), server
    if len(words) > 2 and words[-1].lower() in _BEFORE_SERVER:  # noqa: PLR2004 - APP REF to
        return Mistake("To which server? `/deploy APP [REF] [to SERVER]`.")
    return tuple(words), None


def _shown(word: str, most: int = 60) -> str:
    """A word as it is quoted in a sentence: cut, on one line."""
    word = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in word)
    return word if len(word) <= most else word[: most - 1] + "…"
