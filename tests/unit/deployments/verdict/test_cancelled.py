"""The verdict on a refused start, and on what was cancelled or stopped at the cap."""

from typing import Any

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, LogMarker, Phase
from tests.support.builders import (
    DEPLOYED,
    NEW,
    RESTARTED_OLD,
    STRANGER,
    a_record,
    containers,
    facts,
)
from tests.support.verdicts import (
    BAD,
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
        "refused by the lock",
        {"exit_status": 1, "output": facts(LogMarker.LOCKED)} | SAME,
        Verdict(kind=Kind.REQUEUE, rule="lock_held_by_another"),
    ),
    (
        "refused by the lock, as Dokku's copy of the text says: the line was lost",
        {"output": facts(LogMarker.LOCKED)}
        | {"exit_status": None, "record": a_record(BuildStatus.ABANDONED)}
        | SAME,
        Verdict(kind=Kind.REQUEUE, rule="lock_held_by_another"),
    ),
    (
        "refused by the lock, but not seen dead",
        {"output": facts(LogMarker.LOCKED)}
        | {"exit_status": None, "record": a_record(BuildStatus.RUNNING)}
        | SAME,
        Verdict(kind=Kind.WATCH, rule="still_running"),
    ),
    (
        "refused by the lock, and built after all: no refusal",
        {"exit_status": 1, "output": facts(LogMarker.LOCKED, LogMarker.BUILDING)} | SAME,
        end(
            "failed",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.PREVIOUS,
            "The release failed. The previous release is still serving.",
        ),
    ),
    (
        "a good end is none of a refused start, whatever the text says",
        {"output": facts(*DEPLOYED, LogMarker.LOCKED, ours=(NEW,))},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "refused by the lock, and somebody asked for the end",
        {"exit_status": 1, "output": facts(LogMarker.LOCKED), "cancel_asked": True, "record": None}
        | {"after": containers(STRANGER)},
        end("cancelled", Phase.CANCELLED, None, Live.UNKNOWN, f"Cancelled. {SERVES_UNKNOWN}"),
    ),
    (
        "a cancel asked, but the command had a good end with nothing scaled up",
        {"output": facts(*DEPLOYED), "cancel_asked": True} | FIRST | NOTHING,
        end(
            "nothing_scaled_up",
            Phase.SUCCEEDED,
            None,
            Live.NONE,
            "Released; no process is scaled up, so nothing is serving.",
        ),
    ),
    (
        "our output names a container, but none is listed any more: no success",
        NOTHING,
        end(
            "nothing_scaled_up",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.NONE,
            "The new release was stopped or scaled down before it had proved itself. "
            + SERVES_NOTHING,
        ),
    ),
    (
        "asked, recorded, old serves",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED, -1), "cancel_asked": True}
        | SAME,
        end("cancelled", Phase.CANCELLED, None, Live.PREVIOUS, f"Cancelled. {SERVES_OLD}"),
    ),
    (
        "asked, recorded, but the new release serves",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED, -1), "cancel_asked": True},
        end("cancelled", Phase.CANCELLED, None, Live.NEW, f"Cancelled, but too late. {SERVES_NEW}"),
    ),
    (
        "asked, recorded, containers cannot be read",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED), "cancel_asked": True}
        | {"after": None},
        end("cancelled", Phase.CANCELLED, None, Live.UNKNOWN, f"Cancelled. {SERVES_UNKNOWN}"),
    ),
    (
        "asked, our channel closed, record abandoned, nothing changed",
        {"record": a_record(BuildStatus.ABANDONED), "cancel_asked": True} | LOST | SAME,
        end("cancelled", Phase.CANCELLED, None, Live.PREVIOUS, f"Cancelled. {SERVES_OLD}"),
    ),
    (
        "asked on a first deploy, nothing there before or after",
        {"exit_status": 141, "record": None, "cancel_asked": True} | FIRST | NOTHING,
        end("cancelled", Phase.CANCELLED, None, Live.NONE, f"Cancelled. {SERVES_NOTHING}"),
    ),
    (
        "asked, but the record still runs and our channel is closed: not proven",
        {"record": a_record(BuildStatus.RUNNING), "cancel_asked": True} | LOST | SAME,
        Verdict(kind=Kind.WATCH, rule="still_running"),
    ),
    (
        "asked, but no record tells that our command is dead",
        {"record": None, "cancel_asked": True} | LOST | SAME,
        Verdict(kind=Kind.WATCH, rule="no_contact"),
    ),
    (
        "asked, command failed, and the old containers are gone: no cancelled",
        {"exit_status": 1, "cancel_asked": True, "output": facts()} | BAD | NOTHING,
        end(
            "failed",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.NONE,
            f"The release failed. {SERVES_NOTHING}",
        ),
    ),
    (
        "asked, but a good end came first",
        {"cancel_asked": True},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "the cap cancelled it",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED), "cap_reached": True} | SAME,
        end(
            "cancelled",
            Phase.FAILED,
            Failure.TIMED_OUT,
            Live.PREVIOUS,
            f"It took longer than allowed and was stopped. {SERVES_OLD}",
        ),
    ),
    (
        "the cap closed our channel, nothing changed",
        {"exit_status": 141, "record": a_record(BuildStatus.ABANDONED), "cap_reached": True} | SAME,
        end(
            "cancelled",
            Phase.FAILED,
            Failure.TIMED_OUT,
            Live.PREVIOUS,
            f"It took longer than allowed and was stopped. {SERVES_OLD}",
        ),
    ),
    (
        "a person asked before the cap was reached",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED)}
        | {"cap_reached": True, "cancel_asked": True}
        | SAME,
        end("cancelled", Phase.CANCELLED, None, Live.PREVIOUS, f"Cancelled. {SERVES_OLD}"),
    ),
    (
        "nobody asked: cancelled on the server",
        {"exit_status": 141, "record": a_record(BuildStatus.CANCELED)} | SAME,
        end(
            "cancelled",
            Phase.CANCELLED,
            None,
            Live.PREVIOUS,
            f"It was cancelled on the server, not by this bot. {SERVES_OLD}",
        ),
    ),
    *[
        (
            f"{rule}, and somebody restarted the old release meanwhile",
            changes | {"after": containers(RESTARTED_OLD)},
            end(
                rule,
                Phase.FAILED,
                failure,
                Live.PREVIOUS,
                f"{cause}. "
                "The previous release is serving; it was restarted meanwhile from elsewhere.",
                kind=kind,
            ),
        )
        for rule, changes, failure, cause, kind in (
            (
                "cancelled",
                {"exit_status": 141, "record": a_record(BuildStatus.CANCELED)}
                | {"cap_reached": True},
                Failure.TIMED_OUT,
                "It took longer than allowed and was stopped",
                Kind.END,
            ),
            (
                "not_deployed",
                {"output": facts(LogMarker.BUILDING, LogMarker.DEPLOYED)},
                Failure.NOT_DEPLOYED,
                "Dokku's command ended well, but released nothing",
                Kind.END,
            ),
            (
                "ended_without_telling",
                {"record": a_record(BuildStatus.ABANDONED)} | LOST,
                Failure.INTERRUPTED,
                "The connection or the bot died during the deployment, and Dokku's command with it",
                Kind.START_AGAIN,
            ),
        )
    ],
]


@pytest.mark.parametrize(
    ("changes", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_evidence_gives_the_verdict(changes: dict[str, Any], expected: Verdict) -> None:
    assert the(**changes) == expected
