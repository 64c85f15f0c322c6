"""The verdict before Dokku 0.38: no record; the lock, the recorded source and the containers."""

from typing import Any

import pytest

from bot.deployments.dokku_facts import AppReport
from bot.deployments.model import Failure, Live, LogMarker, Phase
from bot.deployments.verdict.evidence import own_containers
from tests.support.builders import (
    METADATA,
    NEW,
    NEW_WORKER,
    OLD,
    OLD_METADATA,
    OLD_WORKER,
    STRANGER,
    a_container,
    a_snapshot,
    containers,
    evidence,
    facts,
)
from tests.verdicts.flat import Kind, Verdict, decide

FREE = AppReport(metadata=OLD_METADATA)
HELD = AppReport(metadata=OLD_METADATA, locked=True)
BY_LOCK = "; this Dokku keeps no build records, its freed lock tells so."
DIED = "The connection or the bot died during the deployment, and Dokku's command with it"
OVER = "It took longer than allowed and was stopped"
SAYS = {
    Live.NEW: "The new release is serving.",
    Live.PREVIOUS: "The previous release is still serving.",
    Live.MIXED: "Some processes run the new release, some the old one.",
    Live.NONE: "Nothing is serving.",
    Live.UNKNOWN: "What is serving now is not known.",
}
SWITCHED = {
    "output": facts(LogMarker.BUILDING, LogMarker.RELEASING, ours=(NEW,)),
    "after": containers(NEW),
}
MIXED = {
    "output": facts(LogMarker.BUILDING, ours=(NEW,)),
    "before": a_snapshot(containers(OLD, OLD_WORKER)),
    "after": containers(NEW, OLD_WORKER),
}
FIRST = {"before": a_snapshot(containers()), "after": containers()}
MOVED = {"report": AppReport(metadata=METADATA)}


def the(**changes: Any) -> Verdict:
    """Lost in its build: the lock was seen free twice, the old containers are there."""
    given: dict[str, Any] = {
        "keeps_records": False,
        "record": None,
        "exit_status": None,
        "output": facts(LogMarker.FETCHING, LogMarker.BUILDING),
        "after": containers(OLD),
        "report": FREE,
        "lock_was_free": True,
    }
    return decide(evidence(**(given | changes)))


def cancelled(cause: str, live: Live = Live.PREVIOUS) -> Verdict:
    reason = f"{cause}{BY_LOCK} {SAYS[live]}"
    return Verdict(kind=Kind.END, rule="cancelled", phase=Phase.CANCELLED, live=live, reason=reason)


def failed(
    rule: str, failure: Failure, cause: str, live: Live = Live.PREVIOUS, kind: Kind = Kind.END
) -> Verdict:
    reason = f"{cause}{BY_LOCK} {SAYS[live]}"
    return Verdict(
        kind=kind, rule=rule, phase=Phase.FAILED, failure=failure, live=live, reason=reason
    )


def interrupted(live: Live, kind: Kind = Kind.END) -> Verdict:
    return failed("ended_without_telling", Failure.INTERRUPTED, DIED, live, kind)


