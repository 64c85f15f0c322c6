"""Every command on a page is run here, or marked as needing a real server; all of them parse."""

import base64
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextvars import copy_context
from functools import partial
from pathlib import Path

import pytest
import typer.core
import typer.exceptions
import typer.main

from bot.cli import app
from bot.config.loading import load_settings
from bot.config.sources import read_given
from tests.support.pages import MARKS, PAGES, ROOT, Block, all_blocks, blocks
from tests.support.settings import host_line

UV = str(ROOT / ".ci" / "uv")
BIN = Path(sys.executable).parent
OF_A_SERVER = {"dokku", "install", "ssh-keygen"}
"""What is typed on a Dokku server."""
RUN_PAGES = sorted({block.page for block in all_blocks("run")})
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@every_page
def test_every_block_says_where_it_runs(page: Path) -> None:
    for block in blocks(page):
        assert block.mark in MARKS, block.text
    # A block that the pattern does not see would be checked by nothing.
    assert len(blocks(page)) == len(
        re.findall(r"^ *```(?:sh|bash|console)", page.read_text(), re.MULTILINE)
    )


@every_page
def test_blocks_are_valid_shell(page: Path) -> None:
    for block in blocks(page):
        done = subprocess.run(
            ["sh", "-n"], input=block.text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), block.text


def test_no_block_mixes_a_servers_shell_with_ones_own() -> None:
    for block in all_blocks():
        first = {command.split()[0] for command in block.commands()}
        if block.mark == "server":
            assert first <= OF_A_SERVER, block.text
        else:
            assert "dokku" not in first, block.text


def test_commands_of_a_checkout_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    for block in all_blocks("checkout"):
        for command in block.commands():
            program, *words = command.split()
            assert program in {"git", "cd", "make", ".ci/uv", "pre-commit"}, command
            if program == "make":
                assert words[0] in targets, command
            for word in words:
                if word.startswith(("tests/", "bot/")):
                    assert (ROOT / word).exists(), command


def program_lines(page: Path) -> set[str]:
    """What follows `deploybot` where the page means a command line, in blocks and between ticks."""
    found = {
        part
        for block in blocks(page)
        for command in block.commands()
        for part in re.split(r" (?:&&|\|) ", command)
    }
    found |= set(re.findall(r"`(deploybot [^`\n]+)`", page.read_text()))
    # In a container, the program's name follows the container's or the user's.
    called = re.compile(r"(?:^|\bweb |\bdeploybot )deploybot ([a-z].*)$")
    lines = {line[1] for line in map(called.search, found) if line}
    return {line for line in lines if not re.search(r"[\[\]|…]", line)}  # a usage, not a line


@every_page
def test_command_lines_of_the_program_parse(page: Path) -> None:
    for line in program_lines(page):
        words = shlex.split(line)
        # A command or an option may only be named, such as `manifest --format`.
        for given in (words, [*words, "x"]):
            try:
                parse(given)
            except typer.exceptions.TyperException as error:
                wrong = error
            else:
                break
        else:
            raise AssertionError(f"{line}: {wrong.format_message()}")


