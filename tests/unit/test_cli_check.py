"""`deploybot check` against the simulated Slack and Dokku."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.dokku.connection import Connection
from bot.operations.check import run_checks
from bot.operations.check_slack import _check_clock, _check_scopes
from bot.operations.findings import Check, State
from bot.operations.servers import _ask, _config
from bot.simulators.environment import Simulators, open_simulators
from bot.slack.manifest import SCOPES, manifest
from tests.contract.dokku.ssh_server import run_ssh_server
from tests.support.settings import host_line, pem

pytestmark = pytest.mark.git


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Simulators]:
    async with open_simulators(manifest=manifest(), folder=tmp_path) as opened:
        yield opened


async def checks(stage: Simulators, folder: Path, **changes: str | None) -> Mapping[str, Check]:
    environ = {**stage.settings, **changes}
    found = await run_checks(
        environ={name: text for name, text in environ.items() if text is not None}, folder=folder
    )
    return {one.what: one for one in found}


async def test_everything_is_ok(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(stage, tmp_path)

    assert all(one.ok for one in found.values()), [one.line() for one in found.values()]
    assert list(found) == [
        "config",
        "git",
        "database",
        "slack token",
        "slack scopes",
        "slack manifest",
        "slack clock",
        "slack events",
        "slack groups",
        "dokku default",
        "dokku default host key",
        "dokku default config",
        "dokku default clock",
        "app billing",
        "webhook 1, 127.0.0.1",
    ]
    assert "Dokku 0.38" in found["dokku default"].found
    assert found["dokku default config"].found.startswith("readable (tried with ")
    assert found["config"].line().startswith("ok ")
    unread = [name for name, one in found.items() if "cannot be read with a bot token" in one.found]
    assert unread == ["slack manifest"]


async def test_channels_that_get_results_are_checked(stage: Simulators, tmp_path: Path) -> None:
    oncall, random = (stage.slack.channel(name).id for name in ("oncall", "random"))
    (tmp_path / "deploybot.toml").write_text(f'[defaults]\nnotify = ["{oncall}", "{random}"]\n')
    found = await checks(stage, tmp_path)
    assert found[f"notify {oncall}"].line().endswith("the bot is in the channel.")
    assert not found[f"notify {random}"].ok
    assert "not_in_channel" in found[f"notify {random}"].found
    assert "/invite" in found[f"notify {random}"].fix


async def test_a_wrong_setting_keeps_only_its_own_checks_from_being_made(
    stage: Simulators, tmp_path: Path
) -> None:
    found = await checks(stage, tmp_path, SLACK_BOT_TOKEN=None)

    assert not found["config"].ok
    assert "SLACK_BOT_TOKEN: missing" in found["config"].line()
    assert not [what for what in found if what.startswith("slack")]
    assert found["dokku default"].ok
    assert found["database"].ok


async def test_every_mistake_is_told_at_once(stage: Simulators, tmp_path: Path) -> None:
    (tmp_path / "deploybot.toml").write_text(
        "poll_intervall = 5\n"
        '[apps.shop]\naproval = "none"\nserver = "moon"\n'
        '[apps.blog]\nserver = "moon"\n'
        '[servers.spare]\nhost = "dokku.example.com"\nssh_key = "no such file"\n'
        'known_hosts = "not a line"\n'
    )
    environ = {**stage.settings, "DEPLOYBOT_SETTEL": "5s", "SLACK_APP_TOKEN": "wrong"}
    found = await run_checks(environ=environ, folder=tmp_path)

    lines = [one.line() for one in found if one.what == "config"]
    for words in (
        "DEPLOYBOT_SETTEL: unknown, did you mean DEPLOYBOT_SETTLE?",
        "poll_intervall: unknown, did you mean poll_interval?",
        "apps.shop.aproval: unknown, did you mean approval?",
        "SLACK_APP_TOKEN: does not look like a token",
        "servers.spare.ssh_key: the file cannot be read",
        "servers.spare.known_hosts: ",
        "apps.blog.server: no such server is configured",
    ):
        assert len([line for line in lines if words in line]) == 1, (words, lines)
        assert next(line for line in lines if words in line).startswith("WRONG")
    assert not [line for line in lines if "?." in line]
    # What can be tried in spite of them is.
    by_name = {one.what: one for one in found}
    assert by_name["dokku default"].ok
    assert by_name["database"].ok


async def test_states_in_json(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(stage, tmp_path, SLACK_BOT_TOKEN="xoxb-wrong")

    assert found["slack token"].json()["state"] == "wrong"
    assert found["slack token"].json()["ok"] is False
    assert found["git"].json()["state"] == "ok"


async def test_git_that_is_missing_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    found = {one.what: one for one in await run_checks(environ={}, folder=tmp_path)}

    assert found["git"].state is State.WARNING
    assert "Install git" in found["git"].line()


async def test_little_disk_is_a_warning(
    stage: Simulators, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.operations.check.FREE_BYTES", 1 << 62)

    found = await checks(stage, tmp_path)

    assert found["database disk"].state is State.WARNING
    assert "MB are free" in found["database disk"].found


async def test_groups_of_deployers_must_exist(stage: Simulators, tmp_path: Path) -> None:
    group = stage.slack.usergroup().id
    (tmp_path / "deploybot.toml").write_text(f'[defaults]\ndeployers = ["{group}", "S0GONE"]\n')

    found = await checks(stage, tmp_path)

    assert not found["slack group S0GONE"].ok
    assert f"slack group {group}" not in found


@pytest.mark.parametrize(
    ("granted", "state", "words"),
    [
        (None, State.WARNING, "unknown"),
        (",".join(SCOPES), State.OK, "as in the manifest"),
        (",".join([*SCOPES, "channels:read"]), State.WARNING, "more than the manifest asks for"),
        ("chat:write,commands", State.WRONG, "files:write (upload a full log into the thread)"),
    ],
)
def test_scopes_are_compared_with_the_manifest(
    granted: str | None, state: State, words: str
) -> None:
    one = _check_scopes(granted)

    assert one.state is state
    assert words in one.line()


async def test_changed_host_key_is_shown_with_the_line_that_pins_it(
    stage: Simulators, tmp_path: Path
) -> None:
    right = stage.settings["DOKKU_KNOWN_HOSTS"].strip()
    other = f"{right.split()[0]} {host_line().split(maxsplit=1)[1]}"

    found = await checks(stage, tmp_path, DOKKU_KNOWN_HOSTS=other)

    one = found["dokku default"]
    assert not one.ok
    assert "SHA256:" in one.fix
    assert " ".join(right.split()[1:3]) in one.fix
    pinned = (await checks(stage, tmp_path))["dokku default host key"]
    shown = one.fix.partition("SHA256:")[2].split(".")[0]
    assert f"SHA256:{shown}" in pinned.found


async def test_each_listed_app_is_looked_at(stage: Simulators, tmp_path: Path) -> None:
    (tmp_path / "deploybot.toml").write_text(
        "[apps.myapp]\n"
        '[apps.mayapp]\n[apps.shop]\ndefault_ref = "no-such-branch"\n'
        '[apps.blog]\nrepo = "https://127.0.0.1:9/blog.git"\n'
    )

    found = await checks(stage, tmp_path)

    assert found["app myapp"].state is State.OK
    assert "main is " in found["app myapp"].found
    assert "1 running" in found["app myapp"].found
    assert found["app mayapp"].line().startswith("WRONG")
    assert "Did you mean `myapp`" in found["app mayapp"].fix
    assert "no branch, tag or commit no-such-branch" in found["app shop"].line()
    assert found["app blog"].state is State.WARNING
    assert "cannot be read from here" in found["app blog"].found


async def test_shell_that_answers_instead_of_dokku(tmp_path: Path) -> None:
    async with run_ssh_server("double", tmp_path / "ssh") as server:
        server.answer("version", "echo 'sh: version: not found' >&2; exit 127")
        answer = await _ask("production", server.target, 10.0)

    assert not answer.ok
    assert "forced command" in answer.fix


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ("Mon, 30 Nov 2026 10:00:30 GMT", "agrees with Slack's."),
        ("Mon, 30 Nov 2026 10:06:52 GMT", "is 412 s behind Slack's. Set it by NTP"),
        ("Mon, 30 Nov 2026 09:58:20 GMT", "is 100 s ahead of Slack's. Set it by NTP"),
    ],
)
def test_clock_is_compared_with_slacks(theirs: str, words: str) -> None:
    (one,) = _check_clock(theirs, datetime(2026, 11, 30, 10, 0, tzinfo=UTC))

    assert one.ok is ("agrees" in words)
    assert words in one.line()


@pytest.mark.parametrize("theirs", [None, "", "soon", "Mon, 30 Nov 2026 10:00:30"])
def test_clock_that_slack_does_not_show_is_not_compared(theirs: str | None) -> None:
    assert _check_clock(theirs, datetime.now(UTC)) == ()


async def test_wrong_bot_token(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(stage, tmp_path, SLACK_BOT_TOKEN="xoxb-wrong")

    assert not found["slack token"].ok
    assert "invalid_auth" in found["slack token"].found
    assert "SLACK_BOT_TOKEN" in found["slack token"].fix
    assert found["dokku default"].ok


async def test_wrong_app_token(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(stage, tmp_path, SLACK_APP_TOKEN="xapp-wrong")

    assert found["slack token"].ok
    assert not found["slack events"].ok
    assert "SLACK_APP_TOKEN" in found["slack events"].fix


async def test_http_mode_names_the_route_that_slack_must_reach(
    stage: Simulators, tmp_path: Path
) -> None:
    found = await checks(
        stage, tmp_path, SLACK_APP_TOKEN=None, SLACK_SIGNING_SECRET="0123456789abcdef"
    )

    assert "/slack/events" in found["slack events"].found


async def test_unreachable_slack(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(stage, tmp_path, SLACK_API_URL="http://127.0.0.1:9/api/")

    assert not found["slack token"].ok
    assert "SLACK_API_URL" in found["slack token"].fix


async def test_key_unknown_to_dokku(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(stage, tmp_path, DOKKU_SSH_KEY=pem())

    assert not found["dokku default"].ok
    assert "ssh-keys:add" in found["dokku default"].fix
    assert "ssh-keys:add" not in found["dokku default"].found
    assert found["slack token"].ok


async def test_unreachable_server(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(stage, tmp_path, DOKKU_PORT="9")

    assert not found["dokku default"].ok
    assert "127.0.0.1:9" in found["dokku default"].line()
    assert found["dokku default"].line().count("Check ") == 1


async def test_webhook_host_that_does_not_resolve(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(stage, tmp_path, DEPLOYBOT_WEBHOOK_URL="https://nowhere.invalid/hook")

    assert not found["webhook 1, nowhere.invalid"].ok


async def test_private_webhook_address_unless_allowed(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(
        stage,
        tmp_path,
        DEPLOYBOT_WEBHOOK_URL="https://127.0.0.1/hook",
        DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE=None,
    )

    assert not found["webhook 1, 127.0.0.1"].ok
    assert "DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE" in found["webhook 1, 127.0.0.1"].fix


async def test_missing_database_folder(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(stage, tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/none/bot.db")

    assert not found["database"].ok


def test_check_creates_no_database(tmp_path: Path) -> None:
    async def look() -> None:
        async with open_simulators(manifest=manifest(), folder=tmp_path) as stage:
            assert all(one.ok for one in (await checks(stage, tmp_path)).values())

    asyncio.run(look())

    assert not list(tmp_path.glob("*.db*"))


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo sesame; exit 1", "`config:export` ended with 1"),
        ("echo sesame", "`config:export` did not answer with JSON"),
        ("kill -9 $$", "`config:export` ended with -1"),
    ],
)
async def test_unreadable_app_config_is_reported_but_not_a_failure(
    tmp_path: Path, script: str, why: str
) -> None:
    async with (
        run_ssh_server("double", tmp_path / "ssh") as server,
        aclosing(Connection("production", server.target)) as connection,
    ):
        server.replay("version", out="dokku version 0.38.27\n")
        server.replay("apps:list", out="=====> My Apps\nweb\n")
        server.answer("config:export --merged --format json web", script)
        said = await _config(connection)
        server.replay("apps:list", err=" !     You haven't deployed any applications yet\n")
        assert await _config(connection) is None
    assert said == f"not readable: {why}. Only what looks like a secret is masked in logs."
