"""How many may run at once on a server, and who gets the places."""

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
LINES = st.lists(
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


def a_line() -> list[Deployment]:
    return [waiting("A"), waiting("B", app="api", at=1), waiting("C", app="shop", at=2)]


def test_free_places_go_in_the_order_of_the_queue() -> None:
    assert ids(startable(a_line(), [], {"s": 2})) == ["A", "B"]
    assert waiting_for_slot(a_line(), [], {"s": 2}) == {"C": "a free place on s (2 of 2 run)"}


def test_what_runs_takes_places_on_its_own_server_only() -> None:
    line = [*a_line(), waiting("D", server="t")]
    elsewhere = AppKey(server="t", dokku_app="busy")
    assert ids(startable(line, [BUSY, elsewhere], {"s": 1})) == ["D"]
    assert set(waiting_for_slot(line, [BUSY, elsewhere], {"s": 1})) == {"A", "B", "C"}
    assert ids(startable(line, [elsewhere], {"s": 1})) == ["A", "D"]


def test_no_limit_is_no_limit() -> None:
    assert ids(startable(a_line(), [BUSY], {"s": 0})) == ["A", "B", "C"]
    assert ids(startable(a_line(), [BUSY], {"t": 1})) == ["A", "B", "C"]
    assert waiting_for_slot(a_line(), [BUSY], {"s": 0}) == {}


def test_a_limit_that_was_lowered_is_told_as_it_is() -> None:
    running = [BUSY, AppKey(server="s", dokku_app="other")]
    assert startable(a_line(), running, {"s": 1}) == []
    assert waiting_for_slot(a_line(), running, {"s": 1})["A"] == "a free place on s (2 of 1 run)"


def test_one_that_is_held_up_is_tried_and_takes_no_place() -> None:
    assert ids(startable(a_line(), [], {"s": 1}, {"A"})) == ["A", "B"]
    assert set(waiting_for_slot(a_line(), [], {"s": 1}, {"A"})) == {"C"}
    # Free again, it is the first of all.
    assert ids(startable(a_line(), [], {"s": 1})) == ["A"]


def test_one_that_is_held_up_is_tried_on_a_full_server_too() -> None:
    # Else nobody would learn that it is held up no more, and others would pass it for ever.
    assert ids(startable(a_line(), [BUSY], {"s": 1}, {"A"})) == ["A"]
    assert set(waiting_for_slot(a_line(), [BUSY], {"s": 1}, {"A"})) == {"B", "C"}


def test_those_behind_on_their_own_app_wait_for_no_place() -> None:
    line = [waiting("A"), waiting("B", at=1)]
    assert waiting_for_slot(line, [BUSY], {"s": 1}) == {"A": "a free place on s (1 of 1 run)"}
    assert waiting_for_slot(line, [AppKey(server="s", dokku_app="web")], {"s": 1}) == {}


@given(LINES, RUNNING, LIMITS)
def test_never_more_than_allowed_run(
    line: list[Deployment], running: set[AppKey], most: dict[str, int]
) -> None:
    started = startable(line, running, most)
    before = Counter(key.server for key in running)
    now = Counter(one.server for one in started)
    for server, limit in most.items():
        if limit:
            assert now[server] <= max(0, limit - before[server])


@given(LINES, RUNNING, LIMITS)
def test_no_place_stays_empty_and_nobody_is_forgotten(
    line: list[Deployment], running: set[AppKey], most: dict[str, int]
) -> None:
    started, left = startable(line, running, most), waiting_for_slot(line, running, most)
    # Without limits the first of each app would start: each of them starts or is told why not.
    assert set(ids(started)) | set(left) == set(ids(startable(line, running)))
    assert not set(ids(started)) & set(left)
    used = Counter([key.server for key in running] + [one.server for one in started])
    for one in line:
        if one.id in left:
            assert used[one.server] >= most[one.server]


@given(LINES, LIMITS)
def test_who_came_first_starts_first(line: list[Deployment], most: dict[str, int]) -> None:
    left = waiting_for_slot(line, [], most)
    for server in SERVERS:
        order = [one.id for one in in_order(line) if one.server == server]
        started = [order.index(one.id) for one in startable(line, [], most) if one.server == server]
        waits = [place for place, id_ in enumerate(order) if id_ in left]
        assert max(started, default=-1) < min(waits, default=len(order))


@given(LINES, st.integers(1, 3), st.sets(st.sampled_from((*APPS, "none"))))
def test_nobody_starves_behind_those_that_are_held_up(
    line: list[Deployment], limit: int, stuck: set[str]
) -> None:
    most = dict.fromkeys(SERVERS, limit)
    held_up = {one.id for one in line if one.dokku_app in stuck}
    for _ in range(len(line)):
        # Whatever starts has ended before the next look.
        ended = {one.id for one in startable(line, [], most, held_up)} - held_up
        line = [one for one in line if one.id not in ended]
    assert {one.id for one in line} <= held_up
