"""`run:list`, and what `run:detached` starts: one-off containers, each with its own SSH client.

The image of the runner app is not modelled: the first word of a command is its SSH client, which
logs in as `dokku` and passes the other words on (recording m9_detached_runner_app).
"""

import json
from collections.abc import Awaitable, Callable
from datetime import datetime

from bot.simulators.dokku.commands.shared import Unmodelled, find_app, put, take_format
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import KilledBySignal, OneOff, Output
from bot.simulators.dokku.recordings import step

Runs = Callable[[DokkuHost, str, Output], Awaitable[int]]
"""Runs one command line."""
RECORDING = "m9_detached_runner_app"
STARTS_IN_S = 2.8
"""Recorded seconds until `run:detached` has its answer."""
LOGS_IN_S = 0.5
"""From the answer until the command of the container begins: 0.1 to 1.1 s were recorded."""
GIVES_UP_S = 1.0
"""An SSH client that is refused ends; how long that takes was not recorded."""


async def start(host: DokkuHost, words: list[str]) -> OneOff:
    """Start a one-off container; `serve` is what it does. Raises Refused."""
    app = find_app(host, words)
    if app.image is None or len(words) < 3:  # noqa: PLR2004 - app, client, command
        raise Unmodelled("run:detached of an app without an image, or without a command")
    await host.clock.sleep(STARTS_IN_S)
    number = host.random.randrange(1000, 10_000)
    one = OneOff(
        name=f"{app.name}.run.{number}", command=" ".join(words[1:]), created_at=host.clock.now()
    )
    host.one_offs[one.name] = one
    host.write_journal("one_off_started", app, name=one.name, command=one.command)
    return one


async def serve(host: DokkuHost, one: OneOff, run: Runs) -> None:
    """Hand the container's command to the host; the container is removed at its end."""
    try:
        await host.clock.sleep(GIVES_UP_S if host.one_offs_are_refused else LOGS_IN_S)
        while host.one_offs_hang and not one.killed:
            await host.changed()
        if not (host.one_offs_are_refused or one.killed):
            await run(host, one.command.partition(" ")[2], one)
    except KilledBySignal:
        pass  # Dokku removes the container, and its exit status with it
    finally:
        del host.one_offs[one.name]
        host.notify()


async def list_runs(host: DokkuHost, words: list[str], output: Output) -> int:
    """List the one-off containers of an app that run."""
    form, rest = take_format(words)
    app = find_app(host, rest)
    named = f"{app.name}.run."
    found = [one for _, one in sorted(host.one_offs.items()) if one.name.startswith(named)]
    if form == "json":
        if not found:
            raise Unmodelled("run:list as JSON without a container")
        await put(output, out=json.dumps([_object(one) for one in found], indent=2) + "\n")
        return 0
    header = step(host.version, RECORDING, "list").stdout.splitlines()[0]
    lines = [header.replace("runner", app.name), *_table(host, found)]
    await put(output, out="".join(f"{line}\n" for line in lines))
    return 0


def _object(one: OneOff) -> dict[str, str]:
    return {
        "name": one.name,
        "state": "running",
        "command": f'"{one.command}"',
        "created_at": f"{one.created_at:%Y-%m-%d %H:%M:%S} +0000 UTC",
    }


def _table(host: DokkuHost, found: list[OneOff]) -> list[str]:
    """Docker makes its columns 10 wide or more, and knows nothing of Dokku's quotes."""
    name, command = (
        max(10, 3 + max([len(header), *map(len, cells)]))
        for header, cells in (
            ("NAMES", [one.name for one in found]),
            ("COMMAND", [one.command for one in found]),
        )
    )
    rows = [f"{'NAMES'.ljust(name)}{'COMMAND'.ljust(command)}CREATED"]
    for one in found:
        quoted = f'"{one.command}"'.ljust(command + 2)
        rows.append(f"{one.name.ljust(name)}{quoted}{_ago(host.clock.now(), one.created_at)}")
    return rows


def _ago(now: datetime, then: datetime) -> str:
    """As it was recorded for a new container; of older ones the number of seconds."""
    seconds = max(1, int((now - then).total_seconds()))
    return "1 second ago" if seconds == 1 else f"{seconds} seconds ago"


COMMANDS = {"run:list": list_runs}
