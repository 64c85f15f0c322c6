"""Settings: sources, durations, errors, secrets."""

from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.config.values import read_duration, show_duration
from bot.deployments.model import Approval, MessagePlace
from bot.errors import ConfigError
from bot.names import slash
from tests.support.builders import a_deployment
from tests.support.settings import HOST, a_key, environment, host_line, load, minimal, pem, refused


def test_environment_is_enough_for_one_server(tmp_path: Path) -> None:
    settings = load(tmp_path)

    ((name, server),) = settings.servers.items()
    assert (name, server.host, server.port, server.user) == ("default", HOST, 22, "dokku")
    assert server.key == a_key()
    assert server.key_text == pem()
    assert settings.slack.socket_mode
    assert settings.database_url == "sqlite:///deploybot.db"
    assert (settings.values.bind, settings.values.port) == ("0.0.0.0", 8080)
    assert settings.values.drain_timeout == timedelta(seconds=25)
    assert not settings.values.webhook_allow_private


def test_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    timing = settings.timing()

    assert timing.poll_interval == timedelta(seconds=10)
    assert timing.poll_timeout == timedelta(seconds=8)
    assert timing.max_poll_errors == 5
    assert timing.settle == timedelta(seconds=10)
    assert timing.queue_ttl == timedelta(hours=2)
    assert timing.tracker_ttl == timedelta(minutes=5)
    assert settings.timing().late_interval == timedelta(seconds=60)
    assert settings.timing().late_duration == timedelta(hours=2)
    assert settings.values.max_duration == timedelta(minutes=30)
    assert settings.values.log_retention == timedelta(days=30)
    assert settings.values.history_retention == timedelta(0)


def test_retention_may_be_for_ever(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DEPLOYBOT_LOG_RETENTION=0\nDEPLOYBOT_HISTORY_RETENTION=90d\n")
    values = load(tmp_path).values
    assert (values.log_retention, values.history_retention) == (timedelta(0), timedelta(days=90))


def test_environment_overrides_dotenv_overrides_file(tmp_path: Path) -> None:
    toml = 'poll_interval = "1s"\nsettle = "1s"\nqueue_ttl = "1s"\n'
    (tmp_path / ".env").write_text("DEPLOYBOT_POLL_INTERVAL=2s\nDEPLOYBOT_SETTLE=2s\n")

    timing = load(tmp_path, toml=toml, DEPLOYBOT_POLL_INTERVAL="3s").timing()

    assert timing.poll_interval == timedelta(seconds=3)
    assert timing.settle == timedelta(seconds=2)
    assert timing.queue_ttl == timedelta(seconds=1)


def test_dotenv_is_taken_as_written(tmp_path: Path) -> None:
    url = "postgresql://bot:a${HOME}b$x@db/bot"
    (tmp_path / ".env").write_text(f"\ufeffDATABASE_URL={url}\nDEPLOYBOT_SETTLE=2s\n")

    settings = load(tmp_path, DATABASE_URL="")
    assert settings.database_url == url
    assert settings.timing().settle == timedelta(seconds=2)


def test_white_space_around_a_secret_in_the_file_is_dropped(tmp_path: Path) -> None:
    settings = load(tmp_path, toml='slack_signing_secret = " 0123456789abcdef\\n"\n')
    assert settings.slack.signing_secret == "0123456789abcdef"


def test_config_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 9000\n")

    assert load(tmp_path, DEPLOYBOT_CONFIG="other.toml").values.port == 9000
    (tmp_path / ".env").write_text("DEPLOYBOT_CONFIG=other.toml\n")
    assert load(tmp_path).values.port == 9000


def test_home_in_the_files_path_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Write the whole path"):
        load(tmp_path, DEPLOYBOT_CONFIG="~no-such-user/deploybot.toml")


def test_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert load(tmp_path, PORT="", DEPLOYBOT_SETTLE=" ").values.port == 8080


def test_dokku_variables_override_the_default_server_of_the_file(tmp_path: Path) -> None:
    toml = '[servers.default]\nhost = "elsewhere.example.com"\nport = 2222\n'

    server = load(tmp_path, toml=toml).servers["default"]

    assert (server.host, server.port) == (HOST, 2222)


def test_webhook_from_variables_comes_after_those_of_the_file(tmp_path: Path) -> None:
    toml = '[[webhooks]]\nurl = "https://a.example.com/"\nsecret = "one"\napps = ["myapp"]\n'

    first, second = load(
        tmp_path,
        toml=toml,
        DEPLOYBOT_WEBHOOK_URL="https://b.example.com/",
        DEPLOYBOT_WEBHOOK_SECRET="two",
    ).endpoints()

    assert (first.url, first.secret, first.apps) == (
        "https://a.example.com/",
        "one",
        frozenset({"myapp"}),
    )
    assert (second.url, second.secret, second.apps) == ("https://b.example.com/", "two", None)
    assert second.events == {"deployment.finished", "deployment.corrected"}


def test_signing_secret_without_app_token_means_http_mode(tmp_path: Path) -> None:
    settings = load(tmp_path, SLACK_APP_TOKEN=None, SLACK_SIGNING_SECRET="0123456789abcdef")

    assert not settings.slack.socket_mode
    assert settings.slack.signing_secret == "0123456789abcdef"
    both = load(tmp_path, SLACK_SIGNING_SECRET="0123456789abcdef")
    assert both.slack.socket_mode


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("https://slack.com/api/", "https://slack.com/api/"),
        ("http://127.0.0.1:9000/api", "http://127.0.0.1:9000/api/"),
    ],
)
def test_api_url_ends_with_a_slash(tmp_path: Path, given: str, read: str) -> None:
    assert load(tmp_path, SLACK_API_URL=given).slack.api_url == read


