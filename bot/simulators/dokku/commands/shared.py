"""What the commands share: splitting the words, finding the app, printing, refusing."""

import re

from bot.simulators.dokku.app import App
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Output
from bot.simulators.dokku.recordings import step

_PART = re.compile(
    r"""'(?P<single>[^']*)'|"(?P<double>[^"]*)"|\\(?P<taken>.)|(?P<plain>[^\s'"\\])"""
)
_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|\\.|[^\s'"\\])+""")


class UnmatchedQuote(Exception):
    """A quote is not closed: `xargs` refuses the command."""


class Unmodelled(Exception):
    """The simulator knows no answer from a recording."""


class Refused(Exception):
    """Dokku refuses: a text on stderr and an exit status."""

    def __init__(self, text: str, exit_status: int) -> None:
        super().__init__(text)
        self.text = text
        self.exit_status = exit_status


def split(command: str) -> list[str]:
    r"""Split a command line into words as Dokku does.

    `git:*` is split at white space only. Everything else goes through `xargs -n 1`: quotes
    protect, a backslash outside of quotes takes the next character literally, and no shell is
    involved.

    Raises UnmatchedQuote.
    """
    if command.lstrip().startswith("git:"):
        return command.split()
    if _WORD.sub("", command).strip():
        raise UnmatchedQuote(command)
    return [_unquote(word) for word in _WORD.findall(command)]


def _unquote(word: str) -> str:
    return "".join(match.group(match.lastgroup or 0) for match in _PART.finditer(word))


async def put(output: Output, out: str = "", err: str = "") -> None:
    """Print an answer. Raises PipeBroken."""
    if err:
        await output.write("err", err.encode())
    if out:
        await output.write("out", out.encode())


def find_app(host: DokkuHost, words: list[str]) -> App:
    """Find the app that the first word names. Raises Refused (exit 20) if there is none."""
    name = words[0] if words else ""
    app = host.apps.get(name)
    if app is None:
        recorded = step(host.version, "i_app_missing", "apps_exists_ghost")
        raise Refused(recorded.stderr.replace("ghost", name), recorded.exit_status)
    return app


def take_format(words: list[str]) -> tuple[str, list[str]]:
    """Take `--format X` out of the words. Returns the format (`text` by default), the rest."""
    rest = list(words)
    for index, word in enumerate(rest):
        if word == "--format" and index + 1 < len(rest):
            chosen = rest[index + 1]
            return chosen, rest[:index] + rest[index + 2 :]
        if word.startswith("--format="):
            return word.partition("=")[2], rest[:index] + rest[index + 1 :]
    return "text", rest
