"""One run of a long command: prints, can be held, ends by itself, its reader or a signal."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping

from bot.simulators.dokku.app import App
from bot.simulators.dokku.behaviours import Behaviour
from bot.simulators.dokku.crashes import crash_loop
from bot.simulators.dokku.host_state import HostState
from bot.simulators.dokku.model import (
    BuildRecord,
    Container,
    Image,
    KilledBySignal,
    Nowhere,
    Output,
    PipeBroken,
    TaskFailed,
)
from bot.simulators.dokku.recordings import Line, Step, step

SIGPIPE_EXIT = 141
TASK_FAILED_EXIT = 1
CANCEL_TAKES_S = 0.3
RETENTION = 20
TOGETHER_WITHIN_S = 0.004
"""Real seconds. Lines that follow each other sooner are printed together, as a busy server does."""
RECORDED_WORDS = {"web_health": "web health", "end_of_life": "crash"}


class Run:
    """One run of a command that builds, deploys or restarts an app.

    Args:
        host: the server it runs on.
        app: the app it changes.
        output: where it prints; once that is closed, its next line kills it.
        instant: True plays it in no time, for releases from before the test.
    """

    def __init__(self, *, host: HostState, app: App, output: Output, instant: bool = False) -> None:
        self.number = host.next_run_number()
        """Its number in the journal."""
        self.host = host
        self.app = app
        self.output = output
        self.instant = instant
        self.record: BuildRecord | None = None
        self.url = app.repo
        self.ref = "main"
        self.finalizes = False
        """Dokku records how a command ends only from `Releasing` on."""
        self.new_containers: list[Container] = []
        self.replaced: list[Container] = []
        """Old containers that are to be stopped."""
        self.stop_reason: str | None = None
        self.dies_at: str | None = None
        self._task: asyncio.Task[object] | None = None
        self._due_s = host.clock.elapsed_s()
        self._pending: list[tuple[str, str]] = []

    # Its course.

    async def execute(self, steps: Coroutine[object, object, int]) -> int:
        """Run the steps until they end, the reader is gone or a signal kills them.

        Returns the exit status. Raises KilledBySignal.
        """
        self._task = asyncio.current_task()
        self.app.runs.append(self)
        self._note("run_began", source=self.source, outside=self.outside)
        status: int | None = None
        try:
            status = await steps
        except PipeBroken:
            status = SIGPIPE_EXIT
            self._cut_off(status)
        except TaskFailed:
            status = TASK_FAILED_EXIT
            if self.finalizes:
                self.finalize("failed", status)
        except asyncio.CancelledError:
            if self.stop_reason is None or self._task is None:
                raise
            self._task.uncancel()
            status = SIGPIPE_EXIT if self.stop_reason == "canceled" else None
        finally:
            self.leave()
            self._note("run_ended", source=self.source, status=status)
        if status is None:
            raise KilledBySignal
        if self.stop_reason == "canceled":
            await self.host.clock.sleep(CANCEL_TAKES_S)
        elif self.host.must_hold(self.app, "before_exit"):
            await self.host.hold(self.app, "before_exit")
        return status

    @property
    def source(self) -> str:
        """The source in the build record; empty without a record."""
        return self.record.source if self.record else ""

    @property
    def outside(self) -> bool:
        """Whether another user started it, at a terminal that no SSH client of the bot reads."""
        return isinstance(self.output, Nowhere)

    def _note(self, event: str, **details: object) -> None:
        self.host.write_journal(event, self.app, run=self.number, **details)

    def stop(self, reason: str) -> None:
        """Kill it: `canceled` (exit 141) or `killed` (signal KILL)."""
        self.stop_reason = reason
        if self._task is not None:
            self._task.cancel()

    def leave(self) -> None:
        """End the process: free the flock and the pid, stop containers that never served."""
        if self.app.lock_holder is self:
            self.app.lock_holder = None
            if not self.host.keeps_build_records:
                self.app.lock_file = None
        if self.record is not None:
            self.record.alive = False
        for container in self.new_containers:
            if container not in self.app.listed.values() and not self._served(container):
                self.host.stop_container(self.app, container)
        if self in self.app.runs:
            self.app.runs.remove(self)

    def _served(self, container: Container) -> bool:
        return container.id in self.app.served_ids

    def _cut_off(self, status: int) -> None:
        if self.finalizes:
            self.finalize("failed", status)
        self._note("cut_off", source=self.source)

    def finalize(self, status: str, exit_code: int) -> None:
        """Write the result into its record, remove its lock file, prune the app's records."""
        now = self.host.clock.now()
        if self.record is not None:
            self.record.status = status
            self.record.exit_code = exit_code
            self.record.finished_at = now
        if self.app.lock_holder is self:
            self.app.lock_file = None
            self.app.lock_holder = None
        for other in self.app.records:
            if other is not self.record and other.display_status == "abandoned":
                other.status, other.exit_code, other.finished_at = "failed", -1, now
        finished = [one for one in self.app.records if one.status != "running"]
        gone = set(sorted((one.id for one in finished), reverse=True)[RETENTION:])
        self.app.records[:] = [one for one in self.app.records if one.id not in gone]
        self._note("finalized", status=status, exit_code=exit_code)

    def take_lock(self) -> bool:
        """Take the app's deploy lock; a refusal empties the lock file of its holder."""
        if self.app.lock_holder is not None:
            self.app.lock_file = ""
            self._note("lock_refused")
            return False
        self.app.lock_holder = self
        self.app.lock_file = self.record.id if self.record else ""
        self._note("lock_taken")
        return True

    def choose(self, sha: str | None) -> Behaviour:
        """Choose how it goes, and clear the app's `next_outcome`."""
        behaviour = self.app.outcome_of(sha)
        self.app.next_outcome = None
        self.dies_at = behaviour.dies_at
        self._note("chosen", behaviour=behaviour)
        return behaviour

    # Its output.

    def recorded(self, scenario: str, name: str) -> Step:
        """Return a recorded step of this host's version."""
        return step(self.host.version, scenario, name)

    async def print(
        self,
        lines: Iterable[Line],
        values: Mapping[str, object] | None = None,
        *,
        on: Mapping[str, Callable[[], object]] | None = None,
    ) -> None:
        """Print recorded lines with their recorded delays.

        Args:
            lines: what to print.
            values: for the lines' tokens, besides app, URL and ref.
            on: called when a line that contains the key has been printed.
        """
        known = {**RECORDED_WORDS, **self._values(), **(values or {})}
        together_s = self.host.clock.speed * TOGETHER_WITHIN_S
        for line in lines:
            if line.delay_s > 0 and not self.instant:
                self._due_s += line.delay_s
                early_s = self._due_s - self.host.clock.elapsed_s()
                if early_s > together_s:
                    await self._flush()
                    await self.host.clock.sleep(early_s)
            text = line.render(known)
            self._pending.append((line.stream, text))
            actions = [act for mark, act in (on or {}).items() if mark in text]
            if actions or self._stops_after(text):
                await self._flush()
                for act in actions:
                    act()
                await self._stop_after(text)
        await self._flush()

    async def pause(self, seconds: float) -> None:
        """Let simulated seconds pass."""
        if not self.instant:
            self._due_s += seconds
            await self.host.clock.sleep(self._due_s - self.host.clock.elapsed_s())

    async def write(self, stream: str, data: bytes) -> None:
        """Print bytes to the build log and to the reader. Raises PipeBroken."""
        if self.record is not None:
            self.record.log += data
            self.host.notify()
        await self.output.write(stream, data)

    def _stops_after(self, text: str) -> bool:
        return self.host.must_hold(self.app, text) or (
            self.dies_at is not None and self.dies_at in text
        )

    async def _stop_after(self, text: str) -> None:
        if self.dies_at is not None and self.dies_at in text:
            self.stop("killed")
            await asyncio.sleep(0)
        if self.host.must_hold(self.app, text):
            await self.host.hold(self.app, text)
            self._due_s = self.host.clock.elapsed_s()

    async def _flush(self) -> None:
        if self.output.closed:
            del self._pending[1:]  # its next line kills it
        while self._pending:
            stream = self._pending[0][0]
            same = 0
            while same < len(self._pending) and self._pending[same][0] == stream:
                same += 1
            text = "".join(part for _, part in self._pending[:same])
            del self._pending[:same]
            await self.write(stream, text.encode())

    def _values(self) -> dict[str, object]:
        branch = self.app.deploy_branch or (
            "main" if re.fullmatch("[0-9a-f]{40}", self.ref) else self.ref
        )
        return {
            "app": self.app.name,
            "url": self.url,
            "url_base": self.url.removesuffix(".git"),
            "ref": self.ref,
            "branch": branch,
            "branch10": branch.ljust(10),
            "unix": int(self.host.clock.now().timestamp()),
        }

    # Its containers.

    def start_container(self, image: Image, dyno: str) -> Container:
        """Start a container of the image under a temporary name."""
        now = self.host.clock.now()
        number = self.host.random.randrange(100, 32000)
        container = Container(
            id=self.host.new_id(),
            name=f"{self.app.name}.{dyno}.upcoming-{number}",
            dyno=dyno,
            image=image,
            rev=self.app.git_sha or "",
            created_at=now,
            started_at=now,
            env=dict(self.app.config),
            starts=[now],
        )
        self.app.containers.append(container)
        self.new_containers.append(container)
        if image.life_s is not None:
            self.host.spawn(crash_loop(self.host, self.app, container, image.life_s))
        self._note(
            "container_started",
            id=container.id,
            dyno=dyno,
            image=image.id,
            checks=self.app.checks_enabled,
        )
        return container

    def retire(self) -> None:
        """Stop the replaced containers later.

        A run that dies first leaves them up (recording m4_ssh_lost_kill9_post_deploy).
        """
        if not self.instant:
            for container in self.replaced:
                self.host.spawn(self._stop_later(container))

    async def _stop_later(self, container: Container) -> None:
        await self.host.clock.sleep(self.host.old_containers_live_s)
        self.host.stop_container(self.app, container)
