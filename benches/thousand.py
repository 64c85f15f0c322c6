"""1,000 running deployments in one process: the maximum that one bot is designed for."""

from benches.many import watch

RUNNING = 1000


async def measure() -> dict[str, object]:
    goal = "<= 40 % of a core, <= 300 MB, lateness p99 <= 1 s"
    return {**await watch(RUNNING), "goal": goal}
