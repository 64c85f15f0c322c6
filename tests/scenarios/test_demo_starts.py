"""`deploybot demo` from the command line: start it, and stop it with Ctrl-C."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

WITHIN_S = 60


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        "demo",
        "--no-browser",
        "--port",
        "0",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()  # to the end of its pipes: they are closed then


async def read_until(process: asyncio.subprocess.Process, last: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(WITHIN_S):
        while last not in (line := (await process.stdout.readline()).decode()):
            assert line, lines
            lines.append(line.rstrip())
    return lines


async def test_demo_prints_its_address_and_commands_and_stops_cleanly(tmp_path: Path) -> None:
    async with demo(tmp_path) as process:
        lines = await read_until(process, "Ctrl-C")
        address = re.fullmatch(r"The demo runs at (http://127\.0\.0\.1:\d+/)", lines[0])
        assert address is not None
        assert any("/deploy myapp" in line for line in lines)
        async with aiohttp.ClientSession() as session, session.get(address[1]) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(WITHIN_S):
            output, errors = await process.communicate()
    assert process.returncode == 0
    assert errors == b""
    assert output.decode().strip() == "Stopping."
