"""Acks of `/deploy` while 50 deployments run, beside a Bolt app that only acks.

Both get a command in turn, so that they share the machine's moods. Then: how long until the
first message of a new deployment is to be seen.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benches.figures import in_ms, percentile
from benches.played import Played, plain_apps, play
from bot.simulators.bot_process import clean_environment
from bot.simulators.slack.simulator import SlackSimulator, open_slack
from bot.slack.manifest import manifest

RUNNING = 50
ROUNDS = 200
FIRST_MESSAGES = 20
GAP_S = 0.05


async def measure() -> dict[str, object]:
    apps = plain_apps(RUNNING + FIRST_MESSAGES)
    names = [app.name for app in apps]
    async with play(apps, speed=20.0) as played, _bare() as bare:
        await played.hold(names[:RUNNING])
        await asyncio.sleep(5.0)
        ours: list[float] = []
        theirs: list[float] = []
        for n in range(ROUNDS):
            ours.append(await ack(played.stage.slack, f"{names[n % RUNNING]} main"))
            theirs.append(await ack(bare, f"{names[n % RUNNING]} main"))
            await asyncio.sleep(GAP_S)
        first = [await _first_message(played, name) for name in names[RUNNING:]]
    ratio = percentile(ours, 0.99) / percentile(theirs, 0.99)
    return {
        "running": RUNNING,
        "ack": in_ms(ours),
        "bare_listener_ack": in_ms(theirs),
        "p99_ratio": round(ratio, 2),
        "first_message": in_ms(first),
        "goal": "p99 ratio <= 2, first message <= 1000 ms",
    }


async def ack(slack: SlackSimulator, text: str) -> float:
    result = await slack.command(slack.user("ada"), slack.channel("deploys"), "/deploy", text)
    if result.ack_after_s is None:
        raise RuntimeError(f"/deploy {text} was not acked")
    return result.ack_after_s


async def _first_message(played: Played, app: str) -> float:
    slack = played.stage.slack
    channel = slack.channel("deploys")
    seen = {message.ts for message in slack.messages(channel)}
    played.stage.dokku.hold_for_test(app, at="build step")
    begin = time.perf_counter()
    deploying = asyncio.create_task(played.deploy(app))
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
            "benches.bare_listener",
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
