"""Types of settings: what a text may be, such as a duration, a token, an address or a name.

Errors say what is wrong and how to fix it, and never contain the value: it may be a secret that was
pasted into the wrong variable.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from bot.names import is_app_name, is_command

DURATION_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_LONGEST = timedelta(days=366)
_LONG_TEXT = 16
_CHANNEL = re.compile(r"[CG][A-Z0-9]{2,}")
_CHANNEL_FIX = "In Slack: the channel's name, About, at the end."
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")


class Wrong(ValueError):
    """A validator's error that says how to fix it. Neither text may contain the value."""

    def __init__(self, problem: str, fix: str) -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(problem)


def read_duration(value: object) -> object:
    """Turn `90`, `90s`, `30m`, `2h` into a timedelta; above zero."""
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(str(value).strip().lower())
    if isinstance(value, bool) or found is None:
        raise Wrong("not a duration", "Write seconds, or a number with a unit: 90, 90s, 30m, 2h.")
    seconds = float(found[1]) * DURATION_UNITS[found[2]]
    if not 0 < seconds <= _LONGEST.total_seconds():
        raise Wrong("not a usable duration", "Write one above zero and below a year.")
    return timedelta(seconds=seconds)


def read_retention(value: object) -> object:
    """As a duration; `0`: for ever."""
    if value == timedelta(0) or str(value).strip().lower() in {"0", "0s", "0d"}:
        return timedelta(0)
    return read_duration(value)


def show_duration(duration: timedelta) -> str:
    """The shortest way to write a duration in the settings: `30m`."""
    seconds = duration.total_seconds()
    if not seconds:
        return "0"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _text(usable: Callable[[str], bool], problem: str, fix: str) -> BeforeValidator:
    """Accept a text that is usable once the spaces around it are gone."""

    def check(value: object) -> object:
        text = value.strip() if isinstance(value, str) else ""
        if not usable(text):
            raise Wrong(problem, fix)
        return text

    return BeforeValidator(check)


def _token(*prefixes: str, where: str) -> BeforeValidator:
    def usable(text: str) -> bool:
        return text.startswith(prefixes) and text.isascii() and len(text.split()) == 1

    return _text(usable, f"does not look like a token that begins with {prefixes[0]}", where)


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and len(text.split()) == 1


def _is_host(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return _HOST.fullmatch(text) is not None


def _is_argument(text: str) -> bool:
    """One word that git cannot take for an option."""
    return len(text.split()) == 1 and not text.startswith("-")


def _is_template(text: str) -> bool:
    return "{app}" in text and "{" not in text.replace("{app}", "")


def _full_scheme(value: object) -> object:
    """`postgres://` is how Dokku's and Heroku's database plugins write it."""
    return re.sub(r"^\s*postgres://", "postgresql://", value) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return str(value).strip().lower()


def _upper(value: object) -> object:
    return str(value).strip().upper()


def _members(value: object) -> object:
    if value in ("nobody", ["nobody"]):
        return frozenset({"nobody"})
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise Wrong("not a list", 'Write e.g. ["U0123ABCD", "S0456EFGH"].')
    for member in value:
        if not isinstance(member, str) or re.fullmatch(r"[UWS][A-Z0-9]{2,}", member) is None:
            raise Wrong(
                "holds something that is not a Slack id of a user (U…, W…) or user group (S…)",
                "In Slack: profile, ⋮, Copy member ID.",
            )
    return frozenset(value)


def read_channel(text: str) -> str:
    """The id of a channel, as an option of a command gives it. Wrong: it is none."""
    if _CHANNEL.fullmatch(text.strip()) is None:
        raise Wrong("not the id of a Slack channel (C…, G…)", _CHANNEL_FIX)
    return text.strip()


def _runner(value: object) -> object:
    text = value.strip() if isinstance(value, str) else "?"
    if text and not is_app_name(text):
        fix = "Write it as `apps:list` shows it: lower-case letters, digits, dots and hyphens."
        raise Wrong("not a name that Dokku gives an app", fix)
    return text


def _channels(value: object) -> object:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise Wrong("not a list", 'Write e.g. ["C0123ABCD"].')
    if not all(isinstance(one, str) and _CHANNEL.fullmatch(one) for one in value):
        raise Wrong("holds something that is not the id of a Slack channel (C…, G…)", _CHANNEL_FIX)
    return frozenset(value)


LongText = _text(
    lambda text: len(text) >= _LONG_TEXT and text.isascii() and len(text.split()) == 1,
    f"shorter than {_LONG_TEXT} characters, or with blanks or other letters than a-z",
    "Set any long random text, e.g. of `openssl rand -hex 32`.",
)
"""Type of a secret that is too long to guess."""

Duration = Annotated[timedelta, BeforeValidator(read_duration)]
KeptFor = Annotated[timedelta, BeforeValidator(read_retention)]
WebAddress = Annotated[
    str, _text(_is_web_address, "not a web address", "Write one that begins with https://.")
]
ApiUrl = Annotated[WebAddress, AfterValidator(lambda url: url.rstrip("/") + "/")]
Host = Annotated[
    str,
    _text(_is_host, "not a host name or address", "Write e.g. dokku.example.com, without a port."),
]
Repo = Annotated[
    str, _text(_is_argument, "not a git remote", "Write e.g. https://github.com/acme/myapp.git.")
]
RepoTemplate = Annotated[
    str,
    _text(
        _is_template,
        "has no {app} in it, or other braces",
        "Write e.g. https://github.com/acme/{app}.git.",
    ),
]
Ref = Annotated[str, _text(_is_argument, "not a git ref", "Write a branch, a tag or a commit.")]
DokkuApp = Annotated[
    str,
    _text(
        lambda text: re.fullmatch(r"[a-z0-9][^/:A-Z\s]{0,254}", text) is not None,
        "not a name that Dokku gives an app",
        "Write it as `apps:list` shows it.",
    ),
]
RunnerApp = Annotated[str, BeforeValidator(_runner)]
CommandName = Annotated[
    str,
    _text(
        is_command,
        "not a name that Slack gives a command",
        "Write a slash, then lower-case letters, digits, - or _, at most 32 characters: /ship.",
    ),
]
Members = Annotated[frozenset[str], BeforeValidator(_members)]
SlackChannel = Annotated[
    str,
    _text(
        lambda text: _CHANNEL.fullmatch(text) is not None,
        "not the id of a Slack channel (C…, G…)",
        _CHANNEL_FIX,
    ),
]
SlackChannels = Annotated[frozenset[str], BeforeValidator(_channels)]
Port = Annotated[int, Field(ge=1, le=65535)]
AnyPort = Annotated[int, Field(ge=0, le=65535)]
ServerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
AppName = Annotated[str, Field(pattern=r"^[^\s`*_~<>@#|]{1,255}$")]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)]
LogStream = Annotated[Literal["stderr", "stdout"], BeforeValidator(_lower)]
LogFormat = Annotated[Literal["console", "json"], BeforeValidator(_lower)]
DatabaseUrl = Annotated[
    SecretStr,
    _text(
        lambda text: text.startswith(("sqlite:///", "postgresql://")),
        "not a database address",
        "Write sqlite:///path/to/file.db or postgresql://user:password@host/name.",
    ),
    BeforeValidator(_full_scheme),
]
BotToken = Annotated[
    SecretStr, _token("xoxb-", "xoxe.xoxb-", where="Slack app settings: OAuth & Permissions.")
]
AppToken = Annotated[
    SecretStr, _token("xapp-", where="Slack app settings: Basic Information, App-Level Tokens.")
]
