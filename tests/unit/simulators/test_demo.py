import shutil
import socket

import pytest

from bot.simulators import demo


def test_a_taken_port_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert demo.run_demo(port, open_browser=False) == 2
    shown = capsys.readouterr()
    assert shown.err == (
        f"deploybot demo: port {port} cannot be used: Address already in use."
        " Choose another: --port 8001\n"
    )
    assert shown.out == ""


def test_without_git_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert demo.run_demo(0, open_browser=False) == 2
    assert capsys.readouterr().err == "deploybot demo: git was not found; install it\n"


@pytest.mark.parametrize(
    ("platform", "display", "screen"),
    [("linux", "", False), ("linux", ":0", True), ("darwin", "", True)],
)
def test_a_browser_needs_a_screen(
    platform: str, display: str, screen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert demo._has_screen() is screen
