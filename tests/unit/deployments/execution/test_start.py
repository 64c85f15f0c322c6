"""Whether a deployment that died before its release is started again automatically."""

from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.execution.start import may_start_again
from bot.deployments.model import CancelRequest, Phase
from tests.support.builders import NOW
from tests.support.rig import waiting

WITHIN = timedelta(minutes=10)


def is_allowed(row: dict[str, Any] | None = None, **facts: Any) -> bool:
    given: dict[str, Any] = {
        "lost_for": timedelta(seconds=20),
        "within": WITHIN,
        "newer": False,
        "cap_reached": False,
    }
    deployment = waiting(**({"phase": Phase.BUILDING} | (row or {})))
    return may_start_again(deployment, **(given | facts))


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.FETCHING, Phase.BUILDING])
def test_may_start_again_before_the_release(phase: Phase) -> None:
    assert is_allowed({"phase": phase})


@pytest.mark.parametrize("phase", [Phase.RELEASING, Phase.CANCELLING, Phase.CHECKING])
def test_never_starts_again_from_the_release_on(phase: Phase) -> None:
    assert not is_allowed({"phase": phase})


@pytest.mark.parametrize(
    "row",
    [
        {"attempt": 2},
        {"sha": None},
        {"cancel": CancelRequest(by=waiting().requested_by, at=NOW)},
    ],
)
def test_never_starts_again_twice_or_without_commit_or_when_cancelled(row: dict[str, Any]) -> None:
    assert not is_allowed(row)


@pytest.mark.parametrize(
    ("facts", "allowed"),
    [
        ({"lost_for": WITHIN}, True),
        ({"lost_for": WITHIN + timedelta(seconds=1)}, False),
        ({"newer": True}, False),
        ({"cap_reached": True}, False),
    ],
)
def test_never_starts_again_late_or_past_a_newer_deployment(
    facts: dict[str, Any], allowed: bool
) -> None:
    assert is_allowed(**facts) is allowed