def test_postgres_scheme_is_accepted(tmp_path: Path) -> None:
    settings = load(tmp_path, DATABASE_URL="postgres://bot:s3cretpw@db/bot")

    assert settings.database_url == "postgresql://bot:s3cretpw@db/bot"
    assert settings.sqlite_file is None


def test_incomplete_settings_need_no_slack_and_no_server(tmp_path: Path) -> None:
    settings = minimal(tmp_path, {"DATABASE_URL": "sqlite:///other.db"})

    assert settings.sqlite_file == Path("other.db")
    assert not settings.servers


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        (" 1.5 h ", 5400),
        (45, 45),
        ("1d", 86400),
    ],
)
def test_durations_are_read(text: object, seconds: float) -> None:
    assert read_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0", "-5", "5 parsecs", "1h30m", "PT90S", True, None, "999d"])
def test_invalid_durations_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        read_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "90s"), (60, "1m"), (1800, "30m"), (7200, "2h"), (0.5, "0.5s")]
)
def test_durations_are_shown_in_the_shortest_form(seconds: float, text: str) -> None:
    assert show_duration(timedelta(seconds=seconds)) == text
    assert read_duration(text) == timedelta(seconds=seconds)


REFUSED_VARIABLES = [
    ({"SLACK_BOT_TOKEN": None}, "environment: SLACK_BOT_TOKEN: missing."),
    (
        {"SLACK_BOT_TOKEN": None, "SLACK_BOTTOKEN": "x"},
        "environment: SLACK_BOT_TOKEN: missing, but SLACK_BOTTOKEN is set: misspelt?",
    ),
    ({"SLACK_BOT_TOKEN": "xapp-1-swapped"}, "SLACK_BOT_TOKEN: does not look like a token"),
    ({"SLACK_APP_TOKEN": "xoxb-1-swapped"}, "SLACK_APP_TOKEN: does not look like a token"),
    ({"SLACK_APP_TOKEN": None}, "environment: SLACK_APP_TOKEN: missing."),
    ({"SLACK_API_URL": "slack.com"}, "SLACK_API_URL: not a web address."),
    (
        {"DOKKU_HOST": None, "DOKKU_SSH_KEY": None, "DOKKU_KNOWN_HOSTS": None},
        "environment: DOKKU_HOST: missing.",
    ),
    ({"DOKKU_HOST": None}, "environment: DOKKU_HOST: missing."),
    ({"DOKKU_SSH_KEY": None}, "environment: DOKKU_SSH_KEY: missing."),
    ({"DOKKU_KNOWN_HOSTS": None}, "environment: DOKKU_KNOWN_HOSTS: missing."),
    ({"DOKKU_HOST": "dokku.example.com:22"}, "DOKKU_HOST: not a host name or address."),
    ({"DOKKU_PORT": "ssh"}, "environment: DOKKU_PORT: not a whole number."),
    ({"PORT": "65536"}, "environment: PORT: should be less than or equal to 65535."),
    ({"DATABASE_URL": "mysql://x:hunter22@y/z"}, "DATABASE_URL: not a database address."),
    ({"DEPLOYBOT_POLL_INTERVAL": "soon"}, "DEPLOYBOT_POLL_INTERVAL: not a duration."),
    (
        {"DEPLOYBOT_POL_INTERVAL": "10"},
        "environment: DEPLOYBOT_POL_INTERVAL: unknown, did you mean DEPLOYBOT_POLL_INTERVAL?",
    ),
    ({"DEPLOYBOT_XYZZY": "1"}, "environment: DEPLOYBOT_XYZZY: unknown. See docs/configuration.md"),
    ({"DEPLOYBOT_MAX_POLL_ERRORS": "0"}, "DEPLOYBOT_MAX_POLL_ERRORS: should be greater"),
    ({"DEPLOYBOT_LOG_FORMAT": "xml"}, "DEPLOYBOT_LOG_FORMAT: should be 'console' or 'json'."),
    ({"DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE": "perhaps"}, "neither true nor false"),
    ({"DEPLOYBOT_REPO_TEMPLATE": "https://x/acme.git"}, "has no {app} in it"),
    ({"DEPLOYBOT_APPROVAL_TTL": "soon"}, "DEPLOYBOT_APPROVAL_TTL: not a duration."),
    ({"DEPLOYBOT_CONFIG": "none.toml"}, "environment: DEPLOYBOT_CONFIG: the file cannot be read"),
    ({"DEPLOYBOT_WEBHOOK_SECRET": "x"}, "environment: DEPLOYBOT_WEBHOOK_URL: missing."),
    ({"DEPLOYBOT_WEBHOOK_URL": "https://a.example"}, "DEPLOYBOT_WEBHOOK_SECRET: missing."),
    (
        {"DEPLOYBOT_WEBHOOK_URL": "http://a.example", "DEPLOYBOT_WEBHOOK_SECRET": "x"},
        "environment: DEPLOYBOT_WEBHOOK_URL: not https.",
    ),
    (
        {"DEPLOYBOT_WEBHOOK_URL": "https://a.example", "DEPLOYBOT_WEBHOOK_SECRET": "whsec_?"},
        "environment: DEPLOYBOT_WEBHOOK_SECRET: begins with whsec_ but no base64 follows.",
    ),
]


