"""Slack's documented floors, counted per method over one minute."""

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field

from bot.simulators.slack.clock import Clock

TIER_PER_MINUTE = {1: 1, 2: 20, 3: 50, 4: 100}
POSTS_PER_CHANNEL = 10
"""Posts in a channel within 10 s: one a second, with a short burst."""
POSTS_WINDOW_S = 10.0
WINDOW_S = 60.0


@dataclass(kw_only=True)
class RateLimiter:
    """Answers how long a call has to wait; asked only where the limits are enforced."""

    clock: Clock
    _calls: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def retry_after_s(self, method: str, tier: int | None, channel: str | None) -> int | None:
        """Count the call, or say after how many whole seconds it may come again.

        `tier` None is Slack's "special": only posts are limited, per channel.
        """
        if tier is not None:
            return self._window(method, TIER_PER_MINUTE[tier], WINDOW_S)
        if method == "chat.postMessage":
            return self._window(f"{method} {channel}", POSTS_PER_CHANNEL, POSTS_WINDOW_S)
        return None

    def _window(self, key: str, most: int, window_s: float) -> int | None:
        now_s = self.clock.now_s()
        recent = self._calls[key]
        while recent and recent[0] <= now_s - window_s:
            recent.popleft()
        if len(recent) >= most:
            return max(1, math.ceil(recent[0] + window_s - now_s))
        recent.append(now_s)
        return None
