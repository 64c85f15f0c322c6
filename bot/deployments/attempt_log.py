"""Where the stored log of a deployment divides into its starts."""

from collections.abc import Sequence

SECOND_ATTEMPT = "…… the connection was lost; started again ……"
NEXT_START = "…… another deploy held Dokku's lock; started when it was free ……"
"""Lines between two starts."""


def last_attempt(text: str) -> Sequence[str]:
    """The lines of a stored log that belong to the last start."""
    lines = text.removesuffix("\n").split("\n") if text else []
    starts = [at for at, line in enumerate(lines) if line in {SECOND_ATTEMPT, NEXT_START}]
    return lines[starts[-1] + 2 :] if starts else lines
