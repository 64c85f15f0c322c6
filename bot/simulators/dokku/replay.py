"""Replays a recorded deploy: its text and result, and the answers recorded around it, in time.

What was never queried in a scenario follows the model, so a replay shows no more of a server than
its recording does.
"""

import re
from dataclasses import dataclass

from bot.simulators.dokku.app import App
from bot.simulators.dokku.host_state import HostState
from bot.simulators.dokku.model import KilledBySignal
from bot.simulators.dokku.recorded_answers import FULL_ID, Viewer, query_of
from bot.simulators.dokku.recordings import Step, load
from bot.simulators.dokku.runs import SIGPIPE_EXIT, Run

LOCKED_FROM = "-----> Cleaning up"
FINALIZES_FROM = "-----> Releasing"
DEPLOYED = "=====> Application deployed:"
QUERIES = ("builds:list", "apps:report", "containers")
_NEVER_S = float("inf")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Which deploys of a recorded scenario to replay, and what happens to their client."""

    scenario: str
    deploys: tuple[str, ...] = ("deploy",)
    """Steps for the app's first, second ... `git:sync`; later ones follow the model."""
    before: tuple[str, str] | None = None
    """Scenario and step that show the state before, if the scenario itself does not."""
    first: bool = False
    """The app was never deployed before."""
    lost_s: float | None = None
    """Seconds after the first deploy's start at which its client disconnects, if the step itself
    does not end with that."""
    cancelled_s: float | None = None
    """Seconds after the first deploy's start at which `builds:cancel` came."""
    ended: frozenset[str] = frozenset()
    """Build records of another deploy that ran on the same app at the time. They are shown as
    ended, because the bot would wait for them and this replay is not about them."""
    silent_s: tuple[float, float] | None = None
    """From and until when nothing passed the network, in seconds after the first deploy's start."""


