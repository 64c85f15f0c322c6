"""The verdict on a bad end, and the cause that is named."""

from typing import Any

import pytest

from bot.deployments.model import Failure, Live, LogMarker, Phase
from bot.deployments.verdict.evidence import KILLED, PIPE_CLOSED
from tests.support.builders import (
    CONFIG_SET,
    NEW,
    NEW_WORKER,
    OLD,
    OLD_WORKER,
    RESTARTED_OLD,
    STRANGER,
    a_container,
    a_snapshot,
    containers,
    facts,
)
from tests.support.verdicts import (
    BAD,
    FIRST,
    NOTHING,
    SAME,
    SERVES_BOTH,
    SERVES_NEW,
    SERVES_NOTHING,
    SERVES_OLD,
    SERVES_UNKNOWN,
    end,
    named,
    the,
)
from tests.verdicts.flat import Verdict

TABLE: list[tuple[str, dict[str, Any], Verdict]] = [
    (
        "killed on the server, old serves",
        {"exit_status": KILLED, "output": facts(LogMarker.BUILDING)} | BAD | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.PREVIOUS,
            "Dokku's command was killed on the server, as by a reboot or for lack of memory. "
            f"{SERVES_OLD}",
        ),
    ),
    (
        "killed on the server after the switch",
        {"exit_status": KILLED, "output": facts(LogMarker.BUILDING, ours=(NEW,))} | BAD,
        end(
            "failed_late",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.NEW,
            "Failed late. Dokku's command was killed on the server, as by a reboot or for lack of "
            f"memory. {SERVES_NEW}",
        ),
    ),
    (
        "the build failed, and the records tell who restarted the old release meanwhile",
        {
            "exit_status": 1,
            "output": facts(LogMarker.BUILD_FAILED),
            "after": containers(RESTARTED_OLD),
            "others": (CONFIG_SET,),
        }
        | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            "The build failed. "
            "The previous release is serving; it was restarted meanwhile by config:set.",
        ),
    ),
    (
        "the build failed, old serves",
        {"exit_status": 1, "output": facts(LogMarker.BUILD_FAILED, error="ERROR: failed to solve")}
        | BAD
        | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            f"The build failed: ERROR: failed to solve. {SERVES_OLD}",
        ),
    ),
    (
        "the build failed, nothing serves",
        {"exit_status": 1, "output": facts(LogMarker.BUILD_FAILED)} | BAD | FIRST | NOTHING,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.NONE,
            f"The build failed. {SERVES_NOTHING}",
        ),
    ),
    (
        "the build failed, and the old release restarts by itself",
        {
            "exit_status": 1,
            "output": facts(LogMarker.BUILD_FAILED),
            "after": containers(a_container(OLD.id, state="restarting")),
        }
        | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            "The build failed. The previous release is still in place, but is itself restarting.",
        ),
    ),
    (
        "the build failed, and somebody restarted the old release meanwhile",
        {
            "exit_status": 1,
            "output": facts(LogMarker.BUILD_FAILED),
            "after": containers(RESTARTED_OLD),
        }
        | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            "The build failed. "
            "The previous release is serving; it was restarted meanwhile from elsewhere.",
        ),
    ),
    (
        "the build failed, and one of two old processes was restarted: it still serves",
        {
            "exit_status": 1,
            "output": facts(LogMarker.BUILD_FAILED),
            "before": a_snapshot(containers(OLD, OLD_WORKER)),
            "after": containers(RESTARTED_OLD, OLD_WORKER),
        }
        | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            f"The build failed. {SERVES_OLD}",
        ),
    ),
    (
        "a bad end with containers that nobody can place",
        {"exit_status": 1, "output": facts(LogMarker.BUILD_FAILED), "after": containers(STRANGER)}
        | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.UNKNOWN,
            f"The build failed. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "a bad end, containers cannot be read",
        {"exit_status": 1, "output": facts(LogMarker.CHECKS_FAILED), "after": None} | BAD,
        end(
            "failed",
            Phase.FAILED,
            Failure.HEALTHCHECK_FAILED,
            Live.UNKNOWN,
            f"The health check failed. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "the snapshot had no containers to compare with",
        {"exit_status": 1, "output": facts(), "before": a_snapshot(None)} | BAD | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.UNKNOWN,
            f"The release failed. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "failed late: the new release serves",
        {
            "exit_status": 1,
            "output": facts(LogMarker.RELEASE_FAILED, ours=(NEW,), error="postdeploy"),
        }
        | BAD,
        end(
            "failed_late",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.NEW,
            f"Failed late. The release failed: postdeploy. {SERVES_NEW}",
        ),
    ),
    (
        "failed late: a foreign restart of our release serves beside it",
        {
            "exit_status": 1,
            "output": facts(ours=(NEW,)),
            "after": containers(NEW, a_container("6" * 12, process="web.2", image="sha256:new")),
        }
        | BAD,
        end(
            "failed_late",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.NEW,
            f"Failed late. The release failed. {SERVES_NEW}",
        ),
    ),
    (
        "failed with a mixed release",
        {
            "exit_status": 1,
            "output": facts(LogMarker.CHECKS_FAILED, ours=(NEW, NEW_WORKER)),
            "before": a_snapshot(containers(OLD, OLD_WORKER)),
            "after": containers(NEW, OLD_WORKER),
        }
        | BAD,
        end(
            "failed_late",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.MIXED,
            f"Failed late. The health check failed. {SERVES_BOTH}",
        ),
    ),
]


