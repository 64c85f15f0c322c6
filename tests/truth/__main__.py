"""`python -m tests.truth --seed N --deployments 1000 --seconds 600 [--faults none|all]`."""

import argparse
import asyncio
import json
import math
import random
import sys
import time

from bot.simulators.dokku.recordings import NEWEST, VERSIONS
from tests.truth.plans import ROUND, Options, plans
from tests.truth.rounds import RoundResult, run_round
from tests.truth.summary import Summary, story


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one")
    parser.add_argument("--deployments", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=600.0, help="start no round after this")
    parser.add_argument("--faults", choices=("none", "all"), default="all")
    parser.add_argument("--version", choices=VERSIONS, default=NEWEST, help="Dokku version")
    parser.add_argument("--lanes", type=int, default=2, help="rounds that run at once")
    parser.add_argument("--only", type=int, help="only the round of this deployment")
    parser.add_argument("--stories", action="store_true", help="show unknown results too")
    parser.add_argument("--log", action="store_true", help="print the bot's own log of bad rounds")
    return parser.parse_args()


async def run(asked: argparse.Namespace) -> Summary:
    """Rounds, until there are enough deployments or no time is left."""
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    summary = Summary(seed=seed, faults=asked.faults, version=asked.version)
    say(f"seed {seed}, faults {asked.faults}, Dokku {asked.version}")
    faults = asked.faults == "all"
    may = Options(faults=faults, old=asked.version != NEWEST)
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
            result = await run_round(
                seed, number, faults=faults, version=asked.version, only=wanted
            )
            summary.add(result)
            report(result, log=asked.log, stories=asked.stories)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(asked.lanes):
            group.create_task(lane())
    summary.seconds = time.monotonic() - began
    return summary


def report(result: RoundResult, *, log: bool, stories: bool) -> None:
    """Print one line for the round, and the details of each error in it."""
    wrong = [one for one in result.reported if one.wrong]
    named = "\n".join(result.problems)
    bad = [
        one
        for one in result.reported
        if one.wrong or one.row.id in named or (stories and one.unknown)
    ]
    rate = len(result.reported) / result.took_s
    say(
        f"round {result.number}: {len(result.reported)} deployments in {result.took_s:.1f} s "
        f"({rate:.1f}/s), {len(wrong)} wrong, {len(result.problems)} problems"
    )
    for problem in result.problems:
        say(f"  PROBLEM {problem}")
    for one in bad:
        say("\n".join(story(result, one)))
    if log and (wrong or result.problems):
        say(result.log)


def say(text: str) -> None:
    """Print at once: a run takes minutes, and someone waits for it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run it; 0: nothing was wrong."""
    summary = asyncio.run(run(arguments()))
    for unknown in summary.unknown_results:
        say(f"unknown: {unknown}")
    say(json.dumps(summary.as_json(), indent=2))
    return 0 if summary.good else 1


if __name__ == "__main__":
    sys.exit(main())
