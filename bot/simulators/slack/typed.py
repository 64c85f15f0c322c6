"""How Slack turns what a person types into the text that apps receive."""

import html
import re
from typing import Literal

from bot.simulators.slack.workspace import Workspace

_PIECES = re.compile(
    r"(?P<done><(?:[@#!][^<>\s]+|https?://[^<>\s]+)>)"
    r"|(?P<url>https?://[^\s<>|]+[^\s<>|.,;:!?)'\"])"
    r"|(?P<user>(?<!\w)@[a-z0-9._-]*[a-z0-9])"
    r"|(?P<channel>(?<!\w)#[a-z0-9_-]+)"
)


def as_text(workspace: Workspace, typed: str, *, style: Literal["message", "command"]) -> str:
    """Escape `& < >`, and turn addresses, `@name` and `#channel` into Slack's tokens.

    Messages get `<@U1>`, commands with `should_escape` get `<@U1|ada>`. Tokens that are already
    there (`<@U1>`) stay.
    """
    with_names = style == "command"
    parts: list[str] = []
    end = 0
    for match in _PIECES.finditer(typed):
        parts += [_escape(typed[end : match.start()]), _token(workspace, match, with_names)]
        end = match.end()
    return "".join([*parts, _escape(typed[end:])])


def _token(workspace: Workspace, match: re.Match[str], with_names: bool) -> str:
    piece = match.group()
    match match.lastgroup:
        case "done":
            return piece
        case "url":
            return f"<{_escape(piece)}>"
        case "user":
            for user in workspace.users.values():
                if user.name == piece[1:]:
                    return f"<@{user.id}|{user.name}>" if with_names else f"<@{user.id}>"
        case _:
            for channel in workspace.channels.values():
                if channel.name == piece[1:] and channel.kind != "im":
                    return f"<#{channel.id}|{channel.name}>"
    return _escape(piece)


def _escape(text: str) -> str:
    return html.escape(text, quote=False)
