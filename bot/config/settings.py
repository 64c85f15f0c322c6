"""Every setting as a field: type, default, environment variable, meaning.

A new setting is one field here, and below it a sentence for operators: pydantic reads it as the
description, and the configuration page shows it. The name of the field is its key in
`deploybot.toml`; with the table's prefix, it is the environment variable.
"""

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic.config import JsonDict

from bot.config.database_url import check_postgres
from bot.config.values import (
    AnyPort,
    ApiUrl,
    AppName,
    AppToken,
    BotToken,
    CommandName,
    DatabaseUrl,
    DokkuApp,
    Duration,
    Host,
    KeptFor,
    LogFormat,
    LogLevel,
    LogStream,
    LongText,
    Members,
    Port,
    Ref,
    Repo,
    RepoTemplate,
    RunnerApp,
    ServerName,
    SlackChannel,
    SlackChannels,
    WebAddress,
)
from bot.names import COMMAND

Event = Literal["deployment.started", "deployment.finished", "deployment.corrected"]


def variable(name: str) -> JsonDict:
    """Give a field a variable that its table's prefix and its key do not make."""
    return {"variable": name}


FILE_ONLY = variable("")
"""Marks a field without an environment variable."""


class Table(BaseModel):
    """What all tables share: unknown keys are errors, and no error contains a value."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
        use_attribute_docstrings=True,
        str_strip_whitespace=True,
    )
    variable_prefix: ClassVar[str] = ""
    """Prefix of its fields' environment variables; empty: they have none."""

    @classmethod
    def variable_of(cls, key: str) -> str | None:
        """The environment variable of a field: the prefix and the key, unless it is named."""
        extra = cls.model_fields[key].json_schema_extra
        named = extra.get("variable") if isinstance(extra, dict) else None
        if isinstance(named, str):
            return named or None
        return f"{cls.variable_prefix}{key.upper()}" if cls.variable_prefix else None


class RulesTable(Table):
    """Who may deploy an app, and how: by its own table, else its server's, else `[defaults]`."""

    deployers: Members | None = Field(default=None, json_schema_extra=FILE_ONLY)
    """Slack users and user groups who may deploy, or `"nobody"`. Default: everyone but guests."""
    approval: Literal["none", "confirm", "second_person"] | None = Field(
        default=None, json_schema_extra=FILE_ONLY
    )
    """What a deployment needs first: `none` (default), `confirm` (a click) or `second_person`."""
    approvers: Members | None = Field(default=None, json_schema_extra=FILE_ONLY)
    """Slack users and user groups who may approve and reject. Default: the deployers."""
    queue: Literal["fifo", "latest"] | None = Field(default=None, json_schema_extra=FILE_ONLY)
    """`latest`: a newer request cancels older ones that wait. `fifo` (default): all in turn."""
    channel: SlackChannel | None = Field(default=None, json_schema_extra=FILE_ONLY)
    """Channel of the messages, wherever it was asked. Default: where it was asked."""
    channels: SlackChannels | None = Field(default=None, json_schema_extra=FILE_ONLY)
    """Channels from which it may be deployed. Default: all that the bot is in."""
    notify: SlackChannels | None = Field(default=None, json_schema_extra=FILE_ONLY)
    """Channels that also get the result. Default: none."""


RULES = tuple(RulesTable.model_fields)
"""The keys that an app, its server and `[defaults]` share."""


class DefaultsTable(RulesTable):
    """What holds for every app that does not say otherwise."""

    max_duration: Duration | None = None
    """Longest duration of a deployment. Default: the top-level `max_duration`."""


