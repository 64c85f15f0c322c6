"""`python -m tests.truth --seed N --deployments 1000 --seconds 600 [--faults none|all]`."""

import argparse
import asyncio
import json
import math
import random
import sys
import time

from bot.simulators.dokku.recordings import NEWEST, VERSIONS
from tests.truth.plans import ROUND, Repertoire, plans
from tests.truth.rounds import RoundResult, play_round
from tests.truth.summary import Summary, story


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: one of its own")
    parser.add_argument("--deployments", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=600.0, help="begin no round after it")
    parser.add_argument("--faults", choices=("none", "all"), default="all")
    parser.add_argument("--version", choices=VERSIONS, default=NEWEST, help="of the Dokku")
    parser.add_argument("--lanes", type=int, default=2, help="rounds played at once")
    parser.add_argument("--only", type=int, help="the round of this deployment, nothing else")
    parser.add_argument("--stories", action="store_true", help="of unknown ends too")
    parser.add_argument("--log", action="store_true", help="print the bot's own log of bad rounds")
    return parser.parse_args()


async def run(asked: argparse.Namespace) -> Summary:
    """Rounds, until there are enough deployments or no time is left."""
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    summary = Summary(seed=seed, faults=asked.faults, version=asked.version)
    say(f"seed {seed}, faults {asked.faults}, Dokku {asked.version}")
    faults = asked.faults == "all"
    may = Repertoire(faults=faults, old=asked.version != NEWEST)
    until = time.monotonic() + asked.seconds
    numbers = iter(range(math.ceil(asked.deployments / ROUND)))
    if asked.only is not None:
        numbers = iter([asked.only // ROUND])

    async def lane() -> None:
        for number in numbers:
            if time.monotonic() > until:
                return
            left = asked.deployments - number * ROUND if asked.only is None else ROUND
            wanted = plans(seed, number, may=may, count=min(ROUND, left))
            result = await play_round(
                seed, number, faults=faults, version=asked.version, only=wanted
            )
            summary.add(result)
            tell(result, log=asked.log, stories=asked.stories)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(asked.lanes):
            group.create_task(lane())
    summary.seconds = time.monotonic() - began
    return summary


def tell(result: RoundResult, *, log: bool, stories: bool) -> None:
    """One line for the round, and the story of whatever was wrong in it."""
    wrong = [one for one in result.told if one.wrong]
    named = "\n".join(result.problems)
    bad = [
        one for one in result.told if one.wrong or one.row.id in named or (stories and one.unknown)
    ]
    rate = len(result.told) / result.took_s
    say(
        f"round {result.number}: {len(result.told)} deployments in {result.took_s:.1f} s "
        f"({rate:.1f}/s), {len(wrong)} wrong, {len(result.problems)} problems"
    )
    for problem in result.problems:
        say(f"  PROBLEM {problem}")
    for one in bad:
        say("\n".join(story(result, one)))
    if log and (wrong or result.problems):
        say(result.log)


def say(text: str) -> None:
    """Print, at once: a run takes minutes, and somebody waits for it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run it; 0: nothing was wrong."""
    summary = asyncio.run(run(arguments()))
    for end in summary.unknown_ends:
        say(f"unknown: {end}")
    say(json.dumps(summary.as_json(), indent=2))
    return 0 if summary.good else 1


if __name__ == "__main__":
    sys.exit(main())
