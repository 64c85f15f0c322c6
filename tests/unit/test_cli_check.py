"""`deploybot check` against the simulated Slack and Dokku."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.dokku.connection import Connection
from bot.operations.check import Check, _check_clock, run_checks
from bot.operations.servers import _config
from bot.simulators.environment import Simulators, open_simulators
from bot.slack.manifest import manifest
from tests.contract.dokku.ssh_server import run_ssh_server
from tests.support.settings import pem

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
        "database",
        "slack token",
        "slack scopes",
        "slack clock",
        "slack events",
        "dokku default",
        "dokku default config",
        "webhook 1, 127.0.0.1",
    ]
    assert "Dokku 0.38" in found["dokku default"].found
    assert found["dokku default config"].found.startswith("readable (tried with ")
    assert found["config"].line().startswith("ok ")


async def test_channels_that_get_results_are_checked(stage: Simulators, tmp_path: Path) -> None:
    oncall, random = (stage.slack.channel(name).id for name in ("oncall", "random"))
    (tmp_path / "deploybot.toml").write_text(f'[defaults]\nnotify = ["{oncall}", "{random}"]\n')
    found = await checks(stage, tmp_path)
    assert found[f"notify {oncall}"].line().endswith("the bot is in the channel.")
    assert not found[f"notify {random}"].ok
    assert "not_in_channel" in found[f"notify {random}"].found
    assert "/invite" in found[f"notify {random}"].fix


async def test_wrong_settings_are_the_only_check(stage: Simulators, tmp_path: Path) -> None:
    found = await checks(stage, tmp_path, SLACK_BOT_TOKEN=None)

    (one,) = found.values()
    assert not one.ok
    assert "SLACK_BOT_TOKEN: missing" in one.line()


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
