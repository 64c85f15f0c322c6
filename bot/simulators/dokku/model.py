"""What the simulated Dokku knows: apps, images, containers, build records, the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class RefMissing(Exception):
    """The repository has no such branch, tag or commit."""


class RepoUnreachable(Exception):
    """The repository cannot be reached or read.

    `reason` chooses the recorded text: `no_such_host`, `refused`, `not_exported`, `ssh_refused`
    or `no_url`.
    """

    def __init__(self, reason: str = "no_such_host") -> None:
        super().__init__(reason)
        self.reason = reason


class PipeBroken(Exception):
    """The SSH client is gone: the writer dies of SIGPIPE."""


class TaskFailed(Exception):
    """A predeploy or postdeploy task of the app exits with an error; the deploy ends with it."""


class Refs(Protocol):
    """Where `git:sync` gets its commits from; a simulated git hosting implements it."""

    def resolve(self, url: str, ref: str) -> str:
        """Give the full SHA of a ref; the empty ref is the default branch.

        Raises RefMissing, RepoUnreachable.
        """
        ...


class Output(Protocol):
    """Where a command prints: an SSH channel, or nothing."""

    @property
    def closed(self) -> bool:
        """Tell whether nobody reads any more."""
        ...

    async def write(self, stream: str, data: bytes) -> None:
        """Print to `out` or `err`; waits while the reader is slow. Raises PipeBroken."""
        ...


class Nowhere:
    """An output that takes everything and never goes away: somebody else's terminal."""

    closed = False

    async def write(self, stream: str, data: bytes) -> None:
        """Drop it."""


class RunState(StrEnum):
    """Docker's `State.Status`, as far as Dokku shows it."""

    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"


@dataclass(frozen=True, kw_only=True)
class Image:
    """What one build made. The same files give the same id."""

    id: str
    """64 hex, without `sha256:`."""
    sha: str
    """The commit whose code is in it."""
    healthy: bool = True
    """Whether its containers pass the health checks."""
    life_s: float | None = None
    """How long a container of it lives before it crashes; None: for ever."""
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
    """`APP.TYPE.N`, while it is new `APP.TYPE.N.upcoming-NUMBER`."""
    dyno: str
    """`TYPE.N`, e.g. `web.1`."""
    image: Image
    rev: str
    """`GIT_REV` in its environment: what the app's repository had when it started."""
    created_at: datetime
    started_at: datetime
    finished_at: datetime | None = None
    state: RunState = RunState.RUNNING
    restart_count: int = 0
    exit_code: int = 0
    exists: bool = True
    """False once docker has removed it; Dokku may go on listing its id."""
    env: Mapping[str, str] = field(default_factory=dict)
    starts: list[datetime] = field(default_factory=list)
    """Every start of its process, for `logs`."""

    @property
    def process_type(self) -> str:
        """Give `web` of `web.1`."""
        return self.dyno.rpartition(".")[0]


@dataclass(kw_only=True, eq=False)
class BuildRecord:
    """One record of `builds:list`. `status` is what is stored, not what is shown."""

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
    """Whether `kill -0 pid` finds the process (or one that got its pid)."""
    log: bytearray = field(default_factory=bytearray)

    @property
    def display_status(self) -> str:
        """Give what `builds:list` shows: a running record of a dead process is `abandoned`."""
        return "abandoned" if self.status == "running" and not self.alive else self.status

    @property
    def log_path(self) -> str:
        """Give the path on the server."""
        return f"/var/lib/dokku/data/builds/{self.app}/{self.id}.log"


@dataclass(frozen=True, kw_only=True)
class LiveProcess:
    """What really serves for one process, whatever any report says."""

    sha: str
    container_id: str
    state: RunState


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """Something that happened, at a simulated instant: the truth for tests."""

    at: datetime
    event: str
    app: str
    details: Mapping[str, object]
