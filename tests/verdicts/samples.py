"""What the rows' evidence is made of: containers, records, markers, and the looks at them."""

from datetime import timedelta
from typing import Any

from bot.deployments.dokku_facts import (
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
    Snapshot,
)
from bot.deployments.model import LogFacts, LogMarker
from bot.deployments.verdict.evidence import PIPE_CLOSED, Evidence
from bot.deployments.verdict.outside_changes import NEVER_FINALIZED
from bot.deployments.verdict.stability import Look, Watched


def container(id_: str, process: str, image: str, **more: Any) -> Container:
    """Make one that runs since long, as long as nothing else is given."""
    given = {"state": "running", "started_at": "2026-11-24T11:00:00Z"}
    return Container(id=id_, process=process, image=image, **(given | more))


SETTLE = timedelta(seconds=10)
OLD = container("0" * 12, "web.1", "old")
OLD_WORKER = container("1" * 12, "worker.1", "old")
OLD_AGAIN = container("2" * 12, "web.1", "old")
OLD_RESTARTING = container("0" * 12, "web.1", "old", state="restarting")
NEW = container("3" * 12, "web.1", "new")
NEW_WORKER = container("4" * 12, "worker.1", "new")
NEW_AGAIN = container("5" * 12, "web.1", "new")
NEW_OF_OLD_CONTENT = container("6" * 12, "web.1", "old")
STRANGER = container("7" * 12, "web.1", "other")
CRASHED = container("3" * 12, "web.1", "new", restarts=8, state="restarting")
CRASHED_ONCE = container("3" * 12, "web.1", "new", restarts=1)

WAS = Containers(listed=(OLD,))
NOTHING = Containers()
BEFORE = Snapshot(builds=frozenset(), report=AppReport(), containers=WAS)
BEFORE_BOTH = Snapshot(
    builds=frozenset(), report=AppReport(), containers=Containers(listed=(OLD, OLD_WORKER))
)
BEFORE_FIRST = Snapshot(builds=frozenset(), report=AppReport(), containers=NOTHING)
BEFORE_ON_OLD_DOKKU = Snapshot(builds=None, report=AppReport(), containers=WAS)
BEFORE_FIRST_ON_OLD_DOKKU = Snapshot(builds=None, report=AppReport(), containers=NOTHING)
OUR_COMMIT = "https://git.example/acme/web.git#" + "a1b2c3d4" * 5
CONFIG_SET = BuildRecord(
    id="b8", app="web", status=BuildStatus.SUCCEEDED, source="config-redeploy", kind="deploy"
)
PUSH = BuildRecord(id="b9", app="web", status=BuildStatus.SUCCEEDED, source="git-hook")
SETTLING = Watched(
    own=frozenset({NEW.id, NEW_WORKER.id}),
    images=frozenset({NEW.image}),
    before=BEFORE_BOTH,
    settle=SETTLE,
)

FETCHING = frozenset({LogMarker.FETCHING})
BUILT = FETCHING | {LogMarker.BUILDING}
RELEASED = BUILT | {LogMarker.RELEASING, LogMarker.DEPLOYING, LogMarker.CHECKING}
DEPLOYED = RELEASED | {LogMarker.POST_DEPLOY, LogMarker.DEPLOYED}
SKIPPED = BUILT | {LogMarker.DEPLOY_SKIPPED}
UNCHANGED = FETCHING | {LogMarker.BUILD_SKIPPED}
BUILD_FAILED = BUILT | {LogMarker.BUILD_FAILED}
CHECKS_FAILED = RELEASED | {LogMarker.CHECKS_FAILED}
NONE_OF_OURS: frozenset[str] = frozenset()
OURS = frozenset({NEW.id, NEW_WORKER.id, NEW_OF_OLD_CONTENT.id})
EXIT_3 = (
    "ERROR: failed to solve: executor failed running [/bin/sh -c sh /app/build.sh]: exit code: 3"
)
HTTP_500 = "Failure in name='web health': unexpected status code: 500"
NEWEST = "0.38.27/"
OLDER = "0.35.20/"


def look(at: float, listed: tuple[Container, ...] | None) -> Look:
    """Make a look that took no time; `listed` None: nothing could be read."""
    found = None if listed is None else Containers(listed=listed)
    return Look(began=at, done=at, containers=found)


def build_record(status: BuildStatus, exit_code: int | None = None) -> BuildRecord:
    """Make our own record."""
    return BuildRecord(id="b", app="web", status=status, source="git:sync", exit_code=exit_code)


SUCCEEDED = build_record(BuildStatus.SUCCEEDED, 0)
FAILED = build_record(BuildStatus.FAILED, 1)
CANCELED = build_record(BuildStatus.CANCELED, NEVER_FINALIZED)
ABANDONED = build_record(BuildStatus.ABANDONED)
PRUNED = build_record(BuildStatus.FAILED, NEVER_FINALIZED)
RUNNING = build_record(BuildStatus.RUNNING)
CUT_OFF = build_record(BuildStatus.FAILED, PIPE_CLOSED)


def ended(
    exit_status: int | None,
    record: BuildRecord | None,
    after: tuple[Container, ...] | None,
    markers: frozenset[LogMarker] = DEPLOYED,
    *,
    error: str | None = None,
    report: AppReport | None = None,
    started: frozenset[str] = OURS,
    **more: Any,
) -> Evidence:
    """Make the evidence of a redeploy of web; what is not given is as after a good end."""
    given: dict[str, Any] = {
        "keeps_records": True,
        "before": BEFORE,
        "expected": OUR_COMMIT,
    }
    return Evidence(
        exit_status=exit_status,
        record=record,
        # Where nothing is listed after a good end, the output named no container either.
        output=LogFacts(
            markers=markers,
            started=started if after != () or exit_status else frozenset(),
            error=error,
        ),
        after=None if after is None else Containers(listed=after),
        report=report or AppReport(metadata=OUR_COMMIT),
        **(given | more),
    )


OLD_DOKKU: dict[str, Any] = {"keeps_records": False, "before": BEFORE_ON_OLD_DOKKU}
FREED: dict[str, Any] = {**OLD_DOKKU, "lock_was_free": True, "report": AppReport(metadata="old")}
HELD: dict[str, Any] = {**OLD_DOKKU, "report": AppReport(metadata="old", locked=True)}