AGAIN = interrupted(Live.PREVIOUS, Kind.START_AGAIN)
WATCH = Verdict(kind=Kind.WATCH, rule="no_contact")
RUNS = Verdict(kind=Kind.WATCH, rule="still_running")
CHECK = Verdict(kind=Kind.CHECK, rule="end_seen_by_effect")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Dead before the release.
        ({}, AGAIN),
        ({"output": facts(LogMarker.FETCHING)}, WATCH),
        ({"output": facts(LogMarker.FETCHING), "lost_long": True}, AGAIN),
        ({"lock_was_free": False}, WATCH),
        ({"lock_was_free": False, "lost_long": True}, WATCH),
        ({"report": None}, WATCH),
        (FIRST, interrupted(Live.NONE, Kind.START_AGAIN)),
        ({"after": containers()}, interrupted(Live.NONE)),
        # Later versions leave the lock's file behind: there it says nothing.
        ({"keeps_records": True}, WATCH),
        ({"keeps_records": True, "report": HELD}, WATCH),
        # Held: somebody's deploy runs, ours as far as anybody can tell.
        ({"report": HELD}, RUNS),
        ({"report": HELD, "lock_was_free": False}, RUNS),
        ({"report": HELD, "cancel_asked": True}, RUNS),
        # Dead after the switch.
        (SWITCHED, interrupted(Live.NEW)),
        (MIXED, interrupted(Live.MIXED)),
        ({"after": containers(STRANGER)}, interrupted(Live.UNKNOWN)),
        ({"after": None}, interrupted(Live.UNKNOWN)),
        (SWITCHED | {"lock_was_free": False}, WATCH),
        # Its own text says that the build failed.
        (
            {"output": facts(LogMarker.BUILDING, LogMarker.BUILD_FAILED, error="exit code: 3")},
            Verdict(
                kind=Kind.END,
                rule="failed",
                phase=Phase.FAILED,
                failure=Failure.BUILD_FAILED,
                live=Live.PREVIOUS,
                reason=f"The build failed: exit code: 3. {SAYS[Live.PREVIOUS]}",
            ),
        ),
        (
            {"output": facts(LogMarker.FETCHING, LogMarker.REF_MISSING), "lost_long": True},
            Verdict(
                kind=Kind.END,
                rule="failed",
                phase=Phase.FAILED,
                failure=Failure.REF_NOT_FOUND,
                live=Live.PREVIOUS,
                reason=f"The repository has no such ref. {SAYS[Live.PREVIOUS]}",
            ),
        ),
        ({"output": facts(LogMarker.FETCHING, LogMarker.REF_MISSING)}, WATCH),
        (
            {"output": facts(LogMarker.BUILDING, LogMarker.BUILD_FAILED), "lock_was_free": False},
            WATCH,
        ),
        # Cancelled, or stopped at the cap.
        ({"cancel_asked": True}, cancelled("Cancelled, and stopped")),
        ({"cancel_asked": True} | FIRST, cancelled("Cancelled, and stopped", Live.NONE)),
        (
            {"cancel_asked": True} | SWITCHED,
            cancelled("Cancelled, but too late, and stopped", Live.NEW),
        ),
        ({"cancel_asked": True} | MIXED, cancelled("Cancelled, and stopped", Live.MIXED)),
        ({"cancel_asked": True, "after": containers()}, interrupted(Live.NONE)),
        ({"cancel_asked": True, "after": containers(STRANGER)}, interrupted(Live.UNKNOWN)),
        ({"cancel_asked": True, "lock_was_free": False}, WATCH),
        ({"cancel_asked": True, "lock_was_free": False} | SWITCHED, WATCH),
        ({"cap_reached": True}, failed("cancelled", Failure.TIMED_OUT, OVER)),
        ({"cap_reached": True} | SWITCHED, failed("cancelled", Failure.TIMED_OUT, OVER, Live.NEW)),
        ({"cap_reached": True, "cancel_asked": True}, cancelled("Cancelled, and stopped")),
        # A good end, seen by what it alone does: the recorded source became our commit.
        (SWITCHED | MOVED, CHECK),
        (SWITCHED | MOVED | {"cancel_asked": True}, CHECK),
        (SWITCHED | {"report": AppReport(metadata=METADATA, locked=True)}, CHECK),
        (SWITCHED | {"expected": OLD_METADATA}, interrupted(Live.NEW)),
        (SWITCHED | MOVED | {"expected": None}, interrupted(Live.NEW)),
        (MOVED | {"after": containers(NEW)}, CHECK),
        (MOVED | {"after": containers(NEW), "before": a_snapshot(containers())}, CHECK),
        (MOVED, interrupted(Live.PREVIOUS)),
        (MOVED | {"cancel_asked": True}, interrupted(Live.PREVIOUS)),
        (
            MOVED | {"after": containers(NEW, OLD_WORKER)} | {"before": MIXED["before"]},
            interrupted(Live.UNKNOWN),
        ),
        (MOVED | {"after": containers(NEW), "before": a_snapshot(None)}, interrupted(Live.UNKNOWN)),
        (MOVED | {"after": None}, interrupted(Live.UNKNOWN)),
        (MOVED | {"after": containers()}, interrupted(Live.NONE)),
        # No more waiting.
        (
            {"report": HELD, "last_word": True},
            Verdict(
                kind=Kind.END,
                rule="still_running",
                phase=Phase.FAILED,
                failure=Failure.TIMED_OUT,
                live=Live.UNKNOWN,
                reason="It took longer than allowed, and its end on the server could not be "
                f"confirmed. {SAYS[Live.UNKNOWN]}",
            ),
        ),
    ],
)
def test_evidence_gives_the_verdict(changes: dict[str, Any], expected: Verdict) -> None:
    assert the(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "rule", "failure"),
    [
        ({"exit_status": 0}, "new_release_seen", None),
        ({"exit_status": 1, "report": FREE}, "failed_late", Failure.RELEASE_FAILED),
        ({"exit_status": 1, "report": HELD}, "failed_late", Failure.RELEASE_FAILED),
        ({"exit_status": 1}, "failed_late", Failure.RELEASE_FAILED),
    ],
)
def test_our_own_exit_status_needs_no_lock(
    changes: dict[str, Any], rule: str, failure: Failure | None
) -> None:
    for lock_was_free in (True, False):
        found = decide(
            evidence(keeps_records=False, record=None, lock_was_free=lock_was_free, **changes)
        )
        assert (found.rule, found.failure) == (rule, failure)
        assert "lock" not in found.reason


def test_a_cancel_whose_command_told_its_end_says_nothing_of_the_lock() -> None:
    found = the(exit_status=141, cancel_asked=True)
    assert found.reason == f"Cancelled. {SAYS[Live.PREVIOUS]}"
    found = the(exit_status=141, cancel_asked=True, **SWITCHED)
    assert (found.rule, found.phase) == ("failed_late", Phase.FAILED)


def test_ours_are_those_that_the_output_names() -> None:
    """Where it was lost on the way to a good end: those that replaced every old one."""
    lost: dict[str, Any] = {"keeps_records": False, "exit_status": None, "output": facts()}
    both = containers(NEW, NEW_WORKER)
    assert own_containers(evidence(**lost, after=both)) == both.ids
    named = facts(ours=(NEW,))
    assert own_containers(evidence(**(lost | {"output": named}), after=both)) == {NEW.id}
    of_old_image = a_container("7" * 12, image=OLD.image)
    for changes in (
        {"after": containers(NEW, of_old_image)},
        {"after": containers(NEW, OLD)},
        {"after": containers(a_container(OLD.id, image="sha256:other"))},
        {"after": containers()},
        {"after": None},
        {"after": both, "before": a_snapshot(None)},
        {"after": both, "keeps_records": True},
        {"after": both, "exit_status": 0},
        {"after": both, "report": AppReport(metadata=OLD_METADATA)},
        {"after": both, "expected": None},
    ):
        assert own_containers(evidence(**(lost | changes))) == frozenset()
