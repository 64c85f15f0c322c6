"""`deploybot demo`: the real bot with a simulated Slack and a simulated Dokku.

The bot runs as a separate process, started like `deploybot run` and configured only by
environment variables. It connects to Slack over Socket Mode, to Dokku over SSH, and to the
repositories and the webhook receiver over HTTP.
"""

import asyncio
import errno
import os
import shutil
import signal
import sys
import tempfile
import webbrowser
from contextlib import AsyncExitStack
from pathlib import Path

import typer

from bot.clock import first_of
from bot.simulators.bot_process import BotProcess
from bot.simulators.environment import APPS, Simulators, open_simulators
from bot.slack.manifest import manifest

SPEED = 1.5
"""Speed of the simulated Dokku: a good deploy takes half a minute, like a small real one."""
CANNOT_START = 2
BOT_ENDED = 1


def run_demo(port: int, open_browser: bool) -> int:
    """Run until Ctrl-C. `port` is for the page; 0: any free port.

    Returns the exit status: 0 after Ctrl-C, 1 if the bot ended by itself, 2 if the demo could not
    start (the port is taken, git is missing).
    """
    if shutil.which("git") is None:
        return _complain("git is not installed.", CANNOT_START)
    return asyncio.run(_demo(port, open_browser))


async def _demo(port: int, open_browser: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deploybot-demo-")))
        try:
            simulators = await stack.enter_async_context(
                open_simulators(manifest=manifest(), folder=folder, port=port, speed=SPEED)
            )
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            return _complain(
                f"cannot use port {port}: {error.strerror}. Choose another one: --port 8001",
                CANNOT_START,
            )
        bot = await BotProcess.start(simulators.settings, folder=folder)
        stack.push_async_callback(bot.stop)
        await first_of(stop.wait(), bot.ready())
        if stop.is_set():
            return 0
        if bot.running:
            await _welcome(simulators, open_browser=open_browser)
            await first_of(stop.wait(), bot.ended())
        if stop.is_set():
            typer.echo("\nStopping.")
            return 0
        status = await bot.ended()
    tail = "\n".join(f"  {line}" for line in bot.last_lines)
    return _complain(f"the bot exited with status {status}. Its last lines:\n{tail}", BOT_ENDED)


async def _welcome(simulators: Simulators, *, open_browser: bool) -> None:
    lines = [f"The demo runs at {simulators.slack.page_url}", "Open it and type in #deploys:"]
    width = max(len(app.name) for app in APPS)
    lines += [f"  /deploy {app.name:<{width}} main   {app.hint}" for app in APPS]
    lines.append("Press Ctrl-C to stop.")
    typer.echo("\n".join(lines))
    if open_browser and _has_screen():
        await asyncio.to_thread(webbrowser.open, simulators.slack.page_url)


def _has_screen() -> bool:
    """Whether a browser can open a window; without a screen, it might take over the terminal."""
    return sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _complain(sentence: str, status: int) -> int:
    typer.echo(f"deploybot demo: {sentence}", err=True)
    return status
