"""Ack times of `/deploy` while 50 deployments run, compared with a Bolt app that only acks.

Both get a command in turn, so that the load of the machine affects both. Then: 20 requests a
second, whether the last ones were answered or not; and how long until the first message of a new
deployment is visible.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from benches.figures import in_ms, percentile
from benches.running_bot import RunningBot, plain_apps, run_bot
from bot.simulators.bot_process import clean_environment
from bot.simulators.slack.simulator import SlackSimulator, open_slack
from bot.slack.manifest import manifest

RUNNING = 50
ROUNDS = 200
FIRST_MESSAGES = 20
GAP_S = 0.05
STEADY_S = 20
PER_SECOND = 20


async def measure() -> dict[str, object]:
    apps = plain_apps(RUNNING + FIRST_MESSAGES)
    names = [app.name for app in apps]
    async with run_bot(apps, speed=20.0) as bot, _bare() as bare:
        await bot.hold(names[:RUNNING])
        await asyncio.sleep(5.0)
        bot_s: list[float] = []
        bare_s: list[float] = []
        for n in range(ROUNDS):
            bot_s.append(await ack(bot.simulators.slack, f"{names[n % RUNNING]} main"))
            bare_s.append(await ack(bare, f"{names[n % RUNNING]} main"))
            await asyncio.sleep(GAP_S)
        steady_s = await _steady(bot.simulators.slack, names[:RUNNING])
        first = [await _first_message(bot, name) for name in names[RUNNING:]]
    ratio = percentile(bot_s, 0.99) / percentile(bare_s, 0.99)
    return {
        "running": RUNNING,
        "ack": in_ms(bot_s),
        "bare_listener_ack": in_ms(bare_s),
        "p99_ratio": round(ratio, 2),
        f"ack_at_{PER_SECOND}_a_second": in_ms(steady_s),
        "first_message": in_ms(first),
        "goal": "p99 ratio <= 1.2, p99 at a steady rate <= 250 ms, first message <= 1000 ms",
    }


async def ack(slack: SlackSimulator, text: str) -> float:
    result = await slack.command(slack.user("ada"), slack.channel("deploys"), "/deploy", text)
    if result.ack_after_s is None:
        raise RuntimeError(f"/deploy {text} was not acked")
    return result.ack_after_s


async def _steady(slack: SlackSimulator, apps: Sequence[str]) -> list[float]:
    """Requests and questions in turn."""
    asked = []
    begin = time.perf_counter()
    for n in range(STEADY_S * PER_SECOND):
        app = apps[n % len(apps)]
        asked.append(asyncio.create_task(ack(slack, f"status {app}" if n % 2 else f"{app} main")))
        await asyncio.sleep(max(0.0, begin + (n + 1) / PER_SECOND - time.perf_counter()))
    return await asyncio.gather(*asked)


async def _first_message(bot: RunningBot, app: str) -> float:
    slack = bot.simulators.slack
    channel = slack.channel("deploys")
    seen = {message.ts for message in slack.messages(channel)}
    bot.simulators.dokku.hold_for_test(app, at="build step")
    begin = time.perf_counter()
    deploying = asyncio.create_task(bot.deploy(app))
    await slack.until(
        lambda: [one for one in slack.messages(channel) if one.ts not in seen], timeout_s=30
    )
    took = time.perf_counter() - begin
    await deploying
    return took


@asynccontextmanager
async def _bare() -> AsyncIterator[SlackSimulator]:
    async with open_slack(manifest=manifest()) as slack:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benches.bare_slack_app",
            env=clean_environment(os.environ)
            | {
                "SLACK_BOT_TOKEN": slack.bot_token,
                "SLACK_APP_TOKEN": slack.app_token,
                "SLACK_API_URL": slack.api_url,
            },
        )
        try:
            await slack.until(lambda: slack.open_connections, timeout_s=30)
            yield slack
        finally:
            process.terminate()
            await process.wait()
