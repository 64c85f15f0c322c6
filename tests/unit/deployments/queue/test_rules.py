"""The queue's order, positions and expiry."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.model import Actor, AppKey, Approval, CancelRequest, Deployment, Phase
from bot.deployments.queue.rules import (
    find_twin,
    in_order,
    is_expired,
    queue_positions,
    startable,
    superseded,
)
from tests.support.builders import NOW, OLD_SHA, SHA, a_deployment

WEB = AppKey(server="production", dokku_app="web")


def waiting(
    id_: str, *, app: str = "web", at: int = 0, phase: Phase = Phase.QUEUED, server: str = "s"
) -> Deployment:
    return a_deployment(
        id=id_,
        dokku_app=app,
        server=server,
        phase=phase,
        queued_at=NOW + timedelta(seconds=at),
        request_key=id_,
    )


def test_queue_order_is_by_queued_at_then_id() -> None:
    late, early, same = waiting("A", at=9), waiting("C", at=1), waiting("B", at=1)
    assert [one.id for one in in_order([late, early, same])] == ["B", "C", "A"]


def test_without_queued_at_the_creation_time_counts() -> None:
    unqueued = a_deployment(id="Z", queued_at=None, created_at=NOW - timedelta(seconds=1))
    assert [one.id for one in in_order([waiting("A"), unqueued])] == ["Z", "A"]


def test_deployments_awaiting_approval_are_not_queued() -> None:
    approval = waiting("A", phase=Phase.AWAITING_APPROVAL)
    assert not in_order([approval])
    assert startable([approval], []) == []
    assert queue_positions([approval]) == {}


def test_first_of_each_app_can_start() -> None:
    queue = [waiting("A"), waiting("B", at=1), waiting("C", app="api"), waiting("D", server="t")]
    assert [one.id for one in startable(queue, [])] == ["A", "C", "D"]


def test_app_with_a_running_deployment_starts_nothing() -> None:
    queue = [waiting("A", server="production"), waiting("C", app="api")]
    assert [one.id for one in startable(queue, [WEB])] == ["C"]


def test_positions_count_from_one_per_app() -> None:
    queue = [waiting("B", at=1), waiting("A"), waiting("C", app="api", at=5)]
    assert queue_positions(queue) == {"A": 1, "B": 2, "C": 1}


QUEUES = st.lists(
    st.builds(
        lambda number, app, at: waiting(f"{number:04}", app=app, at=at),
        st.integers(0, 9999),
        st.sampled_from(["web", "api"]),
        st.integers(0, 5),
    ),
    unique_by=lambda one: one.id,
)


@given(QUEUES)
def test_startable_ones_are_exactly_those_at_position_one(queue: list[Deployment]) -> None:
    first = {id_ for id_, position in queue_positions(queue).items() if position == 1}
    assert {one.id for one in startable(queue, [])} == first


@given(QUEUES)
def test_positions_have_no_gaps(queue: list[Deployment]) -> None:
    for app in ("web", "api"):
        mine = sorted(queue_positions(queue)[one.id] for one in queue if one.dokku_app == app)
        assert mine == list(range(1, len(mine) + 1))


def test_deployment_expires_after_the_queue_ttl_and_not_before() -> None:
    one = waiting("A")
    ttl = timedelta(hours=2)
    assert not is_expired(one, NOW + ttl, ttl)
    assert is_expired(one, NOW + ttl + timedelta(seconds=1), ttl)
    unqueued = a_deployment(queued_at=None, created_at=NOW - ttl)
    assert is_expired(unqueued, NOW + timedelta(seconds=1), ttl)


def test_positions_of_locked_ones_come_last() -> None:
    rows = [waiting("A", at=1), waiting("B", at=2), waiting("C", at=3), waiting("D", app="x")]
    assert queue_positions(rows, {"A"}) == {"B": 1, "C": 2, "A": 3, "D": 1}


def ready(id_: str, *, at: int = 0, app: str = "web", **changes: Any) -> Deployment:
    facts: dict[str, Any] = {"ready": True, "sha": SHA, "channel": "", "cancel": None}
    return replace(waiting(id_, at=at, app=app, server="production"), **facts | changes)


def test_newest_supersedes_all_older_ones_of_its_app() -> None:
    rows = [ready("C", at=3), ready("A", at=1), ready("B", at=2), ready("X", app="shop")]
    gone = superseded(rows, {WEB})
    assert {key: one.id for key, one in gone.items()} == {"A": "C", "B": "C"}
    assert superseded(rows, set()) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"ready": False},
        {"channel": "C01", "message": None},
        {"cancel": CancelRequest(by=Actor(user="U0ADA"), at=NOW)},
        {"phase": Phase.AWAITING_APPROVAL},
    ],
)
def test_newer_one_that_cannot_start_supersedes_nothing(changes: dict[str, Any]) -> None:
    rows = [ready("A", at=1), ready("B", at=2), ready("C", at=3, **changes)]
    assert {key: one.id for key, one in superseded(rows, {WEB}).items()} == {"A": "B"}
    # A request waits for the message of its twin, so that it may link to it.
    unposted = "message" in changes
    assert find_twin(rows[2:], ready("D", at=4)) == (rows[2] if unposted else None)


def test_newer_request_supersedes_what_is_not_approved_yet_or_was_approved_later() -> None:
    awaiting = ready("A", phase=Phase.AWAITING_APPROVAL)
    rows = [awaiting, ready("B", at=9), ready("C", at=1)]
    assert {key: one.id for key, one in superseded(rows, {WEB}).items()} == {"A": "C", "B": "C"}
    assert superseded([awaiting, ready("0", at=1)], {WEB}) == {}


def test_locked_one_supersedes_nothing_and_is_superseded() -> None:
    rows = [ready("A", at=1), ready("B", at=2), ready("C", at=3)]
    assert superseded(rows, {WEB}, {"C", "A"}).keys() == {"A"}


def test_twin_is_the_last_of_the_queue_with_the_same_ref_and_commit() -> None:
    new, twin = ready("Z", at=9), ready("B", at=2)
    assert find_twin([ready("A", at=1, sha=OLD_SHA), twin, new], new) == twin
    assert find_twin([twin, new, ready("X", at=5, app="shop")], new) == twin
    assert find_twin([new], new) is None
    # What is being looked up asks for the same, or for another ref.
    unknown = ready("C", at=3, ready=False, sha=None)
    assert find_twin([twin, unknown, new], new) == twin
    assert find_twin([twin, replace(unknown, ref="other"), new], new) is None


def test_twin_of_a_request_for_approval_waits_for_one_too() -> None:
    asks: dict[str, Any] = {"phase": Phase.AWAITING_APPROVAL, "approval": Approval.SECOND_PERSON}
    new, twin = ready("Z", **asks), ready("B", **asks)
    assert find_twin([twin, new, ready("A", sha=OLD_SHA)], new) == twin
    assert find_twin([twin, ready("C", sha=OLD_SHA, **asks), new], new) is None
    assert find_twin([ready("B", **asks, ready=False), new], new) is None
    # One that is queued will be live, too; one that asks for less is no twin.
    assert find_twin([ready("A"), ready("B", sha=OLD_SHA, **asks), new], new) == ready("A")
    less = {**asks, "approval": Approval.CONFIRM}
    assert find_twin([ready("B", **less), ready("A", sha=OLD_SHA, **asks), new], new) is None
    rollback = ready("Z")
    assert find_twin([twin, rollback], rollback) is None


@pytest.mark.parametrize(
    "changes",
    [{"sha": OLD_SHA}, {"sha": None}, {"ref": "other"}, {"repo": "https://git.example/x.git"}],
)
def test_another_commit_or_ref_is_never_dropped(changes: dict[str, Any]) -> None:
    new = ready("Z", at=9)
    assert find_twin([ready("B", at=2, **changes), new], new) is None
    # Between the twin and the new one, another commit would be what is live in the end.
    assert find_twin([ready("A", at=1), ready("B", at=2, **changes), new], new) is None
    unknown = ready("Z", at=9, sha=None)
    assert find_twin([ready("B", at=2, sha=None), unknown], unknown) is None
