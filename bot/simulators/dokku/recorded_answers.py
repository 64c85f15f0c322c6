"""Puts recorded answers into the model of an app: records, source, containers, log."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from bot.simulators.dokku.app import App
from bot.simulators.dokku.host_state import HostState
from bot.simulators.dokku.model import BuildRecord, Container, Image, RunState
from bot.simulators.dokku.recordings import Step

FULL_ID = 64
_STATUS = re.compile(
    r'(?:"status-|Status )(?P<type>\w+)[. ](?P<number>\d+)(?:":"|: +)'
    r"(?P<state>\w+) \(CID: (?P<id>[0-9a-f]{11})\)"
)
_GONE = re.compile(r"No such container: ([0-9a-f]{64})")


def query_of(step: Step) -> str | None:
    """Return the query whose answer a step is, or None if it cannot be put into the model."""
    name = step.argv[0]
    asked = [word for word in step.argv[2:] if word not in {"--format", "json"}]
    if name == "builds:output":
        return name
    if asked or name not in {"builds:list", "apps:report", "ps:report", "ps:inspect"}:
        return None
    if name.startswith("ps:"):
        return "containers"
    return name if step.argv[-1] == "json" else None


class Viewer:
    """Makes the model of one app what a recorded answer showed.

    Args:
        host: the app's host.
        app: the app.
        ended: build records to show as ended, whatever was recorded.
        full_id: completes the 11 digits of a container id in a report.
    """

    def __init__(
        self, host: HostState, app: App, *, ended: frozenset[str], full_id: Callable[[str], str]
    ) -> None:
        self._host = host
        self._app = app
        self._ended = ended
        self._full_id = full_id
        self._shown: Mapping[str, Callable[[Step], None]] = {
            "builds:list": self._show_records,
            "builds:output": self._show_log,
            "apps:report": self._show_source,
            "ps:report": self._show_processes,
            "ps:inspect": self._show_containers,
        }

    def show(self, step: Step) -> None:
        """Put one answer into the model. Raises KeyError if `query_of` gives None for it."""
        self._shown[step.argv[0]](step)

    def _show_records(self, step: Step) -> None:
        known = {one.id: one for one in self._app.records}
        self._app.records[:] = [self._record(one, known) for one in json.loads(step.stdout)]

    def _record(self, row: Mapping[str, Any], known: Mapping[str, BuildRecord]) -> BuildRecord:
        record = known.get(row["id"]) or BuildRecord(
            id=row["id"],
            app=self._app.name,
            kind=row["kind"],
            source=row["source"],
            pid=row["pid"],
            started_at=_instant(row["started_at"]),
        )
        finished = row.get("finished_at")
        record.pid, record.started_at = row["pid"], _instant(row["started_at"])
        record.status = row["status"]
        record.exit_code = row.get("exit_code")
        record.finished_at = _instant(finished) if finished else None
        record.alive = row["display_status"] == "running" and record.id not in self._ended
        return record

    def _show_log(self, step: Step) -> None:
        record = self._app.record(step.argv[2])
        if record is not None:
            record.log[:] = step.stdout.encode()

    def _show_source(self, step: Step) -> None:
        report = json.loads(step.stdout)
        self._app.deploy_source = report["app-deploy-source"]
        self._app.deploy_source_metadata = report["app-deploy-source-metadata"]

    def _show_processes(self, step: Step) -> None:
        """A report names containers by 11 digits and no images: each gets its own image."""
        self._app.deployed = bool(re.search(r'"deployed":"true"|Deployed: +true', step.stdout))
        listed: dict[str, Container] = {}
        missing = False
        for found in _STATUS.finditer(step.stdout):
            dyno = f"{found['type']}.{found['number']}"
            container = self._known(found["id"]) or self._new_container(found["id"], dyno)
            if found["state"] == "missing":
                missing = missing or container.exists
            else:
                container.state = RunState(found["state"])
            listed[dyno] = container
        self._host.docker_down = missing
        self._app.listed = listed

    def _known(self, begin: str) -> Container | None:
        return next((one for one in self._app.containers if one.id.startswith(begin)), None)

    def _new_container(self, begin: str, dyno: str) -> Container:
        now = self._host.clock.now()
        full = self._full_id(begin)
        container = Container(
            id=full,
            name=f"{self._app.name}.{dyno}",
            dyno=dyno,
            image=Image(id=full[::-1], sha=""),
            rev="",
            created_at=now,
            started_at=now,
        )
        self._app.containers.append(container)
        return container

    def _show_containers(self, step: Step) -> None:
        app = self._app
        for full in _GONE.findall(step.stderr):
            for one in app.containers:
                one.exists = one.exists and one.id != full
        if step.exit_status != 0:
            app.listed = {dyno: one for dyno, one in app.listed.items() if not one.exists}
            return
        listed: dict[str, Container] = {}
        for found in json.loads(step.stdout):
            dyno = found["Config"]["Labels"]["com.dokku.dyno"]
            container = self._known(found["Id"]) or Container(
                id=found["Id"],
                name=found["Name"].removeprefix("/"),
                dyno=dyno,
                image=Image(id=found["Image"].removeprefix("sha256:"), sha=""),
                rev="",
                created_at=_instant(found["Created"]),
                started_at=_instant(found["State"]["StartedAt"]),
            )
            container.restart_count = found["RestartCount"]
            container.state = RunState(found["State"]["Status"])
            container.started_at = _instant(found["State"]["StartedAt"])
            container.exit_code = found["State"]["ExitCode"]
            if container not in app.containers:
                app.containers.append(container)
            listed[dyno] = container
        app.deployed = True
        app.listed = listed


def _instant(text: str) -> datetime:
    """Read RFC 3339; the last three digits of nanoseconds are dropped."""
    return datetime.fromisoformat(text)