@pytest.mark.parametrize(("changes", "line"), REFUSED_VARIABLES)
def test_wrong_variable_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, str | None], line: str
) -> None:
    assert line in refused(tmp_path, **changes)


REFUSED_FILES = [
    (
        "[apps.myapp]\naproval = 1",
        "deploybot.toml: apps.myapp.aproval: unknown, did you mean approval?",
    ),
    ("[apps.myapp]\nxyzzy = 1", "apps.myapp.xyzzy: unknown. Known here: deployers, approval,"),
    ("polinterval = 3", "deploybot.toml: polinterval: unknown, did you mean poll_interval?"),
    ("[servers.a]\nhost = 'x'\nssh_kye = 'y'", "servers.a.ssh_kye: unknown, did you mean ssh_key?"),
    ("[servers.a]\nhost = 'x'", "deploybot.toml: servers.a.ssh_key: missing."),
    ("servers = 3", "deploybot.toml: servers: "),
    ("webhooks = 3", "deploybot.toml: webhooks: "),
    ("a = [1,\n b", "deploybot.toml: syntax: not valid TOML at line 2."),
    ("[apps.a]\napproval = 'x'", "apps.a.approval: should be 'none', 'confirm' or 'second_person'"),
    ("[apps.myapp]\napprovers = ['bob']", "apps.myapp.approvers: holds something that is not"),
    ("[apps.myapp]\nqueue = 'newest'", "apps.myapp.queue: should be 'fifo' or 'latest'"),
    ("[apps.a]\nchannel = '#ops'", "apps.a.channel: not the id of a Slack channel"),
    ("[defaults]\nnotify = ['#ops']", "defaults.notify: holds something that is not the id"),
    ("[defaults]\nchannels = ['ops']", "defaults.channels: holds something that is not the id"),
    ("[defaults]\nserver = 'x'", "defaults.server: unknown."),
    ("approval_ttl = 0", "deploybot.toml: approval_ttl: not a usable duration."),
    ("[apps.'my app']", "deploybot.toml: apps.my app: not a usable name."),
    ("[apps.myapp]\nserver = 'x'", "apps.myapp.server: no such server is configured."),
    ("[apps.a]\n[apps.b]\ndokku_app = 'a'", "apps.b: the same Dokku app on the same server as"),
    ("[apps.a]\ndokku_app = 'Upper'", "apps.a.dokku_app: not a name that Dokku gives an app."),
    ("[apps.a]\ndeployers = ['bob']", "apps.a.deployers: holds something that is not a Slack id"),
    ("[apps.a]\ndeployers = 'U0123'", "apps.a.deployers: not a list."),
    ("[apps.a]\nrepo = '-x'", "apps.a.repo: not a git remote."),
    ("[apps.a]\ndefault_ref = '--force'", "apps.a.default_ref: not a git ref."),
    ("[apps.a]\nmax_duration = true", "apps.a.max_duration: not a duration."),
    ("[[webhooks]]\nurl = 'https://a.b'", "deploybot.toml: webhooks.0.secret: missing."),
    (
        "[[webhooks]]\nurl = 'https://a.b'\nsecret = 'x'\nevents = ['begun']",
        "webhooks.0.events.0: should",
    ),
    (
        "[[webhooks]]\nurl = 'https://a.b'\nsecret = 'x'\n" * 2,
        "webhooks.1.url: the same address as another webhook.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "line"), REFUSED_FILES)
def test_wrong_key_in_the_file_is_refused_with_its_path(
    tmp_path: Path, toml: str, line: str
) -> None:
    assert line in refused(tmp_path, toml=toml)


def test_max_running_per_server(tmp_path: Path) -> None:
    table = '[servers.default]\nhost = "x"\nssh_key = "k"\nknown_hosts = "k"\nmax_running = {}\n'

    assert load(tmp_path, toml=table.format(2)).max_running() == {"default": 2}
    assert load(tmp_path, toml=table.format(0)).max_running() == {}
    assert load(tmp_path).max_running() == {}
    for wrong in ("-1", "10001", '"many"', "1.5"):
        assert "servers.default.max_running: " in refused(tmp_path, toml=table.format(wrong))


def test_runner_of_a_server(tmp_path: Path) -> None:
    table = '[servers.default]\nhost = "x"\nssh_key = "k"\nknown_hosts = "k"\nrunner = {}\n'

    assert load(tmp_path, toml=table.format('"my-runner"')).servers["default"].runner == "my-runner"
    assert load(tmp_path, toml=table.format('""')).servers["default"].runner == ""
    assert load(tmp_path).servers["default"].runner == ""
    for wrong in ('"My Runner"', '"a b"', '"-x"', '"a;b"', "1"):
        assert "servers.default.runner: " in refused(tmp_path, toml=table.format(wrong))


def test_approvals_of_an_app(tmp_path: Path) -> None:
    toml = '[apps.myapp]\napproval = "second_person"\napprovers = ["U0123", "S0456"]\n'
    settings = load(tmp_path, toml=toml, DEPLOYBOT_APPROVAL_TTL="90m")
    (policy,) = settings.catalog().listed()
    assert policy.approval is Approval.SECOND_PERSON
    assert policy.approvers == {"U0123", "S0456"}
    assert settings.timing().approval_ttl == timedelta(minutes=90)
    assert load(tmp_path, toml="[apps.x]").catalog().policy("x").approval is Approval.NONE


RULES_FILE = """
[defaults]
deployers = ["U0ALL"]
approval = "confirm"
max_duration = "10m"
channels = ["C0OPS"]
notify = ["C0ALL"]

[servers.a]
host = "a.example"
ssh_key = "{key}"
known_hosts = "{host}"
deployers = ["S0A"]
queue = "latest"
notify = ["C0A"]

[servers.b]
host = "b.example"
ssh_key = "{key}"
known_hosts = "{host}"

[apps.web]
server = "a"
deployers = "nobody"
approval = "none"
channel = "C0WEB"
notify = []

[apps.shop]
server = "a"
"""


def test_rules_come_from_the_app_then_its_server_then_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "k").write_text(pem())
    lines = (host_line("a.example"), host_line("b.example"))
    (tmp_path / "h").write_text("\n".join(lines))
    catalog = load(tmp_path, toml=RULES_FILE.format(key="k", host="h")).catalog()
    web, shop = catalog.policy("web"), catalog.policy("shop")
    assert (set(web.deployers), web.approval, web.channel) == ({"nobody"}, Approval.NONE, "C0WEB")
    assert (set(shop.deployers), shop.approval, shop.channel) == ({"S0A"}, Approval.CONFIRM, None)
    assert web.latest
    assert shop.latest
    # Without a table, and on another server.
    wiki = catalog.policy("wiki", "b")
    assert (set(wiki.deployers), wiki.approval, wiki.latest) == ({"U0ALL"}, Approval.CONFIRM, False)
    assert (wiki.max_duration, set(wiki.channels)) == (timedelta(minutes=10), {"C0OPS"})
    assert catalog.named() == {"nobody", "S0A", "U0ALL"}
    assert [set(one.notify) for one in (web, shop, wiki)] == [set(), {"C0A"}, {"C0ALL"}]
    assert catalog.notify_channels() == {"C0A", "C0ALL"}
    deployed = a_deployment(app="wiki", dokku_app="wiki", server="b", channel="C0DEV")
    assert catalog.notified(deployed) == {"C0ALL"}
    assert catalog.notified(replace(deployed, channel="C0ALL")) == set()
    moved = MessagePlace(channel="C0ALL", ts="1.2")
    assert catalog.notified(replace(deployed, message=moved)) == set()


def test_app_table_must_name_its_server_if_there_are_several(tmp_path: Path) -> None:
    server = '[servers.{}]\nhost = "x"\nssh_key = "k"\nknown_hosts = "k"\n'
    toml = server.format("one") + "[apps.myapp]\n"

    line = refused(tmp_path, toml=toml)

    assert "apps.myapp.server: missing, and there are several servers." in line
    assert "one, default" in line


def test_unknown_variable_in_dotenv_names_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DEPLOYBOT_SETLE=1\n")

    assert refused(tmp_path).startswith(".env: DEPLOYBOT_SETLE: unknown, did you mean")


def test_binary_dotenv_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\xfa")

    assert ".env" in refused(tmp_path)


@pytest.mark.parametrize(
    "setting",
    [
        "SLACK_BOT_TOKEN", "SLACK_API_URL", "DOKKU_HOST", "DOKKU_SSH_KEY", "DOKKU_KNOWN_HOSTS",
        "PORT", "DOKKU_PORT", "DATABASE_URL", "DEPLOYBOT_SETTLE", "DEPLOYBOT_REPO_TEMPLATE",
        "DEPLOYBOT_LOG_LEVEL", "DEPLOYBOT_BIND", "DEPLOYBOT_WEBHOOK_URL",
        "DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE",
    ],
)  # fmt: skip
def test_errors_never_quote_the_value(tmp_path: Path, setting: str) -> None:
    """Somebody pastes a secret into the wrong variable."""
    assert "hunter22" not in refused(tmp_path, **{setting: "hunter22 and more"})


def test_syntax_error_does_not_quote_the_file(tmp_path: Path) -> None:
    assert "hunter22" not in refused(tmp_path, toml='secret = "hunter22\n')


def test_secrets_contain_every_secret_value(tmp_path: Path) -> None:
    toml = """
        [apps.a]
        repo = "https://user:repo-password@git.example.com/a.git"
        [[webhooks]]
        url = "https://hooks.example.com/services/T0/B0/path-secret"
        format = "slack"
    """
    settings = load(
        tmp_path,
        toml=toml,
        SLACK_SIGNING_SECRET="signing-secret",
        DATABASE_URL="postgresql://bot:db%2Fpassword@db/bot",
        DEPLOYBOT_GIT_CREDENTIALS="https://git-token@git.example.com\\nhttps://u:git-pw@b.example",
        DEPLOYBOT_REPO_TEMPLATE="https://template-token@git.example.com/{app}.git",
        DEPLOYBOT_WEBHOOK_URL="https://b.example.com",
        DEPLOYBOT_WEBHOOK_SECRET="webhook-secret",
        DOKKU_SSH_KEY=pem("key-passphrase"),
        DOKKU_SSH_KEY_PASSPHRASE="key-passphrase",
    )

    secrets = set(settings.secrets())

    assert {
        "xoxb-1-made-up", "xapp-1-made-up", "signing-secret", "repo-password",
        "https://hooks.example.com/services/T0/B0/path-secret", "db%2Fpassword", "db/password",
        "git-token", "git-pw", "template-token", "webhook-secret", "key-passphrase",
    } <= secrets  # fmt: skip
    assert set(pem("key-passphrase").splitlines()[1:-1]) <= secrets
    assert not any(len(secret) < 3 for secret in secrets)
    for secret in secrets:
        assert secret not in repr(settings)


def test_git_credentials_in_one_line(tmp_path: Path) -> None:
    settings = load(
        tmp_path, DEPLOYBOT_GIT_CREDENTIALS="https://a:b@x.example\\nhttps://c:d@y.example"
    )

    assert settings.git_credentials == "https://a:b@x.example\nhttps://c:d@y.example\n"


def test_origin_names_setting_and_source(tmp_path: Path) -> None:
    settings = load(tmp_path, toml='settle = "1s"\n[apps.myapp]\n', PORT="1")

    assert settings.origin("port").setting == "PORT"
    assert settings.origin("port").source == "environment"
    assert settings.origin("settle").setting == "settle"
    assert settings.origin("settle").source == "deploybot.toml"
    assert settings.origin("database_url").setting == "database_url"


def test_loading_does_not_change_the_environment(tmp_path: Path) -> None:
    given = environment()
    before = dict(given)

    load(tmp_path)

    assert given == before


def test_postgresql_without_its_driver_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.config.checks.find_spec", lambda _name: None)

    line = refused(tmp_path, DATABASE_URL="postgresql://u:p@h/d")

    assert "dokku-deploybot[postgres]" in line


def test_config_error_has_setting_source_problem_and_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, PORT="x")

    assert (caught.value.setting, caught.value.source) == ("PORT", "environment")
    assert caught.value.problem
    assert caught.value.fix


