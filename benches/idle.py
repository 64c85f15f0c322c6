"""What the bot uses while nothing happens."""

import asyncio

from benches.figures import Usage
from benches.played import plain_apps, play

SETTLE_S = 10.0
WATCH_S = 30.0


async def measure() -> dict[str, object]:
    async with play(plain_apps(3)) as played:
        await asyncio.sleep(SETTLE_S)
        begin = Usage.of(played.bot.pid)
        await asyncio.sleep(WATCH_S)
        end = Usage.of(played.bot.pid)
    return {
        "rss_mb": end.rss_mb,
        "core_percent": end.core_percent_since(begin),
        "watched_s": WATCH_S,
        "goal": "<= 160 MB, <= 1 % of a core",
    }
