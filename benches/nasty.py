"""Six builds at once that print what is slow to mask; and the acks of the bot meanwhile.

The simulated Dokku runs in this process, and both compete for the processors.
"""

import asyncio
import time
from contextlib import suppress

from benches.acks import ack
from benches.figures import Usage, in_ms
from benches.running_bot import RunningBot, plain_apps, run_bot
from bot.simulators.dokku.model import PipeBroken

BUILDS = 6
CHUNK = 64 * 1024
CHUNKS = 16
WITHIN_S = 240.0
KEY = b"-----BEGIN RSA PRIVATE KEY-----\n"
NASTY = (b" \t", b"://", b"password", b"token=\\/", b"%2f%2F", b"AAAA")
"""Repeated: each made a pattern of the redactor go over the same text again and again once."""


async def measure() -> dict[str, object]:
    apps = plain_apps(BUILDS)
    names = [app.name for app in apps]
    async with run_bot(apps, speed=20.0) as bot:
        await bot.hold(names)
        slack = bot.simulators.slack
        before = [await ack(slack, "help") for _ in range(20)]
        usage, began = Usage.of(bot.process.pid), time.monotonic()
        printing = asyncio.gather(*map(_print, [bot] * BUILDS, names, NASTY))
        printing.add_done_callback(lambda _done: bot.release(names))
        meanwhile: list[float] = []
        async with asyncio.timeout(WITHIN_S):
            while _running(bot):
                meanwhile.append(await ack(slack, "help"))
                await asyncio.sleep(0.1)
        await printing
        used = Usage.of(bot.process.pid).cpu_s - usage.cpu_s
    return {
        "builds": BUILDS,
        "printed_mb": round(BUILDS * CHUNKS * CHUNK / 2**20, 1),
        "took_s": round(time.monotonic() - began, 1),
        "bot_cpu_s": round(used, 1),
        "ack_before": in_ms(before),
        "ack_meanwhile": in_ms(meanwhile),
    }


def _running(bot: RunningBot) -> int:
    """How many of the live messages show no end yet."""
    slack = bot.simulators.slack
    said = [one.text for one in slack.messages(slack.channel("deploys")) if one.bot_id]
    return BUILDS - sum(text.startswith(("Deployed", "Failed", "Cancelled")) for text in said)


async def _print(bot: RunningBot, app: str, nasty: bytes) -> None:
    """Print the first line of a key, and below it the same few bytes over and over."""
    (run,) = bot.simulators.dokku.apps[app].runs
    with suppress(PipeBroken):
        await run.write("out", KEY)
        for number in range(CHUNKS):
            line = nasty * (CHUNK // len(nasty))
            await run.write("out", line if number % 2 else line + b"\n")
