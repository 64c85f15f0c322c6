"""200 running deployments, each polled every 10 s."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from benches.figures import Usage, counted, histogram_percentile
from benches.running_bot import RunningBot, plain_apps, run_bot, run_replicas

RUNNING = 200
SETTLE_S = 15.0
WATCH_S = 60.0
LATENESS = "deploybot_poll_lateness_seconds"
POLLS = "deploybot_poll_seconds_count"
ERRORS = "deploybot_poll_errors_total"


async def measure(running: int = RUNNING, replicas: int = 0) -> dict[str, object]:
    """Measure; `many running=100` for another number, `replicas=1` for a bot on PostgreSQL."""
    figures = await watch(running) if not replicas else await watch_replicas(running, replicas)
    return {**figures, "goal": "<= 15 % of a core, lateness p99 <= 1 s"}


async def watch(running: int) -> dict[str, object]:
    """Measure the bot while this many deployments are held in their builds."""
    apps = plain_apps(running)
    async with run_bot(apps, speed=20.0) as bot:
        await bot.hold([app.name for app in apps])
        (figures,) = await _watch([bot])
    return {"running": running, **figures, "watched_s": WATCH_S}


async def watch_replicas(running: int, replicas: int) -> dict[str, object]:
    """Measure several bots that share this many deployments on one PostgreSQL."""
    apps = plain_apps(running)
    async with run_replicas(apps, replicas, speed=20.0) as bots:
        await bots[0].hold([app.name for app in apps])
        figures = await _watch(bots)
    return {"running": running, "replicas": figures, "watched_s": WATCH_S}


async def _watch(bots: Sequence[RunningBot]) -> list[dict[str, object]]:
    await asyncio.sleep(SETTLE_S)
    before = [await Moment.of(bot) for bot in bots]
    await asyncio.sleep(WATCH_S)
    return [(await Moment.of(bot)).since(first) for bot, first in zip(bots, before, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What one bot has used and counted so far."""

    usage: Usage
    page: str
    """Its /metrics."""

    @classmethod
    async def of(cls, bot: RunningBot) -> Self:
        return cls(page=await bot.metrics(), usage=Usage.of(bot.process.pid))

    def since(self, first: "Moment") -> dict[str, object]:
        polls = counted(self.page, POLLS) - counted(first.page, POLLS)
        cpu_s = self.usage.cpu_s - first.usage.cpu_s
        return {
            "core_percent": self.usage.core_percent_since(first.usage),
            "cpu_ms_per_poll": round(1000 * cpu_s / polls, 2) if polls else None,
            "rss_mb": self.usage.rss_mb,
            "polls": polls,
            "poll_errors": counted(self.page, ERRORS) - counted(first.page, ERRORS),
            "poll_lateness_p50_at_most_s": self._lateness(0.5, first),
            "poll_lateness_p99_at_most_s": self._lateness(0.99, first),
        }

    def _lateness(self, share: float, first: "Moment") -> float:
        return histogram_percentile(self.page, LATENESS, share, first.page)
