"""From the end of Dokku's command to the message that shows it, compared with the queries needed.

One deployment at a time. The command is held just before its end until its message may be edited
again, like a build that has been quiet for a moment: 2 s pass between two edits of a message.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from datetime import datetime

import asyncssh

from benches.figures import in_ms, percentile
from benches.running_bot import RunningBot, plain_apps, run_bot
from bot.simulators.slack.model import Message

ROUNDS = 10
SETTLE_S = 2.0
QUIET_S = 2.5
QUERIES = ("builds:list {app} --format json", "ps:inspect {app}", "apps:report {app}")
FAILED = re.compile(r"^Failed: ")
CHECKING = re.compile(r": Checking\b|^Deployed ")
DEPLOYED = re.compile(r"^Deployed ")
"""Matched against the message's one-line text, because the log snippet has similar words."""


async def measure() -> dict[str, object]:
    good = plain_apps(ROUNDS)
    bad = plain_apps(2 * ROUNDS, "build_fails")[ROUNDS:]
    async with run_bot([*good, *bad], speed=10.0, DEPLOYBOT_SETTLE=f"{SETTLE_S}s") as bot:
        failed = [await _end_to_message(bot, app.name, FAILED) for app in bad]
        checking: list[float] = []
        deployed: list[float] = []
        for app in good:
            checking.append(await _end_to_message(bot, app.name, CHECKING))
            begin = time.perf_counter()
            await _until_shown(bot, app.name, DEPLOYED)
            deployed.append(max(0.0, time.perf_counter() - begin - SETTLE_S))
        queries = await _queries(bot, [app.name for app in good])
    results = [*failed, *checking]
    beyond = percentile(results, 0.95) - percentile(queries, 0.5)
    return {
        "end_to_failed": in_ms(failed),
        "end_to_checking": in_ms(checking),
        "checking_to_deployed_beyond_settle": in_ms(deployed),
        "queries": in_ms(queries),
        "p95_beyond_queries_ms": round(1000 * beyond, 1),
        "goal": "p95 <= 200 ms beyond the queries",
    }


async def _end_to_message(bot: RunningBot, app: str, words: re.Pattern[str]) -> float:
    host = bot.simulators.dokku
    host.hold_for_test(app, at="before_exit")
    await bot.deploy(app)
    await host.until(lambda: host.holding(app), timeout_s=60)
    await _until_quiet(bot, app)
    begin = time.perf_counter()
    host.release_for_test(app)
    await _until_shown(bot, app, words)
    return time.perf_counter() - begin


async def _until_quiet(bot: RunningBot, app: str) -> None:
    """Wait until the last edit of its message is longer ago than the time between two edits."""
    edited: datetime | None = None
    while (newest := _newest_edit(bot, app)) != edited:
        edited = newest
        await asyncio.sleep(QUIET_S)


def _newest_edit(bot: RunningBot, app: str) -> datetime:
    slack = bot.simulators.slack
    found = [one for one in slack.messages(slack.channel("deploys")) if app in one.text]
    return found[-1].history[-1].at


async def _until_shown(bot: RunningBot, app: str, words: re.Pattern[str]) -> Message:
    slack = bot.simulators.slack
    channel = slack.channel("deploys")

    def shown() -> Message | None:
        found = [one for one in slack.messages(channel) if app in one.text]
        return found[-1] if found and words.search(found[-1].text) else None

    message = await slack.until(shown, timeout_s=60)
    if message is None:
        raise RuntimeError(f"{app} has no message")
    return message


async def _queries(bot: RunningBot, apps: Sequence[str]) -> list[float]:
    """Wall time of the queries that a result needs, run in turn on one open connection."""
    settings = bot.simulators.settings
    took: list[float] = []
    async with asyncssh.connect(
        settings["DOKKU_HOST"],
        int(settings["DOKKU_PORT"]),
        username=settings["DOKKU_USER"],
        client_keys=[asyncssh.import_private_key(settings["DOKKU_SSH_KEY"])],
        known_hosts=asyncssh.import_known_hosts(settings["DOKKU_KNOWN_HOSTS"]),
        config=None,
    ) as connection:
        for app in apps:
            begin = time.perf_counter()
            for query in QUERIES:
                await connection.run(query.format(app=app), check=True)
            took.append(time.perf_counter() - begin)
    return took
