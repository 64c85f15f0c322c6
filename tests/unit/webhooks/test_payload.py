import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import count

import pytest

from bot.clock import SystemClock
from bot.deployments.model import (
    Actor,
    Deployment,
    Event,
    Failure,
    Live,
    MessagePlace,
    Phase,
    Trigger,
)
from bot.deployments.refs import Commit, Commits
from bot.outbox import RESULTS_LANE, Endpoint
from bot.webhooks.payload import planner, rfc3339, standard_body

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
FAILED = Deployment(
    id="01K9ZB00000000000000000000",
    server="production",
    app="myapp",
    dokku_app="myapp-live",
    repo="https://forge.example.com/acme/myapp.git",
    ref="main",
    sha="a" * 40,
    phase=Phase.FAILED,
    failure=Failure.BUILD_FAILED,
    live=Live.PREVIOUS,
    reason="The build failed at step 5 of 9",
    requested_by=Actor(user="U0123", team="T01", name="ada"),
    trigger=Trigger.COMMAND,
    request_key="trigger-1",
    channel="C01",
    message=MessagePlace(channel="C01", ts="1700000000.000100", permalink="https://s.test/p1"),
    created_at=NOON,
    queued_at=NOON + timedelta(seconds=1),
    started_at=NOON + timedelta(seconds=2),
    finished_at=NOON + timedelta(seconds=85, milliseconds=250),
    build_id="mwu9t3a2lnmbzk",
)
FINISHED = Event(type="deployment.finished", log_tail=("#9 npm ci", "npm ERR! 404"))
STANDARD = Endpoint(url="https://ops.example.com/hook", secret="whsec_c2VjcmV0")
SLACK = Endpoint(url="https://hooks.example.com/T/B/x", secret="", format="slack")


class FixedClock(SystemClock):
    def now(self) -> datetime:
        return NOON + timedelta(hours=1)


def test_what_ended_before_its_approval_was_queued_when_it_was_requested() -> None:
    rejected = replace(FAILED, failure=Failure.REJECTED, queued_at=None, started_at=None)
    data = standard_body(rejected, FINISHED, at=NOON)["data"]
    assert isinstance(data, dict)
    assert data["queued_at"] == "2026-11-24T12:00:00Z"


def test_body_of_a_result() -> None:
    assert standard_body(FAILED, FINISHED, at=NOON) == {
        "type": "deployment.finished",
        "timestamp": "2026-11-24T12:01:25Z",
        "data": {
            "id": "01K9ZB00000000000000000000",
            "server": "production",
            "app": "myapp",
            "ref": "main",
            "sha": "a" * 40,
            "previous_sha": None,
            "status": "failed",
            "failure": "build_failed",
            "live": "previous",
            "reason": "The build failed at step 5 of 9",
            "requested_by": {"user": "U0123", "team": "T01", "name": "ada"},
            "trigger": "command",
            "queued_at": "2026-11-24T12:00:01Z",
            "started_at": "2026-11-24T12:00:02Z",
            "finished_at": "2026-11-24T12:01:25Z",
            "duration_s": 83.2,
            "build_id": "mwu9t3a2lnmbzk",
            "rollback_of": None,
            "retry_of": None,
            "url": None,
            "commits": [],
            "slack": {
                "channel": "C01",
                "ts": "1700000000.000100",
                "permalink": "https://s.test/p1",
            },
            "log_tail": ["#9 npm ci", "npm ERR! 404"],
        },
    }


def commits_of(deployment: Deployment) -> object:
    data = standard_body(deployment, FINISHED, at=NOON)["data"]
    assert isinstance(data, dict)
    return data["commits"]