def test_variables_that_a_platform_sets_are_passed_over(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        DEPLOYBOT_PORT="tcp://10.96.0.7:80",
        DEPLOYBOT_SERVICE_HOST="10.96.0.7",
        DEPLOYBOT_SERVICE_PORT="80",
        DEPLOYBOT_SERVICE_PORT_HTTP="80",
        DEPLOYBOT_WEB_SERVICE_HOST="10.96.0.7",
        DEPLOYBOT_PORT_80_TCP="tcp://10.96.0.7:80",
        DEPLOYBOT_PORT_80_TCP_ADDR="10.96.0.7",
        DOKKU_PORT="tcp://10.96.0.8:22",
    )

    assert settings.servers["default"].port == 22
    assert "did you mean DEPLOYBOT_SETTLE?" in refused(tmp_path, DEPLOYBOT_SETLE="10s")
    assert "DEPLOYBOT_PORT: unknown" in refused(tmp_path, DEPLOYBOT_PORT="8080")


def test_white_space_around_a_secret_is_dropped(tmp_path: Path) -> None:
    settings = load(tmp_path, SLACK_SIGNING_SECRET=" 0123456789abcdef\n")

    assert settings.slack.signing_secret == "0123456789abcdef"


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_around_a_value_are_named(tmp_path: Path, quote: str) -> None:
    line = refused(tmp_path, SLACK_SIGNING_SECRET=f"{quote}0123456789abcdef{quote}")

    assert "SLACK_SIGNING_SECRET: the value is inside quotes" in line
    assert "0123456789abcdef" not in line


