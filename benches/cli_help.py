"""The time that `deploybot --help` takes."""

import asyncio
import sys
import time
from pathlib import Path

from benches.figures import in_ms

ROUNDS = 10


async def measure() -> dict[str, object]:
    command = Path(sys.executable).with_name("deploybot")
    durations = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            str(command), "--help", stdout=asyncio.subprocess.DEVNULL
        )
        status = await process.wait()
        durations.append(time.perf_counter() - begin)
        if status:
            raise RuntimeError(f"{command} --help exited with {status}")
    return {"wall": in_ms(durations), "goal": "<= 500 ms"}
