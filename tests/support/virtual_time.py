"""An event loop whose clock jumps to the next timer: minutes pass at once, and deterministically.

Tests must not wait for anything real in it (sockets, threads, processes). When every task waits
and no timer is set, the test fails at once instead of hanging.
"""

import asyncio
import functools
import math
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, ParamSpec

from structlog.testing import capture_logs

from bot.clock import Clock
from tests.support.builders import NOW

P = ParamSpec("P")

LONGEST_S = 24 * 3600.0
"""A test that runs longer, in virtual time, fails."""


class Deadlock(Exception):
    """Every task waits, and no timer is set."""


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            # Something runs: what another thread adds runs with it, and is not asked for here.
            return []
        if ready := super().select(0):
            return ready
        if timeout is None:
            raise Deadlock
        self.now_s += max(timeout, 1e-6)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop with virtual time that collects the unhandled errors of tasks."""

    # Of asyncio's own loop: what runs now, and the timers.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self.set_by = timedelta(0)
        self.unhandled: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, context: self.unhandled.append(context))

    def time(self) -> float:
        return self._virtual.now_s

    def idle_s(self) -> float:
        """How long nothing will happen, if the running task only waits."""
        timers = [one.when() for one in self._scheduled if not one.cancelled()]
        return 0.0 if self._ready or not timers else min(timers) - self.time()


class LoopClock(Clock):
    """The clock of the running event loop."""

    def now(self) -> datetime:
        loop = asyncio.get_running_loop()
        set_by = loop.set_by if isinstance(loop, VirtualLoop) else timedelta(0)
        return NOW + timedelta(seconds=self.monotonic()) + set_by

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(max(0.0, duration.total_seconds()))


def set_wall_clock(by: timedelta) -> None:
    """Shift the wall clock that everybody reads. Monotonic time does not change."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.set_by = by


def in_virtual_time(
    test: Callable[P, Coroutine[Any, Any, None]],
) -> Callable[P, None]:
    """Run an async test on its own virtual loop; an unhandled error of a task fails it."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        loop = VirtualLoop()

        async def bounded() -> None:
            async with asyncio.timeout(LONGEST_S):
                await test(*args, **kwargs)

        # Rendering tracebacks that nobody reads takes longer than the tests.
        with capture_logs(), asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(bounded())
        assert loop.unhandled == []

    return run


async def step(seconds: float, most_s: float) -> None:
    """Sleep `seconds`, or a multiple (up to `most_s`) while nothing at all would happen."""
    loop = asyncio.get_running_loop()
    idle_s = loop.idle_s() if isinstance(loop, VirtualLoop) else 0.0
    await asyncio.sleep(seconds * max(1, math.ceil(min(idle_s, most_s) / seconds)))


async def settle(rounds: int = 50) -> None:
    """Let every runnable task run, without time passing."""
    for _ in range(rounds):
        await asyncio.sleep(0)