def test_byte_order_mark_before_toml(tmp_path: Path) -> None:
    (tmp_path / "deploybot.toml").write_text("port = 9000\n", "utf-8-sig")

    assert load(tmp_path).values.port == 9000


def test_metrics_port_must_not_be_the_public_one(tmp_path: Path) -> None:
    assert "DEPLOYBOT_METRICS_PORT: the same port as PORT" in refused(
        tmp_path, PORT="9000", DEPLOYBOT_METRICS_PORT="9000"
    )


@pytest.mark.parametrize("token", ["s3same", "with blanks but long enough", "éééééééééééééééééé"])
def test_metrics_token_that_can_be_guessed_or_not_be_sent(tmp_path: Path, token: str) -> None:
    line = refused(tmp_path, DEPLOYBOT_METRICS_TOKEN=token)

    assert "DEPLOYBOT_METRICS_TOKEN: shorter than 16 characters" in line
    assert token not in line


def test_metrics_token_is_a_secret(tmp_path: Path) -> None:
    settings = load(tmp_path, DEPLOYBOT_METRICS_TOKEN=" a-long-random-text\n")

    assert settings.metrics_token == "a-long-random-text"
    assert "a-long-random-text" in settings.secrets()


def test_texts_call_the_command_as_it_is_set(tmp_path: Path) -> None:
    def loaded() -> str:
        load(tmp_path, DEPLOYBOT_COMMAND=" /ship\n")
        return slash("help")

    assert copy_context().run(loaded) == "`/ship help`"


