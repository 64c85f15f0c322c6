"""How Dokku cuts what comes over SSH into words."""

import re

_PART = re.compile(
    r"""'(?P<single>[^']*)'|"(?P<double>[^"]*)"|\\(?P<taken>.)|(?P<plain>[^\s'"\\])"""
)
_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|\\.|[^\s'"\\])+""")


class UnmatchedQuote(Exception):
    """A quote has no end: `xargs` refuses."""


def split(command: str) -> list[str]:
    r"""Cut a command line into words.

    `git:*` is cut at white space only. Everything else goes through `xargs -n 1`: quotes protect,
    a backslash takes the next character literally outside of quotes, and no shell is involved.

    Raises UnmatchedQuote.
    """
    if command.lstrip().startswith("git:"):
        return command.split()
    if _WORD.sub("", command).strip():
        raise UnmatchedQuote(command)
    return [_unquote(word) for word in _WORD.findall(command)]


def _unquote(word: str) -> str:
    return "".join(match.group(match.lastgroup or 0) for match in _PART.finditer(word))
