from pathlib import Path

import aiohttp
import asyncssh
import pytest

from bot.config.loading import load_settings
from bot.simulators.bot_process import BotProcess, clean_environment
from bot.simulators.environment import APPS, open_simulators, received_webhooks
from bot.simulators.receiver import open_receiver
from bot.slack.manifest import manifest

pytestmark = pytest.mark.git


async def test_every_service_in_the_settings_is_reachable(tmp_path: Path) -> None:
    async with open_simulators(manifest=manifest(), folder=tmp_path) as simulators:
        (tmp_path / "known_hosts").write_text(simulators.settings["DOKKU_KNOWN_HOSTS"])
        async with asyncssh.connect(
            simulators.settings["DOKKU_HOST"],
            int(simulators.settings["DOKKU_PORT"]),
            username=simulators.settings["DOKKU_USER"],
            client_keys=[asyncssh.import_private_key(simulators.settings["DOKKU_SSH_KEY"])],
            known_hosts=str(tmp_path / "known_hosts"),
            config=None,
        ) as connection:
            listed = await connection.run("apps:list", check=True)
        assert str(listed.stdout).split()[-len(APPS) :] == sorted(app.name for app in APPS)
        async with aiohttp.ClientSession() as session:
            for app in APPS:
                url = simulators.settings["DEPLOYBOT_REPO_TEMPLATE"].format(app=app.name)
                async with session.get(f"{url}/info/refs?service=git-upload-pack") as answer:
                    assert simulators.forge.sha(app.name) in await answer.text()
            async with session.get(simulators.slack.page_url) as answer:
                assert answer.status == 200


async def test_each_live_app_serves_an_older_commit(tmp_path: Path) -> None:
    async with open_simulators(manifest=manifest(), folder=tmp_path) as simulators:
        for app in APPS:
            (process,) = simulators.dokku.live(app.name).values()
            assert process.sha != simulators.forge.sha(app.name)


async def test_bot_accepts_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_simulators(manifest=manifest(), folder=tmp_path) as simulators:
        for name, value in simulators.settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        settings = load_settings()
        (endpoint,) = settings.endpoints()
        assert endpoint.url == simulators.receiver.url
        assert settings.slack.socket_mode


async def test_side_panel_lists_received_webhooks() -> None:
    async with open_receiver(secret="whsec_c2VjcmV0") as receiver:
        calls: list[int] = []
        receiver.on_received.append(lambda: calls.append(1))
        async with aiohttp.ClientSession() as session:
            body = {"type": "deployment.finished", "data": {"status": "failed", "app": "shop"}}
            await session.post(receiver.url, json=body)
            await session.post(receiver.url, json=[1])
        assert calls == [1, 1]
        odd, finished = received_webhooks(receiver)
    assert finished["app"] == "shop"
    assert finished["status"] == "failed"
    assert finished["verified"] is False
    assert odd["type"] == "?"


def test_real_settings_never_reach_the_demo() -> None:
    given = {
        "PATH": "/bin",
        "SLACK_BOT_TOKEN": "xoxb-real",
        "DEPLOYBOT_CONFIG": "/real.toml",
        "DATABASE_URL": "postgresql://real",
        "DOKKU_HOST": "real",
        "PORT": "80",
        "HTTPS_PROXY": "http://proxy",
        "https_proxy": "http://proxy",
    }
    assert clean_environment(given) == {"PATH": "/bin"}


async def test_bot_that_cannot_start_prints_the_cause(tmp_path: Path) -> None:
    bot = await BotProcess.start({"PORT": "1"}, folder=tmp_path)
    try:
        assert await bot.ready() is False
        assert await bot.ended() == 2
        assert not bot.running
        assert any("SLACK_" in line for line in bot.last_lines)
    finally:
        await bot.stop()
