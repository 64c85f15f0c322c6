"""The verdict where the line was lost."""

from typing import Any

import pytest

from bot.deployments.dokku_facts import AppReport, BuildStatus
from bot.deployments.model import Failure, Live, LogMarker, Phase
from tests.support.builders import (
    NEW,
    OLD_METADATA,
    STRANGER,
    a_record,
    containers,
    facts,
)
from tests.support.verdicts import (
    FIRST,
    LOST,
    NOTHING,
    SAME,
    SERVES_NEW,
    SERVES_NOTHING,
    SERVES_OLD,
    SERVES_UNKNOWN,
    end,
    the,
)
from tests.verdicts.flat import Kind, Verdict

TABLE: list[tuple[str, dict[str, Any], Verdict]] = [
    (
        "lost, the record runs",
        {"record": a_record(BuildStatus.RUNNING)} | LOST | SAME,
        Verdict(kind=Kind.WATCH, rule="still_running"),
    ),
    (
        "lost, the record runs for ever",
        {"record": a_record(BuildStatus.RUNNING), "last_word": True} | LOST | SAME,
        end(
            "still_running",
            Phase.FAILED,
            Failure.TIMED_OUT,
            Live.UNKNOWN,
            "It took longer than allowed, and its end on the server could not be confirmed. "
            + SERVES_UNKNOWN,
        ),
    ),
    (
        "lost, the record tells a failure",
        {"record": a_record(BuildStatus.FAILED, 1)} | LOST | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.PREVIOUS,
            f"The release failed. {SERVES_OLD}",
        ),
    ),
    *[
        (
            f"lost, abandoned, but Dokku's own log says {mark}",
            {"output": facts(LogMarker.FETCHING, mark, error="fatal: why")}
            | {"exit_status": None, "record": a_record(BuildStatus.ABANDONED)}
            | SAME,
            end(
                "failed",
                Phase.FAILED,
                failure,
                Live.PREVIOUS,
                f"{cause}: fatal: why. {SERVES_OLD}",
            ),
        )
        for mark, failure, cause in (
            (LogMarker.REF_MISSING, Failure.REF_NOT_FOUND, "The repository has no such ref"),
            (
                LogMarker.REPO_UNREACHABLE,
                Failure.REPO_UNREACHABLE,
                "Dokku could not read the repository",
            ),
        )
    ],
    (
        "lost, abandoned in a build whose fetch had failed at first",
        {"output": facts(LogMarker.REPO_UNREACHABLE, LogMarker.BUILDING)}
        | {"exit_status": None, "record": a_record(BuildStatus.ABANDONED)}
        | SAME,
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.PREVIOUS,
            "The connection or the bot died during the deployment, and Dokku's command with it. "
            f"{SERVES_OLD}",
            kind=Kind.START_AGAIN,
        ),
    ),
    (
        "lost, and the fetch has failed, but the record is shown running",
        {"output": facts(LogMarker.REPO_UNREACHABLE)}
        | {"exit_status": None, "record": a_record(BuildStatus.RUNNING)}
        | SAME,
        Verdict(kind=Kind.WATCH, rule="still_running"),
    ),
    (
        "lost, abandoned, but Dokku's own log says that the build failed",
        {
            "exit_status": None,
            "output": facts(LogMarker.BUILD_FAILED),
            "record": a_record(BuildStatus.ABANDONED),
        }
        | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            f"The build failed. {SERVES_OLD}",
        ),
    ),
    (
        "lost, pruned to failed/-1, but Dokku's own log says that the build failed",
        {
            "exit_status": None,
            "output": facts(LogMarker.BUILD_FAILED),
            "record": a_record(BuildStatus.FAILED, -1),
        }
        | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.BUILD_FAILED,
            Live.PREVIOUS,
            f"The build failed. {SERVES_OLD}",
        ),
    ),
    *[
        (
            f"lost, {record.status}/{record.exit_code}, nothing changed",
            {"record": record} | LOST | SAME,
            end(
                "ended_without_telling",
                Phase.FAILED,
                Failure.INTERRUPTED,
                Live.PREVIOUS,
                "The connection or the bot died during the deployment, and Dokku's command "
                f"with it. {SERVES_OLD}",
                kind=Kind.START_AGAIN,
            ),
        )
        for record in (
            a_record(BuildStatus.ABANDONED),
            a_record(BuildStatus.FAILED, 141),
            a_record(BuildStatus.FAILED, -1),
            a_record(BuildStatus.FAILED, None),
        )
    ],
    (
        "lost on a first deploy, nothing there before or after",
        {"record": a_record(BuildStatus.ABANDONED)} | LOST | FIRST | NOTHING,
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.NONE,
            "The connection or the bot died during the deployment, and Dokku's command with it. "
            + SERVES_NOTHING,
            kind=Kind.START_AGAIN,
        ),
    ),
    (
        "lost, and the old containers are gone: never start again into that",
        {"record": a_record(BuildStatus.ABANDONED)} | LOST | NOTHING,
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.NONE,
            "The connection or the bot died during the deployment, and Dokku's command with it. "
            + SERVES_NOTHING,
        ),
    ),
    (
        "lost after the switch",
        {
            "exit_status": None,
            "output": facts(ours=(NEW,)),
            "record": a_record(BuildStatus.FAILED, 141),
        },
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.NEW,
            "The connection or the bot died during the deployment, and Dokku's command with it. "
            + SERVES_NEW,
        ),
    ),
    (
        "lost before Dokku had begun: once more",
        {"record": None, "never_began": True} | LOST | SAME,
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.PREVIOUS,
            f"The connection was lost before Dokku had begun, so nothing of it ran. {SERVES_OLD}",
            kind=Kind.START_AGAIN,
        ),
    ),
    (
        "lost before Dokku had begun, and another release serves",
        {"record": None, "never_began": True} | LOST | {"after": containers(STRANGER)},
        end(
            "ended_without_telling",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.UNKNOWN,
            "The connection was lost before Dokku had begun, so nothing of it ran. "
            + SERVES_UNKNOWN,
        ),
    ),
    (
        "lost before Dokku had begun, and somebody asked for the end",
        {"record": None, "never_began": True, "cancel_asked": True} | LOST | SAME,
        end("cancelled", Phase.CANCELLED, None, Live.PREVIOUS, f"Cancelled. {SERVES_OLD}"),
    ),
    (
        "lost, a cancel was asked, and whether it began is not known",
        {"record": None, "cancel_asked": True} | LOST | SAME,
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "lost, no record or two candidates",
        {"record": None} | LOST | SAME,
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "lost, no record, no more waiting",
        {"record": None, "last_word": True} | LOST | SAME,
        end(
            "no_contact",
            Phase.FAILED,
            Failure.LOST_CONTACT,
            Live.UNKNOWN,
            f"Contact with Dokku was lost, and how the deployment ended is not known. "
            f"{SERVES_UNKNOWN}",
        ),
    ),
    (
        "no records: lost, but our commit and our containers are there",
        {"keeps_records": False, "record": None, "exit_status": None},
        Verdict(kind=Kind.CHECK, rule="end_seen_by_effect"),
    ),
    (
        "no records: lost, our containers, but another commit",
        {"keeps_records": False, "record": None, "exit_status": None}
        | {"report": AppReport(metadata=OLD_METADATA)},
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "no records: lost, our containers, commit unreadable",
        {"keeps_records": False, "record": None, "exit_status": None, "report": None},
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "no records: lost, our containers, commit never known",
        {"keeps_records": False, "record": None, "exit_status": None, "expected": None},
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "no records: lost, our commit, old containers",
        {"keeps_records": False, "record": None, "exit_status": None} | SAME,
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "records are kept, but ours is not found: effects alone prove nothing",
        {"record": None, "exit_status": None},
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
]


@pytest.mark.parametrize(
    ("changes", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_evidence_gives_the_verdict(changes: dict[str, Any], expected: Verdict) -> None:
    assert the(**changes) == expected
