"""The bot in its own process, which a test can kill: `deploybot WORDS`, or any other function.

The process is forked from a server that has imported the bot: importing it again for each of a
hundred processes took a quarter of the suite's processor time. The demo's tests start
`python -m bot run` as a user does.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import aiohttp

from bot.bootstrap import open_bot
from bot.cli import run_cli
from bot.config.loading import load_settings
from bot.process import run_bot
from bot.simulators.bot_process import clean_environment
from bot.simulators.patience import in_time, limit_s, stretched

Main = Callable[[], int]
"""What runs in the process; picklable. Its exit status."""

LINE_LIMIT = 1024 * 1024
KEPT_LINES = 30
FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(
    [
        "tests.support.bot_process",
        "bot.operations.approvals",
        "bot.operations.check",
        "bot.operations.commands",
        "bot.operations.live",
        "bot.operations.requesting",
        "bot.operations.settings",
        "bot.operations.webhooks",
        "alembic.command",
        "apscheduler.executors.asyncio",
        "apscheduler.triggers.interval",
        "tests.support.frozen_modules",
    ]
)


class Command:
    """`deploybot WORDS`, the way the console script runs it."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def __call__(self) -> int:
        sys.argv = ["deploybot", *self._words]
        return run_cli(self._words)


class Run:
    """`deploybot run` with other durations: a short lease and immediate edits."""

    def __init__(
        self, *, nohup: bool = False, options: Mapping[str, Any] | None = None, **timing: Any
    ) -> None:
        """`options`: of `open_bot`, such as `slack_limits`; picklable."""
        self._nohup = nohup
        self._options = dict(options or {})
        self._timing = timing

    def __call__(self) -> int:
        # The tests themselves may run under `nohup`, and a process inherits that.
        signal.signal(signal.SIGHUP, signal.SIG_IGN if self._nohup else signal.SIG_DFL)
        settings = load_settings()
        timing = replace(settings.timing(), **self._timing)
        return run_bot(settings, opener=partial(open_bot, timing=timing, **self._options))


class BotProcess:
    """A process that a terminal's Ctrl-C does not reach. All its output is kept."""

    def __init__(self, process: ForkServerProcess, output: Connection, port: int) -> None:
        self._process = process
        self._output = output
        self._port = port
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())
        self.lines: list[str] = []

    @classmethod
    async def start(
        cls,
        main: Main,
        environ: Mapping[str, str],
        *,
        folder: Path,
        hides: Sequence[int] = (),
    ) -> "BotProcess":
        """Run `main` in `folder` with these settings and no others.

        Args:
            main: what to run, such as `Command("run")`.
            environ: the settings.
            folder: its working directory.
            hides: of the descriptors 1 and 2, those that are not read.
        """
        output, theirs = FORK_SERVER.Pipe(duplex=False)
        settings = clean_environment(os.environ) | dict(environ)
        process = FORK_SERVER.Process(
            target=_be, args=(main, settings, str(folder), theirs, tuple(hides)), daemon=True
        )
        # The first start waits for the server's imports: in a thread, for the simulators run here.
        await asyncio.to_thread(process.start)
        theirs.close()
        return cls(process, output, int(environ.get("PORT", "0")))

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def port(self) -> int:
        """Where it was asked to listen."""
        return self._port

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.exitcode is None

    @property
    def last_lines(self) -> Sequence[str]:
        """What it printed last."""
        return self.lines[-KEPT_LINES:]

    async def ready(self) -> bool:
        """Wait until `/readyz` answers with 200. False: it ended before."""
        url = f"http://127.0.0.1:{self._port}/readyz"
        async with in_time(), aiohttp.ClientSession() as session:
            while not await _is_ok(session, url):
                # A port does not report a change: look again, unless the process ended.
                await asyncio.wait({self._reader}, timeout=0.05)
                if not self.running:
                    return False
        return True

    async def is_ready(self) -> bool:
        """Whether `/readyz` answers with 200 now."""
        async with in_time(), aiohttp.ClientSession() as session:
            return await _is_ok(session, f"http://127.0.0.1:{self._port}/readyz")

    async def said(self, words: str) -> str:
        """Wait until it printed a line with these words; the line."""

        def found() -> str | None:
            return next((line for line in self.lines if words in line), None)

        async with in_time(), self._news:
            await self._news.wait_for(found)
        return found() or ""

    async def printed(self, count: int) -> None:
        """Wait until it printed as many lines."""
        async with in_time(), self._news:
            await self._news.wait_for(lambda: len(self.lines) >= count)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.running:
            os.kill(self.pid, number)

    async def ended(self, within_s: float | None = None) -> int:
        """Wait for its end and all its output; its exit status.

        TimeoutError: it took longer; the limit is `stretched`.
        """
        async with asyncio.timeout(stretched(within_s) if within_s else limit_s()):
            await _readable(self._process.sentinel)
            await self._reader
        status = self._process.exitcode
        assert status is not None
        return status

    async def kill(self) -> int:
        """SIGKILL, whatever it is doing; its exit status."""
        self.send_signal(signal.SIGKILL)
        return await self.ended()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LINE_LIMIT)
        pipe = os.fdopen(os.dup(self._output.fileno()), "rb")
        self._output.close()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while line := await reader.readline():
                async with self._news:
                    self.lines.append(line.decode(errors="replace").rstrip("\n"))
                    self._news.notify_all()
        finally:
            transport.close()


def _be(
    main: Main,
    environ: Mapping[str, str],
    folder: str,
    output: Connection,
    hides: Sequence[int],
) -> None:
    """Become that command: its environment, folder and output, as a shell sets them up."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere if descriptor in hides else output.fileno(), descriptor)
    output.close()
    sys.exit(main())


async def _readable(descriptor: int) -> None:
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


async def _is_ok(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.ok
    except aiohttp.ClientError:
        return False
