import asyncio
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.simulators import demo
from bot.simulators.bot_process import BotProcess


@pytest.mark.git
def test_taken_port_prints_one_line_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert demo.run_demo(port, open_browser=False) == 2
    shown = capsys.readouterr()
    assert shown.err == (
        f"deploybot demo: cannot use port {port}: Address already in use."
        " Choose another one: --port 8001\n"
    )
    assert shown.out == ""


def test_missing_git_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert demo.run_demo(0, open_browser=False) == 2
    assert capsys.readouterr().err == "deploybot demo: git is not installed.\n"


@pytest.mark.parametrize(
    ("platform", "display", "screen"),
    [("linux", "", False), ("linux", ":0", True), ("darwin", "", True)],
)
def test_browser_opens_only_with_a_screen(
    platform: str, display: str, screen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert demo._has_screen() is screen


@pytest.mark.git
def test_bot_exit_is_reported_with_its_last_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(settings: Mapping[str, str], *, folder: Path) -> BotProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "print('x' * 100_000); print('the reason'); raise SystemExit(3)",
            stdout=asyncio.subprocess.PIPE,
            cwd=folder,
        )
        return BotProcess(process, f"http://127.0.0.1:{settings['PORT']}/readyz")

    monkeypatch.setattr(BotProcess, "start", start)
    assert demo.run_demo(0, open_browser=False) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("deploybot demo: the bot exited with status 3. Its last lines:\n")
    assert shown.err.endswith("  the reason\n")
    assert shown.out == ""
