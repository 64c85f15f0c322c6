"""Rounds of random deaths: people act, the bot dies, and in the end everything must be true."""

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bot.deployments.model import Phase
from tests.kills.deaths import Death
from tests.kills.people import FAILING, People
from tests.kills.stories import APP, GUARDED, SETTINGS
from tests.kills.world import Lives, open_lives
from tests.support.bot_processes import an_app

KILLS = 20
"""Deaths of one round; then the bot lives on, and its work is judged."""
MOST_CALLS = 250
"""A life in which more happened is ended from outside."""
LONGEST_LIFE_S = 6.0
CALLS = (
    "git.*",
    "leases.[cr]*",
    "locks.*",
    "logs.*",
    "outbox.delivered",
    "slack.*",
    "slack.post*",
    "slack.publish_home",
    "slack.update",
    "ssh *",
    "ssh builds:*",
    "ssh git:sync",
    "store.*",
    "store.save * > *",
    "webhook.post",
)
"""Half of the deaths come at one of these; the others at any call, of which many are idle looks."""


@dataclass(kw_only=True)
class RoundResult:
    """The outcome of a round."""

    number: int
    deaths: list[str]
    deployments: int = 0
    problems: list[str] = field(default_factory=list)
    took_s: float = 0.0
    last_lines: list[str] = field(default_factory=list)


async def run_round(seed: int, number: int, kills: int = KILLS) -> RoundResult:
    """Run and judge a round."""
    began = time.monotonic()
    chance = random.Random(f"{seed}/{number}")
    apps = an_app(APP), an_app(GUARDED), an_app(FAILING, "build_fails")
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        async with open_lives(Path(folder), *apps, settings=SETTINGS) as lives:
            people = People(lives, chance)
            await _die_often(lives, people, chance, kills)
            result = RoundResult(number=number, deaths=lives.deaths)
            await lives.begin()
            assert await lives.bot.ready(), lives.bot.last_lines
            await _tidy_up(lives, people)
            result.problems = await lives.settled()
            result.deployments = len(await lives.store.recent(limit=10_000))
            result.last_lines = list(lives.bot.lines)
            await lives.stop()
            result.took_s = time.monotonic() - began
            return result


def _random_death(chance: random.Random) -> Death:
    """As many short lives as long ones: a death soon after a start cuts off its recovery."""
    if chance.random() < 0.5:
        return Death(number=int(MOST_CALLS ** chance.random()))
    return Death(call=chance.choice(CALLS), number=chance.choice((1, 1, 1, 2, 3, 5)))


async def _tidy_up(lives: Lives, people: People) -> None:
    """People end what would wait for ever."""
    await people.unlock_all()
    for row in await lives.store.unfinished():
        if row.phase is Phase.AWAITING_APPROVAL:
            await people.cancel(row.id)


async def _die_often(lives: Lives, people: People, chance: random.Random, kills: int) -> None:
    over = asyncio.Event()
    acting = asyncio.create_task(people.act_until(over))
    try:
        for _ in range(kills):
            await lives.begin(_random_death(chance))
            try:
                await lives.died(chance.uniform(LONGEST_LIFE_S / 2, LONGEST_LIFE_S))
            except TimeoutError:
                await lives.kill()
    finally:
        over.set()
        await acting
