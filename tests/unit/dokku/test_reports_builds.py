import json
import re
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import BuildStatus
from bot.dokku.reports import killed_a_deploy, read_builds
from bot.errors import OddReport
from bot.simulators.dokku.clock import go_duration
from tests.unit.dokku.recordings import Recording, questions

S = BuildStatus
NEW = [one for one in questions("0.38.27", "builds:list") if one.exit == 0]


@pytest.mark.parametrize("recording", NEW, ids=str)
def test_records_are_read_newest_first(recording: Recording) -> None:
    raw = json.loads(recording.stdout)
    records = read_builds(recording.stdout, str)
    assert [record.id for record in records] == [item["id"] for item in raw]
    assert [record.status.value for record in records] == [item["display_status"] for item in raw]


def test_a_failed_build_is_shown_as_abandoned_and_not_as_running() -> None:
    text = next(
        one.stdout
        for one in NEW
        if one.scenario == "n2_dockerd_killed_mid_build" and '"abandoned"' in one.stdout
    )
    newest = read_builds(text, str)[0]
    assert '"status":"running"' in text
    assert (newest.status, newest.exit_code, newest.source) == (S.ABANDONED, None, "git:sync")


def test_a_good_build_has_an_exit_code() -> None:
    text = next(one.stdout for one in NEW if '"succeeded"' in one.stdout)
    good = next(one for one in read_builds(text, str) if one.status is S.SUCCEEDED)
    assert (good.exit_code, good.kind) == (0, "build")
    assert good.started_at.startswith("2026-")


@pytest.mark.parametrize("recording", NEW, ids=str)
def test_every_recorded_duration_is_read(recording: Recording) -> None:
    """Of an ended record it is the span between the server's own two instants, rounded."""
    raw = json.loads(recording.stdout)
    for item, record in zip(raw, read_builds(recording.stdout, str), strict=True):
        assert record.duration is not None
        if "finished_at" in item:
            took = instant(item["finished_at"]) - instant(item["started_at"])
            assert abs(record.duration - took) <= timedelta(seconds=0.51)


def instant(stamp: str) -> datetime:
    """RFC 3339 with nanoseconds, of which datetime takes six digits."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp))


def lasting(duration: object) -> timedelta | None:
    item = {"id": "a", "app": "web", "status": "running", "duration": duration}
    return read_builds(json.dumps([item]), str)[0].duration


@given(st.integers(0, 10**7))
def test_a_duration_is_read_as_dokku_writes_it(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    assert lasting(go_duration(span)) == span


@pytest.mark.parametrize("odd", ["", "-2s", "soon", "1m", "1.5s", "2s ", "1d2s", None, 7, ["2s"]])
def test_odd_duration_is_ignored(odd: object) -> None:
    assert lasting(odd) is None


@pytest.mark.parametrize("key", ["source", "kind", "started_at", "duration", "exit_code", "pid"])
def test_null_field_is_read_like_a_missing_one(key: str) -> None:
    """One record without a value must not stop the deployments of its app."""
    text = next(one.stdout for one in NEW if '"running"' in one.stdout)
    raw = json.loads(text)
    nulls = [item | {key: None} for item in raw]
    without = [{name: value for name, value in item.items() if name != key} for item in raw]
    read = read_builds(json.dumps(nulls), str)
    assert [one.id for one in read] == [item["id"] for item in raw]
    assert read == read_builds(json.dumps(without), str)


@pytest.mark.parametrize(
    ("finished", "status"),
    [({}, S.RUNNING), ({"finished_at": "2026-11-24T05:48:19Z"}, S.ABANDONED)],
)
def test_unknown_status_of_a_later_dokku(finished: dict[str, str], status: BuildStatus) -> None:
    raw = [{"id": "a", "app": "web", "status": "running", "display_status": "paused"} | finished]
    assert [one.status for one in read_builds(json.dumps(raw), str)] == [status]


def test_no_records() -> None:
    assert read_builds("[]\n", str) == []
    assert read_builds("null\n", str) == []


@pytest.mark.parametrize(
    "text", ["{}", "[1]", "[{}]", '[{"id":"a","app":"web","status":7}]', "No builds recorded"]
)
def test_odd_records_are_refused(text: str) -> None:
    with pytest.raises(OddReport, match="builds:list"):
        read_builds(text, str)


@pytest.mark.parametrize(
    "recording", [one for one in questions("0.38.27", "builds:cancel") if one.exit == 0], ids=str
)
def test_cancel_answer_says_whether_a_deploy_was_killed(recording: Recording) -> None:
    assert killed_a_deploy(recording.stdout) == ("Killing app deploy" in recording.stdout)


@pytest.mark.parametrize(
    "text",
    [
        "-----> App not currently deploying\n",
        "-----> No matching app deploy found\n",
        "-----> Build abc is no longer running (status=failed); leaving record untouched\n",
        "-----> Build was already terminated, marking failed\n",
        "",
    ],
)
def test_exit_status_0_does_not_mean_killed(text: str) -> None:
    assert not killed_a_deploy(text)
