"""Real SSH servers for tests: OpenSSH where it is installed, and a double in another process.

Both run `forced.sh` for every command: it sources the file that is named after the command.
"""

import asyncio
import atexit
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

import asyncssh

from bot.ssh_target import SshTarget

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
KINDS = ["double", *(["openssh"] if SSHD else [])]

_FORCED = """\
cd "{folder}"
name=$(printf '%s' "$SSH_ORIGINAL_COMMAND" | tr -c 'A-Za-z0-9.-' '_')
echo "$SSH_ORIGINAL_COMMAND" >> asked
if [ -f greeting ]; then cat greeting; fi
if [ -f "answers/$name" ]; then . "./answers/$name"; exit $?; fi
echo " !     \\`$SSH_ORIGINAL_COMMAND\\` is not a dokku command." >&2
exit 1
"""
_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
MaxSessions {most}
MaxStartups {logins}
Banner {folder}/banner
ForceCommand /bin/sh {folder}/forced.sh
SetEnv SHLVL=2
"""
# SHLVL: below 2, a bash that sshd starts reads the ~/.bashrc of whoever runs the tests.
OPENSSH = [kind for kind in KINDS if kind == "openssh"]
"""For what the double cannot do."""


class Process(Protocol):
    """What a test needs of a server's process."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SshServer:
    """One running server."""

    folder: Path
    port: int
    process: Process
    target: SshTarget

    def answer(self, command: str, script: str) -> None:
        """What the server does for a command from now on: lines of shell."""
        name = re.sub(r"[^A-Za-z0-9.-]", "_", command)
        (self.folder / "answers" / name).write_text(script)

    def replay(self, command: str, *, out: str = "", err: str = "", status: int = 0) -> None:
        """Answer a command with these texts from now on."""
        name = re.sub(r"[^A-Za-z0-9.-]", "_", command)
        for suffix, text in (("out", out), ("err", err)):
            (self.folder / f"{name}.{suffix}").write_text(text)
        self.answer(command, f"cat {name}.err >&2; cat {name}.out; exit {status}")

    def asked(self) -> list[str]:
        """The commands that were run, in order."""
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def signal(self, number: int) -> None:
        """Signal the server and all that it runs. OpenSSH's children leave its process group."""
        # Parents first, or a server could still report that its command was killed.
        family = [self.process.pid]
        table = subprocess.run(
            ["ps", "-e", "-o", "pid=,ppid="], check=True, capture_output=True, text=True
        ).stdout
        pairs = [tuple(map(int, line.split())) for line in table.splitlines()]
        for pid in family:
            family += [child for child, parent in pairs if parent == pid]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@asynccontextmanager
async def run_ssh_server(
    kind: str, folder: Path, *, most_sessions: int = 10, most_logins: int = 10
) -> AsyncIterator[SshServer]:
    """Start a server of one of the KINDS. `most_logins` under way at once: OpenSSH alone."""
    (folder / "answers").mkdir(parents=True)
    (folder / "forced.sh").write_text(_FORCED.format(folder=folder))
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    client_key = asyncssh.generate_private_key("ssh-ed25519")
    _write_key(folder / "host_key", host_key)
    (folder / "authorized_keys").write_bytes(client_key.export_public_key())
    (folder / "banner").write_text("All is watched\n")
    process: Process
    if kind == "openssh":
        process, port = await _start_openssh(folder, most_sessions, most_logins)
    else:
        process, port = await _start_double(folder, most_sessions)
    target = SshTarget(
        host="127.0.0.1",
        port=port,
        user=getpass.getuser(),
        key=client_key,
        known_hosts=asyncssh.import_known_hosts(
            f"[127.0.0.1]:{port} {host_key.export_public_key().decode()}"
        ),
    )
    server = SshServer(folder, port, process, target)
    try:
        yield server
    finally:
        if process.returncode is None:
            server.signal(signal.SIGKILL)
        await process.wait()


async def until(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait for something that another process does."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 (another process cannot set an event here)
            await asyncio.sleep(0.01)


def _write_key(path: Path, key: asyncssh.SSHKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key())


class _Doubles:
    """The process that forks the doubles of this test process: see `double.py`."""

    def __init__(self) -> None:
        program = str(Path(__file__).with_name("double.py"))
        self._process = subprocess.Popen(
            [sys.executable, program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def order(self, *words: str) -> int:
        """Give an order; the process id that it is about."""
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write("\t".join(words) + "\n")
        return int(pipes.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@cache
def _doubles() -> _Doubles:
    doubles = _Doubles()
    atexit.register(doubles.close)
    return doubles


@dataclass(slots=True)
class _Double:
    """A double's process. Its id is not used again before `wait` has returned."""

    pid: int
    returncode: int | None = field(default=None, init=False)

    async def wait(self) -> int:
        if self.returncode is None:
            _doubles().order("end", str(self.pid))
            self.returncode = -signal.SIGKILL
        return self.returncode


async def _start_double(folder: Path, most: int) -> tuple[Process, int]:
    log = folder / "server.log"
    process = _Double(_doubles().order("start", str(folder), str(most)))
    await until(lambda: log.exists() and log.read_bytes().endswith(b"\n"), within_s=20)
    return process, int(log.read_bytes())


async def _start_openssh(folder: Path, most: int, logins: int) -> tuple[Process, int]:
    assert SSHD is not None
    if os.getuid() == 0:
        # sshd insists on its empty folder when it runs as root.
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # noqa: PTH103 (ASYNC240)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config, said = folder / "sshd_config", folder / "server.log"
    config.write_text(_CONFIG.format(folder=folder, port=port, most=most, logins=logins))
    process = await asyncio.create_subprocess_exec(
        *(SSHD, "-D", "-E", str(said), "-f", str(config)), start_new_session=True
    )
    await until(lambda: said.exists() and b"Server listening" in said.read_bytes())
    return process, port