class Replay:
    """Replays the deploys of one app. `host.replay` creates it."""

    def __init__(self, host: HostState, app: App, recording: Recording) -> None:
        self._host = host
        self._app = app
        self._recording = recording
        self._steps = load(host.version, recording.scenario)
        self._left = [self._steps[name] for name in recording.deploys]
        self._viewer = Viewer(host, app, ended=recording.ended, full_id=self._full_id)
        self._due: list[Step] = []
        self._zero_s: float | None = None
        """Simulated second at which the recording began; None: its time is stopped."""
        self._stops_at_s = _NEVER_S
        """Recorded second at which time will be stopped: a busy machine must not run past it."""

    def _full_id(self, begin: str) -> str:
        """Complete the 11 digits of an id in a report from the recorded texts."""
        texts = (text for step in self._steps.values() for _, _, text in step.chunks)
        found = (re.search(rf"\b{begin}[0-9a-f]\b", text) for text in texts)
        name = next((match[0] for match in found if match), begin)
        return name.ljust(FULL_ID, "0")

    @property
    def sha(self) -> str | None:
        """The full commit that was recorded as the source after the last of the deploys."""
        last = self._steps[self._recording.deploys[-1]]
        ended_s = last.at_s + last.wall_s
        answers = [step for step in self._about() if query_of(step) == "apps:report"]
        answers = [step for step in answers if step.at_s >= ended_s] or answers[-1:]
        found = re.search(r"#([0-9a-f]{40})", answers[0].stdout) if answers else None
        return found[1] if found else None

    def begin(self) -> None:
        """Show the state before the first deploy."""
        if self._recording.first:
            return
        start = self._left[0]
        if self._recording.before is not None:
            scenario, name = self._recording.before
            self._viewer.show(load(self._host.version, scenario)[name])
        for query in QUERIES:
            answers = [step for step in self._about() if query_of(step) == query]
            earlier = [one for one in answers if one.at_s < start.at_s]
            if query == "containers" and self._recording.before is not None:
                continue
            for answer in earlier or answers[:1]:
                self._viewer.show(answer)
        own_id = self._record_id(start)
        self._app.records[:] = [one for one in self._app.records if not own_id or one.id < own_id]

    def next(self) -> Step | None:
        """Take the recording of the deploy that begins now; None: it follows the model."""
        if not self._left:
            self._due, self._zero_s = [], None
            return None
        return self._left.pop(0)

    async def play(self, run: Run, deploy: Step, url: str, ref: str) -> int:
        """Print what was recorded, and end as recorded. Raises KilledBySignal."""
        self._zero_s = self._host.clock.elapsed_s() - deploy.at_s
        until_s = self._left[0].at_s if self._left else self._next_deploy_s(deploy)
        self._due = [one for one in self._about() if deploy.at_s <= one.at_s < until_s]
        if run.record is not None:
            run.record.id = self._record_id(deploy) or run.record.id
        lost_s = self._recording.lost_s if deploy.name == self._recording.deploys[0] else None
        cancelled_s = self._recording.cancelled_s if lost_s is None else None
        cut_s = min(lost_s or _NEVER_S, cancelled_s or _NEVER_S)
        lost = cut_s == _NEVER_S and deploy.exit_status < 0 and not deploy.killed
        # Only a good end is watched; after a bad one the first answers are what counts.
        ends_there = lost or (deploy.exit_status > 0 and cut_s == _NEVER_S)
        self._stops_at_s = deploy.at_s + (deploy.wall_s if ends_there else cut_s)
        await self._print(run, deploy, cut_s)
        if deploy.killed:
            raise KilledBySignal
        if cancelled_s is not None:
            await self._stop_time(run, deploy.at_s + cancelled_s, "waits_for_cancel")
        if lost_s is not None or deploy.exit_status < 0:
            await self._stop_time(run, deploy.at_s + (lost_s or deploy.wall_s), "waits_for_loss")
            return await self._outlive(run)
        await self._sleep_until(deploy.at_s + deploy.wall_s)
        if run.finalizes:
            run.finalize("failed" if deploy.exit_status else "succeeded", deploy.exit_status)
        if deploy.exit_status == 0 and DEPLOYED in "".join(text for _, _, text in deploy.chunks):
            self._app.deploy_source, self._app.deploy_source_metadata = "git-sync", f"{url}#{ref}"
        self._show_first_answers_after_the_end()
        return deploy.exit_status

    def catch_up(self) -> None:
        """Show the answers recorded up to now."""
        if self._zero_s is None:
            return
        now_s = min(self._host.clock.elapsed_s() - self._zero_s, self._stops_at_s)
        while self._due and self._due[0].at_s <= now_s:
            self._viewer.show(self._due.pop(0))

    async def _print(self, run: Run, deploy: Step, until_s: float) -> None:
        silent_s = self._recording.silent_s
        for at_s, stream, text in deploy.chunks:
            if at_s > until_s:
                return
            if silent_s is not None and at_s > silent_s[0]:
                await self._be_silent(deploy.at_s, *silent_s)
                silent_s = None
            await self._sleep_until(deploy.at_s + at_s)
            self.catch_up()
            await run.write(stream, text.encode())
            if LOCKED_FROM in text:
                run.take_lock()
            run.finalizes = run.finalizes or FINALIZES_FROM in text

    async def _be_silent(self, start_s: float, begin_s: float, end_s: float) -> None:
        await self._sleep_until(start_s + begin_s)
        self._host.write_journal("silence_begins", self._app)
        await self._sleep_until(start_s + end_s)
        self._host.write_journal("silence_ends", self._app)

    async def _stop_time(self, run: Run, at_s: float, event: str) -> None:
        """Stop recorded time until the client is gone or a cancel ends the run."""
        await self._sleep_until(at_s)
        self.catch_up()
        self._zero_s = None
        self._stops_at_s = _NEVER_S
        self._host.write_journal(event, self._app, run=run.number)
        try:
            while not run.output.closed:
                await self._host.changed()
        finally:
            self._zero_s = self._host.clock.elapsed_s() - at_s

    async def _outlive(self, run: Run) -> int:
        """Keep running without a client for as long as the recorded process did."""
        while (
            self._expects("builds:list") and run.record and run.record.display_status == "running"
        ):
            await self._sleep_until(self._due[0].at_s)
            self.catch_up()
        if run.finalizes and run.record and run.record.status == "running":
            run.finalize("failed", SIGPIPE_EXIT)
        return SIGPIPE_EXIT

    def _show_first_answers_after_the_end(self) -> None:
        """The first answers after the end already held at the end."""
        self.catch_up()
        for query in QUERIES:
            answer = next((one for one in self._due if query_of(one) == query), None)
            if answer is not None:
                self._due.remove(answer)
                self._viewer.show(answer)

    def _expects(self, query: str) -> bool:
        return any(query_of(one) == query for one in self._due)

    async def _sleep_until(self, at_s: float) -> None:
        if self._zero_s is not None:
            await self._host.clock.sleep(self._zero_s + at_s - self._host.clock.elapsed_s())

    def _about(self) -> list[Step]:
        """All recorded answers about this app that can be shown, in order."""
        every = [one for one in self._steps.values() if self._app.name in one.argv[1:2]]
        return sorted((one for one in every if query_of(one)), key=lambda one: one.at_s)

    def _next_deploy_s(self, deploy: Step) -> float:
        starts = [one.at_s for one in self._steps.values() if one.argv[0] == "git:sync"]
        ended_s = deploy.at_s + deploy.wall_s
        return min((at_s for at_s in starts if at_s > ended_s), default=_NEVER_S)

    def _record_id(self, deploy: Step) -> str | None:
        """Find the deploy's own record: the oldest not listed before it; None: never listed."""
        lists = [one for one in self._about() if query_of(one) == "builds:list"]
        ids = [(one.at_s, re.findall(r'"id":"(\w+)"', one.stdout)) for one in lists]
        ended_s = deploy.at_s + deploy.wall_s
        after = next((found for at_s, found in ids if at_s >= ended_s), [])
        earlier = [found for at_s, found in ids if at_s < deploy.at_s]
        if not earlier:
            return max(after, default=None)
        newest = max(earlier[-1], default="")
        return min((one for one in after if one > newest), default=None)
