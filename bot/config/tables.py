"""Every setting as a field: type, default, variable, meaning.

The configuration page is made from these tables, so a description is one sentence for
operators. A field's key in `deploybot.toml` is its name; its environment variable, where it
has one, stands in `json_schema_extra`.
"""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from bot.config.values import (
    AnyPort,
    ApiUrl,
    AppName,
    AppToken,
    BotToken,
    DatabaseUrl,
    DokkuApp,
    Duration,
    Host,
    LogFormat,
    LogLevel,
    Members,
    Port,
    Ref,
    Repo,
    RepoTemplate,
    ServerName,
    WebAddress,
    not_yet,
)

Event = Literal["deployment.started", "deployment.finished", "deployment.corrected"]


def variable(name: str) -> JsonDict:
    """The environment variable of a field."""
    return {"variable": name}


LATER: JsonDict = {"later": "yes"}
"""Marks a field of a later release: known, refused, and on no page."""


def is_later(knob: FieldInfo) -> bool:
    """Whether a field belongs to a later release."""
    extra = knob.json_schema_extra
    return isinstance(extra, dict) and "later" in extra


class Table(BaseModel):
    """What all tables share: unknown keys are errors, values never appear in them."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False
    )


class ServerTable(Table):
    """One Dokku host."""

    host: Host = Field(
        description="Host name or address of the Dokku server.",
        json_schema_extra=variable("DOKKU_HOST"),
    )
    port: Port = Field(
        default=22, description="Its SSH port.", json_schema_extra=variable("DOKKU_PORT")
    )
    user: str = Field(
        default="dokku",
        min_length=1,
        description="The SSH user that Dokku listens on.",
        json_schema_extra=variable("DOKKU_USER"),
    )
    ssh_key: SecretStr = Field(
        description="Private key: a path, PEM text (real or `\\n` newlines) or base64 of it.",
        json_schema_extra=variable("DOKKU_SSH_KEY"),
    )
    ssh_key_passphrase: SecretStr | None = Field(
        default=None,
        description="Passphrase of the private key, if it has one.",
        json_schema_extra=variable("DOKKU_SSH_KEY_PASSPHRASE"),
    )
    known_hosts: str = Field(
        description="Its host key, as `ssh-keyscan` prints it: a path or the lines themselves. "
        "The host key is always verified.",
        json_schema_extra=variable("DOKKU_KNOWN_HOSTS"),
    )
    max_running: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="Deployments that may run on it at once; 0: no limit of ours."
    )


class AppTable(Table):
    """One app; an app without a table gets the defaults."""

    server: str | None = Field(default=None, description="Its server. Default: the only server.")
    dokku_app: DokkuApp | None = Field(
        default=None, description="Dokku's name of the app. Default: the table's name."
    )
    repo: Repo | None = Field(
        default=None,
        description="Git remote. Default: the template, else what Dokku itself recorded.",
    )
    default_ref: Ref | None = Field(
        default=None, description="Deployed when no ref is typed. Default: Dokku's deploy branch."
    )
    deployers: Members = Field(
        default=frozenset(),
        description="Slack users and user groups who may deploy it. "
        "Default: everybody of the bot's own workspace.",
    )
    max_duration: Duration | None = Field(
        default=None, description="The cap for this app. Default: the top-level one."
    )
    approval: Annotated[Literal["none"], not_yet("confirm", "second_person")] = Field(
        default="none", json_schema_extra=LATER
    )
    approvers: Annotated[tuple[str, ...], not_yet()] = Field(default=(), json_schema_extra=LATER)
    queue: Annotated[Literal["fifo"], not_yet("latest")] = Field(
        default="fifo", json_schema_extra=LATER
    )


class WebhookTable(Table):
    """One address that is told of deployments."""

    url: WebAddress = Field(
        description="Where to POST: https, or http where private targets are allowed.",
        json_schema_extra=variable("DEPLOYBOT_WEBHOOK_URL"),
    )
    secret: SecretStr | None = Field(
        default=None,
        description="Signs each delivery: `whsec_` and base64, or any text. "
        "Required unless `format` is `slack`.",
        json_schema_extra=variable("DEPLOYBOT_WEBHOOK_SECRET"),
    )
    events: frozenset[Event] = Field(
        default=frozenset({"deployment.finished", "deployment.corrected"}),
        min_length=1,
        description="Which events it hears of: `deployment.started`, `deployment.finished`, "
        "`deployment.corrected`.",
    )
    apps: frozenset[str] | None = Field(
        default=None, min_length=1, description="Which apps it hears of. Default: all."
    )
    format: Literal["standard", "slack"] = Field(
        default="standard",
        description="`standard` (Standard Webhooks JSON) or `slack` (an incoming-webhook message).",
    )


class Knobs(Table):
    """The top level of `deploybot.toml`."""

    slack_bot_token: BotToken | None = Field(
        default=None,
        description="Bot token (`xoxb-…`). Required.",
        json_schema_extra=variable("SLACK_BOT_TOKEN"),
    )
    slack_app_token: AppToken | None = Field(
        default=None,
        description="App-level token (`xapp-…`) with `connections:write`: Socket Mode. "
        "This or the signing secret is required; with both, Socket Mode is used.",
        json_schema_extra=variable("SLACK_APP_TOKEN"),
    )
    slack_signing_secret: SecretStr | None = Field(
        default=None,
        description="Signing secret: HTTP mode, Slack calls `POST /slack/events`.",
        json_schema_extra=variable("SLACK_SIGNING_SECRET"),
    )
    slack_api_url: ApiUrl = Field(
        default="https://slack.com/api/",
        description="Base of Slack's Web API, for proxies and GovSlack.",
        json_schema_extra=variable("SLACK_API_URL"),
    )
    repo_template: RepoTemplate | None = Field(
        default=None,
        description="Git remote of apps without a `repo` of their own, with `{app}` in it.",
        json_schema_extra=variable("DEPLOYBOT_REPO_TEMPLATE"),
    )
    git_credentials: SecretStr | None = Field(
        default=None,
        description="git-credential-store lines (`https://user:token@host`), to list private "
        "repositories before a deployment.",
        json_schema_extra=variable("DEPLOYBOT_GIT_CREDENTIALS"),
    )
    database_url: DatabaseUrl = Field(
        default=SecretStr("sqlite:///deploybot.db"),
        description="`sqlite:///path` or `postgresql://…` (needs the extra `postgres`).",
        json_schema_extra=variable("DATABASE_URL"),
    )
    port: AnyPort = Field(
        default=8080,
        description="HTTP port of `/healthz`, `/readyz`, `/metrics` (and `/slack/events`).",
        json_schema_extra=variable("PORT"),
    )
    bind: Host = Field(
        default="0.0.0.0",  # noqa: S104 - a platform's router reaches the container from outside
        description="Address that the HTTP port is opened on.",
        json_schema_extra=variable("DEPLOYBOT_BIND"),
    )
    poll_interval: Duration = Field(
        default=timedelta(seconds=10),
        description="How often each running deployment is looked at.",
        json_schema_extra=variable("DEPLOYBOT_POLL_INTERVAL"),
    )
    max_duration: Duration = Field(
        default=timedelta(minutes=30),
        description="The cap of a deployment, from the start of Dokku's command.",
        json_schema_extra=variable("DEPLOYBOT_MAX_DURATION"),
    )
    max_poll_errors: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=5,
        description="Failed looks in a row (with a silent log) after which contact is lost.",
        json_schema_extra=variable("DEPLOYBOT_MAX_POLL_ERRORS"),
    )
    settle: Duration = Field(
        default=timedelta(seconds=10),
        description="How long a new release must keep running before it is called deployed.",
        json_schema_extra=variable("DEPLOYBOT_SETTLE"),
    )
    queue_ttl: Duration = Field(
        default=timedelta(hours=2),
        description="How long a place in the queue may wait.",
        json_schema_extra=variable("DEPLOYBOT_QUEUE_TTL"),
    )
    approval_ttl: Annotated[None, not_yet()] = Field(
        default=None, json_schema_extra=LATER | variable("DEPLOYBOT_APPROVAL_TTL")
    )
    late_interval: Duration = Field(
        default=timedelta(seconds=60),
        description="How often an end that could not be proven is looked at again.",
        json_schema_extra=variable("DEPLOYBOT_LATE_INTERVAL"),
    )
    late_duration: Duration = Field(
        default=timedelta(hours=2),
        description="For how long it is looked at again.",
        json_schema_extra=variable("DEPLOYBOT_LATE_DURATION"),
    )
    tracker_ttl: Duration = Field(
        default=timedelta(minutes=5),
        description="How long an ended deployment stays in memory, in front of the database.",
        json_schema_extra=variable("DEPLOYBOT_TRACKER_TTL"),
    )
    drain_timeout: Duration = Field(
        default=timedelta(seconds=25),
        description="How long SIGTERM waits for running deployments.",
        json_schema_extra=variable("DEPLOYBOT_DRAIN_TIMEOUT"),
    )
    log_format: LogFormat | None = Field(
        default=None,
        description="`console` or `json`. Default: console on a terminal, else json.",
        json_schema_extra=variable("DEPLOYBOT_LOG_FORMAT"),
    )
    log_level: LogLevel = Field(
        default="INFO",
        description="`DEBUG`, `INFO`, `WARNING` or `ERROR`.",
        json_schema_extra=variable("DEPLOYBOT_LOG_LEVEL"),
    )
    webhook_allow_private: bool = Field(
        default=False,
        description="Let webhooks go to loopback and private addresses, and over http.",
        json_schema_extra=variable("DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE"),
    )
    only_listed_apps: bool = Field(
        default=False, description="Only apps with a table of their own may be deployed."
    )
    servers: dict[ServerName, ServerTable] = Field(
        default_factory=dict, description="Dokku servers by name."
    )
    apps: dict[AppName, AppTable] = Field(
        default_factory=dict, description="Apps by the name that people type."
    )
    webhooks: tuple[WebhookTable, ...] = Field(
        default=(), description="Who is told of deployments."
    )
