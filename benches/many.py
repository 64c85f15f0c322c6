"""200 running deployments, each looked at every 10 s."""

import asyncio

from benches.figures import Usage, histogram_percentile
from benches.played import plain_apps, play

RUNNING = 200
WATCH_S = 60.0
LATENESS = "deploybot_poll_lateness_seconds"


async def measure() -> dict[str, object]:
    apps = plain_apps(RUNNING)
    names = [app.name for app in apps]
    async with play(apps, speed=20.0) as played:
        await played.hold(names)
        await asyncio.sleep(15.0)
        page, begin = await played.metrics(), Usage.of(played.bot.pid)
        await asyncio.sleep(WATCH_S)
        later, end = await played.metrics(), Usage.of(played.bot.pid)
    return {
        "running": RUNNING,
        "core_percent": end.core_percent_since(begin),
        "rss_mb": end.rss_mb,
        "poll_lateness_p50_at_most_s": histogram_percentile(later, LATENESS, 0.5, page),
        "poll_lateness_p99_at_most_s": histogram_percentile(later, LATENESS, 0.99, page),
        "watched_s": WATCH_S,
        "goal": "<= 15 % of a core, lateness p99 <= 1 s",
    }
