"""How much faster than real time everything runs. Used by the bot and by the judge.

The simulated Dokku runs `SPEED` times as fast as its recordings. The bot's durations are chosen so
that their order stays the same as in production: the settle time is longer than a crash loop's turn
(20 s), a poll comes more often than a build lasts, a lease outlives a heartbeat.
"""

import asyncio
from dataclasses import fields
from datetime import timedelta
from typing import Any

from bot.clock import SystemClock
from bot.deployments.timing import LockTiming, Timing
from bot.dokku.limits import SshLimits
from bot.outbox import LaneTiming
from bot.slack.limits import EditLimits, SlackLimits

SPEED = 300.0
SETTLE = timedelta(milliseconds=250)
"""75 simulated seconds: a process that lives 20 s dies three times in it."""
MAX_DURATION_S = 20.0
CAP_S = 1.5
"""For the one app whose deployments reach their cap."""
POLL_INTERVAL = timedelta(milliseconds=200)
POLL_TIMEOUT = timedelta(seconds=2.4)
LEASE = timedelta(seconds=1.5)
LATE_INTERVAL = timedelta(milliseconds=400)
HURRY = 10.0
"""Constant pauses in the bot's code are divided by this."""
LONG_S = 0.26
"""Longer pauses are such constants, not settings from this module."""
SHORTEST_S = 0.02

CHOSEN: dict[str, timedelta | int | LockTiming] = {
    "poll_interval": POLL_INTERVAL,
    "poll_timeout": POLL_TIMEOUT,
    "max_poll_errors": 3,
    "settle": SETTLE,
    "queue_ttl": timedelta(seconds=40),
    "start_window": timedelta(seconds=1.5),
    "record_wait": timedelta(milliseconds=600),
    "lease": LEASE,
    "heartbeat": timedelta(milliseconds=300),
    "late_interval": LATE_INTERVAL,
    "late_duration": timedelta(seconds=30),
    "start_again_within": timedelta(seconds=15),
    "sent_lives_on": timedelta(seconds=1),
    "lock": LockTiming(
        dies_within=timedelta(milliseconds=600), fetch_lives_on=timedelta(seconds=1)
    ),
    "posting": timedelta(seconds=2),
    "look_for_work": timedelta(milliseconds=300),
}


def timing() -> Timing:
    """The bot's durations, without those that `Timing` does not have."""
    known = {one.name for one in fields(Timing)}
    chosen: dict[str, Any] = {name: value for name, value in CHOSEN.items() if name in known}
    return Timing(**chosen)


SLACK_LIMITS = SlackLimits(
    # 45 edits a minute would stretch a thousand results over half an hour. The simulated workspace
    # takes any number, and which state is shown last does not depend on it.
    edits=EditLimits(
        per_minute=100_000,
        refreshes_per_minute=90_000,
        spacing_s=0.05,
        refresh_s=0.5,
        routine_spacing_s=0.01,
    ),
    untried_reply=timedelta(seconds=1),
)
SSH_LIMITS = SshLimits(
    cool_down_s=0.05,
    longest_cool_down_s=0.75,
    # A login into a black hole holds up all others; a dead connection shows by its silence.
    connect_s=2.0,
    question_alive_s=2.0,
)
LANE_TIMING = LaneTiming(
    # A killed process holds its rows for this long.
    hold=timedelta(seconds=2),
    idle=timedelta(seconds=2),
    retry_after=(timedelta(milliseconds=500),) * 20,
)


class HurriedClock(SystemClock):
    """Real time, but shorter sleeps between looks, tries and heartbeats."""

    async def sleep(self, duration: timedelta) -> None:
        seconds = max(0.0, duration.total_seconds())
        if seconds > LONG_S:
            seconds = max(SHORTEST_S, seconds / HURRY)
        await asyncio.sleep(seconds)
