"""The repository as a newcomer finds it: links, commands, versions, import contracts."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from bot.cli import app, config, database, run_cli, webhooks
from tools.licences import licences

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")]
OWN_NAME = Path(__file__).name


def files(*suffixes: str) -> Iterator[Path]:
    """Files in the repository, and those that `git add` would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in sorted(filter(None, listed.split("\0"))):
        path = ROOT / name
        if path.is_file() and path.name != OWN_NAME and path.suffix in suffixes:
            yield path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith(("https://", "http://", "#", "mailto:")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_every_module_reads_in_one_sitting() -> None:
    modules = [path for path in files(".py") if path.is_relative_to(ROOT / "bot")]
    lengths = {path: len(path.read_text().splitlines()) for path in modules}
    assert {path.name: length for path, length in lengths.items() if length > 400} == {}


def _words(page: Path) -> Iterator[str]:
    text = page.read_text()
    for block in re.findall(r"```sh[^\n]*\n(.*?)```", text, re.DOTALL):
        yield from (line.partition("#")[0].strip() for line in block.splitlines())
    yield from re.findall(r"`([^`\n]+)`", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_pages_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    groups = {"webhooks": webhooks, "db": database, "config": config}
    known = {command.name or command.callback.__name__ for command in app.registered_commands
             if command.callback}  # fmt: skip
    for line in _words(page):
        for target in re.findall(r"^make ([a-z]+)", line):
            assert target in targets, line
        for word, below in re.findall(r"^deploybot ([a-z]+)(?: ([a-z|]+))?", line):
            assert word in known | set(groups), line
            if word in groups and below:
                names = {command.name for command in groups[word].registered_commands}
                assert set(below.split("|")) <= names, line


def test_readme_starts_with_its_two_commands() -> None:
    first = re.findall(r"```sh checkout\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]

    assert [line.partition("#")[0].strip() for line in first.splitlines()] == [
        "make demo",
        "make test",
    ]


def test_procfile_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    processes = dict(line.split(": ", 1) for line in lines)

    assert processes == {"web": "deploybot run", "release": "deploybot db upgrade"}
    for command in processes.values():
        assert run_cli([*command.split()[1:], "--help"]) == 0
    assert "Usage: deploybot run" in capsys.readouterr().out


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changes = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    locked = next(one for one in lock["package"] if one["name"] == project["name"])

    assert changes[0] == project["version"] == locked["version"]
    floor = project["requires-python"].removeprefix(">=")
    assert lock["requires-python"] == project["requires-python"]
    assert f"Python {floor} or newer" in (ROOT / "README.md").read_text()


def test_changelog_groups_are_those_of_keep_a_changelog() -> None:
    groups = re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert set(groups) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_nothing_points_outside_the_repository() -> None:
    out = re.compile(r"/work/|\.\./shared|\bshared/(?:dokku|product|design|slack)|/root/|\.pyenv")
    for path in files(
        ".py", ".md", ".toml", ".yml", ".json", ".html", ".js", ".css", ".example", ""
    ):
        if path.suffix == ".json" and "transcripts" in path.parts:
            continue  # what a server printed, its paths included
        text = path.read_text(errors="replace")
        assert not out.search(text), f"{path.relative_to(ROOT)}: {out.search(text)}"


def test_locked_packages_come_from_the_public_index() -> None:
    hosts = set(re.findall(r'"https?://([^/"]+)/', (ROOT / "uv.lock").read_text()))

    assert hosts <= {"pypi.org", "files.pythonhosted.org"}


def test_no_test_is_skipped_and_no_check_is_disabled_globally() -> None:
    words = re.compile(
        r"pytest\.(?:skip|xfail|importorskip)|mark\.(?:skip|xfail)|pragma: no cover"
        r"|type: ignore(?!\[)|noqa(?!: [A-Z])|\bTODO\b|\bFIXME\b"
    )
    for path in files(".py"):
        found = words.search(path.read_text())
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_every_package_has_a_docstring_and_no_code() -> None:
    for path in files(".py"):
        if path.name == "__init__.py":
            text = path.read_text().strip()
            assert text.startswith('"""'), path
            assert text.endswith('"""'), f"{path}: a docstring and nothing else"


def test_import_contracts_are_kept() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_scripts_are_executable() -> None:
    for name in ("run", "uv", "system-packages"):
        script = ROOT / ".ci" / name
        assert script.stat().st_mode & 0o111
        assert script.read_text().startswith("#!")


def test_every_package_that_the_bot_installs_declares_a_licence() -> None:
    found = licences()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = chain(project["dependencies"], *project["optional-dependencies"].values())
    assert {re.split(r"[\[><=]", one)[0] for one in wanted} <= set(found)
    assert {name for name, (_, licence) in found.items() if not licence} == set()


def test_dependencies_below_one_have_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = chain(project["dependencies"], *project["optional-dependencies"].values())
    # Of a 0.x release, the next minor one may break anything.
    open_ended = [one for one in wanted if ">=0." in one and ",<0." not in one]
    assert open_ended == []
