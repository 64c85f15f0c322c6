"""The thread reply to a result: the only text that pings someone."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from bot.deployments.dokku_facts import AppReport, Containers, Snapshot
from bot.deployments.model import Actor, Deployment, Failure, Live, Phase
from bot.slack.thread_replies import result_reply
from tests.support.slack_limits import validate_message

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
def test_reply_to_each_result_matches_its_snapshot(
    name: str,
    a_deployment: Build,
    now: datetime,
    check_snapshot: Callable[[str, object], None],
) -> None:
    answer = result_reply(a_deployment(finished_at=now, **ENDS[name]))
    check_snapshot(f"reply_{name}", {"text": answer.text, "blocks": answer.blocks})
    assert validate_message(answer.text, answer.blocks) == []
    assert answer.text.count("<@U0ADA>") == 1


def test_reply_repeats_no_fact(a_deployment: Build, now: datetime) -> None:
    stable = "The new release is running and has stayed up."
    good = result_reply(a_deployment(finished_at=now, **ENDS["deployed"], reason=stable))
    assert len(good.blocks) == 1
    assert stable not in good.text
    built = {
        "phase": Phase.FAILED,
        "failure": Failure.BUILD_FAILED,
        "live": Live.PREVIOUS,
        "reason": "The build failed: exit code 1. The previous release is still serving.",
    }
    bad = result_reply(a_deployment(finished_at=now, **built))
    assert bad.blocks[1]["text"]["text"] == "exit code 1."
    assert str(bad).count("build failed") == 2  # once in the blocks, once in the line


def test_server_is_left_out_if_there_is_only_one(a_deployment: Build, now: datetime) -> None:
    deployment = a_deployment(finished_at=now, **ENDS["deployed"])
    assert "`main` was deployed" in result_reply(deployment, name_server=False).text


@pytest.mark.parametrize("user", ["cli", "server", "<!channel>", "U0ADA|x"])
def test_request_from_outside_slack_pings_nobody(
    user: str, a_deployment: Build, now: datetime
) -> None:
    deployment = a_deployment(finished_at=now, requested_by=Actor(user=user), **ENDS["deployed"])
    assert "<@" not in result_reply(deployment).text
    assert "<!" not in str(result_reply(deployment))


def test_foreign_text_in_the_reason_pings_nobody(a_deployment: Build, now: datetime) -> None:
    ended = {**ENDS["failed"], "reason": "<!channel> @here <@U1>"}
    answer = result_reply(a_deployment(finished_at=now, **ended))
    assert "<!" not in answer.text
    assert "<@U1>" not in answer.text
    assert "@here" not in answer.text
    mrkdwn = [block["text"] for block in answer.blocks if block["text"]["type"] == "mrkdwn"]
    assert "<!" not in str(mrkdwn)
