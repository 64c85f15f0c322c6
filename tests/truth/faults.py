"""Cause the faults of a round: on the network, the server, docker and the bot."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress

from tests.truth.harness import Harness
from tests.truth.plans import Fault, PlannedFault

DOCKER_AWAY_S = 0.5
SLOW_S = 0.25
"""Real seconds that each command of a slow server waits."""
DEATHS = frozenset({Fault.STOP, Fault.KILL})


async def set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most this long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def keep_docker_running(harness: Harness) -> None:
    """Start the docker daemon again, whatever killed it. Runs until cancelled."""
    host = harness.simulators.dokku
    while True:
        while not host.docker_down:
            await host.changed()
        await asyncio.sleep(DOCKER_AWAY_S)
        host.revive_docker_for_test()


async def cause_faults(
    harness: Harness, planned_faults: Sequence[PlannedFault], over: asyncio.Event
) -> None:
    """Cause one fault after the other until `over`; the last one has ended on return."""
    for planned in planned_faults:
        await set_within(over, planned.after_s)
        if over.is_set():
            return
        await cause_fault(harness, planned.kind, until=over, lasts_s=planned.lasts_s)


async def cause_fault(
    harness: Harness, kind: Fault, *, until: asyncio.Event | None = None, lasts_s: float = 0.0
) -> None:
    """Cause one fault and end it."""
    begin, end = _switches(harness, kind)
    async with harness.bot_life if kind in DEATHS else nullcontext(), harness.trouble(kind):
        await begin()
        if until is not None:
            await set_within(until, lasts_s)
        await end()


Switch = Callable[[], Awaitable[None]]


def _switches(harness: Harness, kind: Fault) -> tuple[Switch, Switch]:
    """How to begin and how to end a fault."""
    server, host = harness.simulators.server, harness.simulators.dokku

    async def nothing() -> None:
        return

    def answer_after(delay_s: float) -> None:
        host.delay_answers_for_test(delay_s)

    return {
        Fault.DROP: (server.drop_connections_for_test, nothing),
        Fault.STALL: (_later(server.stall_for_test), _later(server.heal_for_test)),
        Fault.REFUSE: (
            server.refuse_connections_for_test,
            server.accept_connections_for_test,
        ),
        Fault.SWALLOW: (
            _later(server.swallow_connections_for_test),
            server.accept_connections_for_test,
        ),
        Fault.SLOW: (_later(answer_after, SLOW_S), _later(answer_after, 0.0)),
        Fault.DOCKER: (
            _later(host.kill_docker_for_test),
            _later(host.revive_docker_for_test),
        ),
        Fault.STOP: (harness.stop_bot, harness.start_bot),
        Fault.KILL: (harness.kill_bot, harness.start_bot),
    }[kind]


def _later(act: Callable[..., None], *values: float) -> Switch:
    async def switch() -> None:
        act(*values)

    return switch
