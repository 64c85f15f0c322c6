"""A build that prints 50 MB as fast as the connection takes it, with other deployments beside it.

The simulated Dokku runs in this process, so that the bot's usage is measured separately. On a
machine with few cores both compete for them, which slows the acks too.
"""

import asyncio
import time

from benches.acks import ack
from benches.figures import Usage, counted, histogram_percentile, in_ms
from benches.many import ERRORS, LATENESS, POLLS
from benches.running_bot import RunningBot, plain_apps, run_bot
from bot.simulators.environment import DemoApp

BESIDE = 10
WITHIN_S = 300.0
FLOODED = DemoApp(name="flooded", behaviour="flood", hint="", commits=("First", "Second"))


async def measure() -> dict[str, object]:
    apps = plain_apps(BESIDE)
    names = [app.name for app in apps]
    async with run_bot([*apps, FLOODED], speed=20.0) as bot:
        await bot.hold(names)
        await asyncio.sleep(5.0)
        page, begin = await bot.metrics(), Usage.of(bot.process.pid)
        began = time.monotonic()
        await bot.deploy(FLOODED.name)
        acks, rss_mb = await _ack_until_finished(bot)
        took_s = time.monotonic() - began
        later, end = await bot.metrics(), Usage.of(bot.process.pid)
        bot.release(names)
    return {
        "printed_mb": 50,
        "end": _result(bot),
        "took_s": round(took_s, 1),
        "bot_cpu_s": round(end.cpu_s - begin.cpu_s, 1),
        "rss_before_mb": begin.rss_mb,
        "rss_most_mb": rss_mb,
        "ack": in_ms(acks),
        "running_beside": BESIDE,
        "polls": counted(later, POLLS) - counted(page, POLLS),
        "poll_errors": counted(later, ERRORS) - counted(page, ERRORS),
        "poll_lateness_p99_at_most_s": histogram_percentile(later, LATENESS, 0.99, page),
    }


async def _ack_until_finished(bot: RunningBot) -> tuple[list[float], float]:
    """Send commands until the flood has ended; return the ack times and the highest RSS."""
    acks: list[float] = []
    most = 0.0
    async with asyncio.timeout(WITHIN_S):
        while not _result(bot).startswith(("Deployed", "Failed")):
            acks.append(await ack(bot.simulators.slack, "help"))
            most = max(most, Usage.of(bot.process.pid).rss_mb)
            await asyncio.sleep(0.1)
    return acks, most


def _result(bot: RunningBot) -> str:
    """Return the first words of the flooded app's message."""
    slack = bot.simulators.slack
    found = [one.text for one in slack.messages(slack.channel("deploys")) if "flooded" in one.text]
    return found[-1].partition(":")[0] if found else ""
