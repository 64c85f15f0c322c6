"""`deploybot config show`: every setting, its value and its source; secrets are masked."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from bot.config.loading import Settings
from bot.config.secrets import is_plain
from bot.config.sources import Place, dotted
from bot.config.values import show_duration

MASKED = "********"
_USERINFO = re.compile(r"(?<=://)([^/@:\s]*)(:[^/\s]*(?=@)|:(?!\d{1,5}(?:[/?\s]|\Z))\S*(?=@)|)@")
_IN_QUERY = re.compile(
    r"(?P<name>[?&][^=&#\s]*(?:pass|secret|token|pwd|key)[^=&#\s]*=)[^&#\s]+", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting."""

    name: str
    value: object
    """JSON."""
    source: str
    """`default`, or the variable or key and where it is set."""


def shown(settings: Settings) -> Iterator[Shown]:
    """All settings in the order of the configuration page."""
    yield from _table(settings, settings.values, ())


def shown_line(one: Shown) -> str:
    """A setting as a line."""
    value = "not set" if one.value is None else one.value
    return f"{one.name} = {value}  ({one.source})"


def _table(settings: Settings, table: BaseModel, above: Place) -> Iterator[Shown]:
    for name in type(table).model_fields:
        value = getattr(table, name)
        place = (*above, name)
        if isinstance(value, BaseModel):
            yield from _table(settings, value, place)
        elif isinstance(value, Mapping):
            for key, below in value.items():
                yield from _table(settings, below, (*place, key))
        elif name == "webhooks":
            for number, below in enumerate(value):
                yield from _table(settings, below, (*place, number))
        else:
            yield Shown(dotted(place), _plain(name, value, table), _source(settings, place))


def _source(settings: Settings, place: Place) -> str:
    found = settings.given.origins.get(place)
    if found is None:
        return "default"
    return f"{found.setting}, {found.source}"


def _plain(name: str, value: object, table: BaseModel) -> object:
    if isinstance(value, SecretStr):
        url = name == "database_url"
        return _without_password(value.get_secret_value()) if url else MASKED
    if isinstance(value, timedelta):
        return show_duration(value)
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, str):
        return _plain_text(name, value, table)
    return value


def _plain_text(name: str, value: str, table: BaseModel) -> str:
    if name == "known_hosts" and " " in value:
        return f"{len(value.strip().splitlines())} lines"
    if name == "url":
        if getattr(table, "format", "") == "slack":
            return MASKED  # the address of an incoming webhook is itself a secret
        return value if is_plain(value) else _without_path(value)
    return _without_password(value)


def _without_path(address: str) -> str:
    """The address of a webhook with its host only: many hold their secret in path or query."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{MASKED}"


def _without_password(address: str) -> str:
    """Mask the password, or a token, before the @ of an address; a bare user name stays."""

    def mask(found: re.Match[str]) -> str:
        user, password = found[1], found[2]
        if user in {"git", ""} and not password:
            return found[0]
        return f"{user}:{MASKED}@" if password else f"{MASKED}@"

    return _IN_QUERY.sub(rf"\g<name>{MASKED}", _USERINFO.sub(mask, address))
