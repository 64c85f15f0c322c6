"""The log buffer, and the lines of the last start in a stored log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.execution import attempt
from bot.deployments.execution.attempt import SECOND_ATTEMPT, LogBuffer, last_attempt


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


def test_batch_is_due_by_size() -> None:
    buffer = LogBuffer()
    assert buffer.empty
    buffer.add(["x" * (attempt.FLUSH_BYTES - 2)])
    assert not buffer.full
    buffer.add([""])
    assert buffer.full


def test_dropped_lines_are_reported() -> None:
    buffer = LogBuffer()
    line = "x" * (attempt.MOST_PENDING_BYTES // 4)
    buffer.add([line] * 5)
    taken = buffer.take()
    assert taken[0] == "… 2 lines were dropped: the database did not answer …"
    assert len(taken) == 4
    buffer.add(["after"])
    assert list(buffer.take()) == ["after"]


def test_tail_leaves_out_blank_lines() -> None:
    buffer = LogBuffer()
    buffer.add(["a", "", "b", "  ", "c"])
    assert buffer.tail(2) == ("b", "c")
    assert buffer.recent() == ("a", "", "b", "  ", "c")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("one\n", ["one"]),
        ("one\n\ntwo\n", ["one", "", "two"]),
        ("with\u2028one\x0cin it\n", ["with\u2028one\x0cin it"]),
        (f"first\n\n{SECOND_ATTEMPT}\n\nsecond\n", ["second"]),
        (f"first\n\n{SECOND_ATTEMPT}\n\n", []),
    ],
)
async def test_last_attempt_is_the_log_after_the_last_marker(text: str, lines: list[str]) -> None:
    assert list(await last_attempt(text)) == lines


async def test_long_log_is_cut_into_its_lines() -> None:
    text = "".join(f"line {number}\n\n" for number in range(300_000))
    assert await last_attempt(text) == text.removesuffix("\n").split("\n")
    again = f"first\n\n{SECOND_ATTEMPT}\n\n{text}"
    assert await last_attempt(again) == text.removesuffix("\n").split("\n")
