"""The log of a running deployment on its way to the store: lines in, batches and a tail out."""

from collections import deque
from collections.abc import Sequence

FLUSH_BYTES = 64_000
"""A batch is due at this size, or after a second."""
KEPT_LINES = 400
"""Enough to find the lines around an error."""
MOST_PENDING_BYTES = 16_000_000
"""While the database is away, lines wait in memory up to the size the store keeps anyway."""


class LogBuffer:
    """Lines are cleaned and redacted already. Never blocks: the stream must be read on."""

    def __init__(self) -> None:
        self._pending: deque[str] = deque()
        self._pending_bytes = 0
        self._dropped = 0
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self.lines = 0
        """Lines seen in all."""

    def add(self, lines: Sequence[str]) -> None:
        """Take lines from the stream."""
        self._last.extend(lines)
        self.lines += len(lines)
        self._pending.extend(lines)
        self._pending_bytes += _size(lines)
        self._trim()

    @property
    def full(self) -> bool:
        """A batch is due by size."""
        return self._pending_bytes >= FLUSH_BYTES

    @property
    def empty(self) -> bool:
        """Nothing waits to be stored."""
        return not self._pending

    def take(self) -> Sequence[str]:
        """All that waits to be stored, with an honest line for what was dropped."""
        lines = list(self._pending)
        if self._dropped:
            lines.insert(0, f"… {self._dropped} lines were not kept: the database was away …")
        self._pending.clear()
        self._pending_bytes = 0
        self._dropped = 0
        return lines

    def put_back(self, lines: Sequence[str]) -> None:
        """The store did not take them; they wait again, before anything newer."""
        self._pending.extendleft(reversed(lines))
        self._pending_bytes += _size(lines)
        self._trim()

    def tail(self, most: int) -> tuple[str, ...]:
        """The last lines with something on them, oldest first."""
        found: list[str] = []
        for line in reversed(self._last):
            if line.strip():
                found.append(line)
                if len(found) == most:
                    break
        return tuple(reversed(found))

    def recent(self) -> Sequence[str]:
        """The last lines kept in memory (<= 400)."""
        return tuple(self._last)

    def _trim(self) -> None:
        while self._pending_bytes > MOST_PENDING_BYTES:
            self._pending_bytes -= len(self._pending.popleft()) + 1
            self._dropped += 1


def _size(lines: Sequence[str]) -> int:
    return sum(len(line) + 1 for line in lines)
