"""The settings as the rest of the program reads them: checked and complete."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TextIO

from pydantic import SecretStr

from bot.config.app_catalog import TableCatalog
from bot.config.checks import check_complete, check_fit, is_on_container_layer
from bot.config.database_url import dropped_from_postgres, usable_postgres
from bot.config.secrets import key_lines, proxy_passwords, secrets_of
from bot.config.settings import AppTable, SettingsTable
from bot.config.sources import Given, Origin, read_given, validate
from bot.config.ssh_keys import read_server
from bot.deployments.model import AppPolicy, Approval
from bot.deployments.timing import Timing
from bot.names import Repositories, bare_repo, set_command
from bot.outbox import Endpoint
from bot.ssh_target import SshTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackAccess:
    """How the bot reaches Slack, and how Slack reaches the bot."""

    bot_token: str = field(repr=False)
    app_token: str | None = field(repr=False)
    """If set, the bot uses Socket Mode, whether or not there is a signing secret."""
    signing_secret: str | None = field(repr=False)
    api_url: str
    """Ends with a slash."""

    @property
    def socket_mode(self) -> bool:
        """Whether the bot opens a socket to Slack. If not, Slack calls it over HTTP."""
        return self.app_token is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Built only by `load_settings`."""

    values: SettingsTable = field(repr=False)
    """Every value, validated, under the name that it has in `deploybot.toml`."""
    given: Given = field(repr=False)
    """Where each value came from."""
    servers: Mapping[str, SshTarget]
    """Servers by name, in order, with loaded keys. Empty unless the settings are complete."""

    @property
    def slack(self) -> SlackAccess:
        """Only of complete settings."""
        values = self.values
        return SlackAccess(
            bot_token=_text(values.slack_bot_token) or "",
            app_token=_text(values.slack_app_token),
            signing_secret=_text(values.slack_signing_secret),
            api_url=values.slack_api_url,
        )

    @property
    def database_url(self) -> str:
        """`sqlite:///…` or `postgresql://…`, without a driver and without dropped parameters."""
        url = self.values.database_url.get_secret_value()
        return usable_postgres(url) if url.startswith("postgresql:") else url

    @property
    def sqlite_file(self) -> Path | None:
        """The file of an SQLite database; None for PostgreSQL."""
        if not self.database_url.startswith("sqlite:///"):
            return None
        return Path(self.database_url.removeprefix("sqlite:///").partition("?")[0])

    @property
    def json_logs(self) -> bool:
        """Whether log lines are JSON. By default they are, unless they go to a terminal."""
        wanted = self.values.log_format
        return not self.log_stream.isatty() if wanted is None else wanted == "json"

    @property
    def log_stream(self) -> TextIO:
        """Where log lines go."""
        return sys.stdout if self.values.log_stream == "stdout" else sys.stderr

    @property
    def git_credentials(self) -> str | None:
        """git-credential-store lines, each with its newline."""
        text = _text(self.values.git_credentials)
        return None if text is None else text.replace("\\n", "\n").strip() + "\n"

    @property
    def metrics_token(self) -> str | None:
        """What shows metrics and the details of `/readyz` to its sender."""
        return _text(self.values.metrics_token)

    def max_running(self) -> Mapping[str, int]:
        """How many deployments may run at once, for each server that has a limit."""
        servers = self.values.servers.items()
        return {name: table.max_running for name, table in servers if table.max_running}

    def timing(self) -> Timing:
        """The domain's times and limits: each setting that has the name of one of them."""
        names = {one.name for one in fields(Timing)} & set(SettingsTable.model_fields)
        return Timing(**{name: getattr(self.values, name) for name in names})

    def catalog(self) -> TableCatalog:
        """The apps and their rules."""
        return TableCatalog(
            tables=self._policies(),
            servers=tuple(self.values.servers),
            only_listed=self.values.only_listed_apps,
            template=bare_repo(self.values.repo_template or "") or None,
            rules={server: self._rules(AppTable(), server) for server in self.values.servers},
        )

    def repositories(self) -> Repositories:
        """The repositories' addresses with their userinfo, which the catalog leaves out."""
        configured = [table.repo for table in self.values.apps.values() if table.repo]
        return Repositories(configured, self.values.repo_template)

    def _policies(self) -> Sequence[AppPolicy]:
        only = next(iter(self.values.servers), "")
        return tuple(
            AppPolicy(
                server=table.server or only,
                app=name,
                dokku_app=table.dokku_app or name,
                repo=bare_repo(table.repo or "") or None,
                default_ref=table.default_ref,
                broadcast=table.broadcast,
                **self._rules(table, table.server or only),
            )
            for name, table in self.values.apps.items()
        )

    def _rules(self, table: AppTable, server: str) -> Mapping[str, Any]:
        """What an `AppPolicy` takes from the first table that says it."""
        on_server = self.values.servers.get(server)
        tables = [one for one in (table, on_server, self.values.defaults) if one is not None]

        def first(key: str, usual: Any) -> Any:
            said = (getattr(one, key, None) for one in tables)
            return next((value for value in said if value is not None), usual)

        return {
            "deployers": first("deployers", frozenset()),
            "approval": Approval(first("approval", "none")),
            "approvers": first("approvers", frozenset()),
            "latest": first("queue", "fifo") == "latest",
            "channel": first("channel", None),
            "channels": first("channels", frozenset()),
            "notify": first("notify", frozenset()),
            "max_duration": first("max_duration", self.values.max_duration),
        }

    def endpoints(self) -> Sequence[Endpoint]:
        """The webhook endpoints."""
        return tuple(
            Endpoint(
                url=hook.url,
                secret=_text(hook.secret) or "",
                events=frozenset(hook.events),
                apps=hook.apps,
                format=hook.format,
            )
            for hook in self.values.webhooks
        )

    def warnings(self) -> Sequence[str]:
        """What works but will cause trouble; each a sentence with its fix."""
        file = self.sqlite_file
        if file is None:
            return dropped_from_postgres(self.values.database_url.get_secret_value())
        if not is_on_container_layer(file):
            return ()
        where = f"The database {file} is on this container's own layer and will be lost with it."
        return (f"{where} Put it on a mounted volume, or use PostgreSQL (DATABASE_URL).",)

    def secrets(self) -> Iterable[str]:
        """Every text that must never be printed, logged, sent to Slack or stored."""
        values = self.values
        texts = [text for server in self.servers.values() for text in key_lines(server.key_text)]
        return dict.fromkeys(
            (*texts, *secrets_of(values.model_dump()), *proxy_passwords(self.given.proxies))
        )

    def origin(self, *place: str | int) -> Origin:
        """What an operator edits to change a value: `origin("database_url")`."""
        return self.given.origin(place)


def load_settings(
    *, environ: Mapping[str, str] | None = None, folder: Path | None = None, complete: bool = True
) -> Settings:
    """Read and check all settings.

    `complete`: require everything that the bot needs to run, and load the keys. Without it, what is
    set must be right, but little may be set (operators' commands need only the database).

    From here on, this task's texts call the slash command by the name that is set.

    Raises: ConfigError, for the first thing that is wrong.
    """
    folder = folder or Path.cwd()
    given = read_given(os.environ if environ is None else environ, folder)
    values = validate(given)
    check_fit(values, given)
    set_command(values.command)
    servers: dict[str, SshTarget] = {}
    if complete:
        check_complete(values, given)
        for name, table in values.servers.items():
            servers[name] = read_server(
                table,
                key=given.origin(("servers", name, "ssh_key")),
                passphrase=given.origin(("servers", name, "ssh_key_passphrase")),
                known_hosts=given.origin(("servers", name, "known_hosts")),
                folder=folder,
            )
    return Settings(values=values, given=given, servers=servers)


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
