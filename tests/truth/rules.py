"""What the bot must never do on a server, whatever it says of it afterwards."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Protocol

from tests.truth.history import History, RunStory
from tests.truth.pace import SPEED
from tests.truth.truth import Case

SYNC = "git:sync"
UNRECORDED = ""
"""The source of every run on a Dokku that keeps no records."""
ON_ITS_WAY = timedelta(seconds=3)
LOOKS = frozenset({"builds:list", "apps:report"})
"""Questions whose answer tells that another deploy runs; the second one before 0.38."""


class Judged(Protocol):
    """A deployment with its place in the journal."""

    case: Case
    late: Case | None
    cancel_asked_at: datetime | None
    """Simulated."""


def misdeeds(history: History, told: Sequence[Judged]) -> Iterator[str]:
    """Commands that should not have been sent."""
    ours = [
        run
        for run in history.runs.values()
        if run.source in {SYNC, UNRECORDED} and not run.elsewhere
    ]
    yield from _overlaps(ours)
    yield from _strays(ours, told)
    yield from _starts_after_a_cancel(history, told)
    yield from _foreign_cancels(history)
    yield from _starts_into_others(history, ours)


def _overlaps(ours: Sequence[RunStory]) -> Iterator[str]:
    for former, later in pairwise(ours):
        if former.ended is None or former.ended > later.began:
            yield f"run {later.number} was started while our run {former.number} was alive"


def _strays(ours: Sequence[RunStory], told: Sequence[Judged]) -> Iterator[str]:
    cases = [one.late or one.case for one in told]
    known = {run.number for case in cases for run in (*case.refused, *case.runs)}
    for run in ours:
        if run.number not in known:
            yield f"run {run.number} was started for no deployment that was going on"


def _starts_after_a_cancel(history: History, told: Sequence[Judged]) -> Iterator[str]:
    """Tolerance: a start reads the wish just before it logs in; the login may take its time."""
    for one in told:
        if one.cancel_asked_at is None:
            continue
        latest = one.cancel_asked_at + ON_ITS_WAY * SPEED
        for run in one.case.runs:
            if history.entries[run.began].at > latest:
                yield f"run {run.number} was started although a cancel had been asked for"


def _foreign_cancels(history: History) -> Iterator[str]:
    for run in history.runs.values():
        if run.elsewhere and run.canceled_elsewhere is False:
            yield f"run {run.number} ({run.source}) of somebody else was cancelled by the bot"


def _starts_into_others(history: History, ours: Sequence[RunStory]) -> Iterator[str]:
    """A start that Dokku refused, although the last look before it could have told.

    Tolerance: a build that began between that look and the start could not be known.
    """
    for run in ours:
        if not run.refused:
            continue
        looks = [
            place
            for place, entry in enumerate(history.entries[: run.began])
            if entry.event == "asked"
            and entry.details["command"] in LOOKS
            and not entry.details["outside"]
        ]
        if not looks:
            yield f"run {run.number} was started without a look at what runs"
            continue
        for other in history.runs.values():
            running = other.began < looks[-1] and (other.ended is None or other.ended > run.began)
            if running and other.number != run.number and other.source in {SYNC, "git-hook"}:
                yield f"run {run.number} was started into run {other.number} ({other.source})"
