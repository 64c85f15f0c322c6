"""One poll through the bot's driver, compared with the same command on a bare asyncssh connection.

They take turns, each on an open connection, against one server in another process.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncssh

from benches.figures import in_ms, percentile
from bot.dokku.servers import open_servers
from bot.redaction import Redactor
from bot.ssh_target import SshTarget

COMMAND = "builds:list bench --format json"
ROUNDS = 300


async def measure() -> dict[str, object]:
    async with _server() as access:
        target = SshTarget(
            host="127.0.0.1",
            port=access["port"],
            user=access["user"],
            key=asyncssh.import_private_key(access["key"]),
            known_hosts=asyncssh.import_known_hosts(access["known_hosts"]),
        )
        async with (
            open_servers({"default": target}, Redactor()) as servers,
            asyncssh.connect(
                target.host,
                target.port,
                username=target.user,
                client_keys=[target.key],
                known_hosts=target.known_hosts,
                config=None,
            ) as bare,
        ):
            dokku = servers.get("default")
            await dokku.builds("bench")
            bot_s: list[float] = []
            bare_s: list[float] = []
            for _ in range(ROUNDS):
                bot_s.append(await _timed(lambda: dokku.builds("bench")))
                bare_s.append(await _timed(lambda: bare.run(COMMAND, check=True)))
    return {
        "command": COMMAND,
        "poll": in_ms(bot_s),
        "bare_asyncssh": in_ms(bare_s),
        "p50_ratio": round(percentile(bot_s, 0.5) / percentile(bare_s, 0.5), 2),
        "p95_ratio": round(percentile(bot_s, 0.95) / percentile(bare_s, 0.95), 2),
        "goal": "ratio <= 1.5",
    }


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    begin = time.perf_counter()
    await work()
    return time.perf_counter() - begin


@asynccontextmanager
async def _server() -> AsyncIterator[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benches.dokku_server", stdout=asyncio.subprocess.PIPE
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no pipe to the simulated Dokku")
        yield json.loads(await process.stdout.readline())
    finally:
        process.terminate()
        await process.wait()
