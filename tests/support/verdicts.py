"""What tests of the verdict share: evidence in a word, ends, and the sentences on what serves."""

from typing import Any

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.verdict.rules import Kind, Verdict, decide
from tests.support.builders import (
    OLD,
    a_record,
    a_snapshot,
    containers,
    evidence,
    facts,
)

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


SERVES_NEW = "The new release is serving."
SERVES_OLD = "The previous release is still serving."
SERVES_NOTHING = "Nothing is serving."
SERVES_BOTH = "Some processes run the new release, some the old one."
SERVES_UNKNOWN = "What is serving now is not known."
