"""Every mistake in the settings at once, and what can be used in spite of them: for `check`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from bot.config.checks import misfits, missing
from bot.config.loading import Settings
from bot.config.settings import ServerTable, SettingsTable
from bot.config.sources import Given, Origin, Place, explain, read_given
from bot.config.ssh_keys import (
    parse_key,
    parse_known_hosts,
    read_key,
    read_known_hosts,
    read_server,
)
from bot.errors import ConfigError
from bot.ssh_target import SshTarget


def read_all(
    environ: Mapping[str, str], folder: Path
) -> tuple[Settings | None, Sequence[ConfigError]]:
    """What is right, and everything that is wrong. None: nothing could be used.

    What is wrong is left out of the settings; of a server, an app or a webhook, all of it.
    """
    errors: list[ConfigError] = []
    given = read_given(environ, folder, errors.append)
    values, bad = _validate(given, errors)
    if values is None:
        return None, errors
    errors += [one for one in misfits(values, given) if not _follows(one, bad)]
    errors += [one for one in missing(values, given) if not _is_bad(one, bad, given)]
    servers: dict[str, SshTarget] = {}
    for name, table in values.servers.items():
        wrong = list(_wrong_keys(name, table, given, folder))
        errors += wrong
        if not wrong:
            servers[name] = read_server(table, folder=folder, **_origins(name, given))
    return Settings(values=values, given=given, servers=servers), errors


def _validate(
    given: Given, errors: list[ConfigError]
) -> tuple[SettingsTable | None, Sequence[Place]]:
    """The table without what is wrong, and the places that are."""
    try:
        return SettingsTable.model_validate(given.values), ()
    except ValidationError as error:
        found = explain(error, given)
    errors += [one for _, one in found]
    bad = [place for place, _ in found]
    rest = replace(given, values=deepcopy(given.values))
    for place in bad:
        _drop(rest.values, place)
    with suppress(ValidationError):
        return SettingsTable.model_validate(rest.values), bad
    return None, bad


def _drop(values: dict[str, object], place: Place) -> None:
    """Leave out a value; where it is in a table with a name, the table."""
    above = values.get(str(place[0])) if place else None
    if isinstance(above, dict) and place[0] in {"servers", "apps"} and len(place) > 1:
        above.pop(str(place[1]), None)
    elif place:
        values.pop(str(place[0]), None)


def _follows(error: ConfigError, bad: Sequence[Place]) -> bool:
    """Whether it may only be there because a server was left out."""
    return error.setting.startswith("apps.") and any(place[:1] == ("servers",) for place in bad)


def _is_bad(error: ConfigError, bad: Sequence[Place], given: Given) -> bool:
    """Whether what is missing is set, and wrong."""
    tops = {str(place[0]) for place in bad}
    if error.setting == "DOKKU_HOST":
        return "servers" in tops
    if error.setting == "SLACK_APP_TOKEN":
        return bool({"slack_app_token", "slack_signing_secret"} & tops)
    return any(given.origin(place).setting == error.setting for place in bad)


def _origins(name: str, given: Given) -> dict[str, Origin]:
    return {
        argument: given.origin(("servers", name, key))
        for argument, key in (
            ("key", "ssh_key"),
            ("passphrase", "ssh_key_passphrase"),
            ("known_hosts", "known_hosts"),
        )
    }


def _wrong_keys(name: str, table: ServerTable, given: Given, folder: Path) -> Iterator[ConfigError]:
    """The key and the host key are wrong for themselves."""
    origins = _origins(name, given)
    secret = table.ssh_key_passphrase
    try:
        text = read_key(table.ssh_key.get_secret_value(), origins["key"], folder)
        parse_key(
            text,
            secret.get_secret_value() if secret else None,
            key=origins["key"],
            passphrase=origins["passphrase"],
        )
    except ConfigError as error:
        yield error
    try:
        lines = read_known_hosts(table.known_hosts, origins["known_hosts"], folder)
        parse_known_hosts(lines, table.host, table.port, origins["known_hosts"])
    except ConfigError as error:
        yield error
