from pathlib import Path

import aiohttp
import asyncssh
import pytest

from bot.config.settings import load_settings
from bot.simulators.bot_process import BotProcess, clean_environment
from bot.simulators.environment import APPS, open_simulators, panel
from bot.simulators.receiver import open_receiver
from bot.slack.manifest import manifest


async def test_everything_that_the_settings_name_is_there(tmp_path: Path) -> None:
    async with open_simulators(manifest=manifest(), folder=tmp_path) as stage:
        (tmp_path / "known_hosts").write_text(stage.settings["DOKKU_KNOWN_HOSTS"])
        async with asyncssh.connect(
            stage.settings["DOKKU_HOST"],
            int(stage.settings["DOKKU_PORT"]),
            username=stage.settings["DOKKU_USER"],
            client_keys=[asyncssh.import_private_key(stage.settings["DOKKU_SSH_KEY"])],
            known_hosts=str(tmp_path / "known_hosts"),
            config=None,
        ) as connection:
            listed = await connection.run("apps:list", check=True)
        assert str(listed.stdout).split()[-3:] == sorted(app.name for app in APPS)
        async with aiohttp.ClientSession() as session:
            for app in APPS:
                url = stage.settings["DEPLOYBOT_REPO_TEMPLATE"].format(app=app.name)
                async with session.get(f"{url}/info/refs") as answer:
                    assert stage.forge.sha(app.name) in await answer.text()
            async with session.get(stage.slack.page_url) as answer:
                assert answer.status == 200


async def test_each_app_serves_an_older_commit(tmp_path: Path) -> None:
    async with open_simulators(manifest=manifest(), folder=tmp_path) as stage:
        for app in APPS:
            (process,) = stage.dokku.live(app.name).values()
            assert process.sha != stage.forge.sha(app.name)


async def test_the_bot_accepts_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_simulators(manifest=manifest(), folder=tmp_path) as stage:
        for name, value in stage.settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        settings = load_settings()
        (endpoint,) = settings.endpoints()
        assert endpoint.url == stage.receiver.url
        assert settings.slack.socket_mode


async def test_the_panel_shows_what_came() -> None:
    async with open_receiver(secret="whsec_c2VjcmV0") as receiver:
        told: list[int] = []
        receiver.on_received.append(lambda: told.append(1))
        async with aiohttp.ClientSession() as session:
            body = {"type": "deployment.finished", "data": {"status": "failed", "app": "shop"}}
            await session.post(receiver.url, json=body)
            await session.post(receiver.url, json=[1])
        assert told == [1, 1]
        odd, finished = panel(receiver)
    assert finished["app"] == "shop"
    assert finished["status"] == "failed"
    assert finished["verified"] is False
    assert odd["type"] == "?"


def test_nobodys_real_settings_reach_the_demo() -> None:
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


async def test_a_bot_that_cannot_start_says_why(tmp_path: Path) -> None:
    bot = await BotProcess.start({"PORT": "1"}, folder=tmp_path)
    try:
        assert await bot.ready() is False
        assert await bot.ended() == 2
        assert not bot.running
        assert any("SLACK_" in line for line in bot.last_lines)
    finally:
        await bot.stop()
