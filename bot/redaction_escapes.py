r"""Ways to write characters that logs use, and what they mean: `%2f`, `\u002b`, `\/`.

Pure. Each pattern reads a text once, whatever it holds.
"""

import html
import re
from collections.abc import Iterator

# What each way of writing makes of one character (or of the bytes of some).
ESCAPE = re.compile(
    r"%[0-7][0-9A-Fa-f]|(?:%[89A-Fa-f][0-9A-Fa-f]){1,64}"
    r"|\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}"
    r"|\\x[0-7][0-9A-Fa-f]|(?:\\x[89A-Fa-f][0-9A-Fa-f]){1,64}"
    r"|\\[01][0-7]{2}|(?:\\[23][0-7]{2}){1,64}"
    r"|'\\''|'\"'\"'|\\[^\n]|&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos);"
)
HALF_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]?|\\(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?)\Z")
"""The beginning of one, where a text is cut."""
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Controls, terminal sequences, and what changes the direction of writing."""
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def unescaped(part: re.Match[str]) -> str:
    """The characters that an escape means."""
    text = part[0]
    if len(text) == 2:  # noqa: PLR2004 - a backslash and a character
        return _CONTROLS.get(text[1], text[1])
    if text.startswith("%"):
        return bytes.fromhex(text.replace("%", "")).decode(errors="replace")
    if text.startswith("\\u"):
        units = bytes.fromhex(text.replace("\\u", ""))
        return units.decode("utf-16-be", errors="replace")
    if text.startswith("\\x"):
        return bytes.fromhex(text.replace("\\x", "")).decode(errors="replace")
    if text.startswith("'"):
        return "'"
    if text.startswith("&"):
        return html.unescape(text)
    # Octal digits.
    return bytes(int(one, 8) for one in text.split("\\")[1:]).decode(errors="replace")


def visible(text: str) -> str:
    """Show characters that a terminal would obey as escapes; tabs and line ends stay."""
    return OBEYED.sub(lambda one: one[0].encode("unicode_escape").decode(), text)


def plain(text: str) -> str:
    """The text with its escapes replaced by their characters."""
    return ESCAPE.sub(unescaped, text)


def escapes(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each one begins and ends, and the characters in its place."""
    return ((part.start(), part.end(), unescaped(part)) for part in ESCAPE.finditer(text))
