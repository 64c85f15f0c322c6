"""A Dokku server whose answers the test decides. It uses the loop's time."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from bot.deployments.dokku_facts import (
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
    LogEnd,
    Pace,
)
from bot.deployments.model import LogFacts, LogMarker, Phase
from bot.deployments.ports import DeployStream, Dokku, MaySend
from bot.errors import DokkuError, OutcomeUnknown, Unreachable, Withheld
from tests.support.builders import METADATA, NEW, OLD, OLD_METADATA, SHA, containers

PHASES = {
    "fetching": Phase.FETCHING,
    "building": Phase.BUILDING,
    "releasing": Phase.RELEASING,
}
DOWN = Unreachable("dokku.example.com:22 refused the connection.")
UNKNOWN = OutcomeUnknown("dokku.example.com:22 did not answer `builds:list` within 8 s.")


def read_facts(lines: Sequence[str]) -> LogFacts:
    """Read the lines of these tests: `> MARKER`, `> start CONTAINER`, `> error MARKER TEXT`."""
    markers: set[LogMarker] = set()
    started: set[str] = set()
    phase: Phase | None = None
    error: str | None = None
    for line in lines:
        match line.split(maxsplit=3):
            case [">", "start", container]:
                started.add(container)
            case [">", "error", marker, text]:
                markers.add(LogMarker(marker))
                error = text
            case [">", marker]:
                markers.add(LogMarker(marker))
                phase = PHASES.get(marker, phase)
            case _:
                continue
    return LogFacts(
        markers=frozenset(markers), phase=phase, started=frozenset(started), error=error, step=None
    )


BUILDING = ("> fetching", "> building")
GOOD = (*BUILDING, "> releasing", f"> start {NEW.id}", "> deployed")


class FakeStream(DeployStream):
    """One deploy command. The test decides what it prints and how it ends."""

    def __init__(self, dokku: "FakeDokku", build_id: str) -> None:
        self.dokku = dokku
        self.build_id = build_id
        self.printed: list[str] = []
        self.closed = False
        self.ended = False
        self.read = 0
        """Number of lines that were read."""
        self.record_status = BuildStatus.RUNNING
        self.record_code: int | None = None
        self.breaks_with: Exception | None = None
        """An error of the adapter, raised after the last line."""
        self._status: int | None = None
        self._last_byte_at = asyncio.get_running_loop().time()
        self._news = asyncio.Event()

    @property
    def facts(self) -> LogFacts:
        return read_facts(self.printed)

    @property
    def exit_status(self) -> int | None:
        return self._status

    @property
    def last_byte_at(self) -> float:
        return self._last_byte_at

    async def lines(self) -> AsyncIterator[Sequence[str]]:
        while True:
            if self.read < len(self.printed):
                batch = self.printed[self.read :]
                self.read = len(self.printed)
                yield batch
            elif self.ended:
                break
            else:
                self._news.clear()
                await self._news.wait()
        if self.breaks_with is not None:
            raise self.breaks_with

    async def close(self) -> None:
        self.closed = True
        self.lose()

    # Set by tests.

    def say(self, *lines: str) -> None:
        self.printed.extend(lines)
        self._last_byte_at = asyncio.get_running_loop().time()
        self._news.set()

    def end(
        self, status: int, record: BuildStatus | None = None, exit_code: int | None = None
    ) -> None:
        """End the command, and its record as Dokku would."""
        usual = BuildStatus.SUCCEEDED if status == 0 else BuildStatus.ABANDONED
        self.record_status, self.record_code = record or usual, exit_code
        self.dokku.set_status(self.build_id, self.record_status, exit_code)
        self._status = status
        self.ended = True
        self._news.set()

    def lose(self) -> None:
        """Lose the connection: no exit status. The command itself may go on."""
        self.ended = True
        self._news.set()

    def succeed(self) -> None:
        """Do everything that a good redeploy does."""
        self.say(*(line for line in GOOD if line not in self.printed))
        self.dokku.now = containers(NEW)
        self.dokku.metadata = METADATA
        self.end(0)


@dataclass(kw_only=True)
class FakeDokku(Dokku):
    """A server with one app, `web`, whose old release serves."""

    now: Containers | None = field(default_factory=lambda: containers(OLD))
    """What `ps:inspect` shows; None: unreadable."""
    records: list[BuildRecord] = field(default_factory=list)
    metadata: str = OLD_METADATA
    fetched: str | None = SHA
    keeps: bool = True
    locked: bool = False
    down: DokkuError | None = None
    """Raised by every question."""
    failing: dict[str, list[Exception]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Questions that raise an unexpected error."""
    hanging: set[str] = field(default_factory=set)
    """Questions that are never answered."""
    answer_s: float = 0.05
    login_s: float = 0.1
    cancel_s: float | None = None
    """How long `builds:cancel` waits for its turn; None: as every question."""
    log_end_s: float = 1.0
    """How long a look at a log that may grow takes."""
    record_after_s: float = 0.4
    makes_records: bool = True
    cancel_works: bool = True
    streams: list[FakeStream] = field(default_factory=list)
    cancels: list[float] = field(default_factory=list)
    """When `builds:cancel` was sent."""
    asked: list[str] = field(default_factory=list)
    texts: dict[str, Sequence[str]] = field(default_factory=dict)
    """Output of build records, where it differs from what a stream printed."""
    app_logs: dict[str, Sequence[str]] = field(default_factory=dict)
    """What each process of the app printed."""
    answers_at: Pace = field(default_factory=Pace)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    # Set by tests.

    def fail(self, question: str, error: Exception = DOWN, *, times: int = 1) -> None:
        self.failing.setdefault(question, []).extend([error] * times)

    def set_status(self, build_id: str, status: BuildStatus, exit_code: int | None = None) -> None:
        self.records = [
            replace(one, status=status, exit_code=exit_code) if one.id == build_id else one
            for one in self.records
        ]

    def add_record(
        self,
        build_id: str,
        status: BuildStatus = BuildStatus.RUNNING,
        *,
        source: str = "git:sync",
        text: Sequence[str] = (),
        kind: str = "build",
        duration: timedelta | None = None,
    ) -> BuildRecord:
        record = BuildRecord(
            id=build_id, app="web", status=status, source=source, kind=kind, duration=duration
        )
        self.records.insert(0, record)
        self.texts[build_id] = text
        return record

    async def stream(self, number: int = 1) -> FakeStream:
        """Return the stream of deploy command `number`, once it was sent."""
        while len(self.streams) < number:
            self._arrived.clear()
            await self._arrived.wait()
        return self.streams[number - 1]

    @property
    def record(self) -> BuildRecord:
        """The newest build record."""
        return self.records[0]

    # The port.

    @property
    def pace(self) -> Pace:
        return self.answers_at

    async def keeps_records(self) -> bool:
        await self._answer("keeps_records")
        return self.keeps

    async def apps(self) -> Sequence[str]:
        await self._answer("apps")
        return ["web"]

    async def builds(self, app: str) -> Sequence[BuildRecord]:
        await self._answer("builds")
        return list(self.records) if self.keeps else []

    async def report(self, app: str) -> AppReport:
        await self._answer("report")
        return AppReport(metadata=self.metadata, source="git-sync", locked=self.locked)

    async def containers(self, app: str) -> Containers | None:
        await self._answer("containers")
        return self.now

    async def app_log(self, app: str, process: str) -> Sequence[str]:
        await self._answer("app_log")
        return self.app_logs.get(process, ())

    async def fetched_sha(self, app: str) -> str | None:
        await self._answer("fetched_sha")
        return self.fetched

    async def deploy_branch(self, app: str) -> str | None:
        await self._answer("deploy_branch")
        return "main"

    async def build_output(self, app: str, build_id: str) -> tuple[Sequence[str], LogFacts]:
        await self._answer("build_output")
        lines = self._printed(build_id)
        return lines, read_facts(lines)

    def _printed(self, build_id: str) -> list[str]:
        printed = (one.printed for one in self.streams if one.build_id == build_id)
        return list(self.texts.get(build_id) or next(printed, ()))

    async def log_end(self, app: str, build_id: str) -> LogEnd:
        await self._answer("log_end", self.log_end_s)
        return LogEnd(lines=tuple(map(hash, self._printed(build_id))))

    async def facts_of(self, app: str, lines: Sequence[str]) -> LogFacts:
        return read_facts(lines)

    async def cancel_build(self, app: str, *, may_send: MaySend | None = None) -> bool:
        await self._answer("cancel_build", self.cancel_s)
        if may_send is not None and not may_send():
            raise Withheld("nothing was sent")
        self.cancels.append(asyncio.get_running_loop().time())
        if not self.cancel_works:
            return False
        for stream in self.streams:
            if not stream.ended:
                stream.end(141, BuildStatus.CANCELED, -1)
        for record in list(self.records):
            if record.status is BuildStatus.RUNNING and record.kind == "build":
                self.set_status(record.id, BuildStatus.CANCELED, -1)
        return True

    async def deploy(
        self, app: str, repo: str, pinned: str, *, may_send: MaySend | None = None
    ) -> DeployStream:
        await self._answer("deploy", self.login_s)
        if may_send is not None and not may_send():
            raise Withheld("nothing was sent")
        build_id = f"b{len(self.streams) + 1}"
        stream = FakeStream(self, build_id)
        self.streams.append(stream)
        self._arrived.set()
        if self.makes_records:
            asyncio.get_running_loop().call_later(self.record_after_s, self._appear, build_id)
        return stream

    async def run_detached(
        self, app: str, repo: str, pinned: str, *, runner: str, may_send: MaySend | None = None
    ) -> str:
        raise AssertionError("no runner is set")

    async def one_offs(self, runner: str) -> Mapping[str, str]:
        raise AssertionError("no runner is set")

    async def build_head(self, app: str, build_id: str) -> str | None:
        raise AssertionError("no runner is set")

    async def follow(self, app: str, build_id: str, seen: Sequence[str]) -> DeployStream:
        raise AssertionError("no runner is set")

    def _appear(self, build_id: str) -> None:
        stream = next(one for one in self.streams if one.build_id == build_id)
        self.add_record(build_id, stream.record_status)
        self.set_status(build_id, stream.record_status, stream.record_code)

    async def _answer(self, question: str, takes_s: float | None = None) -> None:
        self.asked.append(question)
        await asyncio.sleep(self.answer_s if takes_s is None else takes_s)
        if question in self.hanging:
            await asyncio.Event().wait()
        if question in self.broken:
            raise RuntimeError("a bug")
        if self.failing.get(question):
            raise self.failing[question].pop(0)
        if self.down is not None:
            raise self.down


def a_container_now(container: Container, **changes: object) -> Containers:
    """Return one container with some fields changed."""
    return containers(replace(container, **changes))  # type: ignore[arg-type]  # test shorthand
