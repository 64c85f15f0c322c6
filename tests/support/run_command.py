"""`deploybot run` as an operator sees it: its output, exit status and HTTP answers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bot.simulators.patience import in_time
from tests.support.bot_process import BotProcess, Command

LOOK_S = 0.05
STDOUT = 1


@dataclass(kw_only=True)
class RunCommand:
    """The running command, and its output."""

    process: BotProcess

    @property
    def lines(self) -> list[str]:
        """What it wrote to standard error so far."""
        return self.process.lines

    async def ended(self, *, within_s: float | None = None) -> int:
        """Wait for its end; its exit status."""
        return await self.process.ended(within_s)

    async def until_ready_says(self, part: str, words: str, *, http: int = 200) -> dict[str, Any]:
        """Wait until `/readyz` has the status and says the words of a part; the whole answer."""
        async with in_time(), aiohttp.ClientSession() as session:
            while True:
                answer = await self._readyz(session)
                if answer.get("http") == http and words in str(_find(answer, part)):
                    return answer
                # A port does not report a change: look again, unless the process ended.
                await asyncio.sleep(LOOK_S)
                assert self.process.running, self.lines

    async def until_said(self, words: str) -> None:
        """Wait until a line on standard error has the words."""
        await self.process.said(words)

    async def _readyz(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.process.port}/readyz"
        try:
            async with session.get(url) as response:
                return {"http": response.status, **await response.json()}
        except aiohttp.ClientConnectionError:
            return {}


@asynccontextmanager
async def run_command(environ: Mapping[str, str], folder: Path) -> AsyncIterator[RunCommand]:
    """Start it in `folder` with these settings and no others; it is killed in the end."""
    process = await BotProcess.start(Command("run"), environ, folder=folder, hides=(STDOUT,))
    try:
        yield RunCommand(process=process)
    finally:
        await process.kill()


def _find(answer: Mapping[str, Any], part: str) -> object:
    for value in answer.values():
        if isinstance(value, Mapping) and part in value:
            return value[part]
    return answer.get(part)
