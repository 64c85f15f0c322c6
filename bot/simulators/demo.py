"""`deploybot demo`: the bot as it is, between a simulated Slack and a simulated Dokku.

The bot is a process of its own, started as `deploybot run` is, with environment variables
only. It reaches Slack over Socket Mode, Dokku over SSH, the repositories and the webhook
receiver over HTTP; nothing here reaches inside it.
"""

import asyncio
import errno
import os
import shutil
import signal
import sys
import tempfile
import webbrowser
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path

import typer

from bot.simulators.bot_process import BotProcess
from bot.simulators.environment import APPS, Simulators, open_simulators
from bot.slack.manifest import manifest

SPEED = 1.5
"""Of the simulated Dokku: a good deploy takes half a minute, as a small real one does."""
CANNOT_START = 2
BOT_ENDED = 1


def run_demo(port: int, open_browser: bool) -> int:
    """Run until Ctrl-C. `port` is the page's, 0: any free one.

    Returns the exit status: 0 after Ctrl-C, 1 when the bot ended by itself, 2 when it could
    not start (the port is taken, git is missing).
    """
    if shutil.which("git") is None:
        return _complain("git was not found; install it", CANNOT_START)
    return asyncio.run(_demo(port, open_browser))


async def _demo(port: int, open_browser: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deploybot-demo-")))
        try:
            stage = await stack.enter_async_context(
                open_simulators(manifest=manifest(), folder=folder, port=port, speed=SPEED)
            )
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            return _complain(
                f"port {port} cannot be used: {error.strerror}. Choose another: --port 8001",
                CANNOT_START,
            )
        bot = await BotProcess.start(stage.settings, folder=folder)
        stack.push_async_callback(bot.stop)
        await _until_first(stop.wait(), bot.ready())
        if stop.is_set():
            return 0
        if bot.running:
            await _welcome(stage, open_browser=open_browser)
            await _until_first(stop.wait(), bot.ended())
        if stop.is_set():
            typer.echo("\nStopping.")
            return 0
        status = await bot.ended()
    tail = "\n".join(f"  {line}" for line in bot.last_lines)
    return _complain(f"the bot ended with status {status}. It said last:\n{tail}", BOT_ENDED)


async def _until_first(*works: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _welcome(stage: Simulators, *, open_browser: bool) -> None:
    lines = [f"deploybot demo runs at {stage.slack.page_url}", "Type there, in #deploys:"]
    width = max(len(app.name) for app in APPS)
    lines += [f"  /deploy {app.name:<{width}} main   {app.hint}" for app in APPS]
    lines.append("Ctrl-C stops it.")
    typer.echo("\n".join(lines))
    if open_browser and _has_screen():
        await asyncio.to_thread(webbrowser.open, stage.slack.page_url)


def _has_screen() -> bool:
    """Whether a browser can open a window. Elsewhere a text browser would take the terminal."""
    return sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _complain(sentence: str, status: int) -> int:
    typer.echo(f"deploybot demo: {sentence}", err=True)
    return status
