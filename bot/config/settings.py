"""The settings as the rest of the program reads them: checked, complete, in plain types."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bot.config.catalog import TableCatalog
from bot.config.checks import check_complete, check_fit, lies_on_container_layer
from bot.config.keys import KeyedServer, read_server
from bot.config.sources import Given, Origin, read_given, read_knobs
from bot.config.tables import Knobs
from bot.deployments.model import AppPolicy
from bot.deployments.ports import Catalog, Timing
from bot.outbox.model import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackAccess:
    """How to reach Slack, and how it reaches us."""

    bot_token: str = field(repr=False)
    app_token: str | None = field(repr=False)
    """Given: Socket Mode, whether or not there is a signing secret."""
    signing_secret: str | None = field(repr=False)
    api_url: str
    """Ends with a slash."""

    @property
    def socket_mode(self) -> bool:
        """Whether Slack is listened to over a socket of ours; else it calls us over HTTP."""
        return self.app_token is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Built by `load_settings` only."""

    knobs: Knobs = field(repr=False)
    """The validated tables, for those who show or document settings."""
    given: Given = field(repr=False)
    """Where each value came from."""
    keyed: Mapping[str, KeyedServer]
    """Servers with their keys; empty where keys were not asked for."""

    @property
    def slack(self) -> SlackAccess:
        """Only of complete settings."""
        knobs = self.knobs
        return SlackAccess(
            bot_token=_text(knobs.slack_bot_token) or "",
            app_token=_text(knobs.slack_app_token),
            signing_secret=_text(knobs.slack_signing_secret),
            api_url=knobs.slack_api_url,
        )

    @property
    def database_url(self) -> str:
        """`sqlite:///…` or `postgresql://…`, without a driver."""
        return self.knobs.database_url.get_secret_value()

    @property
    def bind(self) -> str:
        """Address of the HTTP port."""
        return self.knobs.bind

    @property
    def port(self) -> int:
        """HTTP port; 0: any free one."""
        return self.knobs.port

    @property
    def json_logs(self) -> bool:
        """Whether log lines are JSON; where nothing was said, when nobody watches a terminal."""
        wanted = self.knobs.log_format
        return not sys.stderr.isatty() if wanted is None else wanted == "json"

    @property
    def log_level(self) -> str:
        """Upper-case name."""
        return self.knobs.log_level

    @property
    def drain_timeout(self) -> timedelta:
        """How long SIGTERM waits for running deployments."""
        return self.knobs.drain_timeout

    @property
    def webhook_allow_private(self) -> bool:
        """Whether webhooks may go to loopback and private addresses."""
        return self.knobs.webhook_allow_private

    @property
    def git_credentials(self) -> str | None:
        """git-credential-store lines, each with its newline."""
        text = _text(self.knobs.git_credentials)
        return None if text is None else text.replace("\\n", "\n").strip() + "\n"

    def targets(self) -> Mapping[str, KeyedServer]:
        """The servers by name, in order, with keys that were loaded once."""
        return self.keyed

    def max_running(self) -> Mapping[str, int]:
        """How many deployments may run at once on a server; those without a limit are left out."""
        servers = self.knobs.servers.items()
        return {name: table.max_running for name, table in servers if table.max_running}

    def timing(self) -> Timing:
        """What the domain counts with."""
        knobs = self.knobs
        return Timing(
            poll_interval=knobs.poll_interval,
            max_poll_errors=knobs.max_poll_errors,
            settle=knobs.settle,
            queue_ttl=knobs.queue_ttl,
            tracker_ttl=knobs.tracker_ttl,
            late_interval=knobs.late_interval,
            late_duration=knobs.late_duration,
        )

    def catalog(self) -> Catalog:
        """What the settings say of apps."""
        return TableCatalog(
            tables=self.policies(),
            servers=tuple(self.knobs.servers),
            only_listed=self.knobs.only_listed_apps,
            template=self.knobs.repo_template,
            max_duration=self.knobs.max_duration,
        )

    def policies(self) -> Sequence[AppPolicy]:
        """The apps that have a table, in its order."""
        only = next(iter(self.knobs.servers), "")
        return tuple(
            AppPolicy(
                server=table.server or only,
                app=name,
                dokku_app=table.dokku_app or name,
                repo=table.repo,
                default_ref=table.default_ref,
                deployers=table.deployers,
                max_duration=table.max_duration or self.knobs.max_duration,
            )
            for name, table in self.knobs.apps.items()
        )

    def endpoints(self) -> Sequence[Endpoint]:
        """Who is told by webhook."""
        return tuple(
            Endpoint(
                url=hook.url,
                secret=_text(hook.secret) or "",
                events=frozenset(hook.events),
                apps=hook.apps,
                format=hook.format,
            )
            for hook in self.knobs.webhooks
        )

    @property
    def sqlite_file(self) -> Path | None:
        """The file of an SQLite database; None: it is another one."""
        if not self.database_url.startswith("sqlite:///"):
            return None
        return Path(self.database_url.removeprefix("sqlite:///").partition("?")[0])

    def warnings(self) -> Sequence[str]:
        """What works but will hurt; each a sentence with its mend."""
        file = self.sqlite_file
        if file is None or not lies_on_container_layer(file):
            return ()
        where = f"The database {file} lies on this container's own layer and vanishes with it."
        return (f"{where} Put it on a mounted volume, or use PostgreSQL (DATABASE_URL).",)

    def secrets(self) -> Iterable[str]:
        """Every text that must never be printed, logged, sent to Slack or stored."""
        knobs = self.knobs
        found = [knobs.slack_bot_token, knobs.slack_app_token, knobs.slack_signing_secret]
        found += [server.ssh_key_passphrase for server in knobs.servers.values()]
        found += [hook.secret for hook in knobs.webhooks]
        texts = [text for secret in found if (text := _text(secret))]
        for server in self.keyed.values():
            # A log shows a key line by line, so each line is a secret of its own.
            texts += [line for line in server.key.splitlines() if not line.startswith("-----")]
        texts += [hook.url for hook in knobs.webhooks if hook.format == "slack"]
        addresses = [self.database_url, *(self.git_credentials or "").split()]
        addresses += [app.repo for app in knobs.apps.values() if app.repo]
        addresses += [knobs.repo_template or ""]
        texts += [password for address in addresses for password in _passwords(address)]
        return dict.fromkeys(texts)

    def origin(self, *place: str | int) -> Origin:
        """What an operator edits to change a value: `origin("database_url")`."""
        return self.given.origin(place)


