"""What is done with a kept log of 16 MB never holds the event loop for long."""

import time
from collections.abc import Coroutine
from functools import cache
from typing import Any, cast

import pytest

from bot.deployments.execution.attempt import last_attempt
from bot.deployments.verdict.collector import _masked_alike
from bot.dokku.connection import Connection
from bot.dokku.driver import Driver
from bot.dokku.limits import SshLimits
from bot.redaction import Redactor
from bot.simulators.patience import stretched

LINE = "#12 3.456 added 120 packages, and audited 121 packages in 3s"
SIZE = 16_000_000
MOST_S = 0.05


@cache
def kept_lines() -> list[str]:
    return [f"{LINE} {number}" for number in range(SIZE // len(LINE))]


class _Unasked:
    name, limits = "production", SshLimits()

    async def run(self, *_: object, **__: object) -> None:
        raise AssertionError("it asks nothing")


def longest_turn(work: Coroutine[Any, Any, Any]) -> float:
    """Processor seconds of the longest turn between two of the event loop."""
    longest = 0.0
    while True:
        begin = time.thread_time()
        try:
            work.send(None)
        except StopIteration:
            return max(longest, time.thread_time() - begin)
        longest = max(longest, time.thread_time() - begin)


def facts() -> Coroutine[Any, Any, Any]:
    driver = Driver(cast("Connection", _Unasked()), redactor=Redactor())
    return driver.facts_of("web", kept_lines())


@pytest.mark.slow
@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda: last_attempt("\n".join(kept_lines()) + "\n"), id="lines"),
        pytest.param(lambda: _masked_alike(kept_lines(), kept_lines()), id="masks"),
        pytest.param(facts, id="facts"),
    ],
)
def test_kept_log_holds_the_loop_only_for_moments(work: Any) -> None:
    assert any(longest_turn(work()) < stretched(MOST_S) for _ in range(3))
