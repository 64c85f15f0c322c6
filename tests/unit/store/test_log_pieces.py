"""Cutting log lines into pieces loses nothing and respects the limit."""

from hypothesis import given
from hypothesis import strategies as st

from bot.store.logs import CHUNK_BYTES, cut

LINES = st.lists(
    st.builds(
        lambda letter, times: letter * times,
        st.sampled_from(["x", "é", "🚀", "a🚀", ""]),
        st.sampled_from([0, 1, 80, 16_383, 16_384, 65_535, 65_536, 100_000]),
    ),
    max_size=6,
)


@given(LINES)
def test_pieces_contain_all_lines_and_fit_the_limit(lines: list[str]) -> None:
    pieces = list(cut(lines))
    whole = "".join(line + "\n" for line in lines)
    assert b"".join(piece.text for piece in pieces) == whole.encode()
    assert all(0 < len(piece.text) <= CHUNK_BYTES for piece in pieces)
    assert sum(piece.lines for piece in pieces) == len(lines)
    for piece in pieces:
        piece.text.decode()


@given(st.lists(st.sampled_from(["", "x" * 80, "é" * 3000]), max_size=60))
def test_pieces_end_with_a_line(lines: list[str]) -> None:
    assert all(piece.text.endswith(b"\n") for piece in cut(lines))


def test_unencodable_characters_are_replaced() -> None:
    assert [piece.text for piece in cut(["a\udcffb"])] == [b"a?b\n"]
