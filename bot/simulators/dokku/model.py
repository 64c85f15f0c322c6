"""What the simulated Dokku knows: images, containers, build records, the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class PipeBroken(Exception):
    """The SSH client is gone: the writer dies of SIGPIPE."""


class TaskFailed(Exception):
    """A predeploy or postdeploy task of the app exited with an error, which ends the deploy."""


class KilledBySignal(Exception):
    """The command was killed on the server: the SSH client sees a signal and no exit status."""


class Output(Protocol):
    """Where a command prints: an SSH channel, or nothing."""

    @property
    def closed(self) -> bool:
        """Whether nobody reads any more."""
        ...

    async def write(self, stream: str, data: bytes) -> None:
        """Print to `out` or `err`; wait while the reader is slow. Raises PipeBroken."""
        ...


class Nowhere:
    """An output that takes everything and never closes: another user's terminal."""

    closed = False

    async def write(self, stream: str, data: bytes) -> None:
        """Drop it."""


class RunState(StrEnum):
    """Docker's `State.Status`, as far as Dokku shows it."""

    CREATED = "created"
    """Docker made it and could not start it."""
    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"


@dataclass(frozen=True, kw_only=True)
class Image:
    """The image that a build made. The same files give the same id."""

    id: str
    """64 hex, without `sha256:`."""
    sha: str
    """The commit whose code is in it."""
    healthy: bool = True
    """Whether its containers pass the health checks."""
    life_s: float | None = None
    """Seconds that a container of it lives before it crashes; None: it does not crash."""
    exits_at_start: str | None = None
    """The process type, other than web, whose containers exit at once."""
    failing_task: str | None = None
    """`predeploy` or `postdeploy`: the task of its app.json that fails."""


@dataclass(kw_only=True, eq=False)
class Container:
    """One docker container of an app."""

    id: str
    """64 hex."""
    name: str
    """`APP.TYPE.N`; while it is new, `APP.TYPE.N.upcoming-NUMBER`."""
    dyno: str
    """`TYPE.N`, e.g. `web.1`."""
    image: Image
    rev: str
    """`GIT_REV` in its environment: the head of the app's repository when it started."""
    created_at: datetime
    started_at: datetime
    finished_at: datetime | None = None
    state: RunState = RunState.RUNNING
    restart_count: int = 0
    exit_code: int = 0
    exists: bool = True
    """False once docker has removed it; Dokku may still list its id."""
    env: Mapping[str, str] = field(default_factory=dict)
    starts: list[datetime] = field(default_factory=list)
    """When its process started, each time; for `logs`."""

    @property
    def process_type(self) -> str:
        """The `web` of `web.1`."""
        return self.dyno.rpartition(".")[0]


@dataclass(kw_only=True, eq=False)
class BuildRecord:
    """One record of `builds:list`. `status` is the stored one; Dokku shows `display_status`."""

    id: str
    app: str
    kind: str
    source: str
    pid: int
    started_at: datetime
    status: str = "running"
    exit_code: int | None = None
    finished_at: datetime | None = None
    alive: bool = True
    """Whether `kill -0 pid` finds the process, or another one with its pid."""
    log: bytearray = field(default_factory=bytearray)

    @property
    def display_status(self) -> str:
        """What `builds:list` shows: a running record of a dead process is `abandoned`."""
        return "abandoned" if self.status == "running" and not self.alive else self.status

    @property
    def log_path(self) -> str:
        """Path of the log on the server."""
        return f"/var/lib/dokku/data/builds/{self.app}/{self.id}.log"


@dataclass(kw_only=True, eq=False)
class OneOff:
    """A container of `run:detached`. As an output it keeps what its SSH client printed."""

    name: str
    """`APP.run.NUMBER`."""
    command: str
    """The SSH client, and after it the words for Dokku."""
    created_at: datetime
    printed: bytearray = field(default_factory=bytearray)
    killed: bool = False

    @property
    def closed(self) -> bool:
        """Whether the container was killed, and its SSH client with it."""
        return self.killed

    async def write(self, stream: str, data: bytes) -> None:
        """Keep it. Raises PipeBroken."""
        del stream
        if self.killed:
            raise PipeBroken
        self.printed += data


@dataclass(frozen=True, kw_only=True)
class LiveProcess:
    """What really serves for one process, whatever the reports say."""

    sha: str
    container_id: str
    state: RunState


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """An event at a simulated instant. Tests read the truth from it."""

    at: datetime
    event: str
    app: str
    details: Mapping[str, object]
