"""When may a deployment be tried again? Counts tries, so that nothing is asked in a storm."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from bot.clock import Clock


@dataclass(slots=True)
class _Tries:
    count: int = 0
    next_at: float = 0.0


class Patience:
    """By deployment id. Forgets those that `keep` does not name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all: dict[str, _Tries] = {}

    def over(self, deployment_id: str) -> bool:
        """It may be tried now."""
        tries = self._all.get(deployment_id)
        return tries is None or self._clock.monotonic() >= tries.next_at

    def left(self, deployment_id: str) -> timedelta:
        """How long the pause lasts still."""
        tries = self._all.get(deployment_id)
        rest = tries.next_at - self._clock.monotonic() if tries else 0.0
        return timedelta(seconds=max(0.0, rest))

    def wait(self, deployment_id: str, pause: timedelta) -> None:
        """Not before the pause is over. Counts nothing."""
        tries = self._all.setdefault(deployment_id, _Tries())
        tries.next_at = self._clock.monotonic() + pause.total_seconds()

    def failed(self, deployment_id: str, pause: timedelta) -> int:
        """A try failed: how many have, in a row. The next one not before the pause is over."""
        self.wait(deployment_id, pause)
        tries = self._all[deployment_id]
        tries.count += 1
        return tries.count

    def forget(self, deployment_id: str) -> None:
        """Begin anew."""
        self._all.pop(deployment_id, None)

    def keep(self, deployment_ids: Collection[str]) -> None:
        """All others have ended."""
        for gone in self._all.keys() - set(deployment_ids):
            del self._all[gone]
