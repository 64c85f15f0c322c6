"""`python -m tests.kills --kills 300 --seed N`: random deaths of the bot, each by SIGKILL."""

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections import Counter

from tests.kills.rounds import KILLS, RoundResult, run_round
from tests.kills.suspensions import suspend_everywhere


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--lanes", type=int, default=2, help="rounds that run at once")
    parser.add_argument("--only", type=int, help="only this round")
    parser.add_argument(
        "--suspend", action="store_true", help="suspend the bot at named calls instead"
    )
    parser.add_argument("--log", action="store_true", help="print the last bot's log of bad rounds")
    return parser.parse_args()


async def run(asked: argparse.Namespace) -> list[RoundResult]:
    """Rounds, until there were enough deaths."""
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    say(f"seed {seed}")
    numbers = iter(range(math.ceil(asked.kills / KILLS)))
    if asked.only is not None:
        numbers = iter([asked.only])
    results: list[RoundResult] = []

    async def lane() -> None:
        for number in numbers:
            left = asked.kills - number * KILLS if asked.only is None else KILLS
            result = await run_round(seed, number, min(KILLS, left))
            results.append(result)
            report(result, log=asked.log)

    async with asyncio.TaskGroup() as group:
        for _ in range(asked.lanes):
            group.create_task(lane())
    return results


async def run_suspensions() -> int:
    """All of them, one after the other; how many ended badly."""
    bad = 0
    async for name, problems in suspend_everywhere():
        bad += bool(problems)
        say(f"{name}: {problems or 'nothing is wrong'}")
    return bad


def report(result: RoundResult, *, log: bool) -> None:
    """Print one line for the round, and what is wrong."""
    say(
        f"round {result.number}: {len(result.deaths)} deaths, {result.deployments} deployments "
        f"in {result.took_s:.0f} s, {len(result.problems)} problems"
    )
    for problem in result.problems:
        say(f"  PROBLEM {problem}")
    if result.problems:
        say(f"  deaths: {result.deaths}")
    if result.problems and log:
        say("\n".join(result.last_lines))


def say(text: str) -> None:
    """Print at once: a run takes minutes, and someone waits for it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run it; 0: nothing was wrong."""
    began = time.monotonic()
    asked = arguments()
    if asked.suspend:
        return 1 if asyncio.run(run_suspensions()) else 0
    results = asyncio.run(run(asked))
    calls = Counter(death for one in results for death in one.deaths)
    summary = {
        "kills": calls.total(),
        "at_different_calls": len(calls),
        "deployments": sum(one.deployments for one in results),
        "problems": sum(len(one.problems) for one in results),
        "seconds": round(time.monotonic() - began),
    }
    say(json.dumps(summary, indent=2))
    return 1 if summary["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
