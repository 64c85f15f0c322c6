"""The files that the bot is hosted with: Dockerfile, Compose, systemd, Dokku's app.json.

Docker itself is not started: the Dockerfile's own commands are run in an empty folder instead.
"""

import asyncio
import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.config.values import read_duration
from bot.metrics import Metrics
from bot.web import HealthReport, open_web

ROOT = Path(__file__).parents[2]
HOSTING = ROOT / "hosting"
COMPOSE = HOSTING / "docker" / "compose.yaml"
UNIT = HOSTING / "systemd" / "deploybot.service"
UV_SYNC = "uv sync --locked --no-dev --extra postgres"
INSTRUCTION = re.compile(r"^([A-Z]+) (.*)$")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's lines, continued ones joined, without comments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(found[1], found[2]) for found in map(INSTRUCTION.match, lines) if found]


def of(name: str) -> list[str]:
    return [words for instruction, words in instructions() if instruction == name]


def copied() -> list[str]:
    """What the Dockerfile takes from the checkout."""
    lines = [words.split() for words in of("COPY") if not words.startswith("--from")]
    return [name for words in lines for name in words[:-1]]


def test_every_line_of_the_dockerfile_is_an_instruction() -> None:
    known = {"FROM", "WORKDIR", "RUN", "ENV", "COPY", "USER", "HEALTHCHECK", "CMD"}

    assert {name for name, _ in instructions()} == known
    assert len(instructions()) == len(
        [line for line in (ROOT / "Dockerfile").read_text().splitlines() if re.match("[A-Z]", line)]
    )


def test_image_copies_only_what_exists_and_the_context_holds_nothing_else() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}

    assert "*" in rules
    assert set(copied()) == allowed
    assert all((ROOT / name).exists() for name in copied())


def test_image_runs_as_a_user_without_rights_and_starts_the_bot() -> None:
    procfile = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())

    user, group = map(int, of("USER")[-1].split(":"))
    assert user == group == 32767
    assert json.loads(of("CMD")[-1]) == procfile["web"].split()
    assert any("git" in words.split() for words in of("RUN") if "apt-get install" in words)
    assert "DATABASE_URL=sqlite:////data/deploybot.db" in of("ENV")


def test_image_has_a_supported_python_and_one_version_of_uv() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    images = set(of("FROM"))

    versions = {words.split()[0].partition(":")[2].partition("-")[0] for words in images}
    assert len(versions) == 1
    assert f"Programming Language :: Python :: {versions.pop()}" in project["classifiers"]
    assert [words for words in of("RUN") if re.search(r"pip install .*\buv==\d+\.\d+\.\d+$", words)]


def copy_bytecode(packages: Path) -> None:
    """Give packages the bytecode that the tests' environment has of the same files.

    Compiling a thousand modules took most of the test; what differs is compiled all the same.
    """
    (compiled,) = Path(sys.prefix).glob("lib/*/site-packages")
    for folder, _, _ in os.walk(packages):
        cache = compiled / Path(folder).relative_to(packages) / "__pycache__"
        if cache.is_dir():
            shutil.copytree(cache, Path(folder) / "__pycache__", dirs_exist_ok=True)


