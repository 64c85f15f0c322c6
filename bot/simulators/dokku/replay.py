"""A recorded deploy played again: its own text and end, and what was seen around it, in time.

What was never asked in a scenario stays what the model makes of it, so a replay says no more of
a server than its recording does.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.simulators.dokku.recordings import Step, load
from bot.simulators.dokku.runs import SIGPIPE_EXIT, KilledBySignal, Run
from bot.simulators.dokku.sights import FULL_ID, question_of, show

if TYPE_CHECKING:
    from bot.simulators.dokku.app import App
    from bot.simulators.dokku.host import DokkuHost

LOCKED_FROM = "-----> Cleaning up"
FINALIZES_FROM = "-----> Releasing"
DEPLOYED = "=====> Application deployed:"
QUESTIONS = ("builds:list", "apps:report", "containers")
_NEVER_S = float("inf")


@dataclass(frozen=True, kw_only=True)
class Take:
    """Which deploys of a scenario are played, and what became of their client."""

    scenario: str
    deploys: tuple[str, ...] = ("deploy",)
    """Steps for the app's first, second ... `git:sync`; after them the model goes on."""
    before: tuple[str, str] | None = None
    """Scenario and step that show what was there before, where the scenario itself does not."""
    first: bool = False
    """Nothing of the app was deployed before."""
    lost_s: float | None = None
    """Seconds after the first deploy's start at which its client is gone, where the step itself
    does not end with that."""
    cancelled_s: float | None = None
    """Seconds after the first deploy's start at which `builds:cancel` came."""
    beside: frozenset[str] = frozenset()
    """Records of another scenario that ran on the same app in that moment: shown as ended, for
    they would be waited for, and are not what this one is about."""
    silent_s: tuple[float, float] | None = None
    """Seconds after the first deploy's start between which nothing passed the network."""


