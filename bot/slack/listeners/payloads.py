"""Reads what Slack sends: who asked, where, which delivery it is, and what was typed. Pure.

Bodies are untrusted JSON of five shapes (slash command, event, block action, view submission,
shortcut); what is missing reads as empty, never as an error.
Source: Slack docs, "Interaction payloads" and "Events API".

Typed text raises only Declined, with a sentence for the person. Slack's own spelling is undone here
and nowhere else: with `should_escape` a command arrives with `<@U…|name>`, `<#C…|name>` and
`<https://…|label>` in it, and every text with `&amp;`.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bot.deployments.model import Actor
from bot.errors import Declined
from bot.names import LONGEST_NAME, check_app, check_ref, quoted, slash

Body = Mapping[str, Any]

UNKNOWN_TEAM = "unknown"
"""The team of a person in a shared channel whose workspace Slack did not name."""
_ESCAPED = re.compile(r"<((?:[@#!]|[a-z][a-z0-9+.-]*:)[^<>|]*)(?:\|([^<>]*))?>")
_MARK = re.compile(r"<[@#!][^<>]*>")
"""A person, channel or group, as Slack writes it."""
_HELP = frozenset({"?", "h", "help"})
_BEFORE_SERVER = frozenset({"to", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """One person in one place, and how to answer there."""

    actor: Actor
    channel: str
    """Empty where Slack names none, as in a modal that was not opened from a channel."""
    thread_ts: str | None = None
    """The parent's ts, if the person is in a thread."""
    response_url: str | None = None
    """Accepts 5 answers within 30 minutes."""
    dm: str = ""
    """Their conversation with the bot, in a Home tab: a click there has no channel."""
    key: str = field(default="", compare=False)
    """The same for every delivery of what they asked."""
    trigger_id: str = field(default="", compare=False)
    """Opens one window within 3 seconds of what they did."""
    in_window: bool = False
    """They acted in a modal that stays open."""
    form_url: str | None = None
    """The response URL of the command or message action that opened the form they submitted."""

    @property
    def direct(self) -> bool:
        """A direct message, usually between this person and the bot."""
        return self.channel.startswith("D")


def asker_of(body: Body) -> Asker:
    """Who asked, and where."""
    shown = word(part(body, "view"), "type") == "modal"
    return replace(
        _asker_of(body),
        key=delivery_key(body),
        trigger_id=word(body, "trigger_id"),
        in_window=shown and word(body, "type") == "block_actions",
        form_url=meta_of(body).get("url"),
    )


def _asker_of(body: Body) -> Asker:
    event = part(body, "event")
    if event:
        return Asker(
            actor=_author(body, event),
            channel=word(event, "channel"),
            thread_ts=word(event, "thread_ts") or None,
        )
    response_url = word(body, "response_url") or None
    if "command" in body:
        return Asker(
            actor=Actor(
                user=word(body, "user_id"),
                team=word(body, "team_id") or UNKNOWN_TEAM,
                name=word(body, "user_name") or None,
            ),
            channel=word(body, "channel_id"),
            response_url=response_url,
        )
    user = part(body, "user")
    team = word(user, "team_id") or word(part(body, "team"), "id") or UNKNOWN_TEAM
    name = word(user, "username") or word(user, "name") or None
    meta = meta_of(body)
    return Asker(
        actor=Actor(user=word(user, "id"), team=team, name=name),
        channel=word(part(body, "channel"), "id") or meta.get("channel", ""),
        thread_ts=word(part(body, "container"), "thread_ts") or None,
        response_url=response_url,
        dm=meta.get("dm", ""),
    )


def _author(body: Body, event: Body) -> Actor:
    """The author of an event. In a shared channel the envelope's team is not the author's."""
    team = word(event, "user_team") or word(event, "source_team") or word(event, "team")
    if not team:
        team = UNKNOWN_TEAM if body.get("is_ext_shared_channel") else word(body, "team_id")
    return Actor(user=word(event, "user"), team=team or UNKNOWN_TEAM)


def delivery_key(body: Body) -> str:
    """The same for every delivery of one request, and different for two requests.

    A chat message is identified by its place, because one with a mention arrives as two events.
    A `trigger_id` belongs to one request; a click is identified by Slack's timestamp.
    """
    event = part(body, "event")
    if event:
        if word(event, "type") in {"message", "app_mention"} and word(event, "ts"):
            return f"event:{word(event, 'channel')}:{word(event, 'ts')}"
        return f"event:{word(body, 'event_id')}"
    if "command" in body:
        return f"command:{word(body, 'trigger_id')}"
    view = part(body, "view")
    match word(body, "type"):
        case "block_actions":
            act = first_action(body)
            container = part(body, "container")
            place = word(container, "message_ts") or word(view, "id")
            parts = (place, word(act, "action_id"), word(part(body, "user"), "id"))
            return ":".join(("click", *parts, word(act, "action_ts")))
        case "view_submission":
            return f"view:{word(view, 'id')}:{word(view, 'hash')}"
        case kind:
            return f"{kind}:{word(body, 'trigger_id')}"


def first_action(body: Body) -> Body:
    """The element that was used; Slack sends one."""
    acts = body.get("actions")
    act = acts[0] if isinstance(acts, list) and acts else {}
    return act if isinstance(act, Mapping) else {}


def meta_of(body: Body) -> dict[str, str]:
    """A modal's private_metadata, as `write_meta` wrote it."""
    try:
        meta = json.loads(word(part(body, "view"), "private_metadata") or "{}")
    except ValueError:
        return {}
    if not isinstance(meta, dict):
        return {}
    return {str(key): value for key, value in meta.items() if isinstance(value, str)}


