"""The log buffer and the excerpt."""

from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.excerpt import around_error
from bot.deployments.execution import attempt
from bot.deployments.execution.attempt import LogBuffer


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
    buffer.add(["x" * (attempt.FLUSH_BYTES - 2)])
    assert not buffer.full
    buffer.add([""])
    assert buffer.full


def test_what_had_to_be_dropped_is_said() -> None:
    buffer = LogBuffer()
    line = "x" * (attempt.MOST_PENDING_BYTES // 4)
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
