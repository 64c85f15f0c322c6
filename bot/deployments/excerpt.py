"""Which lines of a log a person should see first. Pure."""

from collections.abc import Sequence

MOST = 10
BEFORE = 6


def around_error(lines: Sequence[str], error: str | None) -> tuple[str, ...]:
    """Up to 10 lines around the last line that holds the error; without one, the last lines."""
    kept = [line for line in lines if line.strip()]
    if error:
        for place in range(len(kept) - 1, -1, -1):
            if error in kept[place]:
                begin = max(0, place - BEFORE)
                return tuple(kept[begin : begin + MOST])
    return tuple(kept[-MOST:])
