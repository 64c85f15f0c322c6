"""The tracker, the log buffer and the excerpt."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.deployments import log_buffer
from bot.deployments.excerpt import around_error
from bot.deployments.log_buffer import LogBuffer
from bot.deployments.model import Phase, Progress
from bot.deployments.tracker import Tracker
from tests.support.builders import NOW, a_deployment


class HandClock:
    """Moves only when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, duration: timedelta) -> None:
        self.seconds += duration.total_seconds()


def a_tracker(most: int = 100) -> tuple[Tracker, HandClock]:
    clock = HandClock()
    return Tracker(clock=clock, ttl=timedelta(minutes=5), most=most), clock


def test_an_ended_deployment_stays_for_five_minutes() -> None:
    tracker, clock = a_tracker()
    one = a_deployment()
    tracker.put(one)
    clock.seconds = 1000
    assert tracker.get(one.id) is not None
    tracker.put(a_deployment(phase=Phase.FAILED))
    clock.seconds = 1299
    assert tracker.get(one.id) is not None
    assert tracker.active() == []
    clock.seconds = 1301
    assert tracker.get(one.id) is None


def test_progress_survives_a_newer_row() -> None:
    tracker, _ = a_tracker()
    one = a_deployment()
    tracker.note(one.id, Progress(step="unknown yet"))
    assert tracker.progress(one.id) == Progress()
    tracker.put(one)
    tracker.note(one.id, Progress(step="step 1 of 2"))
    tracker.put(a_deployment(phase=Phase.BUILDING))
    assert tracker.progress(one.id).step == "step 1 of 2"
    assert [known.deployment.phase for known in tracker.active()] == [Phase.BUILDING]


def test_it_is_bounded_by_dropping_the_oldest_ended_ones() -> None:
    tracker, clock = a_tracker(most=2)
    for number in range(4):
        clock.seconds = number
        tracker.put(a_deployment(id=f"ended {number}", phase=Phase.FAILED))
    assert [tracker.get(f"ended {number}") is not None for number in range(4)] == [
        False,
        False,
        True,
        True,
    ]
    tracker.forget("ended 3")
    assert tracker.get("ended 3") is None


@given(st.lists(st.lists(st.text(max_size=5), max_size=4), max_size=20), st.data())
def test_every_line_reaches_the_store_once_and_in_order(
    batches: list[list[str]], data: st.DataObject
) -> None:
    buffer = LogBuffer()
    stored: list[str] = []
    for batch in batches:
        buffer.add(batch)
        taken = buffer.take()
        if data.draw(st.booleans()):
            stored.extend(taken)
        else:
            buffer.put_back(taken)
    stored.extend(buffer.take())
    assert stored == [line for batch in batches for line in batch]
    assert buffer.empty
    assert buffer.lines == len(stored)


def test_a_batch_is_due_by_size() -> None:
    buffer = LogBuffer()
    assert buffer.empty
    buffer.add(["x" * (log_buffer.FLUSH_BYTES - 2)])
    assert not buffer.full
    buffer.add([""])
    assert buffer.full


def test_what_had_to_be_dropped_is_said() -> None:
    buffer = LogBuffer()
    line = "x" * (log_buffer.MOST_PENDING_BYTES // 4)
    buffer.add([line] * 5)
    taken = buffer.take()
    assert taken[0] == "… 2 lines were not kept: the database was away …"
    assert len(taken) == 4
    buffer.add(["after"])
    assert list(buffer.take()) == ["after"]


def test_the_tail_leaves_out_blank_lines() -> None:
    buffer = LogBuffer()
    buffer.add(["a", "", "b", "  ", "c"])
    assert buffer.tail(2) == ("b", "c")
    assert buffer.recent() == ("a", "", "b", "  ", "c")


def test_the_excerpt_shows_the_lines_around_the_error() -> None:
    lines = [f"line {number}" for number in range(30)]
    lines[20] = "ERROR: failed to solve"
    excerpt = around_error(lines, "ERROR: failed to solve")
    assert excerpt == (
        *(f"line {n}" for n in range(14, 20)),
        lines[20],
        "line 21",
        "line 22",
        "line 23",
    )
    assert around_error(lines, "not there") == tuple(lines[-10:])
    assert around_error(["", "only"], None) == ("only",)
    assert around_error(["boom", "next"], "boom") == ("boom", "next")
