"""What is read from a Dokku server: containers, build records, reports."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from bot.errors import CommandFailed

NO_SUCH_APP = 20
"""Exit status of a Dokku command that names an app which does not exist."""
NEVER_FINALIZED = -1
"""Exit code that Dokku's prune writes into records of commands that never finalized."""
SYNC_SOURCE = "git:sync"
"""Source of the build record of a `git:sync`: the command that the bot deploys with."""


class Trouble(StrEnum):
    """What a line of the output is about, where people can do something about it."""

    MEMORY = "memory"
    DISK = "disk"
    RATE_LIMIT = "rate_limit"
    REGISTRY = "registry"
    CREDENTIALS = "credentials"
    DEPLOY_KEY = "deploy_key"
    HOST_KEY = "host_key"
    SUBMODULE = "submodule"
    LFS = "lfs"
    OWNERSHIP = "ownership"
    APP_FILE = "app_file"


def says_no_such_app(error: Exception) -> bool:
    """Whether Dokku answered that the app does not exist. Other errors leave that open."""
    return isinstance(error, CommandFailed) and error.exit_status == NO_SUCH_APP


class BuildStatus(StrEnum):
    """What a build record displays (Dokku's `display_status`)."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container that Dokku lists for an app (`ps:inspect`)."""

    id: str
    """12 lower-case hex digits."""
    process: str
    """Dokku's dyno label, `web.1`."""
    image: str
    """Image id. The same content again has the same id: no release id."""
    state: str
    """Docker's word: created, running, paused, restarting, removing, exited or dead; or `missing`:
    Docker no longer has it."""
    restarts: int = 0
    started_at: str = ""
    """Docker's own time stamp, compared for equality only."""
    # Why it is down: neither compared nor stored, because a result's reason says it.
    exit_code: int | None = field(default=None, compare=False)
    """Exit status of its last end; None: not read."""
    problem: str = field(default="", compare=False)
    """Docker's own line about a start that failed."""
    oom_killed: bool = field(default=False, compare=False)
    """Docker says that its memory ran out."""

    @property
    def running(self) -> bool:
        """Whether Docker says that it runs."""
        return self.state == "running"

    @property
    def is_up(self) -> bool:
        """Whether it serves, at least between two crashes."""
        return self.state in {"running", "restarting"}

    @property
    def never_started(self) -> bool:
        """Whether Docker made it, but no process ever ran in it."""
        return self.state == "created" or (
            not self.is_up and self.started_at.startswith(_NEVER_STARTED)
        )

    @property
    def ended_well(self) -> bool:
        """Whether its process ended once, with status 0: Docker does not start it again."""
        once = self.state == "exited" and self.restarts == 0 and not self.never_started
        return once and self.exit_code == 0 and not self.oom_killed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How quickly a server answers. A slow server is not a dead one."""

    patience: int = 1
    """How many times its usual time it gets for an answer; more than 1: it is slow."""
    heavy_patience: int = 1
    """The same for questions that cost it much, such as reading the containers."""
    slow: bool = False
    """The question that failed last was taken by the server, and not answered in time."""
    answers: int = 0
    """Questions of anybody that it has answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """One read of an app's containers; `listed` may be empty: nothing is deployed or scaled up.

    A read that could not be made is None where this type is optional, never an empty read.
    """

    listed: tuple[Container, ...] = ()
    stopped: bool = field(default=False, compare=False)
    """Someone stopped the app: its processes have ended, and Dokku does not restore them."""

    @property
    def ids(self) -> frozenset[str]:
        """The 12-digit ids."""
        return frozenset(container.id for container in self.listed)

    @property
    def has_web(self) -> bool:
        """Whether a process serves behind the app's address."""
        return any(one.is_up and one.process.startswith("web.") for one in self.listed)

    @property
    def images(self) -> frozenset[str]:
        """The image ids."""
        return frozenset(container.image for container in self.listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """One record of `builds:list` (Dokku >= 0.38)."""

    id: str
    app: str
    status: BuildStatus
    source: str
    """How it was started: `git:sync`, `git-hook`, `ps:rebuild`, `config-redeploy`, ..."""
    kind: str = "build"
    exit_code: int | None = None
    started_at: str = ""
    duration: timedelta | None = None
    """How long it has run, or took, by the server's clock; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """The last lines that a build has printed so far. Of each only a hash: nothing is shown."""

    lines: tuple[int, ...] = ()

    def goes_on_from(self, earlier: "LogEnd") -> bool:
        """Whether the build has printed since: Dokku only ever appends to a build's log.

        A read that was cut short is the beginning of the earlier one, and proves nothing; nor does
        one that follows nothing.
        """
        return bool(earlier.lines) and self.lines != earlier.lines[: len(self.lines)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppReport:
    """What `apps:report` says that we use."""

    metadata: str = ""
    """`deploy-source-metadata`: `<repo url>#<full sha>` after a good git:sync, else other forms."""
    source: str = ""
    locked: bool = False

    @property
    def sha(self) -> str | None:
        """The full commit that the metadata names, "according to Dokku"."""
        tail = self.metadata.rpartition("#")[2]
        return tail if FULL_SHA.fullmatch(tail) else None

    @property
    def repo(self) -> str | None:
        """The remote that Dokku recorded, where it recorded one."""
        head, sep, _ = self.metadata.rpartition("#")
        return head if sep else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The server's state just before the start; every later claim compares with it."""

    builds: frozenset[str] | None
    """Ids of all records of the app; None before Dokku 0.38."""
    report: AppReport
    containers: Containers | None
    """None: they could not be read."""
    proven: str | None = None
    """The commit of this bot's deployment whose containers these are, however it ended."""
    runner: str = ""
    """The app in whose one-off container the command runs; empty: on the bot's own connection."""
    run: str = ""
    """The name of that container, once Dokku has said it."""


_NEVER_STARTED = "0001-01-01"
"""Docker's time stamp for what has not happened."""
FULL_SHA = re.compile(r"[0-9a-f]{40}")
"""SHA-1 object names; Dokku's metadata shows no other."""