class ServerTable(RulesTable):
    """One Dokku host."""

    variable_prefix: ClassVar[str] = "DOKKU_"

    host: Host
    """Host name or address of the Dokku server."""
    port: Port = 22
    """SSH port."""
    user: Annotated[str, Field(min_length=1)] = "dokku"
    """SSH user; `dokku` on a plain installation."""
    ssh_key: SecretStr
    """Private key: a path, PEM text (real or `\\n` newlines) or base64 of it."""
    ssh_key_passphrase: SecretStr | None = None
    """Passphrase of the private key, if it has one."""
    known_hosts: str
    """Host key, as `ssh-keyscan` prints it: a path or the lines. Always verified."""
    max_running: int = Field(default=0, ge=0, le=10_000, json_schema_extra=FILE_ONLY)
    """Most deployments that run on it at once; 0: no limit."""
    runner: RunnerApp = Field(default="", json_schema_extra=FILE_ONLY)
    """App on it in whose one-off containers deploys run, so that they outlive the bot."""


class AppTable(RulesTable):
    """One app. An app without a table gets the defaults."""

    server: str | None = None
    """Server. Default: the only server."""
    dokku_app: DokkuApp | None = None
    """Name of the app in Dokku. Default: the table's name."""
    repo: Repo | None = None
    """Git remote. Default: `repo_template`, else the one that Dokku recorded."""
    default_ref: Ref | None = None
    """Ref to deploy if none is typed. Default: Dokku's deploy branch."""
    max_duration: Duration | None = None
    """Longest duration of a deployment of it. Default: the top-level `max_duration`."""
    broadcast: bool = False
    """Whether the thread's reply about a failed deployment is shown in the channel too."""


class WebhookTable(Table):
    """One webhook endpoint."""

    variable_prefix: ClassVar[str] = "DEPLOYBOT_WEBHOOK_"

    url: WebAddress
    """Where to POST: https; or http with `webhook_allow_private`."""
    secret: SecretStr | None = None
    """Signs deliveries: `whsec_` and base64, or any text. Required unless `format` is `slack`."""
    events: frozenset[Event] = Field(
        default=frozenset({"deployment.finished", "deployment.corrected"}),
        min_length=1,
        json_schema_extra=FILE_ONLY,
    )
    """Events to send: `deployment.started`, `deployment.finished`, `deployment.corrected`."""
    apps: frozenset[str] | None = Field(default=None, min_length=1, json_schema_extra=FILE_ONLY)
    """Apps whose events to send. Default: all."""
    format: Literal["standard", "slack"] = Field(default="standard", json_schema_extra=FILE_ONLY)
    """`standard` (Standard Webhooks JSON) or `slack` (an incoming-webhook message)."""


def _check_database(url: SecretStr) -> SecretStr:
    if url.get_secret_value().startswith("postgresql:"):
        check_postgres(url.get_secret_value())
    return url


