"""Whether a deployment that died before its release is started again automatically."""

from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.execution.attempt import may_start_again
from bot.deployments.model import CancelRequest, Failure, Live, Phase
from bot.errors import OtherScheduler
from tests.support.builders import NOW
from tests.support.rig import a_rig, waiting
from tests.support.virtual_time import in_virtual_time

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


@in_virtual_time
async def test_other_scheduler_is_refused_in_a_sentence_before_the_start() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("containers", OtherScheduler("web", "the scheduler k3s"), times=9)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.failure, row.live) == (Phase.FAILED, Failure.REFUSED, Live.UNKNOWN)
    assert row.reason == (
        "web runs on the scheduler k3s, where Dokku does not show containers: its own result "
        "could be read, but not what serves. The bot can prove that only on docker-local. "
        "Nothing was started; deploy this app with git push. What is serving now is unknown."
    )
    assert rig.dokku.streams == []
