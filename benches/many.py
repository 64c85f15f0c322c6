"""200 running deployments, each polled every 10 s."""

import asyncio

from benches.figures import Usage, counted, histogram_percentile
from benches.running_bot import plain_apps, run_bot

RUNNING = 200
SETTLE_S = 15.0
WATCH_S = 60.0
LATENESS = "deploybot_poll_lateness_seconds"
POLLS = "deploybot_poll_seconds_count"
ERRORS = "deploybot_poll_errors_total"


async def measure(running: int = RUNNING) -> dict[str, object]:
    """Measure; `many running=100` for another number."""
    return {**await watch(running), "goal": "<= 15 % of a core, lateness p99 <= 1 s"}


async def watch(running: int) -> dict[str, object]:
    """Measure the bot while this many deployments are held in their builds."""
    apps = plain_apps(running)
    names = [app.name for app in apps]
    async with run_bot(apps, speed=20.0) as bot:
        await bot.hold(names)
        await asyncio.sleep(SETTLE_S)
        page, begin = await bot.metrics(), Usage.of(bot.process.pid)
        await asyncio.sleep(WATCH_S)
        later, end = await bot.metrics(), Usage.of(bot.process.pid)
    polls = counted(later, POLLS) - counted(page, POLLS)
    return {
        "running": running,
        "core_percent": end.core_percent_since(begin),
        "cpu_ms_per_poll": round(1000 * (end.cpu_s - begin.cpu_s) / polls, 2),
        "rss_mb": end.rss_mb,
        "polls": polls,
        "poll_errors": counted(later, ERRORS) - counted(page, ERRORS),
        "poll_lateness_p50_at_most_s": histogram_percentile(later, LATENESS, 0.5, page),
        "poll_lateness_p99_at_most_s": histogram_percentile(later, LATENESS, 0.99, page),
        "watched_s": WATCH_S,
    }