def load_settings(
    *, environ: Mapping[str, str] | None = None, folder: Path | None = None, complete: bool = True
) -> Settings:
    """Read and check all settings.

    `complete` asks for everything that the bot needs to run, with keys loaded; without it, what
    is given must be right, but may be little (operators' commands need the database alone).

    Raises: ConfigError, for the first thing that is wrong.
    """
    folder = folder or Path.cwd()
    given = read_given(os.environ if environ is None else environ, folder)
    knobs = read_knobs(given)
    check_fit(knobs, given)
    keyed: dict[str, KeyedServer] = {}
    if complete:
        check_complete(knobs, given)
        for name, table in knobs.servers.items():
            place = ("servers", name)
            keyed[name] = read_server(
                name,
                table,
                key=given.origin((*place, "ssh_key")),
                passphrase=given.origin((*place, "ssh_key_passphrase")),
                known_hosts=given.origin((*place, "known_hosts")),
                folder=folder,
            )
    return Settings(knobs=knobs, given=given, keyed=keyed)


def _text(secret: object) -> str | None:
    read = getattr(secret, "get_secret_value", None)
    return str(read()) if read else None


def _passwords(address: str) -> Iterable[str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    if parts.password:
        yield from {parts.password, unquote(parts.password)}
    elif parts.username and parts.scheme.startswith("http"):  # a bare token, as forges take it
        yield from {parts.username, unquote(parts.username)}


__all__ = ["KeyedServer", "Settings", "SlackAccess", "load_settings"]
