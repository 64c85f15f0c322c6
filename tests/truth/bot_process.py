"""The bot in its own process: start it, stop it like a service manager, or kill it."""

import asyncio
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from bot.bootstrap import open_bot
from bot.config.loading import load_settings
from bot.logs import configure_logging
from bot.metrics import Metrics
from bot.readiness import Readiness
from bot.redaction import Redactor
from tests.truth.pace import (
    LANE_TIMING,
    SLACK_LIMITS,
    SSH_LIMITS,
    HurriedClock,
    timing,
)

LATE_FILE = "late.txt"
WATCH_EVERY_S = 0.2
LATE_S = 0.3
"""After a wake-up this late, answers may be read too late as well."""
LATE_ECHO = timedelta(seconds=2)
"""For this long, time-outs from that period still have effects."""
START_WITHIN_S = 60.0
STOP_WITHIN_S = 10.0
FORKSERVER = multiprocessing.get_context("forkserver")
# Importing the bot takes seconds; the fork server does it once, before its first fork.
FORKSERVER.set_forkserver_preload(["tests.truth.bot_process"])


def run_bot(environ: Mapping[str, str], folder: str, log: str, ready: Connection) -> None:
    """Run the bot until SIGTERM. `ready` gets a message when it listens."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    asyncio.run(_run_bot(environ, Path(folder), ready))


async def _run_bot(environ: Mapping[str, str], folder: Path, ready: Connection) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = load_settings(environ=environ, folder=folder)
    redactor = Redactor(settings.secrets())
    configure_logging(json=False, level="INFO", mask=redactor.text)
    async with open_bot(
        settings,
        metrics=Metrics(),
        redactor=redactor,
        readiness=Readiness(),
        clock=HurriedClock(),
        timing=timing(),
        slack_limits=SLACK_LIMITS,
        ssh_limits=SSH_LIMITS,
        lane_timing=LANE_TIMING,
    ):
        ready.send("ready")
        recording = asyncio.create_task(_record_late_wake_ups(folder / LATE_FILE))
        await stop.wait()
        recording.cancel()


async def _record_late_wake_ups(path: Path) -> None:
    """Record each period in which this process was blocked for too long."""
    while True:
        began, at = time.monotonic(), datetime.now(UTC)
        await asyncio.sleep(WATCH_EVERY_S)
        if time.monotonic() - began > WATCH_EVERY_S + LATE_S:
            with path.open("a") as late:
                late.write(f"{at.isoformat()} {datetime.now(UTC).isoformat()}\n")


def late_periods(path: Path) -> Sequence[tuple[datetime, datetime]]:
    """Periods in which the bot was blocked, with their after-effects; real time."""
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.split() for line in lines)
    return [
        (datetime.fromisoformat(began), datetime.fromisoformat(ended) + LATE_ECHO)
        for began, ended in pairs
    ]


class BotProcess:
    """One bot at a time. All restarts write to the same log file."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = dict(environ)
        self._folder = folder
        self.log = folder / "bot.log"
        self.late = folder / LATE_FILE
        self._process: ForkServerProcess | None = None

    @property
    def up(self) -> bool:
        """It was started and neither stopped nor killed."""
        return self._process is not None and self._process.is_alive()

    async def start(self) -> None:
        """Start it and wait until it listens. TimeoutError, EOFError: it never did."""
        reader, writer = FORKSERVER.Pipe(duplex=False)
        process = FORKSERVER.Process(
            target=run_bot,
            args=(self._environ, str(self._folder), str(self.log), writer),
            daemon=True,
        )
        process.start()
        writer.close()
        self._process = process
        await _readable(reader.fileno(), START_WITHIN_S)
        try:
            reader.recv()
        finally:
            reader.close()

    async def stop(self) -> None:
        """SIGTERM: it drains, hands over and exits."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL, whatever it is doing."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.pid is None:
            return
        if process.is_alive():  # otherwise its id may belong to another process
            os.kill(process.pid, number)
        try:
            await _readable(process.sentinel, STOP_WITHIN_S)
        except TimeoutError:
            process.kill()
            raise
        finally:
            process.join()
            process.close()


async def _readable(descriptor: int, within_s: float) -> None:
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        async with asyncio.timeout(within_s):
            await waiter
    finally:
        loop.remove_reader(descriptor)
