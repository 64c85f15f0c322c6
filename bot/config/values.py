"""What a setting's text may be: durations, tokens, addresses, names.

Errors say what is wrong and how to mend it, and never hold the value: somebody may have pasted
a secret into the wrong variable.
"""

import re
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from bot.names import is_app_name, is_ref

DURATION_WORDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_LONGEST = timedelta(days=366)


class Wrong(ValueError):
    """A validator's error that says how to mend it. Neither text may hold the value."""

    def __init__(self, problem: str, mend: str) -> None:
        self.problem = problem
        self.mend = mend
        super().__init__(problem)


def read_duration(value: object) -> object:
    """Turn `90`, `90s`, `30m`, `2h` into a timedelta; above zero."""
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(str(value).strip().lower())
    if isinstance(value, bool) or found is None:
        raise Wrong("not a duration", "Write seconds, or a number with a unit: 90, 90s, 30m, 2h.")
    seconds = float(found[1]) * DURATION_WORDS[found[2]]
    if not 0 < seconds <= _LONGEST.total_seconds():
        raise Wrong("not a usable duration", "Write one above zero and below a year.")
    return timedelta(seconds=seconds)


def show_duration(duration: timedelta) -> str:
    """The shortest way to write a duration in the settings: `30m`."""
    seconds = duration.total_seconds()
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _token(prefixes: tuple[str, ...], where: str) -> BeforeValidator:
    def check(value: object) -> object:
        text = value.strip() if isinstance(value, str) else ""
        if not text.startswith(prefixes) or not text.isascii() or len(text.split()) != 1:
            raise Wrong(f"does not look like a token that begins with {prefixes[0]}", where)
        return text

    return BeforeValidator(check)


def not_yet(*planned: object) -> BeforeValidator:
    """Refuse what a later release will do: a setting that is read and ignored would be a lie.

    `planned` are the values to come; with none given, anything but an empty value is.
    """

    def check(value: object) -> object:
        if value in planned or (value and not planned):
            raise Wrong("not in this release yet", "Leave it out.")
        return value

    return BeforeValidator(check)


def _web_address(value: object) -> object:
    text = value.strip() if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(char.isspace() for char in text):
        raise Wrong("not a web address", "Write one that begins with https://.")
    return text


def _api_url(value: object) -> object:
    return str(_web_address(value)).rstrip("/") + "/"


def _database(value: object) -> object:
    text = value.strip() if isinstance(value, str) else ""
    if text.startswith("postgres://"):  # as Dokku's and Heroku's database plugins write it
        text = "postgresql://" + text.removeprefix("postgres://")
    if not text.startswith(("sqlite:///", "postgresql://")):
        raise Wrong(
            "not a database address",
            "Write sqlite:///path/to/file.db or postgresql://user:password@host/name.",
        )
    return text


def _template(value: object) -> object:
    text = value.strip() if isinstance(value, str) else ""
    if "{app}" not in text or re.sub(r"\{app\}", "", text).count("{"):
        raise Wrong(
            "has no {app} in it, or other braces",
            "Write e.g. https://github.com/acme/{app}.git.",
        )
    return text


def _repo(value: object) -> object:
    text = value.strip() if isinstance(value, str) else ""
    if not text or text.startswith("-") or any(char.isspace() for char in text):
        raise Wrong("not a git remote", "Write e.g. https://github.com/acme/myapp.git.")
    return text


def _ref(value: object) -> object:
    text = value.strip() if isinstance(value, str) else ""
    if not is_ref(text):
        raise Wrong("not a git ref", "Write a branch, a tag or a commit.")
    return text


def _host(value: object) -> object:
    text = value.strip() if isinstance(value, str) else ""
    try:
        usable = bool(ip_address(text))
    except ValueError:
        usable = (
            re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", text)
            is not None
        )
    if not usable:
        raise Wrong("not a host name or address", "Write e.g. dokku.example.com, without a port.")
    return text


def _dokku_app(value: object) -> object:
    text = value.strip() if isinstance(value, str) else ""
    if not is_app_name(text):
        raise Wrong("not a name that Dokku gives an app", "Write it as `apps:list` shows it.")
    return text


def _members(value: object) -> object:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise Wrong("not a list", 'Write e.g. ["U0123ABCD", "S0456EFGH"].')
    for member in value:
        if not isinstance(member, str) or re.fullmatch(r"[UWS][A-Z0-9]{2,}", member) is None:
            raise Wrong(
                "holds something that is no Slack id of a user (U…, W…) or user group (S…)",
                "In Slack: profile, ⋮, Copy member ID.",
            )
    return frozenset(value)


Duration = Annotated[timedelta, BeforeValidator(read_duration)]
WebAddress = Annotated[str, BeforeValidator(_web_address)]
ApiUrl = Annotated[str, BeforeValidator(_api_url)]
Host = Annotated[str, BeforeValidator(_host)]
Repo = Annotated[str, BeforeValidator(_repo)]
RepoTemplate = Annotated[str, BeforeValidator(_template)]
Ref = Annotated[str, BeforeValidator(_ref)]
DokkuApp = Annotated[str, BeforeValidator(_dokku_app)]
Members = Annotated[frozenset[str], BeforeValidator(_members)]
Port = Annotated[int, Field(ge=1, le=65535)]
AnyPort = Annotated[int, Field(ge=0, le=65535)]
ServerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
AppName = Annotated[str, Field(pattern=r"^[^\s`*_~<>@#|]{1,255}$")]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda v: str(v).strip().upper())
]
LogFormat = Annotated[Literal["console", "json"], BeforeValidator(lambda v: str(v).strip().lower())]
DatabaseUrl = Annotated[SecretStr, BeforeValidator(_database)]
BotToken = Annotated[
    SecretStr, _token(("xoxb-", "xoxe.xoxb-"), "Slack app settings: OAuth & Permissions.")
]
AppToken = Annotated[
    SecretStr, _token(("xapp-",), "Slack app settings: Basic Information, App-Level Tokens.")
]
