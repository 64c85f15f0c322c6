"""Runs `deploybot run` as a child process, as a service manager would."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 10.0
KEPT_BYTES = 16_000
KEPT_LINES = 30
SETTINGS = ("SLACK_", "DOKKU_", "DEPLOYBOT_", "DATABASE_URL", "PORT")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class BotProcess:
    """A running `deploybot run` that the terminal's Ctrl-C does not reach."""

    def __init__(self, process: asyncio.subprocess.Process, health_url: str) -> None:
        self._process = process
        self._health_url = health_url
        self._tail = b""
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, settings: Mapping[str, str], *, folder: Path) -> "BotProcess":
        """Start the bot with only these settings, in `folder`, which has no `.env`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot",
            "run",
            cwd=folder,
            env={**clean_environment(os.environ), **settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        return cls(process, f"http://127.0.0.1:{settings['PORT']}/readyz")

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def last_lines(self) -> Sequence[str]:
        """The last lines that the bot printed."""
        return self._tail.decode(errors="replace").splitlines()[-KEPT_LINES:]

    async def ready(self) -> bool:
        """Wait until the bot reports ready. Returns False if it ended or took too long."""
        async with aiohttp.ClientSession() as session:
            deadline = asyncio.get_running_loop().time() + READY_WITHIN_S
            while asyncio.get_running_loop().time() < deadline:
                if await _answers(session, self._health_url):
                    return True
                ended = asyncio.ensure_future(self.ended())
                done, _ = await asyncio.wait({ended}, timeout=0.1)
                ended.cancel()
                if done:
                    return False
        return False

    async def ended(self) -> int:
        """Wait until the process ends and all its output is read; return its exit status."""
        status = await self._process.wait()
        await asyncio.shield(self._reader)
        return status

    async def stop(self) -> None:
        """Stop the process: SIGTERM, then SIGKILL if it takes too long."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
        await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        # Keep reading: a full pipe would block the bot.
        while self._process.stdout and (chunk := await self._process.stdout.read(KEPT_BYTES)):
            self._tail = (self._tail + chunk)[-KEPT_BYTES:]


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
            return response.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


def clean_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without real settings of the bot and without proxies."""
    return {
        name: value
        for name, value in given.items()
        if not name.startswith(SETTINGS) and name.lower() not in PROXIES
    }