@pytest.mark.parametrize("name", ["ship", "/Ship", "/ship it"])
def test_command_name_that_slack_would_refuse(tmp_path: Path, name: str) -> None:
    line = refused(tmp_path, DEPLOYBOT_COMMAND=name)

    assert "DEPLOYBOT_COMMAND: not a name that Slack gives a command" in line


LINK = {
    "DEPLOYBOT_NAME": "/web/deploybot",
    "DEPLOYBOT_PORT": "tcp://172.17.0.5:8080",
    "DEPLOYBOT_PORT_8080_TCP": "tcp://172.17.0.5:8080",
    "DEPLOYBOT_PORT_8080_TCP_ADDR": "172.17.0.5",
    "DEPLOYBOT_PORT_8080_TCP_PORT": "8080",
    "DEPLOYBOT_PORT_8080_TCP_PROTO": "tcp",
    "DEPLOYBOT_PORT_8080_TCP_START": "tcp://172.17.0.5:8080",
    "DEPLOYBOT_PORT_8080_TCP_PORT_START": "8080",
    "DEPLOYBOT_PORT_8080_TCP_END": "tcp://172.17.0.5:8089",
    "DEPLOYBOT_PORT_8080_TCP_PORT_END": "8089",
    "DEPLOYBOT_ENV_POSTGRES_PASSWORD": "sesame",
    "DEPLOYBOT_ENV_SETTLE": "1",
    "DEPLOYBOT_DB_NAME": "/web/deploybot_db",
    "DEPLOYBOT_DB_ENV_LANG": "C",
    "DEPLOYBOT_METRICS_PORT": "tcp://10.96.0.9:9090",
}


