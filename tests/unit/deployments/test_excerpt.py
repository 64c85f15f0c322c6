"""The lines of a log that are shown beside a failure."""

from bot.deployments.excerpt import around_error


def test_excerpt_shows_the_lines_around_the_error() -> None:
    lines = [f"line {number}" for number in range(30)]
    lines[20] = "ERROR: failed to solve"
    excerpt = around_error(lines, "ERROR: failed to solve")
    assert excerpt == (
        *(f"line {n}" for n in range(15, 20)),
        lines[20],
        *(f"line {n}" for n in range(21, 25)),
    )
    assert around_error(lines, "not there") == tuple(lines[-10:])
    assert around_error(["", "only"], None) == ("only",)
    assert around_error(["boom", "next"], "boom") == ("boom", "next")
