"""What every part of the store stands on."""

from collections.abc import Callable, Mapping

from sqlalchemy import ColumnElement

from bot.clock import Clock
from bot.deployments.queue.rules import NO_LIMITS
from bot.outbox.model import Planner
from bot.store.columns import NowMs
from bot.store.database import Database

DatabaseClock = Callable[[], ColumnElement[int]]
"""The expression that asks the database for its time in ms; tests put a shifted one here."""


class Part:
    """One noun of the store; `engine.SqlStore` is all of them as one."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        planner: Planner,
        now_ms: DatabaseClock = NowMs,
        max_running: Mapping[str, int] = NO_LIMITS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._planner = planner
        self._now_ms = now_ms
        self._max_running = max_running