def test_commits_are_those_that_it_adds_newest_first() -> None:
    listed = tuple(Commit(sha=digit * 40, subject=digit, author="Ada") for digit in "abc")
    shipped = Commits(head=listed[0], base="9" * 40, ahead=3, listed=listed)
    told = [{"sha": digit * 40, "subject": digit, "author": "Ada"} for digit in "abc"]
    assert commits_of(replace(FAILED, commits=shipped)) == told
    # A commit that adds nothing to what is live, such as a rollback's, is named alone.
    back = replace(shipped, ahead=0, behind=2, listed=listed[1:])
    assert commits_of(replace(FAILED, commits=back, rollback_of="x")) == told[:1]
    assert commits_of(replace(FAILED, commits=Commits(head=listed[0]))) == told[:1]


def test_unknown_fields_are_null_at_the_start() -> None:
    started = replace(
        FAILED,
        phase=Phase.STARTING,
        sha=None,
        failure=None,
        live=None,
        reason=None,
        message=None,
        finished_at=None,
        build_id=None,
    )
    body = standard_body(started, Event(type="deployment.started"), at=NOON)
    assert body["timestamp"] == "2026-11-24T12:00:02Z"
    data = body["data"]
    assert isinstance(data, dict)
    for key in ("sha", "failure", "live", "reason", "finished_at", "duration_s", "build_id", "url"):
        assert data[key] is None, key
    assert data["status"] == "running"
    assert data["slack"] == {"channel": "C01", "ts": None, "permalink": None}
    assert data["log_tail"] == []


def test_correction_has_the_earlier_result_and_its_time() -> None:
    event = Event(
        type="deployment.corrected",
        corrected_from={"status": "failed", "failure": "lost_contact", "live": "unknown"},
    )
    body = standard_body(FAILED, event, at=NOON + timedelta(hours=1))
    assert body["timestamp"] == "2026-11-24T13:00:00Z"
    assert isinstance(body["data"], dict)
    assert body["data"]["corrected_from"] == event.corrected_from


def test_duration_without_a_start_counts_from_the_request() -> None:
    body = standard_body(replace(FAILED, started_at=None), FINISHED, at=NOON)
    assert isinstance(body["data"], dict)
    assert body["data"]["duration_s"] == 85.2


def test_the_log_tail_is_bounded() -> None:
    event = replace(FINISHED, log_tail=tuple(f"{n} " + "x" * 9_000 for n in range(100)))
    data = standard_body(FAILED, event, at=NOON)["data"]
    assert isinstance(data, dict)
    assert len(data["log_tail"]) == 40
    assert data["log_tail"][-1].startswith("99 xxx")
    assert max(map(len, data["log_tail"])) == 500


def test_times_are_utc() -> None:
    eastern = timezone(timedelta(hours=-5))
    assert rfc3339(datetime(2026, 1, 1, 23, 0, tzinfo=eastern)) == "2026-01-02T04:00:00Z"


def test_one_row_for_each_subscribed_endpoint_and_one_for_the_thread() -> None:
    started = Endpoint(url="https://a.test", secret="s", events=frozenset({"deployment.started"}))
    other = Endpoint(url="https://b.test", secret="s", apps=frozenset({"other"}))
    numbers = count(1)
    plan = planner(
        [STANDARD, SLACK, started, other], clock=FixedClock(), new_id=lambda: f"id-{next(numbers)}"
    )
    rows = plan(FAILED, FINISHED)
    assert [(row.lane, row.id, row.kind, row.deployment_id) for row in rows] == [
        (STANDARD.lane, "id-1", "deployment.finished", FAILED.id),
        (SLACK.lane, "id-2", "deployment.finished", FAILED.id),
        ("slack", "id-3", "deployment.finished", FAILED.id),
    ]
    assert rows[0].body == rows[2].body == standard_body(FAILED, FINISHED, at=NOON)
    assert {row.next_at for row in rows} == {NOON + timedelta(hours=1)}


def test_start_makes_no_thread_reply() -> None:
    assert planner([], clock=FixedClock())(FAILED, Event(type="deployment.started")) == []


