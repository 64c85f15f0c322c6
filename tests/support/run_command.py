"""`deploybot run` as an operator sees it: what it prints, how it ends, what its port says."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bot.simulators.bot_process import clean_environment

WITHIN_S = 30.0
LOOK_S = 0.05


@dataclass(kw_only=True)
class RunCommand:
    """The command while it runs, and what it left behind."""

    process: asyncio.subprocess.Process
    port: int
    lines: list[str] = field(default_factory=list)
    """Of standard error, as far as it came."""
    _said: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self._reader = asyncio.create_task(self._read())

    async def ended(self, *, within_s: float = WITHIN_S) -> int:
        """Wait for its end; its exit status."""
        async with asyncio.timeout(within_s):
            status = await self.process.wait()
            await self._reader
            return status

    async def killed(self) -> None:
        """End it at once, whatever it does."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reader

    async def until_ready_says(self, part: str, words: str, *, http: int = 200) -> dict[str, Any]:
        """Wait until `/readyz` has the status and says the words of a part; the whole answer."""
        async with asyncio.timeout(WITHIN_S), aiohttp.ClientSession() as session:
            while True:
                answer = await self._readyz(session)
                if answer.get("http") == http and words in str(_find(answer, part)):
                    return answer
                # A port tells nobody that its answer changed: look again, unless it ended.
                await asyncio.wait({self._reader}, timeout=LOOK_S)
                assert self.process.returncode is None, self.lines

    async def until_said(self, words: str) -> None:
        """Wait until a line on standard error has the words."""
        async with asyncio.timeout(WITHIN_S), self._said:
            await self._said.wait_for(lambda: any(words in line for line in self.lines))

    async def _readyz(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/readyz"
        try:
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=5)) as response:
                return {"http": response.status, **await response.json()}
        except aiohttp.ClientConnectionError:
            return {}

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            async with self._said:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._said.notify_all()


@asynccontextmanager
async def run_command(environ: Mapping[str, str], folder: Path) -> AsyncIterator[RunCommand]:
    """Start it in `folder` with these settings and no others; it is killed in the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        "run",
        cwd=folder,
        env=clean_environment(os.environ) | dict(environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=1024 * 1024,
    )
    command = RunCommand(process=process, port=int(environ.get("PORT", "0")))
    try:
        yield command
    finally:
        await command.killed()


def _find(answer: Mapping[str, Any], part: str) -> object:
    for value in answer.values():
        if isinstance(value, Mapping) and part in value:
            return value[part]
    return answer.get(part)
