"""What is read from a Dokku server: containers, build records, reports."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

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
    """Docker's word: running, restarting, exited, created, dead, missing."""
    restarts: int = 0
    started_at: str = ""
    """Docker's own time stamp, compared for equality only."""

    @property
    def running(self) -> bool:
        """Whether Docker says that it runs."""
        return self.state == "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """One read of an app's containers; `listed` may be empty: nothing is deployed or scaled up.

    A read that could not be made is None where this type is optional, never an empty read.
    """

    listed: tuple[Container, ...] = ()

    @property
    def ids(self) -> frozenset[str]:
        """The 12-digit ids."""
        return frozenset(container.id for container in self.listed)

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


FULL_SHA = re.compile(r"[0-9a-f]{40}")
"""SHA-1 object names; Dokku's metadata shows no other."""
