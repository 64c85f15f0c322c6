"""How long tests and their simulators wait: one factor, which grows with the machine's load.

A test waits for an event, never for a time to pass. Its limit only ends a test that hangs, so it is
generous. Where a test holds the bot to a number of seconds, or gives it short timeouts, the number
is `stretched`: exact on an idle machine, longer on a busy one.
"""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

T = TypeVar("T", float, timedelta)

FACTOR = "DEPLOYBOT_TEST_PATIENCE"
"""Environment variable: the least factor. Set it where the load cannot be seen from inside."""
LIMIT_S = 60.0
"""For one event. What takes longest on an idle machine takes 5 s."""
PER_CPU = 2.0
"""Runnable threads for each processor that cost no test its seconds: the suite makes that many."""
MOST = 10.0


def factor() -> float:
    """1 on an idle machine, up to 10 on a busy one."""
    least = float(os.environ.get(FACTOR, "1"))
    return max(least, 1.0, min(MOST, _runnable() / (os.cpu_count() or 1) / PER_CPU))


def stretched(duration: T) -> T:
    """A duration that holds on an idle machine, made longer on a busy one."""
    return duration * factor()


def limit_s() -> float:
    """Seconds after which an event will not come any more."""
    return LIMIT_S * factor()


def in_time() -> asyncio.Timeout:
    """Raise TimeoutError when the block takes longer than any event may take."""
    return asyncio.timeout(limit_s())


def _runnable() -> float:
    """Threads that run or want to: the average of a minute, or now, whichever is more."""
    average = os.getloadavg()[0]
    try:
        now = Path("/proc/loadavg").read_text().split()[3]
    except OSError:  # not Linux
        return average
    return max(average, float(now.partition("/")[0]))
