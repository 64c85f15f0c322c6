"""Runs a command line: finds the verb's function, and answers unknown verbs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from bot.simulators.dokku.commands import apps, builds, config, git, logs, ps, run
from bot.simulators.dokku.commands.shared import (
    Refused,
    UnmatchedQuote,
    Unmodelled,
    put,
    split,
)
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Nowhere, Output, PipeBroken
from bot.simulators.dokku.recordings import step
from bot.simulators.dokku.runs import SIGPIPE_EXIT

Command = Callable[[DokkuHost, list[str], Output], Awaitable[int]]
LATENCY_S: Mapping[str, float] = {
    "logs": 0.32,
    "run:list": 0.67,
    "ps:inspect": 0.23,
    "ps:report": 0.45,
    "builds:info": 0.047,
    "builds:list": 0.05,
    "builds:report": 0.05,
}
"""Recorded seconds that a query takes; the others take USUAL_LATENCY_S."""
USUAL_LATENCY_S = 0.04


async def _run_detached(host: DokkuHost, words: list[str], output: Output) -> int:
    """Start a one-off container that runs a command, and print its name."""
    one = await run.start(host, words)
    host.spawn(run.serve(host, one, run_command))
    await put(output, out=f"{one.name}\n")
    return 0


COMMANDS: Mapping[str, Command] = {
    "run:detached": _run_detached,
    **apps.COMMANDS,
    **builds.COMMANDS,
    **config.COMMANDS,
    **git.COMMANDS,
    **logs.COMMANDS,
    **ps.COMMANDS,
    **run.COMMANDS,
}
"""Every verb that is answered. A verb's function is in the module of its prefix."""


async def run_command(host: DokkuHost, line: str, output: Output) -> int:
    """Run one command line as the `dokku` user's forced command does.

    Returns its exit status. Raises KilledBySignal.
    A command that is not modelled is added to `host.complaints` and answered as unknown.
    """
    try:
        words = split(line)
        name = words[0] if words else ""
        if name.startswith("builds:") and not host.keeps_build_records:
            return await _unknown(host, words, output)
        with host.query_pending():
            await host.clock.sleep(LATENCY_S.get(name, USUAL_LATENCY_S))
        _write_query_to_journal(host, words, output)
        return await COMMANDS.get(name, _complain)(host, words[1:], output)
    except (Unmodelled, UnmatchedQuote) as err:
        host.complaints.append(f"{line!r}: {err}")
        return await _unknown(host, line.split(), output)
    except Refused as err:
        await put(output, err=err.text)
        return err.exit_status
    except PipeBroken:
        return SIGPIPE_EXIT


def outside_command_for_test(host: DokkuHost, line: str) -> asyncio.Task[object]:
    """Run a command as another user does, in the background, e.g. `ps:restart APP`."""
    return host.spawn(run_command(host, line, Nowhere()))


def _write_query_to_journal(host: DokkuHost, words: list[str], output: Output) -> None:
    """Journal that a query is answered, from the state at this instant."""
    named = next((word for word in words[1:] if not word.startswith("--")), "")
    app = host.apps.get(named)
    if app is not None:
        if app.name in host.replays:
            host.replays[app.name].catch_up()
        host.write_journal(
            "asked",
            app,
            command=words[0],
            outside=isinstance(output, Nowhere),
            docker_down=host.docker_down,
        )


async def _complain(_host: DokkuHost, _words: list[str], _output: Output) -> int:
    raise Unmodelled("no such command is modelled")


async def _unknown(host: DokkuHost, words: list[str], output: Output) -> int:
    recorded = step(host.version, "i_app_missing", "nosuchcommand")
    await put(output, err=recorded.stderr.replace("nosuchcommand", " ".join(words)))
    return recorded.exit_status
