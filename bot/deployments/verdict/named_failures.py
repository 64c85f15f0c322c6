"""The failure that a deploy's output names: its word, and its cause. Pure.

A log marker names it; output that stops without one fails its phase, and the exit status shows a
kill. A cause with a remedy is preferred to the marker's own.
"""

from collections.abc import Mapping

from bot.deployments.dokku_facts import Trouble
from bot.deployments.model import Failure, LogFacts, LogMarker
from bot.deployments.verdict.decisions import Cause
from bot.deployments.verdict.evidence import KILLED, KILLED_CHILD, PIPE_CLOSED, TERMINATED

_FAILURES_BY_MARKER: tuple[tuple[LogMarker, Failure, Cause], ...] = (
    (LogMarker.APP_MISSING, Failure.APP_NOT_FOUND, Cause.APP_MISSING),
    (LogMarker.REF_MISSING, Failure.REF_NOT_FOUND, Cause.REF_MISSING),
    (LogMarker.REPO_UNREACHABLE, Failure.REPO_UNREACHABLE, Cause.REPO_UNREACHABLE),
    (LogMarker.DOCKER_DOWN, Failure.BUILD_FAILED, Cause.DOCKER_DOWN),
    (LogMarker.NO_COMMAND, Failure.RELEASE_FAILED, Cause.NO_COMMAND),
    (LogMarker.CHECKS_FAILED, Failure.HEALTHCHECK_FAILED, Cause.CHECKS_FAILED),
    (LogMarker.BUILD_FAILED, Failure.BUILD_FAILED, Cause.BUILD_FAILED),
    (LogMarker.REFUSED, Failure.REFUSED, Cause.REFUSED),
    (LogMarker.RELEASE_FAILED, Failure.RELEASE_FAILED, Cause.RELEASE_FAILED),
)
"""The failure that a log marker names; of several, the first row counts."""

_FAILURES_BY_PHASE: tuple[tuple[LogMarker, Failure, Cause], ...] = (
    (LogMarker.RELEASING, Failure.RELEASE_FAILED, Cause.RELEASE_FAILED),
    (LogMarker.BUILDING, Failure.BUILD_FAILED, Cause.BUILD_FAILED),
    (LogMarker.FETCHING, Failure.BUILD_FAILED, Cause.BUILD_FAILED),
)
"""The failure of a phase whose output stops without naming one; the first row counts."""
_CAUSES_BY_STATUS: Mapping[int | None, Cause] = {
    KILLED: Cause.KILLED,
    KILLED_CHILD: Cause.KILLED,
    PIPE_CLOSED: Cause.CUT_OFF,
    TERMINATED: Cause.CUT_OFF,
}
"""By the exit status of a command whose output stops without an error."""
_CAUSES_BY_TROUBLE: Mapping[Trouble, Cause] = {
    Trouble.MEMORY: Cause.OUT_OF_MEMORY,
    Trouble.DISK: Cause.DISK_FULL,
    Trouble.RATE_LIMIT: Cause.RATE_LIMITED,
    Trouble.REGISTRY: Cause.REGISTRY_REFUSED,
    Trouble.CREDENTIALS: Cause.NO_CREDENTIALS,
    Trouble.DEPLOY_KEY: Cause.NO_DEPLOY_KEY,
    Trouble.HOST_KEY: Cause.HOST_KEY_UNKNOWN,
    Trouble.SUBMODULE: Cause.SUBMODULE,
    Trouble.LFS: Cause.LFS,
    Trouble.OWNERSHIP: Cause.FOLDER_OWNER,
    Trouble.APP_FILE: Cause.APP_FILE,
}


def named_failure(output: LogFacts, exit_status: int | None) -> tuple[Failure, Cause]:
    """The failure and cause that the output's markers name.

    Output that stops without a marker names none: then the phase does, and the exit status shows a
    kill, or a closed pipe.
    """
    known = output.trouble and _CAUSES_BY_TROUBLE[output.trouble]
    for marker, failure, cause in _FAILURES_BY_MARKER:
        if marker in output.markers:
            return failure, known or cause
    failure, cause = Failure.RELEASE_FAILED, Cause.RELEASE_FAILED
    for marker, phases_failure, phases_cause in _FAILURES_BY_PHASE:
        if marker in output.markers:
            failure, cause = phases_failure, phases_cause
            break
    return failure, _CAUSES_BY_STATUS.get(exit_status, known or cause)


def was_killed(cause: Cause) -> bool:
    """Whether the command was ended from outside: what it had printed before is not the reason."""
    return cause in _CAUSES_BY_STATUS.values()
