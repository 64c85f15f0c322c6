"""The verdict on a good end: exit status 0, or a record of success."""

from typing import Any

import pytest

from bot.deployments.dokku_facts import AppReport, BuildStatus
from bot.deployments.model import Failure, Live, LogMarker, Phase
from tests.support.builders import (
    CONFIG_SET,
    DEPLOYED,
    NEW,
    OLD,
    OLD_METADATA,
    OLD_WORKER,
    PUSH,
    RESTARTED_OLD,
    STRANGER,
    a_container,
    a_record,
    a_snapshot,
    containers,
    facts,
)
from tests.support.verdicts import (
    FIRST,
    NOTHING,
    SAME,
    SERVES_BOTH,
    SERVES_NEW,
    SERVES_NOTHING,
    SERVES_OLD,
    SERVES_UNKNOWN,
    end,
    the,
)
from tests.verdicts.flat import Kind, Verdict

TABLE: list[tuple[str, dict[str, Any], Verdict]] = [
    ("a good end", {}, Verdict(kind=Kind.CHECK, rule="new_release_seen")),
    (
        "a good end of the same content: the image is the old one",
        {
            "output": facts(*DEPLOYED, ours=(a_container("7" * 12),)),
            "after": containers(a_container("7" * 12)),
        },
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "a good end with checks off: Renaming lines name ours",
        {"output": facts(*DEPLOYED, renamed=frozenset({NEW.id}))},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "a good end without a record is like an older Dokku",
        {"record": None},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "a good end with a record that is not succeeded is like an older Dokku",
        {"record": a_record(BuildStatus.ABANDONED)},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "the line was lost, the record says succeeded",
        {"exit_status": None},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "a new process that restarts is looked at closer",
        {"after": containers(a_container(NEW.id, image="sha256:new", state="restarting"))},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "containers cannot be read yet",
        {"after": None},
        Verdict(kind=Kind.CHECK, rule="good_end_unreadable"),
    ),
    (
        "containers could not be read, no more waiting",
        {"after": None, "last_word": True},
        end(
            "good_end_unreadable",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.UNKNOWN,
            f"Dokku's command ended well, but its containers could not be read. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "old and new side by side",
        {
            "before": a_snapshot(containers(OLD, OLD_WORKER)),
            "after": containers(NEW, OLD_WORKER),
            "report": AppReport(metadata=OLD_METADATA),
        },
        Verdict(kind=Kind.CHECK, rule="old_beside_new"),
    ),
    (
        "old and new side by side, no more waiting",
        {
            "before": a_snapshot(containers(OLD, OLD_WORKER)),
            "after": containers(NEW, OLD_WORKER),
            "last_word": True,
        },
        end(
            "old_beside_new",
            Phase.FAILED,
            Failure.RELEASE_FAILED,
            Live.MIXED,
            f"Not every process was replaced. {SERVES_BOTH}",
        ),
    ),
    (
        "nothing is scaled up",
        {"output": facts(*DEPLOYED)} | FIRST | NOTHING,
        end(
            "nothing_scaled_up",
            Phase.SUCCEEDED,
            None,
            Live.NONE,
            "Released; no process is scaled up, so nothing is serving.",
        ),
    ),
    (
        "only exited containers of ours are listed: something is scaled up, and down",
        {"after": containers(a_container(NEW.id, image="sha256:new", state="exited"))},
        Verdict(kind=Kind.CHECK, rule="new_release_seen"),
    ),
    (
        "metadata names another commit",
        {"report": AppReport(metadata=OLD_METADATA)},
        end(
            "commit_not_confirmed",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.NEW,
            f"Released, but the commit could not be confirmed. {SERVES_NEW}",
        ),
    ),
    (
        "metadata could not be read",
        {"report": None},
        end(
            "commit_not_confirmed",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.NEW,
            f"Released, but the commit could not be confirmed. {SERVES_NEW}",
        ),
    ),
    (
        "the commit was never known",
        {"expected": None},
        end(
            "commit_not_confirmed",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.NEW,
            f"Released, but the commit could not be confirmed. {SERVES_NEW}",
        ),
    ),
    (
        "nothing scaled up, metadata names another commit",
        {"output": facts(*DEPLOYED), "report": AppReport(metadata=OLD_METADATA)} | FIRST | NOTHING,
        end(
            "commit_not_confirmed",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.NONE,
            f"Released, but the commit could not be confirmed. {SERVES_NOTHING}",
        ),
    ),
    (
        "Dokku never said that it deployed, although new containers run",
        {"output": facts(LogMarker.BUILDING, ours=(NEW,))},
        end(
            "good_end_not_said",
            Phase.FAILED,
            Failure.INTERNAL,
            Live.NEW,
            f"Dokku's command ended well without saying that it deployed. {SERVES_NEW}",
        ),
    ),
    (
        "exit status 0 and the old containers alone",
        SAME,
        end(
            "not_deployed",
            Phase.FAILED,
            Failure.NOT_DEPLOYED,
            Live.PREVIOUS,
            f"Dokku's command ended well, but released nothing. {SERVES_OLD}",
        ),
    ),
    (
        "deploy skipped on a first deploy",
        {"output": facts(LogMarker.BUILDING, LogMarker.DEPLOY_SKIPPED)} | FIRST | NOTHING,
        end(
            "not_deployed",
            Phase.FAILED,
            Failure.NOT_DEPLOYED,
            Live.NONE,
            f"Dokku's command ended well, but released nothing. {SERVES_NOTHING}",
        ),
    ),
    (
        "nothing was built on a first deploy",
        {"output": facts(LogMarker.BUILD_SKIPPED)} | FIRST | NOTHING,
        end(
            "not_deployed",
            Phase.FAILED,
            Failure.NOT_DEPLOYED,
            Live.NONE,
            f"Dokku's command ended well, but released nothing. {SERVES_NOTHING}",
        ),
    ),
    (
        "ours was deployed, and others of the former image run now",
        {"after": containers(RESTARTED_OLD)},
        end(
            "replaced_before_proof",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.PREVIOUS,
            "Other containers took the place of its own before it had proved itself. "
            "The previous release is serving; it was restarted meanwhile from elsewhere.",
        ),
    ),
    (
        "ours was deployed, and somebody restarted the former image",
        {"after": containers(RESTARTED_OLD), "others": (CONFIG_SET,)},
        end(
            "replaced_before_proof",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.PREVIOUS,
            "Other containers took the place of its own before it had proved itself. "
            "The previous release is serving; it was restarted meanwhile by config:set.",
        ),
    ),
    (
        "ours was started and never said to be deployed, and others of the former image run now",
        {"output": facts(LogMarker.BUILDING, ours=(NEW,)), "after": containers(RESTARTED_OLD)},
        end(
            "not_deployed",
            Phase.FAILED,
            Failure.NOT_DEPLOYED,
            Live.PREVIOUS,
            "Dokku's command ended well, but released nothing. "
            "The previous release is serving; it was restarted meanwhile from elsewhere.",
        ),
    ),
    (
        "somebody else's release serves after a good end",
        {"after": containers(STRANGER)},
        end(
            "replaced_before_proof",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.UNKNOWN,
            "Other containers took the place of its own before it had proved itself. "
            f"{SERVES_UNKNOWN}",
        ),
    ),
    (
        "somebody else's release serves beside ours after a good end",
        {"after": containers(NEW, STRANGER)},
        end(
            "replaced_before_proof",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.UNKNOWN,
            f"Another release replaced it before it had proved itself. {SERVES_UNKNOWN}",
        ),
    ),
    (
        "somebody's push serves after a good end",
        {"after": containers(STRANGER), "others": (PUSH, CONFIG_SET)},
        end(
            "replaced_before_proof",
            Phase.FAILED,
            Failure.INTERRUPTED,
            Live.UNKNOWN,
            f"It was replaced by git push before it had proved itself. {SERVES_UNKNOWN}",
        ),
    ),
]


@pytest.mark.parametrize(
    ("changes", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_evidence_gives_the_verdict(changes: dict[str, Any], expected: Verdict) -> None:
    assert the(**changes) == expected
