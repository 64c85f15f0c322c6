"""A fake Dokku whose deploys run in one-off containers: they need no connection of the bot."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import LogFacts
from bot.deployments.ports import DeployStream, MaySend
from bot.errors import OutcomeUnknown, Withheld
from tests.support.builders import METADATA
from tests.support.fake_dokku import FakeDokku, FakeStream, read_facts

LOOK_S = 0.1


class Follower(DeployStream):
    """Reads what a build prints, until it has ended or the connection is lost."""

    def __init__(self, build: FakeStream, skipped: int) -> None:
        self.build = build
        self.closed = False
        self._read = skipped

    @property
    def facts(self) -> LogFacts:
        return read_facts(self.build.printed)

    @property
    def exit_status(self) -> int | None:
        return None

    @property
    def last_byte_at(self) -> float:
        return self.build.last_byte_at

    async def lines(self) -> AsyncIterator[Sequence[str]]:
        while True:
            if self._read < len(self.build.printed):
                batch = self.build.printed[self._read :]
                self._read = len(self.build.printed)
                yield batch
            elif self.closed or self.build.record_status is not BuildStatus.RUNNING:
                return
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        self.closed = True


@dataclass(kw_only=True)
class DetachedDokku(FakeDokku):
    """`streams` are the builds: the bot's followers come and go."""

    runner: str = "runner"
    run_s: float = 2.8
    begins_after_s: float | None = 0.5
    """From the container's start; None: its SSH client never gets an answer."""
    client_is_refused: bool = False
    loses_answer: bool = False
    """The answer to `run:detached` does not come."""
    heads: dict[str, str | None] = field(default_factory=dict)
    """How the outputs of builds begin, where it is not the deployment's own way."""
    running: dict[str, str] = field(default_factory=dict)
    """One-off containers: name -> command."""
    followers: list[Follower] = field(default_factory=list)
    started: int = 0

    async def run_detached(
        self, app: str, repo: str, pinned: str, *, runner: str, may_send: MaySend | None = None
    ) -> str:
        if may_send is not None and not may_send():
            raise Withheld("nothing was sent")
        if self.failing.get("run_detached"):
            await self._answer("run_detached")
        self.started += 1
        number = self.started
        name = f"{runner}.run.{1000 + number}"
        command = f"/app/dokku-ssh git:sync --build {app} {repo} {pinned}"
        asyncio.get_running_loop().call_later(self.run_s, self._start, name, command, number)
        await self._answer("run_detached", self.run_s + 0.1)
        if self.loses_answer:
            raise OutcomeUnknown("The connection was lost while `run:detached` ran.")
        return name

    def _start(self, name: str, command: str, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.running[name] = command
        if self.client_is_refused:
            loop.call_later(1, self.running.pop, name)
        elif self.begins_after_s is not None:
            loop.call_later(self.begins_after_s, self.begin, name, number)

    def begin(self, name: str, number: int = 1) -> FakeStream:
        """Begin the build of a container."""
        build = FakeStream(self, f"b{number}")
        self.streams.append(build)
        self._arrived.set()
        self.add_record(build.build_id, text=())
        self._look_at(name, build)
        return build

    def _look_at(self, name: str, build: FakeStream) -> None:
        """The container ends a moment after its command."""
        if build.record_status is BuildStatus.RUNNING:
            asyncio.get_running_loop().call_later(LOOK_S, self._look_at, name, build)
        else:
            asyncio.get_running_loop().call_later(0.3, self.running.pop, name, None)

    async def one_offs(self, runner: str) -> Mapping[str, str]:
        await self._answer("one_offs")
        return dict(self.running)

    async def build_head(self, app: str, build_id: str) -> str | None:
        await self._answer("build_head")
        return self.heads.get(build_id, METADATA)

    async def follow(self, app: str, build_id: str, seen: Sequence[str]) -> DeployStream:
        await self._answer("follow", self.login_s)
        build = next(one for one in self.streams if one.build_id == build_id)
        follower = Follower(build, len(seen))
        self.followers.append(follower)
        return follower
