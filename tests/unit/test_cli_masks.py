"""Nothing that a command prints holds a secret, or a character that a terminal obeys."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bot.cli import run_cli
from bot.clock import SystemClock
from bot.config.loading import load_settings
from bot.deployments.model import AuditEntry, Deployment
from bot.errors import Declined
from bot.operations import commands
from bot.redaction import Redactor
from bot.store.engine import open_store
from bot.webhooks.payload import planner
from tests.support.builders import a_deployment

Capsys = pytest.CaptureFixture[str]
ID = "01K9ZB0000000000000000000A"
OBEYED = ["\x1b[2J", "\x9b31m", "\x1b]0;title\x07", "\x08", "\r", "\x7f", "\u202e", "\u2066"]


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "HTTPS_PROXY", "https_proxy", "DEPLOYBOT_WEBHOOK_URL"):
        monkeypatch.delenv(name, raising=False)


def run(capsys: Capsys, *words: str) -> str:
    capsys.readouterr()
    run_cli(words)
    said = capsys.readouterr()
    return said.out + said.err


def stored(deployment: Deployment, log: list[str]) -> None:
    async def write() -> None:
        clock = SystemClock()
        plan = planner([], clock=clock)
        async with open_store("sqlite:///deploybot.db", clock=clock, planner=plan) as store:
            entry = AuditEntry(
                actor=deployment.requested_by,
                through="command",
                action="requested",
                detail={"ref": deployment.ref, "why": deployment.reason or ""},
            )
            await store.create(deployment, entry)
            fence = await store.leases.claim(ID, "replica", timedelta(seconds=20))
            assert fence is not None
            await store.logs.append(ID, log, fence=fence)

    asyncio.run(write())


DATABASES = [
    ("postgresql://bot:pass/w0rd@db/bot", ["pass/w0rd"]),
    ("postgresql://bot:p%40ssw0rd@db/bot", ["p%40ssw0rd", "p@ssw0rd"]),
    ("postgresql://bot:p@ssw0rd@db/bot", ["p@ssw0rd"]),
    (
        "postgresql://db/bot?user=bot&password=query%2Fpw&sslmode=require",
        ["query%2Fpw", "query/pw"],
    ),
    ("postgresql://bot@db/bot?sslpassword=key-pass", ["key-pass"]),
    ("postgres://bot:w0rdw0rd@db:5432/bot", ["w0rdw0rd"]),
]


@pytest.mark.parametrize(("address", "secrets"), DATABASES)
def test_password_of_a_database_is_masked_in_every_form(
    address: str, secrets: list[str], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    settings = load_settings(complete=False)
    mask = Redactor(settings.secrets()).text
    for said in (
        run(capsys, "config", "show"),
        run(capsys, "config", "show", "--json"),
        run(capsys, "db", "check"),
        mask(f"cannot connect as {' or '.join(secrets)} to {address}"),
    ):
        assert [one for one in secrets if one in said] == []
    shown = json.loads(run(capsys, "config", "show", "--json"))["database_url"]["value"]
    assert shown.startswith("postgresql://")
    assert "db" in shown
    assert "bot" in shown
    assert "sslmode=require" in shown or "sslmode" not in address


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.example.com/t/s3cr3t-path-1",
        "https://hooks.example.com/hook?key=s3cr3t-path-1",
        "https://hooks.example.com/my-s3cr3t-path-1/events",
        "https://me:s3cr3t-path-1@hooks.example.com/hook",
    ],
)
def test_what_is_secret_in_a_webhooks_address_is_masked(
    address: str, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_URL", address)
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_SECRET", "long enough and random")
    stored(a_deployment(id=ID, reason=f"failed at {address}"), [])
    for words in (
        "config show",
        "config show --json",
        "webhooks list",
        f"webhooks enable {address}",
        f"status {ID}",
        f"status {ID} --json",
    ):
        assert "s3cr3t" not in run(capsys, *words.split())
    assert "hooks.example.com" in run(capsys, "config", "show")
    mask = Redactor(load_settings(complete=False).secrets()).text
    parts = urlsplit(address)
    assert "s3cr3t" not in mask(f"POST {address} or {parts.path} or {parts.query}")


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_password_of_a_proxy_is_a_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in ("http://me:pr0xy-pw@proxy:3128", "me:pr0xy-pw@proxy:3128"):
        monkeypatch.setenv(name, proxy)
        settings = load_settings(complete=False)
        assert "pr0xy-pw" in set(settings.secrets())
        assert "pr0xy-pw" not in repr(settings)


@pytest.mark.parametrize("valid", [True, False])
def test_errors_show_no_secret(
    valid: bool, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ["xoxb-tok3n-of-slack", "pass/w0rd", "pr0xy-pw", "hOOk-path-1", "p3m-of-file"]
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-tok3n-of-slack")
    monkeypatch.setenv("DATABASE_URL", "postgresql://bot:pass/w0rd@db/bot")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pr0xy-pw@proxy:3128")
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_URL", "https://h.example/t/hOOk-path-1")
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_SECRET", "long enough and random")
    monkeypatch.setenv("DEPLOYBOT_POLL_INTERVAL", "10s" if valid else "often")
    Path("deploybot.toml").write_text('git_credentials = "https://u:p3m-of-file@git.example"\n')
    everything = " ".join(secrets)

    def failing(error: Exception) -> str:
        def fail(*, json: bool) -> int:
            raise error

        monkeypatch.setattr(commands, "config_show", fail)
        return run(capsys, "config", "show")

    for said in (
        failing(Declined(f"Not done: {everything}\x1b[2J.")),
        failing(RuntimeError(f"a bug with {everything}\x1b[2J")),
    ):
        assert [one for one in secrets if one in said] == []
        assert "\x1b" not in said
    assert "Traceback" in failing(RuntimeError("a bug"))


def test_no_terminal_obeys_what_is_stored(capsys: Capsys) -> None:
    odd = "".join(OBEYED)
    row = a_deployment(id=ID, app="web", reason=f"odd {odd} reason", ref=f"main{odd}")
    stored(row, [f"#1 odd {odd} line\tend", "last"])
    for words in (
        "status",
        "status web",
        "status web --json",
        "history web",
        "history web --json",
        "logs web",
    ):
        said = run(capsys, *words.split())
        assert "odd" in said or words == "status", words
        assert [one for one in OBEYED if one in said] == [], words
    assert run(capsys, "logs", "web").endswith("line\tend\nlast\n")
    (found,) = json.loads(run(capsys, "history", "web", "--json"))["deployments"]
    assert found["reason"] == f"odd {odd} reason"