class Replay:
    """One app that goes as recorded. `host.replay` makes it."""

    def __init__(self, host: "DokkuHost", app: "App", take: Take) -> None:
        self._host = host
        self._app = app
        self._take = take
        self._steps = load(host.version, take.scenario)
        self._left = [self._steps[name] for name in take.deploys]
        self._due: list[Step] = []
        self._zero_s: float | None = None
        """Simulated instant at which the recording began; None: its time stands still."""
        self._stands_at_s = _NEVER_S
        """Recorded second at which time will stand still: a busy machine must not run past it."""

    @property
    def beside(self) -> frozenset[str]:
        """Records that are not shown as running, whatever was recorded."""
        return self._take.beside

    def full_id(self, begin: str) -> str:
        """Complete the 11 digits that a report gives by what the recorded texts name."""
        texts = (text for step in self._steps.values() for _, _, text in step.chunks)
        found = (re.search(rf"\b{begin}[0-9a-f]\b", text) for text in texts)
        name = next((match[0] for match in found if match), begin)
        return name.ljust(FULL_ID, "0")

    @property
    def sha(self) -> str | None:
        """The full commit that was recorded as the source after the last of the deploys."""
        last = self._steps[self._take.deploys[-1]]
        ended_s = last.at_s + last.wall_s
        sights = [step for step in self._about() if question_of(step) == "apps:report"]
        sights = [step for step in sights if step.at_s >= ended_s] or sights[-1:]
        found = re.search(r"#([0-9a-f]{40})", sights[0].stdout) if sights else None
        return found[1] if found else None

    def begin(self) -> None:
        """Show what was there before the first deploy."""
        if self._take.first:
            return
        start = self._left[0]
        if self._take.before is not None:
            scenario, name = self._take.before
            show(self._host, self._app, load(self._host.version, scenario)[name])
        for question in QUESTIONS:
            sights = [step for step in self._about() if question_of(step) == question]
            earlier = [one for one in sights if one.at_s < start.at_s]
            if question == "containers" and self._take.before is not None:
                continue
            for sight in earlier or sights[:1]:
                show(self._host, self._app, sight)
        ours = self._record_id(start)
        self._app.records[:] = [one for one in self._app.records if not ours or one.id < ours]

    def next(self) -> Step | None:
        """Take the recording of the deploy that begins now; None: it goes by the model."""
        if not self._left:
            self._due, self._zero_s = [], None
            return None
        return self._left.pop(0)

    async def play(self, run: Run, deploy: Step, url: str, ref: str) -> int:
        """Print what was printed, and end as it ended. Raises KilledBySignal."""
        self._zero_s = self._host.clock.elapsed_s() - deploy.at_s
        until_s = self._left[0].at_s if self._left else self._next_deploy_s(deploy)
        self._due = [one for one in self._about() if deploy.at_s <= one.at_s < until_s]
        if run.record is not None:
            run.record.id = self._record_id(deploy) or run.record.id
        lost_s = self._take.lost_s if deploy.name == self._take.deploys[0] else None
        cancelled_s = self._take.cancelled_s if lost_s is None else None
        cut_s = min(lost_s or _NEVER_S, cancelled_s or _NEVER_S)
        lost = cut_s == _NEVER_S and deploy.exit_status < 0 and not deploy.killed
        self._stands_at_s = deploy.at_s + (deploy.wall_s if lost else cut_s)
        await self._print(run, deploy, cut_s)
        if deploy.killed:
            raise KilledBySignal
        if cancelled_s is not None:
            await self._stand(run, deploy.at_s + cancelled_s, "waits_for_cancel")
        if lost_s is not None or deploy.exit_status < 0:
            await self._stand(run, deploy.at_s + (lost_s or deploy.wall_s), "waits_for_loss")
            return await self._outlive(run)
        await self._sleep_until(deploy.at_s + deploy.wall_s)
        if run.finalizes:
            run.finalize("failed" if deploy.exit_status else "succeeded", deploy.exit_status)
        if deploy.exit_status == 0 and DEPLOYED in "".join(text for _, _, text in deploy.chunks):
            self._app.deploy_source, self._app.deploy_source_metadata = "git-sync", f"{url}#{ref}"
        self._show_first_after_the_end()
        return deploy.exit_status

    def catch_up(self) -> None:
        """Show what was seen by now."""
        if self._zero_s is None:
            return
        now_s = min(self._host.clock.elapsed_s() - self._zero_s, self._stands_at_s)
        while self._due and self._due[0].at_s <= now_s:
            show(self._host, self._app, self._due.pop(0))

    async def _print(self, run: Run, deploy: Step, until_s: float) -> None:
        silent_s = self._take.silent_s
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

    async def _stand(self, run: Run, at_s: float, event: str) -> None:
        """Let recorded time stand until the client is gone, or a cancel ends the run."""
        await self._sleep_until(at_s)
        self.catch_up()
        self._zero_s = None
        self._stands_at_s = _NEVER_S
        self._host.write_journal(event, self._app, run=run.number)
        try:
            while not run.output.closed:
                await self._host.changed()
        finally:
            self._zero_s = self._host.clock.elapsed_s() - at_s

    async def _outlive(self, run: Run) -> int:
        """Live on without a client for as long as the recorded process did."""
        while self._sees("builds:list") and run.record and run.record.display_status == "running":
            await self._sleep_until(self._due[0].at_s)
            self.catch_up()
        if run.finalizes and run.record and run.record.status == "running":
            run.finalize("failed", SIGPIPE_EXIT)
        return SIGPIPE_EXIT

    def _show_first_after_the_end(self) -> None:
        """What was seen first after the end was so at the end already."""
        self.catch_up()
        for question in QUESTIONS:
            sight = next((one for one in self._due if question_of(one) == question), None)
            if sight is not None:
                self._due.remove(sight)
                show(self._host, self._app, sight)

    def _sees(self, question: str) -> bool:
        return any(question_of(one) == question for one in self._due)

    async def _sleep_until(self, at_s: float) -> None:
        if self._zero_s is not None:
            await self._host.clock.sleep(self._zero_s + at_s - self._host.clock.elapsed_s())

    def _about(self) -> list[Step]:
        """All recorded answers about this app that can be shown, in their order."""
        every = [one for one in self._steps.values() if self._app.name in one.argv[1:2]]
        return sorted((one for one in every if question_of(one)), key=lambda one: one.at_s)

    def _next_deploy_s(self, deploy: Step) -> float:
        starts = [one.at_s for one in self._steps.values() if one.argv[0] == "git:sync"]
        ended_s = deploy.at_s + deploy.wall_s
        return min((at_s for at_s in starts if at_s > ended_s), default=_NEVER_S)

    def _record_id(self, deploy: Step) -> str | None:
        """Find the deploy's own record, the oldest that was not listed before it; None: unseen."""
        lists = [one for one in self._about() if question_of(one) == "builds:list"]
        ids = [(one.at_s, re.findall(r'"id":"(\w+)"', one.stdout)) for one in lists]
        ended_s = deploy.at_s + deploy.wall_s
        after = next((found for at_s, found in ids if at_s >= ended_s), [])
        earlier = [found for at_s, found in ids if at_s < deploy.at_s]
        if not earlier:
            return max(after, default=None)
        newest = max(earlier[-1], default="")
        return min((one for one in after if one > newest), default=None)