@pytest.mark.slow
def test_the_builds_own_commands_make_a_complete_program(tmp_path: Path) -> None:
    for name in copied():
        target = tmp_path / "src" / name
        target.parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    syncs = [words for words in of("RUN") if words.startswith(UV_SYNC)]
    environ = {
        **{key: text for key, text in os.environ.items() if not key.startswith("UV_PROJECT")},
        "UV_PROJECT_ENVIRONMENT": str(tmp_path / "made"),
        "UV_OFFLINE": "1",  # `make setup` has fetched all of it
        "UV_PYTHON": sys.executable,
    }
    environ.pop("VIRTUAL_ENV", None)

    assert [len(words.split()) for words in syncs] == [7, 7]
    for words in syncs:
        command = [str(ROOT / ".ci" / "uv"), *shlex.split(words)[1:]]
        run = subprocess.run(
            command, cwd=tmp_path / "src", env=environ, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
    shutil.rmtree(tmp_path / "src")
    (packages,) = (tmp_path / "made").glob("lib/*/site-packages")
    copy_bytecode(packages)

    def made(*words: str) -> str:
        environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/a.db", "PATH": str(tmp_path / "made/bin")}
        done = subprocess.run(
            words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Usage: deploybot" in made(f"{tmp_path}/made/bin/deploybot", "--help")
    made(f"{tmp_path}/made/bin/deploybot", "db", "upgrade")
    made(f"{tmp_path}/made/bin/python", "-c", "import asyncpg, bot.bootstrap")
    listed = {path.name for path in packages.iterdir()}
    assert not {"pytest", "mypy", "ruff"} & listed


async def test_health_check_of_the_image_follows_the_process() -> None:
    async def ready() -> HealthReport:
        return HealthReport(parts={"slack": "not connected"})

    words = of("HEALTHCHECK")[0].partition("CMD ")[2]
    _, *more = json.loads(words)

    async def status(port: int) -> int:
        environ = {**os.environ, "PORT": str(port)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *more, env=environ, stderr=asyncio.subprocess.DEVNULL
        )
        return await process.wait()

    async with open_web("127.0.0.1", 0, ready=ready, metrics=Metrics()) as site:
        port = site.port
        assert await status(port) == 0
    assert await status(port) != 0


def test_dokku_starts_one_process_and_asks_whether_it_is_ready() -> None:
    app = json.loads((ROOT / "app.json").read_text())

    assert app["formation"] == {"web": {"quantity": 1, "max_parallel": 1}}
    (check,) = app["healthchecks"]["web"]
    assert (check["type"], check["path"]) == ("startup", "/readyz")
    # /readyz answers within five seconds.
    assert check["timeout"] > 5
    assert check["attempts"] * check["wait"] >= 60


def test_no_python_version_file_breaks_the_set_up_of_a_checkout() -> None:
    # uv and pyenv obey it, and would refuse every machine without exactly that Python.
    assert not (ROOT / ".python-version").exists()


def services() -> Mapping[str, Mapping[str, Any]]:
    loaded: Mapping[str, Mapping[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return loaded


def test_compose_runs_the_bot_with_postgresql_and_migrates_first() -> None:
    bot, migrate, database = (services()[name] for name in ("deploybot", "migrate", "database"))

    assert bot["build"] == migrate["build"] == "../.."
    assert (COMPOSE.parent / bot["build"] / "Dockerfile").is_file()
    assert migrate["command"] == ["deploybot", "db", "upgrade"]
    assert bot["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert migrate["depends_on"]["database"] == {"condition": "service_healthy"}
    assert database["image"].startswith("postgres:")
    assert database["healthcheck"]
    address = bot["environment"]["DATABASE_URL"]
    assert address == migrate["environment"]["DATABASE_URL"]
    assert re.fullmatch(r"postgresql://deploybot:\$\{POSTGRES_PASSWORD:\?.*\}@database/.*", address)
    (volume,) = database["volumes"]
    assert volume.partition(":")[0] in yaml.safe_load(COMPOSE.read_text())["volumes"]


def test_compose_gives_the_bot_few_rights_and_time_to_drain() -> None:
    bot = services()["deploybot"]

    assert bot["read_only"]
    assert bot["tmpfs"] == ["/tmp"]
    assert bot["cap_drop"] == ["ALL"]
    assert bot["init"]
    assert all(port.startswith("127.0.0.1:") for port in bot["ports"])
    drain = read_duration(bot["environment"]["DEPLOYBOT_DRAIN_TIMEOUT"])
    assert read_duration(bot["stop_grace_period"]) > drain  # type: ignore[operator]


def test_systemd_runs_the_bot_with_few_rights_and_time_to_drain() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]

    assert service["ExecStart"].endswith("/deploybot run")
    assert service["ExecStartPre"].endswith("/deploybot db upgrade")
    assert service["RestartPreventExitStatus"] == "2"
    assert service["TimeoutStopSec"] == "31min"
    assert service["User"] != "root"
    for name in ("NoNewPrivileges", "PrivateTmp", "ProtectHome"):
        assert service[name] == "yes"


def test_systemd_itself_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    """Only where systemd is installed: a container of CI may have none."""
    program = shutil.which("systemd-analyze")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/deploybot", "/bin/true"))

    if program is not None:
        done = subprocess.run(
            [program, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