def write_meta(**facts: str | None) -> str:
    """A modal's private_metadata; Slack accepts 3,000 characters."""
    return json.dumps({key: value for key, value in facts.items() if value})


def part(body: Body, key: str) -> Body:
    """A nested object; empty where there is none."""
    inner = body.get(key)
    return inner if isinstance(inner, Mapping) else {}


def word(body: Body, key: str) -> str:
    """A text; empty where there is none."""
    value = body.get(key)
    return value if isinstance(value, str) else ""


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

    A link whose label only lacks the scheme was typed as its label (`release-1.2.io`), and so was a
    number that Slack took for a telephone's; any other label is dropped for the address, because a
    label can say anything. People, channels and groups stay `<@U…>`, `<#name>`, `<!here>`: they are
    never an app, a ref or a server, and never nothing.
    """

    def one(match: re.Match[str]) -> str:
        target, label = match[1], match[2]
        if target.startswith("#"):
            return f"<#{label or target[1:]}>"
        if target.startswith(("@", "!")):
            return f"<{target}>"
        typed = {f"http://{label}", f"https://{label}", f"mailto:{label}"}
        return label if label and (target in typed or target.startswith("tel:")) else target

    text = _ESCAPED.sub(one, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def split_words(text: str) -> tuple[str, ...]:
    """The words of a line, without invisible characters and the quotes that people put around them.

    A word of quotes alone stays, for a shell's empty `""` must not read as nothing. The marks of a
    code block around a line are no word.
    """
    visible = "".join(char for char in undo_escapes(text) if not _is_invisible(char))
    words = (word for word in visible.split() if set(word) != {"`"})
    return tuple(_without_quotes(word) or word for word in words)


def _is_invisible(char: str) -> bool:
    """Format characters, and the selectors and fillers that Unicode keeps in other classes."""
    kind = unicodedata.category(char)
    if kind == "Cf":
        return True
    name = unicodedata.name(char, "") if kind in {"Mn", "Lo", "So"} else ""
    return name.endswith((" FILLER", "BLANK", " JOINER")) or name.startswith("VARIATION SELECTOR")


def _without_quotes(word: str) -> str:
    first = next((at for at, char in enumerate(word) if not _is_quote(char)), len(word))
    last = next((at for at, char in enumerate(reversed(word)) if not _is_quote(char)), 0)
    return word[first : len(word) - last]


def _is_quote(char: str) -> bool:
    """Quotation marks of every script and keyboard, and Slack's marks for code and bold."""
    if char in "`*\u00b4":
        return True
    name = unicodedata.name(char, "")
    return "QUOTATION MARK" in name or "APOSTROPHE" in name or name.endswith("PRIME")


def read_line(text: str, known: Collection[str], *, exact: Collection[str] = ()) -> Line:
    """Read a line of chat. Commands work in any case; `known` are the names of the table.

    Those of `exact` change something: `cancel?` is a question, and no command.
    """
    words = split_words(text)
    if not words:
        return Line(None, words)
    first = words[0].lower()
    bare = first.lstrip("-/\u2010\u2011\u2012\u2013\u2014\u2212").rstrip(".,;:!?\u2026")
    if "help" in known and (first == "?" or (first != bare and bare in _HELP)):
        return Line("help", words[1:])
    for name in (first, first.rstrip(".,;:!?\u2026")):
        if name in known and (name == first or name not in exact):
            return Line(name, words[1:])
    return Line(None, words)


def without_mention(text: str, bot_user: str) -> tuple[bool, str]:
    """Whether the text mentions the bot, and the text without those mentions."""
    mention = re.compile(rf"<@{re.escape(bot_user)}(?:\|[^<>]*)?>")
    rest, found = mention.subn(" ", text)
    return found > 0, rest.strip()


def read_app(text: str) -> str:
    """An app's name. Capitals are accepted: Dokku's names have none, but phones add one."""
    return check_app(text.lower())


def read_ask(words: Sequence[str]) -> Ask:
    """Read `APP [REF] [to SERVER]`; `APP@REF` counts as two words."""
    refuse_marks(words)
    left, server = _take_server(words, 1)
    if len(left) == 1 and "@" in left[0][1:-1]:
        left = left[0].partition("@")[::2]
    if not left:
        raise Declined(
            f"Which app? Use {slash('APP [REF] [to SERVER]')}, or just {slash()} for a form."
        )
    _refuse_more(left, 2)
    app = read_app(left[0])
    return Ask(app=app, ref=check_ref(left[1]) if len(left) > 1 else None, server=server)


def read_about(words: Sequence[str], *, rest: bool = False) -> About:
    """Read `[APP|ID] [on SERVER]`; with `rest`, one more word after the subject."""
    refuse_marks(words)
    left, server = _take_server(words, 0)
    _refuse_more(left, 2 if rest else 1)
    if not left:
        return About(server=server)
    # An id, or a part of one, has the shape of an app's name; the service tells them apart.
    subject = read_app(left[0])
    return About(subject=subject, server=server, rest=left[1] if len(left) > 1 else None)


def refuse_marks(words: Sequence[str]) -> None:
    """Declined: one of the words is a person, a channel or a group."""
    if any(_MARK.search(word) for word in words):
        raise Declined(
            "I don't understand the name of a person, channel or group here, so nothing was done. "
            f"{slash('help')} lists the commands."
        )


def _refuse_more(words: Sequence[str], most: int) -> None:
    if len(words) > most:
        raise Declined(
            f"I don't understand `{quoted(words[most])}` here. {slash('help')} lists the commands."
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
        raise Declined(f"To which server? Use {slash('APP [REF] to SERVER')}.")
    return tuple(words), None
