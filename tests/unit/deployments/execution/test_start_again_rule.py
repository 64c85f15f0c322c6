"""When a deployment that died before its release is started once more by itself."""

from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.execution.start import may_start_again
from bot.deployments.model import CancelRequest, Phase
from tests.support.builders import NOW
from tests.support.rig import waiting

WITHIN = timedelta(minutes=10)


def may(row: dict[str, Any] | None = None, **facts: Any) -> bool:
    given: dict[str, Any] = {
        "lost_for": timedelta(seconds=20),
        "within": WITHIN,
        "newer": False,
        "cap_reached": False,
    }
    deployment = waiting(**({"phase": Phase.BUILDING} | (row or {})))
    return may_start_again(deployment, **(given | facts))


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.FETCHING, Phase.BUILDING])
def test_before_its_release_it_may(phase: Phase) -> None:
    assert may({"phase": phase})


@pytest.mark.parametrize("phase", [Phase.RELEASING, Phase.CANCELLING, Phase.CHECKING])
def test_later_it_may_not(phase: Phase) -> None:
    assert not may({"phase": phase})


@pytest.mark.parametrize(
    "row",
    [
        {"attempt": 2},
        {"sha": None},
        {"cancel": CancelRequest(by=waiting().requested_by, at=NOW)},
    ],
)
def test_once_only_a_known_commit_and_against_nobodys_wish(row: dict[str, Any]) -> None:
    assert not may(row)


@pytest.mark.parametrize(
    ("facts", "allowed"),
    [
        ({"lost_for": WITHIN}, True),
        ({"lost_for": WITHIN + timedelta(seconds=1)}, False),
        ({"newer": True}, False),
        ({"cap_reached": True}, False),
    ],
)
def test_not_too_late_not_past_something_newer(facts: dict[str, Any], allowed: bool) -> None:
    assert may(**facts) is allowed
