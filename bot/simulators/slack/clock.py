"""The workspace's clock, which a test can advance, and Slack's delays."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(kw_only=True)
class Clock:
    """The simulated Slack's wall time and its message timestamps."""

    offset_s: float = 0.0
    _last_us: int = field(default=0, repr=False)

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.offset_s

    def now(self) -> datetime:
        """The same instant, aware, UTC."""
        return datetime.fromtimestamp(self.now_s(), tz=UTC)

    def next_ts(self) -> str:
        """Return a message `ts` that is unique in this workspace: `1700000000.000100`."""
        self._last_us = max(int(self.now_s() * 1_000_000), self._last_us + 1)
        return f"{self._last_us // 1_000_000}.{self._last_us % 1_000_000:06d}"

    def advance_for_test(self, seconds: float) -> None:
        """Let triggers, response URLs and rate windows age without waiting."""
        self.offset_s += seconds


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Slack's delays, in seconds; tests may pass shorter ones.

    Sources: docs.slack.dev "events-api", "handling-user-interaction", "using-socket-mode".
    """

    ack_s: float = 3.0
    """Time that an app has to acknowledge."""
    trigger_s: float = 3.0
    response_url_s: float = 30 * 60.0
    response_url_uses: int = 5
    event_retries_s: tuple[float, ...] = (1.0, 60.0, 300.0)
    """Pauses before the second, third and fourth delivery of an unacknowledged event."""
    disconnect_warning_s: float = 10.0
    """From the `warning` frame to `refresh_requested`."""
