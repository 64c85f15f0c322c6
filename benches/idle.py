"""CPU and memory of the bot while nothing happens."""

import asyncio

from benches.figures import Usage
from benches.running_bot import plain_apps, run_bot

SETTLE_S = 10.0
WATCH_S = 30.0


async def measure() -> dict[str, object]:
    async with run_bot(plain_apps(3)) as bot:
        await asyncio.sleep(SETTLE_S)
        begin = Usage.of(bot.process.pid)
        await asyncio.sleep(WATCH_S)
        end = Usage.of(bot.process.pid)
    return {
        "rss_mb": end.rss_mb,
        "core_percent": end.core_percent_since(begin),
        "watched_s": WATCH_S,
        "goal": "<= 160 MB, <= 1 % of a core",
    }