@pytest.mark.parametrize(
    ("changes", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_evidence_gives_the_verdict(changes: dict[str, Any], expected: Verdict) -> None:
    assert the(**changes) == expected


MARKED = [
    (LogMarker.APP_MISSING, Failure.APP_NOT_FOUND, "The app does not exist on the server"),
    (LogMarker.REF_MISSING, Failure.REF_NOT_FOUND, "The repository has no such ref"),
    (LogMarker.REPO_UNREACHABLE, Failure.REPO_UNREACHABLE, "Dokku could not read the repository"),
    (LogMarker.DOCKER_DOWN, Failure.BUILD_FAILED, "Docker on the server did not answer"),
    (
        LogMarker.NO_COMMAND,
        Failure.RELEASE_FAILED,
        "The image has no command to start; give it a CMD, or the app a Procfile",
    ),
    (LogMarker.CHECKS_FAILED, Failure.HEALTHCHECK_FAILED, "The health check failed"),
    (LogMarker.BUILD_FAILED, Failure.BUILD_FAILED, "The build failed"),
    (LogMarker.REFUSED, Failure.REFUSED, "Dokku refused"),
    (LogMarker.RELEASE_FAILED, Failure.RELEASE_FAILED, "The release failed"),
    (LogMarker.BUILDING, Failure.RELEASE_FAILED, "The release failed"),
]


@pytest.mark.parametrize(("mark", "failure", "sentence"), MARKED)
def test_the_marks_name_the_failure(mark: LogMarker, failure: Failure, sentence: str) -> None:
    assert named(facts(mark), 1) == (failure, sentence)
    assert named(facts(mark, error="why"), 1) == (failure, f"{sentence}: why")


@pytest.mark.parametrize(("mark", "failure", "sentence"), MARKED[:-1])
def test_a_kill_is_named_where_the_output_names_no_cause(
    mark: LogMarker, failure: Failure, sentence: str
) -> None:
    assert named(facts(mark), KILLED) == (failure, sentence)


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (KILLED, "killed on the server, as by a reboot or for lack of memory"),
        (PIPE_CLOSED, "cut off on the server, as by somebody's `kill`"),
    ],
)
def test_output_that_just_stops_is_told_by_the_exit_status(status: int, how: str) -> None:
    sentence = f"Dokku's command was {how}"
    assert named(facts(LogMarker.BUILDING), status) == (Failure.RELEASE_FAILED, sentence)


def test_a_missing_ref_is_named_before_the_build_that_failed_for_it() -> None:
    assert (
        named(facts(LogMarker.BUILD_FAILED, LogMarker.REF_MISSING), 1)[0] is Failure.REF_NOT_FOUND
    )


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (LogMarker.DOCKER_DOWN, LogMarker.BUILD_FAILED),
        (LogMarker.NO_COMMAND, LogMarker.RELEASE_FAILED),
    ],
)
def test_the_reason_is_named_before_what_failed_for_it(first: LogMarker, then: LogMarker) -> None:
    assert named(facts(first, then), 1) == named(facts(first), 1)
