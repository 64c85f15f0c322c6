"""One app on the simulated host: its lock, its git repository, its containers and build records."""

from dataclasses import dataclass, field
from typing import Protocol

from bot.simulators.dokku.behaviours import BEHAVIOURS, Behaviour
from bot.simulators.dokku.model import (
    BuildRecord,
    Container,
    Image,
    LiveProcess,
    Output,
    RunState,
)


class RunningCommand(Protocol):
    """A command that is changing the app; `runs.Run` implements it."""

    @property
    def number(self) -> int:
        """Its number in the journal."""
        ...

    @property
    def record(self) -> BuildRecord | None:
        """Its build record, if it has one."""
        ...

    @property
    def output(self) -> Output:
        """Where it prints."""
        ...

    async def write(self, stream: str, data: bytes) -> None:
        """Print bytes to `out` or `err`. Raises PipeBroken."""
        ...

    def stop(self, reason: str) -> None:
        """Kill it: `canceled` (exit 141) or `killed` (signal KILL)."""
        ...


@dataclass(kw_only=True, eq=False)
class App:
    """An app. Tests set `behaviour`, `next_outcome` and `commit_behaviours`."""

    name: str
    created_unix: int
    repo: str
    behaviour: str = "ok"
    """Key of BEHAVIOURS for every deploy without a more specific one."""
    next_outcome: str | None = None
    """Key of BEHAVIOURS for the next deploy only."""
    commit_behaviours: dict[str, str] = field(default_factory=dict)
    """Key of BEHAVIOURS by full SHA."""

    deploy_source: str = ""
    deploy_source_metadata: str = ""
    git_sha: str | None = None
    """Head of the app repository's deploy branch: moves at fetch time, proves nothing."""
    deploy_branch: str = ""
    git_updated_unix: int | None = None

    lock_file: str | None = None
    """None: no file. Else its content: a build id, or empty after a refused second deploy."""
    lock_holder: RunningCommand | None = None
    """Who has the flock: the real lock."""

    config: dict[str, str] = field(default_factory=dict)
    scale: dict[str, int] = field(default_factory=lambda: {"web": 1})
    checks_enabled: bool = True
    skip_deploy: bool = False
    restore: bool = True
    deployed: bool = False
    image: Image | None = None
    """The image that the tag `dokku/APP:latest` currently names."""
    listed: dict[str, Container] = field(default_factory=dict)
    """The containers that Dokku lists, by dyno: what serves."""
    containers: list[Container] = field(default_factory=list)
    """All that docker has or had."""
    served_ids: set[str] = field(default_factory=set)
    """Every container that served at some time."""
    records: list[BuildRecord] = field(default_factory=list)
    runs: list[RunningCommand] = field(default_factory=list)
    """The commands that are changing the app."""

    def outcome_of(self, sha: str | None) -> Behaviour:
        """Choose how a deploy goes: set for this deploy, for this commit, or for the app."""
        if self.next_outcome is not None:
            return BEHAVIOURS[self.next_outcome]
        return BEHAVIOURS[self.commit_behaviours.get(sha or "", self.behaviour)]

    def record(self, build_id: str) -> BuildRecord | None:
        """Find a build record."""
        return next((one for one in self.records if one.id == build_id), None)

    def sorted_records(self) -> list[BuildRecord]:
        """Return the records in the order of `builds:list`: running ones first, newest first."""
        newest = sorted(self.records, key=lambda one: one.id, reverse=True)
        return sorted(newest, key=lambda one: one.display_status != "running")

    def live(self) -> dict[str, LiveProcess]:
        """Return what really serves now, by dyno."""
        return {
            dyno: LiveProcess(sha=one.image.sha, container_id=one.id, state=one.state)
            for dyno, one in sorted(self.listed.items())
            if one.exists and one.state in {RunState.RUNNING, RunState.RESTARTING}
        }

    def holder_of_name(self, name: str) -> Container | None:
        """Find the container that docker knows by this name."""
        return next((one for one in self.containers if one.exists and one.name == name), None)