def test_deployment_without_a_channel_makes_no_thread_reply() -> None:
    from_shell = replace(FAILED, channel="", message=None, trigger=Trigger.CLI)
    assert planner([], clock=FixedClock())(from_shell, FINISHED) == []


def test_rows_have_ordered_ids() -> None:
    plan = planner([STANDARD, SLACK], clock=FixedClock())
    found = [row.id for _ in range(20) for row in plan(FAILED, FINISHED)]
    assert len(set(found)) == len(found)
    assert found == sorted(found)


def test_slack_format_of_a_failure() -> None:
    reason = "The build failed at step 5 of 9. The previous release is still serving."
    row = planner([SLACK], clock=FixedClock())(replace(FAILED, reason=reason), FINISHED)[0]
    assert row.body["text"] == (
        "🔴 Failed to deploy myapp main (aaaaaaa) to production in 1m 23s. "
        "The build failed at step 5 of 9. The previous release is still serving."
    )
    blocks = json.dumps(row.body["blocks"], ensure_ascii=False)
    assert "https://s.test/p1" in blocks
    assert blocks.count("The previous release is still serving.") == 1


@pytest.mark.parametrize("hostile", ["<!here>", "@channel", "<@U1>", "a & b"])
def test_slack_format_pings_nobody(hostile: str) -> None:
    hostile_row = replace(FAILED, ref=hostile, reason=hostile)
    text = planner([SLACK], clock=FixedClock())(hostile_row, FINISHED)[0].body["text"]
    assert isinstance(text, str)
    assert hostile not in text
    assert "<" not in text


def test_result_and_correction_go_to_each_channel_of_notify() -> None:
    plan = planner([], clock=FixedClock(), notified=lambda _one: {"C2", "C1"})
    rows = [one for one in plan(FAILED, FINISHED) if one.lane == RESULTS_LANE]
    assert [one.body["channel"] for one in rows] == ["C1", "C2"]
    assert {one.deployment_id for one in rows} == {FAILED.id}
    event = Event(type="deployment.corrected", corrected_from={"status": "failed"})
    (row, _) = (one for one in plan(FAILED, event) if one.lane == RESULTS_LANE)
    assert row.body["data"] == {"corrected_from": {"status": "failed"}}
    for other in ("deployment.started", "deployment.note"):
        assert not any(one.lane == RESULTS_LANE for one in plan(FAILED, Event(type=other)))


def test_slack_format_of_a_correction() -> None:
    event = Event(type="deployment.corrected", corrected_from={})
    succeeded = replace(FAILED, phase=Phase.SUCCEEDED, failure=None, live=Live.NEW, reason=None)
    text = planner([SLACK], clock=FixedClock())(succeeded, event)[0].body["text"]
    assert text == "🟢 Corrected: Deployed myapp main (aaaaaaa) to production in 1m 23s."


def test_slack_format_says_each_fact_once() -> None:
    plan = planner([SLACK], clock=FixedClock(), name_server=False)
    good = replace(
        FAILED,
        phase=Phase.SUCCEEDED,
        failure=None,
        live=Live.NEW,
        reason="The new release is running and has stayed up.",
    )
    text = plan(good, FINISHED)[0].body["text"]
    assert text == "🟢 Deployed myapp main (aaaaaaa) in 1m 23s."
    nothing = replace(good, live=Live.NONE, reason=None)
    assert "Nothing is serving." in str(plan(nothing, FINISHED)[0].body["text"])
    cancelled = replace(
        good, phase=Phase.CANCELLED, live=Live.PREVIOUS, reason="Cancelled. The old one serves."
    )
    text = plan(cancelled, FINISHED)[0].body["text"]
    assert text == "⚪ Cancelled myapp main (aaaaaaa) in 1m 23s. The old one serves."


def test_repr_of_an_endpoint_hides_its_secret() -> None:
    assert "c2VjcmV0" not in repr(STANDARD)
