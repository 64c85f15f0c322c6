"""Checks across settings: whether they fit together, and whether they are complete."""

import base64
import binascii
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from bot.config.settings import SettingsTable
from bot.config.sources import ENVIRONMENT, PLACE_OF, Given, Origin
from bot.errors import ConfigError


def check_complete(values: SettingsTable, given: Given) -> None:
    """Check that everything is set that the bot needs to run."""
    for error in missing(values, given):
        raise error


def missing(values: SettingsTable, given: Given) -> Iterator[ConfigError]:
    """Everything that the bot needs to run and that is not set."""
    if values.slack_bot_token is None:
        yield _missing(
            "SLACK_BOT_TOKEN", given, "Slack app settings: OAuth & Permissions (docs/install.md)."
        )
    if values.slack_app_token is None and values.slack_signing_secret is None:
        yield _missing(
            "SLACK_APP_TOKEN", given, "Set it (Socket Mode), or SLACK_SIGNING_SECRET (HTTP mode)."
        )
    if not values.servers:
        yield _missing(
            "DOKKU_HOST",
            given,
            "Set it with DOKKU_SSH_KEY and DOKKU_KNOWN_HOSTS, or add a [servers.NAME] table.",
        )


def _missing(setting: str, given: Given, fix: str) -> ConfigError:
    unknown = [name for name in given.names if name not in PLACE_OF]
    near = get_close_matches(setting, unknown, n=1, cutoff=0.8)
    unset = Origin(setting, ENVIRONMENT)
    if near:
        return unset.wrong(f"missing, but {near[0]} is set: misspelt?")
    return unset.wrong("missing", fix)


def check_fit(values: SettingsTable, given: Given) -> None:
    """Check that the settings fit together."""
    for error in misfits(values, given):
        raise error


def misfits(values: SettingsTable, given: Given) -> Iterator[ConfigError]:
    """All settings that do not fit together."""
    yield from _misfit_apps(values, given)
    yield from _misfit_webhooks(values, given)
    if values.metrics_port and values.metrics_port == values.port:
        yield given.origin(("metrics_port",)).wrong(
            "the same port as PORT", "Choose another one that is not published."
        )
    postgres = values.database_url.get_secret_value().startswith("postgresql")
    if postgres and find_spec("asyncpg") is None:
        yield given.origin(("database_url",)).wrong(
            "the driver for PostgreSQL is not installed", "Install dokku-deploybot[postgres]."
        )


def _misfit_apps(values: SettingsTable, given: Given) -> Iterator[ConfigError]:
    names = list(values.servers)
    first: dict[tuple[str | None, str], str] = {}
    for name, app in values.apps.items():
        server = given.origin(("apps", name, "server"))
        if app.server is None and len(names) > 1:
            yield server.wrong(
                "missing, and there are several servers", f"Set it to one of: {', '.join(names)}."
            )
        if app.server is not None and app.server not in names:
            yield server.wrong(
                "no such server is configured", f"Known: {', '.join(names) or 'none'}."
            )
        key = (app.server or next(iter(names), None), app.dokku_app or name)
        if key in first:
            yield given.origin(("apps", name)).wrong(
                f"the same Dokku app on the same server as apps.{first[key]}",
                "Keep one of the two tables.",
            )
        first[key] = name


def _misfit_webhooks(values: SettingsTable, given: Given) -> Iterator[ConfigError]:
    urls: set[str] = set()
    for number, hook in enumerate(values.webhooks):
        url = given.origin(("webhooks", number, "url"))
        secret = given.origin(("webhooks", number, "secret"))
        if hook.url in urls:
            yield url.wrong(
                "the same address as another webhook",
                "Keep one of them, with all its events and apps.",
            )
        urls.add(hook.url)
        if not values.webhook_allow_private and urlsplit(hook.url).scheme != "https":
            yield url.wrong("not https", "Use https, or set DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE=true.")
        if hook.secret is None and hook.format == "standard":
            yield secret.wrong("missing", "Each delivery is signed: set any long random text.")
        if hook.secret and not _is_key(hook.secret.get_secret_value()):
            yield secret.wrong(
                "begins with whsec_ but no base64 follows",
                "Copy it whole, or use any text without that beginning.",
            )


def _is_key(secret: str) -> bool:
    """Any text is, but `whsec_` promises base64 (Standard Webhooks); padding may be missing."""
    if not secret.startswith("whsec_"):
        return bool(secret)
    coded = secret.removeprefix("whsec_").rstrip("=")
    try:
        return bool(base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True))
    except binascii.Error:
        return False


def is_on_container_layer(file: Path) -> bool:
    """Whether a file would be lost with the container that the bot runs in."""
    in_container = Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()
    folder = file.absolute().parent
    return in_container and folder.exists() and folder.stat().st_dev == Path("/").stat().st_dev
