"""What a recorded answer showed, put into the model: records, source, containers, text."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bot.simulators.dokku.model import BuildRecord, Container, Image, RunState
from bot.simulators.dokku.recordings import Step

if TYPE_CHECKING:
    from bot.simulators.dokku.app import App
    from bot.simulators.dokku.host import DokkuHost

FULL_ID = 64
_STATUS = re.compile(
    r'(?:"status-|Status )(?P<type>\w+)[. ](?P<number>\d+)(?:":"|: +)'
    r"(?P<state>\w+) \(CID: (?P<id>[0-9a-f]{11})\)"
)
_GONE = re.compile(r"No such container: ([0-9a-f]{64})")


def question_of(step: Step) -> str | None:
    """Name the question that a step's answer can be put into the model for, else None."""
    name = step.argv[0]
    asked = [word for word in step.argv[2:] if word not in {"--format", "json"}]
    if name == "builds:output":
        return name
    if asked or name not in {"builds:list", "apps:report", "ps:report", "ps:inspect"}:
        return None
    if name.startswith("ps:"):
        return "containers"
    return name if step.argv[-1] == "json" else None


def show(host: "DokkuHost", app: "App", step: Step) -> None:
    """Make the model of the app what this answer showed."""
    _SHOWN[step.argv[0]](host, app, step)


def _records(_host: "DokkuHost", app: "App", step: Step) -> None:
    known = {one.id: one for one in app.records}
    app.records[:] = [_record(app, one, known) for one in json.loads(step.stdout)]


def _record(app: "App", told: Mapping[str, Any], known: Mapping[str, BuildRecord]) -> BuildRecord:
    record = known.get(told["id"]) or BuildRecord(
        id=told["id"],
        app=app.name,
        kind=told["kind"],
        source=told["source"],
        pid=told["pid"],
        started_at=_instant(told["started_at"]),
    )
    finished = told.get("finished_at")
    record.pid, record.started_at = told["pid"], _instant(told["started_at"])
    record.status = told["status"]
    record.exit_code = told.get("exit_code")
    record.finished_at = _instant(finished) if finished else None
    beside = app.replay is not None and record.id in app.replay.beside
    record.alive = told["display_status"] == "running" and not beside
    return record


def _source(_host: "DokkuHost", app: "App", step: Step) -> None:
    told = json.loads(step.stdout)
    app.deploy_source = told["app-deploy-source"]
    app.deploy_source_metadata = told["app-deploy-source-metadata"]


def _processes(host: "DokkuHost", app: "App", step: Step) -> None:
    """A report names containers by 11 digits, and not their images: each has one of its own."""
    app.deployed = bool(re.search(r'"deployed":"true"|Deployed: +true', step.stdout))
    listed: dict[str, Container] = {}
    missing = False
    for found in _STATUS.finditer(step.stdout):
        dyno = f"{found['type']}.{found['number']}"
        container = _known(app, found["id"]) or _container(host, app, found["id"], dyno)
        if found["state"] == "missing":
            missing = missing or container.exists
        else:
            container.state = RunState(found["state"])
        listed[dyno] = container
    host.docker_down = missing
    app.listed = listed


def _known(app: "App", begin: str) -> Container | None:
    return next((one for one in app.containers if one.id.startswith(begin)), None)


def _container(host: "DokkuHost", app: "App", begin: str, dyno: str) -> Container:
    now = host.clock.now()
    full = app.replay.full_id(begin) if app.replay else begin.ljust(FULL_ID, "0")
    container = Container(
        id=full,
        name=f"{app.name}.{dyno}",
        dyno=dyno,
        image=Image(id=full[::-1], sha=""),
        rev="",
        created_at=now,
        started_at=now,
    )
    app.containers.append(container)
    return container


def _inspected(_host: "DokkuHost", app: "App", step: Step) -> None:
    for full in _GONE.findall(step.stderr):
        for one in app.containers:
            one.exists = one.exists and one.id != full
    if step.exit_status != 0:
        app.listed = {dyno: one for dyno, one in app.listed.items() if not one.exists}
        return
    listed: dict[str, Container] = {}
    for told in json.loads(step.stdout):
        dyno = told["Config"]["Labels"]["com.dokku.dyno"]
        container = _known(app, told["Id"]) or Container(
            id=told["Id"],
            name=told["Name"].removeprefix("/"),
            dyno=dyno,
            image=Image(id=told["Image"].removeprefix("sha256:"), sha=""),
            rev="",
            created_at=_instant(told["Created"]),
            started_at=_instant(told["State"]["StartedAt"]),
        )
        container.restart_count = told["RestartCount"]
        container.state = RunState(told["State"]["Status"])
        container.started_at = _instant(told["State"]["StartedAt"])
        container.exit_code = told["State"]["ExitCode"]
        if container not in app.containers:
            app.containers.append(container)
        listed[dyno] = container
    app.deployed = True
    app.listed = listed


def _text(_host: "DokkuHost", app: "App", step: Step) -> None:
    record = app.record(step.argv[2])
    if record is not None:
        record.log[:] = step.stdout.encode()


def _instant(text: str) -> datetime:
    """Read RFC 3339; of nanoseconds the last three digits are dropped."""
    return datetime.fromisoformat(text)


_SHOWN: Mapping[str, Callable[["DokkuHost", "App", Step], None]] = {
    "builds:list": _records,
    "apps:report": _source,
    "ps:report": _processes,
    "ps:inspect": _inspected,
    "builds:output": _text,
}
