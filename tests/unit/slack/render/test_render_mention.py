"""The reply at the end, which is the only text that pings."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from bot.deployments.dokku_facts import AppReport, Containers, Snapshot
from bot.deployments.model import Actor, Deployment, Failure, Live, Phase
from bot.slack.render.limits import validate_message
from bot.slack.render.mention import end_mention

Build = Callable[..., Deployment]
ENDS: dict[str, dict[str, Any]] = {
    "deployed": {"phase": Phase.SUCCEEDED, "live": Live.NEW, "url": "http://myapp.example.com"},
    "failed": {
        "phase": Phase.FAILED,
        "failure": Failure.HEALTHCHECK_FAILED,
        "live": Live.PREVIOUS,
        "previous_sha": "9" * 40,
        "before": Snapshot(
            builds=frozenset(), report=AppReport(), containers=Containers(), proven="9" * 40
        ),
        "reason": "GET /healthz answered 500.",
    },
    "cancelled": {"phase": Phase.CANCELLED, "live": Live.NONE, "reason": "Cancelled by @bob."},
}


@pytest.mark.parametrize("name", ENDS)
def test_each_end_is_told_as_recorded(
    name: str,
    a_deployment: Build,
    now: datetime,
    check_snapshot: Callable[[str, object], None],
) -> None:
    answer = end_mention(a_deployment(finished_at=now, **ENDS[name]))
    check_snapshot(f"mention_{name}", {"text": answer.text, "blocks": answer.blocks})
    assert validate_message(answer.text, answer.blocks) == []
    assert answer.text.count("<@U0ADA>") == 1


@pytest.mark.parametrize("user", ["cli", "server", "<!channel>", "U0ADA|x"])
def test_nobody_is_pinged_for_a_request_from_elsewhere(
    user: str, a_deployment: Build, now: datetime
) -> None:
    deployment = a_deployment(finished_at=now, requested_by=Actor(user=user), **ENDS["deployed"])
    assert "<@" not in end_mention(deployment).text
    assert "<!" not in str(end_mention(deployment))


def test_foreign_text_in_the_reason_pings_nobody(a_deployment: Build, now: datetime) -> None:
    ended = {**ENDS["failed"], "reason": "<!channel> @here <@U1>"}
    answer = end_mention(a_deployment(finished_at=now, **ended))
    assert "<!" not in answer.text
    assert "<@U1>" not in answer.text
    assert "@here" not in answer.text
    mrkdwn = [block["text"] for block in answer.blocks if block["text"]["type"] == "mrkdwn"]
    assert "<!" not in str(mrkdwn)