class SettingsTable(Table):
    """The top level of `deploybot.toml`."""

    variable_prefix: ClassVar[str] = "DEPLOYBOT_"

    slack_bot_token: BotToken | None = Field(
        default=None, json_schema_extra=variable("SLACK_BOT_TOKEN")
    )
    """Bot token (`xoxb-…`). Required."""
    slack_app_token: AppToken | None = Field(
        default=None, json_schema_extra=variable("SLACK_APP_TOKEN")
    )
    """App-level token (`xapp-…`) with `connections:write`, for Socket Mode."""
    slack_signing_secret: SecretStr | None = Field(
        default=None, json_schema_extra=variable("SLACK_SIGNING_SECRET")
    )
    """Signing secret, for HTTP mode: Slack calls `POST /slack/events`."""
    slack_api_url: ApiUrl = Field(
        default="https://slack.com/api/", json_schema_extra=variable("SLACK_API_URL")
    )
    """Base URL of Slack's Web API, for proxies and GovSlack."""
    command: CommandName = COMMAND
    """Name of the slash command, as `deploybot manifest --command` gave it to the Slack app."""
    repo_template: RepoTemplate | None = None
    """Git remote of apps without `repo`; contains `{app}`."""
    git_credentials: SecretStr | None = None
    """git-credential-store lines (`https://user:token@host`), to read private repositories."""
    database_url: Annotated[DatabaseUrl, AfterValidator(_check_database)] = Field(
        default=SecretStr("sqlite:///deploybot.db"), json_schema_extra=variable("DATABASE_URL")
    )
    """`sqlite:///path` or `postgresql://…` (needs the extra `postgres`)."""
    port: AnyPort = Field(default=8080, json_schema_extra=variable("PORT"))
    """HTTP port of `/healthz`, `/readyz`, `/metrics`, and of `/slack/events` in HTTP mode."""
    metrics_port: AnyPort | None = None
    """Second port, for `/metrics` and the details of `/readyz`; don't publish it."""
    metrics_token: Annotated[SecretStr, LongText] | None = None
    """Bearer token that shows `/metrics` and the details of `/readyz`; at least 16 characters."""
    sentry_dsn: SecretStr | None = Field(default=None, json_schema_extra=variable("SENTRY_DSN"))
    """Where the bot's own errors are sent, masked as in its log (needs the extra `sentry`)."""
    otel_endpoint: WebAddress | None = Field(
        default=None, json_schema_extra=variable("OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    """Base address of a collector that gets a trace of each ended deployment (needs the extra
    `otel`)."""
    otel_headers: SecretStr | None = Field(
        default=None, json_schema_extra=variable("OTEL_EXPORTER_OTLP_HEADERS")
    )
    """`name=value,…`, sent with each of them."""
    bind: Host = "0.0.0.0"  # noqa: S104 - a platform's router reaches the container from outside
    """Address to open the HTTP ports on."""
    poll_interval: Duration = timedelta(seconds=10)
    """How often each running deployment is polled."""
    max_duration: Duration = timedelta(minutes=30)
    """Longest duration of a deployment, from the start of Dokku's command."""
    max_poll_errors: Annotated[int, Field(ge=1, le=1000)] = 5
    """Failed polls in a row, without output, after which contact counts as lost."""
    settle: Duration = timedelta(seconds=10)
    """Settle time: how long a new release must stay up to count as deployed."""
    queue_ttl: Duration = timedelta(hours=2)
    """How long a deployment may wait in the queue."""
    approval_ttl: Duration = timedelta(hours=2)
    """How long a deployment may wait for its approval."""
    late_interval: Duration = timedelta(seconds=60)
    """How often an unproven result is checked again."""
    late_duration: Duration = timedelta(hours=2)
    """For how long an unproven result is checked again."""
    tracker_ttl: Duration = timedelta(minutes=5)
    """How long an ended deployment stays cached in memory."""
    drain_timeout: Duration = timedelta(seconds=25)
    """How long SIGTERM and SIGHUP wait for running deployments."""
    log_retention: KeptFor = timedelta(days=30)
    """How long the logs and webhook deliveries of ended deployments are kept; `0`: for ever."""
    history_retention: KeptFor = timedelta(0)
    """How long ended deployments and their audit are kept; `0`: for ever."""
    log_format: LogFormat | None = None
    """`console` or `json`. Default: console on a terminal, else json."""
    log_stream: LogStream = "stderr"
    """Where log lines go: `stderr` or `stdout`."""
    log_level: LogLevel = "INFO"
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    webhook_allow_private: bool = False
    """Allow webhooks to loopback and private addresses, and over http."""
    only_listed_apps: bool = Field(default=False, json_schema_extra=FILE_ONLY)
    """Allow deployments only of apps that have a table."""
    servers: dict[ServerName, ServerTable] = Field(
        default_factory=dict, json_schema_extra=FILE_ONLY
    )
    """Dokku servers by name."""
    defaults: DefaultsTable = Field(default_factory=DefaultsTable, json_schema_extra=FILE_ONLY)
    """Rules of apps that neither their own table nor their server's sets."""
    apps: dict[AppName, AppTable] = Field(default_factory=dict, json_schema_extra=FILE_ONLY)
    """Apps by the name that people type."""
    webhooks: tuple[WebhookTable, ...] = Field(default=(), json_schema_extra=FILE_ONLY)
    """Webhook endpoints."""
