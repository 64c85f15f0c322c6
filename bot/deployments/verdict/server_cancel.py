"""Asks a server whether a build's log grows, and cancels a build there: only the intended one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from bot.clock import Clock
from bot.deployments.dokku_facts import LogEnd
from bot.deployments.ports import Dokku
from bot.deployments.timing import Timing
from bot.deployments.verdict.left_builds import only_running

MOST_WATCHED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSeen:
    """What looks at a build's log have shown so far."""

    end: LogEnd
    looked_at: float
    """The last look, in monotonic seconds."""
    since: datetime
    """The first look."""
    grew_at: datetime | None = None
    """The last time that it was longer than at the look before; None: it never was."""
    grew: bool = False
    """It was at the last look, and the one before it was moments ago: the build lives."""


class LogWatch:
    """Remembers the ends of the logs of builds that may live on: only growth proves a life."""

    def __init__(self, *, clock: Clock, timing: Timing) -> None:
        self._clock = clock
        self._timing = timing
        self._seen: dict[tuple[str, str], LogSeen] = {}

    async def look(self, dokku: Dokku, app: str, build_id: str) -> LogSeen:
        """Look at the log; twice, if the last look was not moments ago. DokkuError."""
        before = self._seen.get((app, build_id))
        if before is None or not self._is_lately(before, self._clock.monotonic()):
            await self._look_once(dokku, app, build_id)
            await self._clock.sleep(self._timing.log_grows_within)
        return await self._look_once(dokku, app, build_id)

    async def _look_once(self, dokku: Dokku, app: str, build_id: str) -> LogSeen:
        end = await dokku.log_end(app, build_id)
        now, looked_at = self._clock.now(), self._clock.monotonic()
        known = self._seen.pop((app, build_id), None)
        if known is None:
            known = LogSeen(end=end, looked_at=looked_at, since=now)
        # Measured here: the machine may have been suspended since the last look.
        lately = self._is_lately(known, looked_at)
        grew = end.goes_on_from(known.end)
        if not grew and known.end.lines:
            end = known.end  # a read that was cut short proves nothing
        seen = replace(
            known,
            end=end,
            looked_at=looked_at,
            grew_at=now if grew else known.grew_at,
            grew=grew and lately,
        )
        self._seen[app, build_id] = seen
        if len(self._seen) > MOST_WATCHED:
            del self._seen[next(iter(self._seen))]
        return seen

    def _is_lately(self, seen: LogSeen, now: float) -> bool:
        return now - seen.looked_at <= self._timing.log_looked_lately.total_seconds()


async def cancel_on_server(
    dokku: Dokku,
    app: str,
    build_id: str,
    *,
    may_act: Callable[[], bool],
    clock: Clock,
    timing: Timing,
) -> None:
    """Send `builds:cancel`, if it can only mean that build at this instant.

    Its answer proves nothing: the record and the containers show what came of it.

    Raises: Declined, when it could mean another build, or none; Withheld, when `may_act` did not
    hold or the answer about the records was too old. Then nothing was sent. DokkuError.
    """
    asked_at = clock.monotonic()
    only_running(await dokku.builds(app), build_id, app)
    fresh_s = timing.record_fresh.total_seconds() * dokku.pace.patience

    def may_send() -> bool:
        return may_act() and clock.monotonic() - asked_at < fresh_s

    await dokku.cancel_build(app, may_send=may_send)