def parse(words: list[str]) -> None:
    """Have the command line parse words, without running anything."""
    command = typer.main.get_command(app)
    context = command.make_context("deploybot", words)
    while isinstance(command, typer.core.TyperGroup):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        context = command.make_context(name, words, parent=context)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and with a `uv` that installs it, but asks no registry.

    The wheel is real and gets an environment of its own; its dependencies are those of the tests.
    """
    folder = tmp_path_factory.mktemp("programs")
    build = [UV, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)]
    if subprocess.run([*build, "--offline"], capture_output=True, check=False).returncode != 0:
        subprocess.run(build, check=True)
    (wheel,) = folder.glob("dokku_deploybot-*.whl")
    made = folder / "made"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(made)], check=True)
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--offline", "--no-deps", str(wheel)],
        env={**os.environ, "VIRTUAL_ENV": str(made)},
        check=True,
    )
    (packages,) = made.glob("lib/*/site-packages")
    (its_own,) = BIN.parent.glob("lib/*/site-packages")
    # The path alone: the project itself is installed there through a file that this does not read.
    (packages / "dependencies.pth").write_text(f"{its_own}\n")
    bin_ = folder / "bin"
    bin_.mkdir()
    install = f'ln -sf "{made}/bin/deploybot" "{bin_}/deploybot"'
    for name, script in {
        "uv": f'[ "$1 $2" = "tool install" ] && [ -f "$3" ] && {install}',
        "uvx": f'[ "$1" = --from ] && [ -f "$2" ] && shift 3 && exec "{made}/bin/deploybot" "$@"',
        "python3": f'exec "{sys.executable}" "$@"',
    }.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_ / name).chmod(0o755)
    return folder


def run(text: str, folder: Path, programs: Path, *, installed: bool = True) -> str:
    """Run a script in the folder, with the wheel in it. Returns what it printed."""
    (wheel,) = programs.glob("*.whl")
    shutil.copy(wheel, folder)
    if installed:
        target = programs / "bin" / "deploybot"
        target.unlink(missing_ok=True)
        target.symlink_to(programs / "made" / "bin" / "deploybot")
    environ = {"PATH": f"{programs}/bin:{os.environ['PATH']}", "HOME": str(folder)}
    done = subprocess.run(
        ["sh", "-eu"],
        input=text,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def script_of(page: Path) -> str:
    """All that runs on the page, one block after the other."""
    text = "\n".join(block.text for block in blocks(page) if block.mark == "run")
    # It would serve until it is stopped; tests/scenarios/test_demo_starts.py starts it.
    return re.sub(r"(deploybot demo)$", r"\1 --help", text, flags=re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_PAGES, ids=lambda page: page.name)
def test_blocks_marked_run_work_one_after_the_other(
    page: Path, tmp_path: Path, programs: Path
) -> None:
    if page.name == "backup.md":
        run("deploybot db upgrade", tmp_path, programs)
    printed = run(script_of(page), tmp_path, programs, installed=page.name != "install.md")

    match page.name:
        case "install.md":
            assert '"command": "/ship"' in printed or "command: /ship" in printed
            settings = tmp_path / "deploybot-settings"
            (settings / "known_hosts").write_text(host_line("dokku.example.com"))
            loaded = copy_context().run(partial(load_settings, environ={}, folder=settings))
            assert loaded.slack.socket_mode
            assert [one.host for one in loaded.servers.values()] == ["dokku.example.com"]
        case "hosting.md":
            line = host_line("dokku.example.com")
            with (tmp_path / ".env").open("a") as file:
                file.write(f"DOKKU_KNOWN_HOSTS={line}\nDOKKU_HOST=dokku.example.com\n")
                file.write("SLACK_BOT_TOKEN=xoxb-1\nSLACK_APP_TOKEN=xapp-1\n")
            assert copy_context().run(partial(load_settings, environ={}, folder=tmp_path)).servers
        case "backup.md":
            assert (tmp_path / "copy.db").stat().st_size > 0
            assert "Restored from a backup" in run("deploybot locks", tmp_path, programs)
        case "README.md":
            assert "Try the bot in a browser" in printed
        case other:
            raise AssertionError(f"say what the blocks of {other} must have done")


@pytest.mark.slow
def test_config_set_on_dokku_keeps_keys_with_their_newlines(tmp_path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-f", tmp_path / "dokku_key", "-N", ""], check=True
    )
    (tmp_path / "known_hosts").write_text(f"{host_line('dokku.example.com')}\n# a comment\n")
    recorder = tmp_path / "bin" / "ssh"
    recorder.parent.mkdir()
    recorder.write_text(f'#!/bin/sh\nprintf "%s" "$*" > "{tmp_path}/sent"\n')
    recorder.chmod(0o755)
    (block,) = (one for one in _workstation() if "config:set" in one.text)
    (command, push) = block.commands()
    environ = {**os.environ, "PATH": f"{recorder.parent}:{os.environ['PATH']}"}

    subprocess.run(["sh", "-eu"], input=command, cwd=tmp_path, env=environ, text=True, check=True)

    # ssh joins its words with blanks, and Dokku has xargs split them again.
    host, *words = shlex.split((tmp_path / "sent").read_text())
    assert (host, words[:4]) == (
        "dokku@dokku.example.com",
        ["config:set", "--no-restart", "--encoded", "deploybot"],
    )
    pairs = (word.partition("=")[::2] for word in words[4:])
    config = {name: base64.b64decode(text, validate=True).decode() for name, text in pairs}
    assert config["DOKKU_SSH_KEY"] == (tmp_path / "dokku_key").read_text()
    assert config["DOKKU_KNOWN_HOSTS"] == (tmp_path / "known_hosts").read_text()
    assert push == "git push dokku@dokku.example.com:deploybot main"
    assert set(config) <= set(read_given(config, tmp_path).names)
    given = {**config, "SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}
    assert copy_context().run(partial(load_settings, environ=given, folder=tmp_path)).servers


def _workstation() -> list[Block]:
    return [block for block in all_blocks("workstation") if block.page.name == "hosting.md"]
