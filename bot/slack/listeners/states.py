"""What was read of servers for an answer, kept for a moment: its buttons need not read again."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.clock import Clock
from bot.deployments.live.compare import Match
from bot.deployments.live.reader import LiveReport
from bot.deployments.model import AppKey, Deployment, Live
from bot.deployments.requests.queries import Queries

KEEP = timedelta(seconds=60)
MOST = 200
_SAME_CODE = frozenset({Match.AS_LEFT, Match.RESTARTED})


@dataclass(frozen=True, slots=True)
class _Read:
    reports: Sequence[LiveReport]
    at: datetime
    monotonic: float


class RecentStates:
    """The newest answers about apps, by name and server, of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str | None], _Read] = OrderedDict()

    async def read(
        self, queries: Queries, app: str, server: str | None, *, reread: bool = False
    ) -> tuple[Sequence[LiveReport], datetime]:
        """What is live, and when that was read. `reread`: ask the server in any case. Declined."""
        key = (app, server)
        kept = self._kept.get(key)
        fresh = kept is not None and self._clock.monotonic() - kept.monotonic < KEEP.seconds
        if kept is None or reread or not fresh:
            reports = await queries.live_state(app, server=server)
            kept = _Read(reports, self._clock.now(), self._clock.monotonic())
            self._keep(key, kept)
            if server is None and len(reports) == 1:
                self._keep((app, reports[0].server), kept)  # as its button names it
        return kept.reports, kept.at

    async def live_ids(
        self, queries: Queries, app: str, rows: Sequence[Deployment]
    ) -> Mapping[AppKey, str | None]:
        """By app and server: the deployment whose release is proven to be live now; "": none is.

        None: it could not be read soon.
        """
        found: dict[AppKey, str | None] = {}
        for key in dict.fromkeys(one.target for one in rows):
            report = await queries.live_soon(app, key)
            base, match = report.state.base, report.state.match
            if match is Match.UNREADABLE and not report.missing:
                found[key] = None
            elif base is not None and base.live is Live.NEW and match in _SAME_CODE:
                found[key] = base.id
            else:
                found[key] = ""
        return found

    def _keep(self, key: tuple[str, str | None], read: _Read) -> None:
        self._kept[key] = read
        self._kept.move_to_end(key)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
