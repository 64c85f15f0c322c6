"""A small SSH server in another process, for machines without OpenSSH.

`python double.py` reads orders, one a line, and prints the process id that each is about.
`start`, a folder and MAX_SESSIONS fork a server: to import asyncssh for each one took most of a
test's time. It reads the keys in the folder, prints its port to `server.log` there, and runs the
folder's script for every command, as a forced command does. `end` and a process id kill a server;
its id is printed when it is gone.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import asyncssh


class Server(asyncssh.SSHServer):
    """Allows as many sessions on one connection as OpenSSH would."""

    def __init__(self, most: int, folder: Path) -> None:
        self._most = most
        self._folder = folder
        self._open = 0

    def session_requested(self) -> asyncssh.SSHServerProcess[bytes]:
        if self._open >= self._most:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")
        self._open += 1
        return asyncssh.SSHServerProcess(self._run, None, 3, False)

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        pipes = [await _open_pipe(), await _open_pipe()]
        try:
            child = await asyncio.create_subprocess_exec(
                "/bin/sh",
                str(self._folder / "forced.sh"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipes[0].write_end,
                stderr=pipes[1].write_end,
                env={**os.environ, "SSH_ORIGINAL_COMMAND": process.command or ""},
            )
            for pipe in pipes:
                os.close(pipe.write_end)
            await asyncio.gather(
                pump(pipes[0].reader, process.stdout), pump(pipes[1].reader, process.stderr)
            )
            status = await child.wait()
            if status < 0:
                process.exit_with_signal("KILL")
            else:
                process.exit(status)
            await process.wait_closed()
        finally:
            # The command meets SIGPIPE at its next write, as behind OpenSSH.
            for pipe in pipes:
                pipe.transport.close()
            self._open -= 1


@dataclass(frozen=True, slots=True)
class Pipe:
    """What the command writes into, and what we read from."""

    write_end: int
    reader: asyncio.StreamReader
    transport: asyncio.ReadTransport


async def _open_pipe() -> Pipe:
    read_end, write_end = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb")
    )
    return Pipe(write_end, reader, transport)


async def pump(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    while data := await source.read(65_536):
        target.write(data)
        await target.drain()


async def serve(folder: Path, most: int) -> None:
    server = await asyncssh.create_server(
        lambda: Server(most, folder),
        "127.0.0.1",
        0,
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "authorized_keys"),
        encoding=None,
    )
    sys.stdout.write(f"{server.get_port()}\n")
    sys.stdout.flush()
    await server.wait_closed()


def start(folder: Path, most: int) -> int:
    """Fork a server with its own session; return its process id."""
    if pid := os.fork():
        return pid
    os.setsid()
    # A child that outlives the server would keep the pipes of the tests open.
    with (folder / "server.log").open("wb") as log, open(os.devnull) as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
    try:
        asyncio.run(serve(folder, most))
    finally:
        os._exit(1)


def end(pid: int) -> None:
    """Kill a server, if it still lives, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def obey(orders: Iterable[str]) -> None:
    """Start and end servers until the orders end, as they also do when the tests are killed."""
    living: set[int] = set()
    for order in orders:
        word, *arguments = order.rstrip("\n").split("\t")
        if word == "start":
            folder, most = arguments
            pid = start(Path(folder), int(most))
            living.add(pid)
        else:
            pid = int(arguments[0])
            end(pid)
            living.discard(pid)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    for pid in living:
        end(pid)


if __name__ == "__main__":
    obey(sys.stdin)
