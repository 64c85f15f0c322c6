"""Every line that the simulator prints is found in a recording.

The comparison knows nothing of how the simulator makes its text: both sides are brought to one
form, in which app, URL, ref, SHA, ids, numbers, instants and spans are the same for all.
"""

import functools
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from bot.simulators.dokku.behaviours import BEHAVIOURS
from bot.simulators.dokku.commands.dispatch import run_command
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import KilledBySignal
from bot.simulators.dokku.recordings import FAILED_TASK_COMMAND, TASK_FAILED, TRANSCRIPTS
from bot.simulators.dokku.sshd import open_dokku
from tests.unit.simulators.dokku.conftest import Client, Result

RECORDED_APPS = "web|web2|api|duo|crash|neverup|insp1|insp2|skip|byhash|fresh|ghost|nosuchid"
TYPES = "worker"
OUR_APPS = "zebra|yak|xerus|nobody"
FORMS = [
    (re.compile(pattern), form)
    for pattern, form in (
        (r"\b(?:git|https?)://[^\s#'\"]*[^\s#'\"/]", "URL"),
        (r"URL#[^\s\"]*", "URL#REF"),
        (r"\b[0-9a-f]{64}\b", "ID64"),
        (r"\b[0-9a-f]{40}\b", "SHA"),
        (r"\b[0-9a-f]{7}\.\.[0-9a-f]{7}\b", "RANGE"),
        (r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{11,12}\b", "ID"),
        (r"\b[k-z][0-9a-z]{13}\b", "BUILD"),  # they begin with the time
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
        (r"\b\d{10}\b", "UNIX"),
        (r"upcoming-\d+", "upcoming-N"),
        (r"\b(?:\d+h)?(?:\d+m)?\d+s\b", "SPAN"),
        (r"(resolve host: |connect to )[\w.-]+", r"\1HOST"),
        (r"[\w.]+\[0: [\w.]+\]", "HOST[0: HOST]"),
        (r"exported: /\S+", "exported: PATH"),
        (r"(fatal: )\S+\^", r"\1REF^"),
        (r"'\S+' did not match", "'REF' did not match"),
        (rf"\b(?:{RECORDED_APPS}|{OUR_APPS}|{TYPES})\b", "APP"),
        (r"\b\d{3,5}\b", "N"),
        (r"pid=\d", "pid=N"),
        (r"APP\.\d+", "APP.N"),
        (r"^[A-Z_]+=XXXXXX$", "NAME=XXXXXX"),
        (r"\s+", " "),
        (r"^APP: \d+$", "APP: N"),
        (r"^Status APP \d+:", "Status APP N:"),
    )
]
NOT_RECORDED = {
    "-----> Build BUILD is no longer running (status=failed)",
    "value mixed",
    *(
        " ".join(TASK_FAILED.format(task=task, command=FAILED_TASK_COMMAND).split())
        for task in ("predeploy", "postdeploy")
    ),
}
"""Lines without a recording. Known only from Dokku's source: the answer to cancelling a build that
was already marked failed, and the `running` of `ps:report` if only some processes are up. Measured,
but not recorded: `recordings.TASK_FAILED`."""


@functools.cache
def normal(text: str) -> str:
    for pattern, form in FORMS:
        text = pattern.sub(form, text)
    return text.strip()


def leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield f"{path} keys {','.join(key for key in value if not key.startswith('status-'))}"
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{normal(key)}")
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield f"{path} has a value"
        yield value_of(value)


def value_of(value: Any) -> str:
    return "value N" if isinstance(value, int) else f"value {normal(str(value))}"


def pieces(command: str, text: str) -> Iterator[str]:
    name = command.split(maxsplit=1)[0]
    is_json = text.startswith(("{", "[")) and text.rstrip().endswith(("}", "]"))
    if is_json and ("json" in command or name == "ps:inspect"):
        yield from leaves(json.loads(text), name)
    else:
        for line in text.splitlines():
            yield from parts(command, line)


def parts(command: str, line: str) -> Iterator[str]:
    """Give a row of a report as label and value, a row of a table as its cells, else the line."""
    name = command.split(maxsplit=1)[0]
    row = re.fullmatch(r" {7}([A-Z][^:]+:) +(\S.*)?", line)
    if name.endswith(":report") and row:
        yield normal(row[1])
        yield value_of(row[2] or "")
    elif name == "builds:list" and not line.startswith(("Build ID", "No builds")):
        yield from (value_of(cell) for cell in line.split())
    elif name.endswith(":report") and " --" in command and "format" not in command:
        yield value_of(line)
    else:
        yield normal(line)


@pytest.fixture
async def host() -> AsyncIterator[DokkuHost]:
    made = DokkuHost(speed=2000)
    yield made
    assert made.complaints == []


class Terminal:
    """Runs commands on a host without SSH, which takes most of the time of a short command.

    `test_replay.py` reads recorded text over SSH.
    """

    closed = False

    def __init__(self, host: DokkuHost) -> None:
        self._host = host
        self._printed = {"out": b"", "err": b""}

    async def write(self, stream: str, data: bytes) -> None:
        self._printed[stream] += data

    async def run(self, line: str) -> Result:
        self._printed = {"out": b"", "err": b""}
        status: int | None = None
        with suppress(KilledBySignal):
            status = await run_command(self._host, line, self)
        out, err = (self._printed[stream].decode(errors="replace") for stream in ("out", "err"))
        return Result(exit=status, out=out, err=err, signal=None)


@pytest.fixture
async def terminal(host: DokkuHost) -> AsyncIterator[Terminal]:
    yield Terminal(host)
    await host.aclose()


@pytest.fixture(scope="module")
def recorded() -> set[str]:
    found = {""}
    for path in sorted((TRANSCRIPTS / "0.38.27").glob("*.json")):
        for step in json.loads(path.read_text())["steps"]:
            command = " ".join(step["argv"])
            chunks = step.get("chunks") or []
            texts = [step.get("stdout") or "", step.get("stderr") or ""]
            texts += ["".join(text for _, _, text in chunks)]
            for text in texts:
                found |= set(pieces(command, text))
    return found


QUERIES = (
    "apps:report {app}",
    "apps:report {app} --format json",
    "apps:report {app} --app-locked",
    "apps:locked {app}",
    "apps:exists {app}",
    "ps:report {app}",
    "ps:report {app} --format json",
    "ps:report {app} --running",
    "ps:inspect {app}",
    "builds:list {app}",
    "builds:list {app} --format json",
    "builds:list --format json",
    "builds:report {app}",
    "builds:report {app} --format json",
    "builds:output {app} current",
    "builds:cancel {app}",
    "git:report {app}",
    "git:report {app} --format json",
    "apps:list",
    "version",
    "logs {app} --num 4",
    "ps:scale {app}",
)
COMMANDS: dict[str, tuple[str, ...]] = {
    "deploys": ("sync main", "sync", "if_changes", "fetch", "sync missing"),
    "processes": (
        "sync",
        "ps:restart {app}",
        "ps:scale {app} web=2",
        "ps:scale {app} web=1",
        "ps:rebuild {app}",
        "config:set {app} A=1",
        "config:set --no-restart {app} A=2",
        "config:unset {app} A",
        "ps:stop {app}",
        "ps:start {app}",
        "ps:scale {app} web=0",
        "sync",
    ),
    "switches": (
        "ps:set {app} skip-deploy true",
        "sync",
        "ps:set {app} skip-deploy",
        "checks:disable {app}",
        "sync",
        "checks:enable {app}",
    ),
    "errors": (
        "git:sync --build",
        "git:sync --build {app}",
        "apps:report nobody",
        "builds:info {app} nosuchid",
        "builds:output {app} nosuchid",
        "apps:report {app} --no-such-flag",
    ),
}


async def run_line(client: Client | Terminal, host: DokkuHost, line: str, app: str) -> list[str]:
    """Run one line of COMMANDS or QUERIES; return what was printed, in the normal form."""
    url = f"https://git.example/acme/{app}.git"
    lines = {
        "sync": f"git:sync --build {app} {url} {'b' * 40}",
        "sync main": f"git:sync --build {app} {url} main",
        "if_changes": f"git:sync --build-if-changes {app} {url} main",
        "fetch": f"git:sync {app} {url} main",
        "sync missing": f"git:sync --build {app} {url} no-such-branch",
    }
    if line == "sync missing":
        host.apps[app].next_outcome = "ref_missing"
    command = lines.get(line, line.format(app=app))
    done = await client.run(command)
    return [*pieces(command, done.out), *pieces(command, done.err)]


async def run_all(
    client: Client | Terminal, host: DokkuHost, app: str, lines: tuple[str, ...]
) -> set[str]:
    printed: set[str] = set()
    for line in lines:
        printed |= set(await run_line(client, host, line, app))
        for query in QUERIES:
            printed |= set(await run_line(client, host, query, app))
    return printed


def assert_recorded(printed: set[str], recorded: set[str]) -> None:
    assert sorted(printed - recorded - NOT_RECORDED) == []


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("kind", ["new", "old"])
async def test_commands_print_only_recorded_lines(
    terminal: Terminal, host: DokkuHost, recorded: set[str], name: str, kind: str
) -> None:
    host.create_app("zebra", deployed_sha=None if kind == "new" else "a" * 40)
    assert_recorded(await run_all(terminal, host, "zebra", COMMANDS[name]), recorded)


@pytest.mark.parametrize(
    "behaviour",
    [name for name, one in BEHAVIOURS.items() if one.recording != "-"],
)
@pytest.mark.parametrize("kind", ["new", "old", "two_types"])
async def test_behaviours_print_only_recorded_lines(
    terminal: Terminal, host: DokkuHost, recorded: set[str], behaviour: str, kind: str
) -> None:
    scale = {"web": 1, "worker": 1} if kind == "two_types" else {"web": 1}
    sha = None if kind == "new" else "a" * 40
    host.create_app("yak", deployed_sha=sha, behaviour=behaviour, scale=scale)
    assert_recorded(await run_all(terminal, host, "yak", ("sync", "sync main")), recorded)


@pytest.mark.parametrize(
    "at", ["Fetching remote", "build step 3/", "Executing 2 healthchecks", "Running post-deploy"]
)
async def test_cancelled_refused_and_interrupted_deploys_print_only_recorded_lines(
    client: Client, host: DokkuHost, recorded: set[str], at: str
) -> None:
    host.create_app("xerus", deployed_sha="a" * 40)
    host.hold_for_test("xerus", at=at)
    deploy = await client.start(f"git:sync --build xerus https://git.example/x.git {'b' * 40}")
    await host.until(lambda: host.holding("xerus"))
    printed: set[str] = set()
    for line in ("builds:list xerus --format json", "ps:rebuild xerus", "builds:cancel xerus"):
        printed |= set(await run_line(client, host, line, "xerus"))
    host.kill_dokku_for_test("xerus")
    await client.finish(deploy)
    host.release_for_test("xerus")
    printed |= await run_all(client, host, "xerus", ("sync",))
    assert_recorded(printed, recorded)


async def test_an_invented_line_is_detected(recorded: set[str]) -> None:
    async with open_dokku(DokkuHost(speed=200)):
        with pytest.raises(AssertionError):
            assert_recorded({normal("-----> Deploying zebra to the moon")}, recorded)
