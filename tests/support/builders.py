"""Domain values for tests; every field has a plain default."""

from datetime import UTC, datetime
from typing import Any

from bot.deployments.dokku_facts import (
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
    Snapshot,
)
from bot.deployments.model import Actor, Deployment, LogFacts, LogMarker, Trigger
from bot.deployments.verdict.evidence import Evidence

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
REPO = "https://git.example/acme/web.git"
SHA = "a1b2c3d4" * 5
OLD_SHA = "0ffd" + "f" * 36
METADATA = f"{REPO}#{SHA}"
OLD_METADATA = f"{REPO}#{OLD_SHA}"

DEPLOYED = frozenset(
    {LogMarker.BUILDING, LogMarker.RELEASING, LogMarker.DEPLOYING, LogMarker.DEPLOYED}
)


def a_container(
    id_: str = "0" * 12,
    *,
    process: str = "web.1",
    image: str = "sha256:old",
    state: str = "running",
    restarts: int = 0,
    started_at: str = "2026-11-24T11:00:00Z",
) -> Container:
    return Container(
        id=id_,
        process=process,
        image=image,
        state=state,
        restarts=restarts,
        started_at=started_at,
    )


def containers(*listed: Container) -> Containers:
    return Containers(listed=listed)


OLD = a_container("0" * 12)
NEW = a_container("1" * 12, image="sha256:new")
NEW_WORKER = a_container("2" * 12, process="worker.1", image="sha256:new")
OLD_WORKER = a_container("3" * 12, process="worker.1")
OTHER_RELEASE = a_container("9" * 12, image="sha256:stranger")
RESTARTED_OLD = a_container("4" * 12)
RESTARTED_NEW = a_container("5" * 12, image="sha256:new")


ONLY_OLD = containers(OLD)


def a_snapshot(
    before: Containers | None = ONLY_OLD, *, builds: frozenset[str] | None = frozenset()
) -> Snapshot:
    return Snapshot(builds=builds, report=AppReport(metadata=OLD_METADATA), containers=before)


def facts(
    *markers: LogMarker, own: tuple[Container, ...] = (), error: str | None = None, **more: Any
) -> LogFacts:
    return LogFacts(
        markers=frozenset(markers), started=frozenset(one.id for one in own), error=error, **more
    )


def a_record(
    status: BuildStatus = BuildStatus.SUCCEEDED, exit_code: int | None = None, id_: str = "b1"
) -> BuildRecord:
    return BuildRecord(id=id_, app="web", status=status, source="git:sync", exit_code=exit_code)


CONFIG_SET = BuildRecord(
    id="c1", app="web", status=BuildStatus.SUCCEEDED, source="config-redeploy", kind="deploy"
)
PUSH = BuildRecord(id="p1", app="web", status=BuildStatus.SUCCEEDED, source="git-hook")


def evidence(**changes: Any) -> Evidence:
    """Evidence of a good redeploy: everything that a success needs before the settle time."""
    given: dict[str, Any] = {
        "exit_status": 0,
        "keeps_records": True,
        "record": a_record(),
        "output": facts(*DEPLOYED, own=(NEW,)),
        "before": a_snapshot(),
        "after": containers(NEW),
        "report": AppReport(metadata=METADATA),
        "expected": METADATA,
    }
    return Evidence(**(given | changes))


def a_deployment(**changes: Any) -> Deployment:
    given: dict[str, Any] = {
        "id": "01K9ZB0000000000000000000A",
        "server": "production",
        "app": "web",
        "dokku_app": "web",
        "repo": REPO,
        "ref": "main",
        "requested_by": Actor(user="U0ADA", team="T01", name="ada"),
        "trigger": Trigger.COMMAND,
        "request_key": "command:1",
        "channel": "C01",
        "created_at": NOW,
        "queued_at": NOW,
    }
    return Deployment(**(given | changes))
