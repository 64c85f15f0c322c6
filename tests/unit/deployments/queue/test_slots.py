"""Slots: how many deployments may run at once on a server, and which get one."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.model import AppKey, Deployment
from bot.deployments.queue.rules import in_order, startable, waiting_for_slot
from tests.unit.deployments.queue.test_rules import waiting

BUSY = AppKey(server="s", dokku_app="busy")
APPS = ("web", "api", "shop", "blog")
SERVERS = ("s", "t")
LIMITS = st.dictionaries(st.sampled_from(SERVERS), st.integers(0, 3))
QUEUES = st.lists(
    st.builds(
        lambda number, app, server, at: waiting(f"{number:04}", app=app, server=server, at=at),
        st.integers(0, 9999),
        st.sampled_from(APPS),
        st.sampled_from(SERVERS),
        st.integers(0, 5),
    ),
    unique_by=lambda one: one.id,
    max_size=12,
)
KEYS = st.builds(
    AppKey, server=st.sampled_from(SERVERS), dokku_app=st.sampled_from((*APPS, "busy"))
)
RUNNING = st.sets(KEYS, max_size=5)


def ids(rows: Sequence[Deployment]) -> list[str]:
    return [one.id for one in rows]


def a_queue() -> list[Deployment]:
    return [waiting("A"), waiting("B", app="api", at=1), waiting("C", app="shop", at=2)]


def test_free_slots_go_in_queue_order() -> None:
    assert ids(startable(a_queue(), [], {"s": 2})) == ["A", "B"]
    assert waiting_for_slot(a_queue(), [], {"s": 2}) == {
        "C": "a free slot on the server (2 of 2 in use)"
    }


def test_running_deployments_take_slots_only_on_their_server() -> None:
    queue = [*a_queue(), waiting("D", server="t")]
    on_t = AppKey(server="t", dokku_app="busy")
    assert ids(startable(queue, [BUSY, on_t], {"s": 1})) == ["D"]
    assert set(waiting_for_slot(queue, [BUSY, on_t], {"s": 1})) == {"A", "B", "C"}
    assert ids(startable(queue, [on_t], {"s": 1})) == ["A", "D"]


def test_zero_or_missing_limit_means_unlimited() -> None:
    assert ids(startable(a_queue(), [BUSY], {"s": 0})) == ["A", "B", "C"]
    assert ids(startable(a_queue(), [BUSY], {"t": 1})) == ["A", "B", "C"]
    assert waiting_for_slot(a_queue(), [BUSY], {"s": 0}) == {}


def test_lowered_limit_is_shown_as_configured() -> None:
    running = [BUSY, AppKey(server="s", dokku_app="other")]
    assert startable(a_queue(), running, {"s": 1}) == []
    assert (
        waiting_for_slot(a_queue(), running, {"s": 1})["A"]
        == "a free slot on the server (2 of 1 in use)"
    )


def test_blocked_deployment_is_tried_and_takes_no_slot() -> None:
    assert ids(startable(a_queue(), [], {"s": 1}, {"A"})) == ["A", "B"]
    assert set(waiting_for_slot(a_queue(), [], {"s": 1}, {"A"})) == {"C"}
    # Once unblocked, it is the first of all.
    assert ids(startable(a_queue(), [], {"s": 1})) == ["A"]


def test_blocked_deployment_is_tried_on_a_full_server_too() -> None:
    # Otherwise nobody would notice that it is no longer blocked, and others would pass it for ever.
    assert ids(startable(a_queue(), [BUSY], {"s": 1}, {"A"})) == ["A"]
    assert set(waiting_for_slot(a_queue(), [BUSY], {"s": 1}, {"A"})) == {"B", "C"}


def test_only_the_first_of_an_app_waits_for_a_slot() -> None:
    queue = [waiting("A"), waiting("B", at=1)]
    assert waiting_for_slot(queue, [BUSY], {"s": 1}) == {
        "A": "a free slot on the server (1 of 1 in use)"
    }
    assert waiting_for_slot(queue, [AppKey(server="s", dokku_app="web")], {"s": 1}) == {}


@given(QUEUES, RUNNING, LIMITS)
def test_limit_is_never_exceeded(
    queue: list[Deployment], running: set[AppKey], limits: dict[str, int]
) -> None:
    started = startable(queue, running, limits)
    before = Counter(key.server for key in running)
    now = Counter(one.server for one in started)
    for server, limit in limits.items():
        if limit:
            assert now[server] <= max(0, limit - before[server])


@given(QUEUES, RUNNING, LIMITS)
def test_no_slot_stays_empty_and_each_deployment_starts_or_waits_for_one(
    queue: list[Deployment], running: set[AppKey], limits: dict[str, int]
) -> None:
    started, left = startable(queue, running, limits), waiting_for_slot(queue, running, limits)
    # Without limits the first of each app would start: each starts, or waits for a slot.
    assert set(ids(started)) | set(left) == set(ids(startable(queue, running)))
    assert not set(ids(started)) & set(left)
    used = Counter([key.server for key in running] + [one.server for one in started])
    for one in queue:
        if one.id in left:
            assert used[one.server] >= limits[one.server]


@given(QUEUES, LIMITS)
def test_first_queued_starts_first(queue: list[Deployment], limits: dict[str, int]) -> None:
    left = waiting_for_slot(queue, [], limits)
    for server in SERVERS:
        order = [one.id for one in in_order(queue) if one.server == server]
        started = [
            order.index(one.id) for one in startable(queue, [], limits) if one.server == server
        ]
        waits = [place for place, id_ in enumerate(order) if id_ in left]
        assert max(started, default=-1) < min(waits, default=len(order))


@given(QUEUES, st.integers(1, 3), st.sets(st.sampled_from((*APPS, "none"))))
def test_blocked_deployments_starve_nobody(
    queue: list[Deployment], limit: int, stuck: set[str]
) -> None:
    limits = dict.fromkeys(SERVERS, limit)
    blocked = {one.id for one in queue if one.dokku_app in stuck}
    for _ in range(len(queue)):
        # Whatever starts has ended before the next look.
        ended = {one.id for one in startable(queue, [], limits, blocked)} - blocked
        queue = [one for one in queue if one.id not in ended]
    assert {one.id for one in queue} <= blocked
