"""Good ends that released nothing, and those of which the text was lost: whose containers run."""

from typing import Any

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, LogMarker, Phase
from tests.support.builders import (
    CONFIG_SET,
    DEPLOYED,
    NEW,
    OLD,
    OLD_WORKER,
    PUSH,
    RESTARTED_OLD,
    STRANGER,
    a_record,
    a_snapshot,
    containers,
    evidence,
    facts,
)
from tests.support.verdicts import (
    FIRST,
    LOST,
    NOTHING,
    SAME,
    SERVES_NOTHING,
    SERVES_OLD,
    SERVES_UNKNOWN,
)
from tests.verdicts.flat import Kind, Verdict, decide

SKIPPED = {"output": facts(LogMarker.BUILDING, LogMarker.DEPLOY_SKIPPED)}
UNCHANGED = {"output": facts(LogMarker.BUILD_SKIPPED)}


def end(rule: str, failure: Failure, live: Live, reason: str) -> Verdict:
    return Verdict(
        kind=Kind.END, rule=rule, phase=Phase.FAILED, failure=failure, live=live, reason=reason
    )


TABLE: list[tuple[str, dict[str, Any], Verdict]] = [
    (
        "deploy skipped, and somebody else's release serves",
        SKIPPED | {"after": containers(STRANGER)},
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.UNKNOWN,
            "Dokku's command ended well, but released nothing. "
            "Other code was started meanwhile from elsewhere; what is serving now is not known.",
        ),
    ),
    (
        "deploy skipped, and a push put another release in place",
        SKIPPED
        | {
            "after": containers(STRANGER),
            "others": (CONFIG_SET, PUSH),
        },
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.UNKNOWN,
            "Dokku's command ended well, but released nothing. "
            "Other code was started meanwhile by git push; what is serving now is not known.",
        ),
    ),
    (
        "deploy skipped, one process replaced by somebody else's release",
        SKIPPED
        | {
            "after": containers(STRANGER, OLD_WORKER),
        }
        | {"before": a_snapshot(containers(OLD, OLD_WORKER))},
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.UNKNOWN,
            "Dokku's command ended well, but released nothing. "
            "Other code was started meanwhile from elsewhere; what is serving now is not known.",
        ),
    ),
    (
        "deploy skipped, and what stood there before was never read",
        SKIPPED | {"before": a_snapshot(None)},
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.UNKNOWN,
            f"Dokku's command ended well, but released nothing. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "deploy skipped, and somebody restarted the former release",
        SKIPPED
        | {
            "after": containers(RESTARTED_OLD),
            "others": (CONFIG_SET,),
        },
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.PREVIOUS,
            "Dokku's command ended well, but released nothing. "
            "The previous release is serving; it was restarted meanwhile by config:set.",
        ),
    ),
    (
        "deploy skipped, and everything was stopped meanwhile",
        SKIPPED | NOTHING,
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.NONE,
            f"Dokku's command ended well, but released nothing. {SERVES_NOTHING}",
        ),
    ),
    (
        "deploy skipped, as Dokku's copy of the text says: the line was lost",
        {
            "exit_status": None,
            "output": facts(LogMarker.BUILDING, LogMarker.DEPLOY_SKIPPED),
            "after": containers(STRANGER),
        },
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.UNKNOWN,
            "Dokku's command ended well, but released nothing. "
            "Other code was started meanwhile from elsewhere; what is serving now is not known.",
        ),
    ),
    (
        "deploy skipped, the line was lost, and somebody restarted the former release",
        {
            "exit_status": None,
            "output": facts(LogMarker.BUILDING, LogMarker.DEPLOY_SKIPPED),
            "after": containers(RESTARTED_OLD),
        },
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.PREVIOUS,
            "Dokku's command ended well, but released nothing. "
            "The previous release is serving; it was restarted meanwhile from elsewhere.",
        ),
    ),
    (
        "nothing was built, and somebody else's release serves",
        UNCHANGED | {"after": containers(STRANGER)},
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.UNKNOWN,
            "Dokku's command ended well, but released nothing. "
            "Other code was started meanwhile from elsewhere; what is serving now is not known.",
        ),
    ),
    (
        "nothing was built, whatever else the text says, and nothing runs",
        {"output": facts(LogMarker.DEPLOYED)} | FIRST | NOTHING,
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.NONE,
            f"Dokku's command ended well, but released nothing. {SERVES_NOTHING}",
        ),
    ),
    (
        "a skip is said, but a container of ours is named: no claim that nothing was released",
        {
            "output": facts(*DEPLOYED, LogMarker.DEPLOY_SKIPPED, ours=(NEW,)),
            "after": containers(STRANGER),
        },
        end(
            "replaced_before_proof",
            Failure.INTERRUPTED,
            Live.UNKNOWN,
            "Other containers took the place of its own before it had proved itself. "
            f"{SERVES_UNKNOWN}",
        ),
    ),
    (
        "a success is recorded and the text lost before the build: others may be our own",
        LOST | {"after": containers(STRANGER)},
        end(
            "good_end_not_said",
            Failure.INTERNAL,
            Live.UNKNOWN,
            "Dokku recorded a good end, but the text that tells what was released is lost. "
            f"{SERVES_UNKNOWN}",
        ),
    ),
    (
        "a success is recorded and the text lost: others of the former content may be our own",
        LOST | {"after": containers(RESTARTED_OLD)},
        end(
            "good_end_not_said",
            Failure.INTERNAL,
            Live.UNKNOWN,
            "Dokku recorded a good end, but the text that tells what was released is lost. "
            f"{SERVES_UNKNOWN}",
        ),
    ),
    (
        "a success is recorded, the text is lost, and the old containers stand there",
        LOST | SAME,
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.PREVIOUS,
            f"Dokku's command ended well, but released nothing. {SERVES_OLD}",
        ),
    ),
    (
        "a success is recorded, the text is lost, and nothing runs",
        LOST | FIRST | NOTHING,
        end(
            "good_end_not_said",
            Failure.INTERNAL,
            Live.NONE,
            "Dokku recorded a good end, but the text that tells what was released is lost. "
            f"{SERVES_NOTHING}",
        ),
    ),
    (
        "a success is recorded, the text is whole, others of the former content run",
        {"exit_status": None, "output": facts(*DEPLOYED), "after": containers(RESTARTED_OLD)},
        end(
            "not_deployed",
            Failure.NOT_DEPLOYED,
            Live.PREVIOUS,
            "Dokku's command ended well, but released nothing. "
            "The previous release is serving; it was restarted meanwhile from elsewhere.",
        ),
    ),
    (
        "deploy skipped, and the containers could not be read, no more waiting",
        SKIPPED | {"after": None, "last_word": True},
        end(
            "good_end_unreadable",
            Failure.INTERNAL,
            Live.UNKNOWN,
            "Dokku's command ended well, but released nothing, "
            f"and its containers could not be read. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "deploy skipped, and the containers cannot be read yet",
        SKIPPED | {"after": None},
        Verdict(kind=Kind.CHECK, rule="good_end_unreadable"),
    ),
    (
        "a skip is said at a bad end: the end decides",
        SKIPPED | {"exit_status": 1} | {"record": a_record(BuildStatus.FAILED, 1)} | SAME,
        end(
            "failed",
            Failure.RELEASE_FAILED,
            Live.PREVIOUS,
            f"The release failed. {SERVES_OLD}",
        ),
    ),
]


@pytest.mark.parametrize(
    ("changes", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_evidence_gives_the_verdict(changes: dict[str, Any], expected: Verdict) -> None:
    assert decide(evidence(**changes)) == expected