def test_variables_of_a_docker_link_are_passed_over(tmp_path: Path) -> None:
    settings = load(tmp_path, **LINK)

    assert settings.values.port == 8080
    assert settings.values.metrics_port is None
    assert "sesame" not in str(settings.values)


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("DEPLOYBOT_NAME", "web", ""),
        ("DEPLOYBOT_ENV_SETTLE", "1", ""),
        ("DEPLOYBOT_ENV", "production", ""),
        ("DEPLOYBOT_SETLE", "5s", "DEPLOYBOT_SETTLE"),
        ("DEPLOYBOT_POLL_INTERVALL", "5s", "DEPLOYBOT_POLL_INTERVAL"),
        ("DEPLOYBOT_METRIC_PORT", "9090", "DEPLOYBOT_METRICS_PORT"),
    ],
)
def test_variable_that_no_link_sets_stays_an_error(
    tmp_path: Path, name: str, value: str, near: str
) -> None:
    line = refused(tmp_path, **{name: value})

    assert f"{name}: unknown" in line
    assert near in line


def test_misspelt_variable_beside_a_link_stays_an_error(tmp_path: Path) -> None:
    assert "DEPLOYBOT_SETLE: unknown" in refused(tmp_path, **LINK, DEPLOYBOT_SETLE="5s")
