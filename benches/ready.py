"""From the start of a process to `/readyz`: with nothing to do, and with 200 left by a kill -9.

A part of it is Python, which imports the program.
"""

import os
import signal
import time
from pathlib import Path

from benches.running_bot import RunningBot, plain_apps, run_bot
from bot.simulators.bot_process import BotProcess

UNFINISHED = 200


async def measure(unfinished: int = UNFINISHED) -> dict[str, object]:
    """Measure; `ready unfinished=50` for another number."""
    apps = plain_apps(unfinished)
    async with run_bot(apps, speed=20.0) as bot:
        idle_s = await _start_again(bot)
    async with run_bot(apps, speed=20.0) as bot:
        await bot.hold([app.name for app in apps])
        busy_s = await _start_again(bot)
    return {
        "unfinished": unfinished,
        "ready_s": round(busy_s, 2),
        "ready_without_any_s": round(idle_s, 2),
        "goal": "<= 2 s",
    }


async def _start_again(bot: RunningBot) -> float:
    os.kill(bot.process.pid, signal.SIGKILL)
    await bot.process.ended()
    settings = bot.simulators.settings
    folder = Path(settings["DATABASE_URL"].removeprefix("sqlite:///")).parent
    began = time.perf_counter()
    process = await BotProcess.start(settings, folder=folder)
    try:
        if not await process.ready():
            raise RuntimeError("\n".join(process.last_lines))
        return time.perf_counter() - began
    finally:
        await process.stop()
