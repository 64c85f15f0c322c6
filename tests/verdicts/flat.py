"""A decision of the rules as one flat record, as the table and the golden file compare it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from bot.deployments.model import Failure, Live, Phase
from bot.deployments.verdict.decisions import (
    Decision,
    Ended,
    LookAgain,
    ReadAgain,
    Requeue,
    StartAgain,
    WatchRelease,
)
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.rules import decide as decide_in_full
from bot.deployments.verdict.stability import NextLook
from bot.deployments.verdict.wording import sentence_of


class Kind(StrEnum):
    """What the owner is asked to do."""

    END = "end"
    CHECK = "check"
    """Watch the release, or read again until it can be watched: the rule says which."""
    WATCH = "watch"
    START_AGAIN = "start_again"
    REQUEUE = "requeue"
    WAIT = "wait"
    BEGIN_AGAIN = "begin_again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One decision."""

    kind: Kind
    rule: str | None = None
    phase: Phase | None = None
    failure: Failure | None = None
    live: Live | None = None
    reason: str = ""


def flat(decision: Decision | NextLook) -> Verdict:
    """Every field that a decision has, and its sentence."""
    match decision:
        case Ended():
            return _ended(decision, Kind.END)
        case StartAgain():
            return _ended(decision.otherwise, Kind.START_AGAIN)
        case WatchRelease() | ReadAgain():
            return Verdict(kind=Kind.CHECK, rule=decision.rule)
        case LookAgain():
            return Verdict(kind=Kind.WATCH, rule=decision.rule)
        case Requeue():
            return Verdict(kind=Kind.REQUEUE, rule=decision.rule)
        case NextLook():
            return Verdict(kind=Kind(decision.value))
        case _:
            assert_never(decision)


def decide(evidence: Evidence) -> Verdict:
    """The decision on evidence, flat."""
    return flat(decide_in_full(evidence))


def _ended(ended: Ended, kind: Kind) -> Verdict:
    return Verdict(
        kind=kind,
        rule=ended.rule,
        phase=ended.phase,
        failure=ended.failure,
        live=ended.live,
        reason=sentence_of(ended),
    )
