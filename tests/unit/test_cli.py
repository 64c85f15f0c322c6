"""The command line: arguments, exit status, errors."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bot.cli import give_a_home, run_cli
from bot.errors import BotError, ConfigError
from bot.slack.manifest import manifest_text

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--bogus"], "deploybot: No such option: --bogus. Try: deploybot --help"),
        (["run", "--bogus"], "deploybot: No such option: --bogus. Try: deploybot run --help"),
        (["frob"], "deploybot: No such command 'frob'. Try: deploybot --help"),
        (["db"], "deploybot: Missing command. Try: deploybot db --help"),
        (["db", "frob"], "deploybot: No such command 'frob'. Try: deploybot db --help"),
        (["logs"], "deploybot: Missing argument 'ID|APP'. Try: deploybot logs --help"),
        (["logs", "a", "b"], "deploybot: Got unexpected extra argument"),
        (["history", "a", "--limit", "many"], "deploybot: Invalid value for '--limit':"),
        (["history", "a", "--limit", "0"], "deploybot: Invalid value for '--limit':"),
        (["demo", "--port", "99999"], "deploybot: Invalid value for '--port':"),
        (["manifest", "--mode", "carrier-pigeon"], "deploybot: Invalid value for '--mode':"),
        (["manifest", "--mode", "http"], "deploybot: command line: --url: missing."),
        (
            ["manifest", "--mode", "http", "--url", "http://x"],
            "deploybot: command line: --url: not an https address.",
        ),
        (["manifest", "--url", "https://x.example"], "deploybot: command line: --url: only for"),
        (["run"], "deploybot: environment: SLACK_BOT_TOKEN: missing."),
        (["status"], "deploybot: environment: DATABASE_URL: there is no file"),
    ],
)
def test_wrong_argument_prints_one_line_and_exits_with_2(
    words: list[str], line: str, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)

    status = run_cli(words)

    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1


def test_no_arguments_show_the_help(capsys: Capsys) -> None:
    assert run_cli([]) == 2
    assert "Usage: deploybot" in capsys.readouterr().out


def test_help_exits_with_0(capsys: Capsys) -> None:
    assert run_cli(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("demo", "run", "check", "manifest", "status", "history", "logs", "cancel"):
        assert f"\n  {command} " in out
    assert "..." not in out.partition("Commands:")[2]


@pytest.mark.parametrize(
    "words", [["-h"], ["db", "-h"], ["deploy", "-h"], ["webhooks", "test", "-h"]]
)
def test_short_help_everywhere(words: list[str], capsys: Capsys) -> None:
    assert run_cli(words) == 0
    assert "Usage: deploybot" in capsys.readouterr().out


def test_version_is_the_one_of_the_project(capsys: Capsys) -> None:
    assert run_cli(["--version"]) == 0
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert capsys.readouterr().out == f"deploybot {project['project']['version']}\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("deploybot ret", "retry"),
        ("deploybot webhooks tes", "test"),
        ("deploybot deploy --wa", "--wait"),
    ],
)
def test_words_are_completed_in_a_shell(typed: str, offered: str) -> None:
    environ = os.environ | {
        "_DEPLOYBOT_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from bot.cli import main; main()"],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
    )
    assert (done.returncode, done.stdout.split()) == (0, [offered]), done.stderr


def test_manifest_is_printed(capsys: Capsys) -> None:
    assert run_cli(["manifest"]) == 0
    assert capsys.readouterr().out == manifest_text()


def test_bot_error_prints_one_line_and_exits_with_1(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_which: str) -> int:
        raise BotError("it is\nbroken")

    monkeypatch.setattr("bot.operations.commands.logs", fail)

    assert run_cli(["logs", "myapp"]) == 1
    assert capsys.readouterr().err == "deploybot: it is broken\n"


def test_wrong_setting_prints_one_line_and_exits_with_2(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*, json: bool) -> int:
        raise ConfigError("PORT", "environment", "not a whole number", "Write one.")

    monkeypatch.setattr("bot.operations.commands.check", fail)

    assert run_cli(["check"]) == 2
    assert (
        capsys.readouterr().err == "deploybot: environment: PORT: not a whole number. Write one.\n"
    )


def test_check_without_settings_ends_with_2_and_names_what_is_missing(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "DOKKU_HOST"):
        monkeypatch.delenv(name, raising=False)

    assert run_cli(["check"]) == 2
    out = capsys.readouterr().out
    for name in ("SLACK_BOT_TOKEN: missing", "SLACK_APP_TOKEN: missing", "DOKKU_HOST: missing"):
        assert out.count(name) == 1
    assert run_cli(["check", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_demo_passes_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, bool]] = []

    def run_demo(port: int, open_browser: bool) -> int:
        calls.append((port, open_browser))
        return 1

    monkeypatch.setattr("bot.simulators.demo.run_demo", run_demo)

    assert run_cli(["demo", "--port", "8001", "--no-browser"]) == 1
    assert run_cli(["demo"]) == 1
    assert calls == [(8001, False), (8000, True)]


NAMELESS = """
import os, pwd, sys

def nobody(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = nobody
from bot.cli import give_a_home, run_cli
give_a_home()

def check(*slow):
    if found := set(slow) & set(sys.modules):
        sys.exit(f"imported: {found}")

OF_HELP = ("asyncio", "pydantic", "rich", "structlog")
OF_SETTINGS = ("aiohttp", "alembic", "asyncssh", "slack_bolt", "slack_sdk", "sqlalchemy")
OF_RECORDS = ("aiohttp", "apscheduler", "asyncssh", "slack_bolt", "slack_sdk")
run_cli(["--help"])
check(*OF_HELP, *OF_SETTINGS, *OF_RECORDS)
run_cli(["config", "show"])
check(*OF_SETTINGS, *OF_RECORDS)
run_cli(["db", "upgrade"])
run_cli(["status"])
run_cli(["locks"])
run_cli(["webhooks", "list"])
check(*OF_RECORDS)
import bot.process, bot.operations.approvals, bot.operations.check, bot.operations.requesting
if found := [name for name in sys.modules if name.startswith("bot.simulators")]:
    sys.exit(f"the bot imports {found}")
print("home:", os.environ["HOME"])
"""


def test_commands_import_only_what_they_need_also_for_a_user_without_a_name(tmp_path: Path) -> None:
    """What makes a command quick, without a clock. Nothing of the bot loads the recordings.

    The process has a user without an entry and a home, as a container may have.
    """
    environ = os.environ | {"DATABASE_URL": f"sqlite:///{tmp_path}/bot.db"}
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        environ.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", NAMELESS], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing is locked." in done.stdout
    assert done.stdout.endswith("\nhome: /\n")


def test_python_m_bot_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", "manifest"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, manifest_text())


def test_home_of_a_user_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    give_a_home()

    assert os.environ["HOME"] == str(tmp_path)
