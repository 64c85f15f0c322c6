"""`deploybot run` with a wrong setting exits with 2; with an unreachable server it keeps trying."""

import json
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import asyncssh
import pytest

from bot.simulators.environment import Simulators, open_simulators
from bot.slack.manifest import manifest
from tests.support.bot_process import BotProcess, Command
from tests.support.run_command import RunCommand, run_command


@pytest.fixture
async def simulators(tmp_path: Path) -> AsyncIterator[Simulators]:
    async with open_simulators(manifest=manifest(), folder=tmp_path) as opened:
        yield opened


def a_closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_no_secret(command: RunCommand, environ: Mapping[str, str]) -> None:
    said = "\n".join(command.lines)
    assert "Traceback" not in said
    for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "DEPLOYBOT_WEBHOOK_SECRET"):
        assert environ[name] not in said
    for line in environ["DOKKU_SSH_KEY"].splitlines()[1:-1]:
        assert line not in said


WRONG: Mapping[str, tuple[dict[str, str], str]] = {
    "a wrong bot token": (
        {"SLACK_BOT_TOKEN": "xoxb-not-the-one"},
        "deploybot: environment: SLACK_BOT_TOKEN: Slack refuses it (invalid_auth).",
    ),
    "a wrong app token": (
        {"SLACK_APP_TOKEN": "xapp-not-the-one"},
        "deploybot: environment: SLACK_APP_TOKEN: Slack refuses it (invalid_auth).",
    ),
    "an unknown setting": (
        {"DEPLOYBOT_POLL_INTERVALL": "10s"},
        "deploybot: environment: DEPLOYBOT_POLL_INTERVALL: unknown, did you mean",
    ),
    "a key that is none": (
        {"DOKKU_SSH_KEY": "c2VjcmV0IG5vIGtleQ=="},
        "deploybot: environment: DOKKU_SSH_KEY:",
    ),
    "a folder that is not there": (
        {"DATABASE_URL": "sqlite:///not/there/deploybot.db"},
        "deploybot: environment: DATABASE_URL: there is no folder",
    ),
    "a database that cannot be written": (
        {"DATABASE_URL": "sqlite:///a-folder"},
        "deploybot: environment: DATABASE_URL:",
    ),
    "a file that is no database": (
        {"DATABASE_URL": "sqlite:///a-text.txt"},
        "deploybot: environment: DATABASE_URL:",
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_wrong_setting_is_one_line_and_exit_status_2(
    simulators: Simulators, tmp_path: Path, case: str
) -> None:
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "a-text.txt").write_text("No database at all, only a text that is long enough.")
    wrong, begin = WRONG[case]
    environ = {**simulators.settings, **wrong}
    async with run_command(environ, tmp_path) as command:
        assert await command.ended() == 2
    said = [line for line in command.lines if line.startswith("deploybot: ")]
    assert len(said) == 1
    assert command.lines[-1] == said[0]
    assert said[0].startswith(begin)
    assert_no_secret(command, environ)


async def test_taken_port_is_one_line_and_exit_status_2(
    simulators: Simulators, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environ = {**simulators.settings, "PORT": str(taken.getsockname()[1])}
        async with run_command(environ, tmp_path) as command:
            assert await command.ended() == 2
    assert command.lines[-1].startswith("deploybot: environment: PORT: ")
    assert_no_secret(command, environ)


async def test_unknown_key_in_the_file_is_one_line_and_exit_status_2(
    simulators: Simulators, tmp_path: Path
) -> None:
    (tmp_path / "deploybot.toml").write_text('[apps.myapp]\naproval = "none"\n')
    async with run_command(simulators.settings, tmp_path) as command:
        assert await command.ended() == 2
    assert command.lines == [
        "deploybot: deploybot.toml: apps.myapp.aproval: unknown, did you mean approval?"
    ]


async def keeps_trying(
    environ: Mapping[str, str], folder: Path, part: str, words: str, *, http: int
) -> RunCommand:
    """It runs on and says so on its port; SIGTERM ends it with status 0."""
    async with run_command(environ, folder) as command:
        await command.until_ready_says(part, words, http=http)
        command.process.send_signal(signal.SIGTERM)
        assert await command.ended(within_s=5) == 0
    assert_no_secret(command, environ)
    return command


async def test_unreachable_slack_is_waited_for(simulators: Simulators, tmp_path: Path) -> None:
    environ = {**simulators.settings, "SLACK_API_URL": f"http://127.0.0.1:{a_closed_port()}/api/"}
    await keeps_trying(environ, tmp_path, "slack", "not connected", http=503)


async def test_unreachable_postgresql_is_waited_for(simulators: Simulators, tmp_path: Path) -> None:
    password = "hunter2-hunter2"
    url = f"postgresql://bot:{password}@127.0.0.1:{a_closed_port()}/deploybot"
    environ = {**simulators.settings, "DATABASE_URL": url}
    command = await keeps_trying(environ, tmp_path, "database", "cannot be reached", http=503)
    assert password not in "\n".join(command.lines)


async def test_unreachable_dokku_does_not_stop_the_bot(
    simulators: Simulators, tmp_path: Path
) -> None:
    await simulators.server.refuse_connections_for_test()
    await keeps_trying(simulators.settings, tmp_path, "default", "refused the connection", http=200)


async def ends_with_one_line(environ: Mapping[str, str], folder: Path) -> str:
    """It ends with status 2, and what it said of the cause."""
    async with run_command(environ, folder) as command:
        assert await command.ended() == 2
    assert_no_secret(command, environ)
    (said,) = [line for line in command.lines if line.startswith("deploybot: ")]
    assert command.lines[-1] == said
    return said


def with_another_host_key(simulators: Simulators) -> dict[str, str]:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    hosts = f"[127.0.0.1]:{simulators.settings['DOKKU_PORT']} {other}\n"
    return {**simulators.settings, "DOKKU_KNOWN_HOSTS": hosts}


async def test_wrong_host_key_is_one_line_and_exit_status_2(
    simulators: Simulators, tmp_path: Path
) -> None:
    said = await ends_with_one_line(with_another_host_key(simulators), tmp_path)
    assert said.startswith("deploybot: environment: DOKKU_KNOWN_HOSTS: 127.0.0.1:")
    assert "ssh-keyscan" in said
    assert simulators.dokku.journal == [
        one for one in simulators.dokku.journal if one.event != "asked"
    ]


async def test_key_refused_by_dokku_is_one_line_and_exit_status_2(
    simulators: Simulators, tmp_path: Path
) -> None:
    simulators.server.refuse_key_for_test()
    said = await ends_with_one_line(simulators.settings, tmp_path)
    assert said.startswith("deploybot: environment: DOKKU_SSH_KEY: 127.0.0.1:")
    assert "dokku ssh-keys:add" in said


async def test_wrong_key_in_the_file_is_named_by_its_path(
    simulators: Simulators, tmp_path: Path
) -> None:
    settings = dict(simulators.settings)
    keys = {name: settings.pop(name) for name in tuple(settings) if name.startswith("DOKKU_")}
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    (tmp_path / "deploybot.toml").write_text(
        f'[servers.production]\nhost = "{keys["DOKKU_HOST"]}"\nport = {keys["DOKKU_PORT"]}\n'
        f'ssh_key = """{other}"""\nknown_hosts = """{keys["DOKKU_KNOWN_HOSTS"]}"""\n'
    )
    async with run_command(settings, tmp_path) as command:
        assert await command.ended() == 2
    assert command.lines[-1].startswith(
        "deploybot: deploybot.toml: servers.production.ssh_key: 127.0.0.1:"
    )


async def test_slow_refusal_by_a_server_ends_the_bot(
    simulators: Simulators, tmp_path: Path
) -> None:
    simulators.server.refuse_key_for_test()
    simulators.server.stall_for_test()
    async with run_command(simulators.settings, tmp_path) as command:
        await command.until_ready_says("slack", "{'ok': True}")
        simulators.server.heal_for_test()
        assert await command.ended() == 2
    assert command.lines[-1].startswith("deploybot: environment: DOKKU_SSH_KEY: 127.0.0.1:")


async def test_refusal_after_a_good_login_does_not_stop_the_bot(
    simulators: Simulators, tmp_path: Path
) -> None:
    await simulators.server.refuse_connections_for_test()
    async with run_command(simulators.settings, tmp_path) as command:
        await command.until_ready_says("default", "refused the connection")
        simulators.server.refuse_key_for_test()
        await simulators.server.accept_connections_for_test()
        await command.until_ready_says("default", "refused the bot's SSH key")
        command.process.send_signal(signal.SIGTERM)
        assert await command.ended(within_s=5) == 0
    assert_no_secret(command, simulators.settings)


async def test_idle_bot_stops_at_once(simulators: Simulators, tmp_path: Path) -> None:
    async with run_command(simulators.settings, tmp_path) as command:
        await command.until_ready_says("slack", "{'ok': True}")
        command.process.send_signal(signal.SIGTERM)
        assert await command.ended(within_s=3) == 0
    assert_no_secret(command, simulators.settings)


async def test_log_lines_on_stdout_and_metrics_of_a_running_bot(
    simulators: Simulators, tmp_path: Path
) -> None:
    port = a_closed_port()
    environ = {
        **simulators.settings,
        "DEPLOYBOT_LOG_FORMAT": "json",
        "DEPLOYBOT_LOG_STREAM": "stdout",
        "PORT": str(port),
    }
    process = await BotProcess.start(Command("run"), environ, folder=tmp_path, hides=(2,))
    try:
        line = json.loads(await process.said('"ready"'))
        assert line["level"] == "info"
        assert await process.ready(), process.last_lines
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/metrics") as answer,
        ):
            page = await answer.text()
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0
    for sample in (
        "deploybot_slack_connected 1.0",
        'deploybot_outbox_age_seconds{receiver="webhooks"} 0.0',
        'deploybot_server_up{server="default"} 1.0',
        "deploybot_build_info{",
    ):
        assert sample in page
