"""Commands that the bot must never send to a server, whatever it reports afterwards."""

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
"""Queries that show another running deploy; the second one before 0.38."""


class Judged(Protocol):
    """A deployment with its place in the journal."""

    case: Case
    late: Case | None
    cancel_asked_at: datetime | None
    """Simulated."""


def forbidden_commands(history: History, reported: Sequence[Judged]) -> Iterator[str]:
    """Find commands that the bot should not have sent."""
    own = [
        run for run in history.runs.values() if run.source in {SYNC, UNRECORDED} and not run.outside
    ]
    yield from _overlaps(own)
    yield from _strays(own, reported)
    yield from _starts_after_a_cancel(history, reported)
    yield from _cancels_of_outside_runs(history)
    yield from _starts_into_others(history, own)


def _overlaps(own: Sequence[RunStory]) -> Iterator[str]:
    for former, later in pairwise(own):
        if former.ended is None or former.ended > later.began:
            yield f"run {later.number} was started while the bot's run {former.number} was alive"


def _strays(own: Sequence[RunStory], reported: Sequence[Judged]) -> Iterator[str]:
    cases = [one.late or one.case for one in reported]
    known = {run.number for case in cases for run in (*case.refused, *case.runs)}
    for run in own:
        if run.number not in known:
            yield f"run {run.number} was started without a current deployment"


def _starts_after_a_cancel(history: History, reported: Sequence[Judged]) -> Iterator[str]:
    """Tolerance: a start checks for a cancel request just before the login, which may be slow."""
    for one in reported:
        if one.cancel_asked_at is None:
            continue
        latest = one.cancel_asked_at + ON_ITS_WAY * SPEED
        for run in one.case.runs:
            if history.entries[run.began].at > latest:
                yield f"run {run.number} was started although a cancel had been requested"


def _cancels_of_outside_runs(history: History) -> Iterator[str]:
    for run in history.runs.values():
        if run.outside and run.canceled_outside is False:
            yield f"run {run.number} ({run.source}) was someone else's and was cancelled by the bot"


def _starts_into_others(history: History, own: Sequence[RunStory]) -> Iterator[str]:
    """Find starts that Dokku refused although the last look before them showed why.

    Tolerance: a build that began between that look and the start could not be known.
    """
    for run in own:
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
            yield f"run {run.number} was started without checking what runs"
            continue
        for other in history.runs.values():
            running = other.began < looks[-1] and (other.ended is None or other.ended > run.began)
            if running and other.number != run.number and other.source in {SYNC, "git-hook"}:
                yield f"run {run.number} was started into run {other.number} ({other.source})"
