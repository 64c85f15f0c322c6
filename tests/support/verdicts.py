"""What tests of the verdict share: evidence in a word, ends, and the sentences on what serves."""

from typing import Any

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, LogFacts, Phase
from bot.deployments.verdict.decisions import Ended
from bot.deployments.verdict.rules import named_failure
from bot.deployments.verdict.wording import cause_of
from tests.support.builders import (
    OLD,
    a_record,
    a_snapshot,
    containers,
    evidence,
    facts,
)
from tests.verdicts.flat import Kind, Verdict, decide

BAD = {"record": a_record(BuildStatus.FAILED, 1)}
LOST = {"exit_status": None, "output": facts()}
FIRST = {"before": a_snapshot(containers())}
NOTHING = {"after": containers()}
SAME = {"after": containers(OLD)}


def the(**changes: Any) -> Verdict:
    return decide(evidence(**changes))


def end(
    rule: str, phase: Phase, failure: Failure | None, live: Live, reason: str, kind: Kind = Kind.END
) -> Verdict:
    return Verdict(kind=kind, rule=rule, phase=phase, failure=failure, live=live, reason=reason)


def named(output: LogFacts, exit_status: int | None) -> tuple[Failure, str]:
    """The failure that an output names, and the words for its cause."""
    failure, cause = named_failure(output, exit_status)
    ended = Ended(
        rule="failed",
        phase=Phase.FAILED,
        failure=failure,
        live=Live.PREVIOUS,
        cause=cause,
        detail=output.error or "",
    )
    return failure, cause_of(ended)


SERVES_NEW = "The new release is serving."
SERVES_OLD = "The previous release is still serving."
SERVES_NOTHING = "Nothing is serving."
SERVES_BOTH = "Some processes run the new release, some the old one."
SERVES_UNKNOWN = "What is serving now is not known."
