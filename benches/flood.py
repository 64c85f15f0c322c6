"""A build that prints 50 MB as fast as the line takes them, while others deploy and ask.

The simulated Dokku runs in this process, so that what the bot uses is told apart; on a machine
with few cores both fight for them, and the acks with them.
"""

import asyncio
import time

from benches.acks import ack
from benches.figures import Usage, counted, histogram_percentile, in_ms
from benches.many import ERRORS, LATENESS, POLLS
from benches.played import Played, plain_apps, play
from bot.simulators.environment import DemoApp

BESIDE = 10
WITHIN_S = 300.0
FLOODED = DemoApp(name="flooded", behaviour="flood", hint="", commits=("First", "Second"))


async def measure() -> dict[str, object]:
    apps = plain_apps(BESIDE)
    names = [app.name for app in apps]
    async with play([*apps, FLOODED], speed=20.0) as played:
        await played.hold(names)
        await asyncio.sleep(5.0)
        page, begin = await played.metrics(), Usage.of(played.bot.pid)
        began = time.monotonic()
        await played.deploy(FLOODED.name)
        acks, rss_mb = await _ask_until_told(played)
        took_s = time.monotonic() - began
        later, end = await played.metrics(), Usage.of(played.bot.pid)
        played.release(names)
    return {
        "printed_mb": 50,
        "end": _says(played),
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


async def _ask_until_told(played: Played) -> tuple[list[float], float]:
    """Ask for something again and again until the flood has ended; the acks, and the most RSS."""
    acks: list[float] = []
    most = 0.0
    async with asyncio.timeout(WITHIN_S):
        while not _says(played).startswith(("Deployed", "Failed")):
            acks.append(await ack(played.stage.slack, "help"))
            most = max(most, Usage.of(played.bot.pid).rss_mb)
            await asyncio.sleep(0.1)
    return acks, most


def _says(played: Played) -> str:
    """The first words of the flooded app's message."""
    slack = played.stage.slack
    found = [one.text for one in slack.messages(slack.channel("deploys")) if "flooded" in one.text]
    return found[-1].partition(":")[0] if found else ""
