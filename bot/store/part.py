"""What every part of the store stands on."""

from collections.abc import Callable

from sqlalchemy import ColumnElement

from bot.clock import Clock
from bot.deployments.ports import Planner
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
    ) -> None:
        self._database = database
        self._clock = clock
        self._planner = planner
        self._now_ms = now_ms
