"""1,000 running deployments: the maximum that one bot is designed for.

`thousand replicas=3`: the same shared by three bots on one PostgreSQL.
"""

from benches.many import watch, watch_replicas

RUNNING = 1000


async def measure(replicas: int = 0) -> dict[str, object]:
    goal = "<= 40 % of a core, <= 300 MB, lateness p99 <= 1 s"
    figures = await watch_replicas(RUNNING, replicas) if replicas else await watch(RUNNING)
    return {**figures, "goal": goal}
