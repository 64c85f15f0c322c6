"""Request the deployments of each app, and interfere with them as planned."""

import asyncio
import hashlib
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from bot.simulators.dokku.app import App
from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from bot.simulators.slack.model import NotPossible
from bot.slack.listeners.desk import STOPPING
from bot.slack.listeners.dispatch import RESTARTED
from tests.truth.faults import cause_fault, set_within
from tests.truth.harness import Harness
from tests.truth.plans import REFUSALS, Act, Fault, Plan

MESSAGE_WITHIN_S = 30.0
END_WITHIN_S = 90.0
HOLD_WITHIN_S = 6.0
PUSH_HELD_AT = "build step 4/"
ATTEMPTS = 3
STOPPED = (STOPPING, RESTARTED.partition("{")[0])
"""How the bot says that it is being restarted, and that it did nothing or was cut off."""
FAULT_OF = {Act.CUT: Fault.DROP, Act.KILL_BOT: Fault.KILL}
"""The fault that an act of a plan causes."""


@dataclass(kw_only=True)
class AppRequester:
    """Requests the deployments of one app, in order."""

    harness: Harness
    name: str
    seed: int
    planned: dict[str, Plan] = field(default_factory=dict)
    """By deployment id."""
    cancelled: set[str] = field(default_factory=set)
    """Ids of deployments with a cancel request."""
    problems: list[str] = field(default_factory=list)
    """Errors that the requester noticed."""
    lost: int = 0
    """Requests that a killed bot had acknowledged but not stored."""
    _acts: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def app(self) -> App:
        return self.harness.simulators.dokku.apps[self.name]

    async def run(self, plans: Sequence[Plan]) -> None:
        """Request all of them and wait for their results."""
        running: list[str] = []
        for plan in plans:
            if not plan.at_once:
                if not await self._all_ended(running):
                    break
                running.clear()
                await self._clean_up()
            deployment_id = await self._ask(plan)
            if deployment_id is not None:
                running.append(deployment_id)
                self._acts.append(asyncio.create_task(self._interfere(plan, deployment_id)))
        await self._all_ended(running)
        await self._clean_up()

    async def _all_ended(self, ids: Sequence[str]) -> bool:
        for deployment_id in ids:
            try:
                async with asyncio.timeout(END_WITHIN_S):
                    await self.harness.end_of(deployment_id).wait()
            except TimeoutError:
                self.problems.append(f"{deployment_id} did not end within {END_WITHIN_S:.0f} s")
                return False
        return True

    async def _clean_up(self) -> None:
        """Wait until nothing of the previous deployment is left to happen."""
        await asyncio.gather(*self._acts)
        self._acts.clear()
        self.harness.simulators.dokku.release_for_test(self.name)
        self.app.commit_behaviours.pop("", None)

    async def _ask(self, plan: Plan) -> str | None:
        """Request a deployment; its id, or None if there is none."""
        ref = await self._set_up(plan)
        slack = self.harness.simulators.slack
        for _ in range(ATTEMPTS):
            await self.harness.bot_is_up()
            before = set(self.harness.live_messages())
            killed, earlier = self._kills(), len(slack.ephemerals(slack.user("ada")))
            with suppress(NotPossible):
                result = await slack.command(
                    slack.user("ada"), slack.channel("deploys"), "/deploy", f"{self.name} {ref}"
                )
                if result.acked:
                    found = await self._message_beyond(before)
                    if found is not None:
                        self.planned[found] = plan
                        return found
                    answers = slack.ephemerals(slack.user("ada"))[earlier:]
                    shown = [one.text for one in answers]
                    was_stopped = any(text.startswith(STOPPED) for text in shown)
                    if self._kills() == killed and not was_stopped:
                        self.problems.append(
                            f"plan {plan.number}: no message for {ref}; answers meanwhile: {shown}"
                        )
                        return None
                    self.lost += not was_stopped
            await asyncio.sleep(0.1)
        return None

    def _kills(self) -> int:
        return sum(one.kind == Fault.KILL for one in self.harness.troubles)

    async def _message_beyond(self, before: set[str]) -> str | None:
        changes = self.harness.simulators.slack.workspace.changes
        with suppress(TimeoutError):
            async with asyncio.timeout(MESSAGE_WITHIN_S):
                while True:
                    for deployment_id, messages in self.harness.live_messages().items():
                        if deployment_id not in before and f" {self.name} " in messages[0].text:
                            return deployment_id
                    await changes.wait_beyond(len(changes.entries))
        return None

    async def _set_up(self, plan: Plan) -> str:
        """Prepare the server; return the ref to request."""
        sha = self._new_commit(plan)
        ref = plan.ref or sha
        if plan.ref is not None:
            sha = self.harness.simulators.forge.sha(self.name, plan.ref)
        key = "" if plan.way in REFUSALS else sha
        self.app.commit_behaviours[key] = plan.way
        if not plan.at_once:
            self.app.checks_enabled = plan.checks
            if plan.scale is not None and not plan.scale.items() <= self.app.scale.items():
                counts = " ".join(f"{kind}={count}" for kind, count in plan.scale.items())
                await self._run_outside(f"ps:scale {self.name} {counts}")
            if plan.pushed_into:
                await self._push_before(plan)
            elif plan.at is not None:
                self.harness.simulators.dokku.hold_for_test(self.name, at=plan.at)
        return ref

    def _new_commit(self, plan: Plan, use: str = "") -> str:
        return hashlib.sha1(f"{self.seed} {plan.number} {use}".encode()).hexdigest()

    async def _run_outside(self, line: str) -> None:
        await outside_command_for_test(self.harness.simulators.dokku, line)

    async def _interfere(self, plan: Plan, deployment_id: str) -> None:
        host, ended = self.harness.simulators.dokku, self.harness.end_of(deployment_id)
        try:
            if plan.at is not None and not plan.at_once:
                with suppress(TimeoutError):
                    await host.until(
                        lambda: host.holding(self.name) or ended.is_set(), timeout_s=HOLD_WITHIN_S
                    )
            else:
                await set_within(ended, plan.after_s)
            if plan.act is not None and not ended.is_set():
                await self._do(plan.act, plan, deployment_id)
            await set_within(ended, END_WITHIN_S if plan.for_ever else plan.held_s)
        finally:
            if plan.at is not None:
                host.release_for_test(self.name)

    async def _do(self, act: Act, plan: Plan, deployment_id: str) -> None:
        if act is Act.CANCEL:
            await self._cancel(deployment_id)
        elif act is Act.PUSH:
            self._push(plan)
        elif act is Act.KILL_DOKKU:
            self.harness.simulators.dokku.kill_dokku_for_test(self.name)
        elif act in FAULT_OF:
            await cause_fault(self.harness, FAULT_OF[act])
        elif (line := self._outside_command(act, plan)) is not None:
            outside_command_for_test(self.harness.simulators.dokku, line)

    async def _cancel(self, deployment_id: str) -> None:
        slack = self.harness.simulators.slack
        await self.harness.bot_is_up()
        self.cancelled.add(deployment_id)
        with suppress(NotPossible):
            await slack.command(
                slack.user("ada"), slack.channel("deploys"), "/deploy", f"cancel {deployment_id}"
            )

    def _push(self, plan: Plan) -> None:
        sha = self._new_commit(plan, "push")
        ways = ["ok", "ok", "build_fails", "checks_fail"]
        if self.harness.simulators.dokku.keeps_build_records:
            ways.append("crash_20s")
        self.app.commit_behaviours[sha] = _chance(self.seed, plan).choice(ways)
        self.harness.simulators.dokku.outside_push_for_test(self.name, sha)

    async def _push_before(self, plan: Plan) -> None:
        """Start a push that is building when the request comes."""
        host = self.harness.simulators.dokku
        host.hold_for_test(self.name, at=PUSH_HELD_AT)
        self._push(plan)
        with suppress(TimeoutError):  # without docker it never gets that far
            await host.until(lambda: host.holding(self.name), timeout_s=1.0)
        self._acts.append(asyncio.create_task(self._release_later(plan.after_s)))

    async def _release_later(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self.harness.simulators.dokku.release_for_test(self.name)

    def _outside_command(self, act: Act, plan: Plan) -> str | None:
        """The command to run on the server; None: Dokku would refuse it."""
        if (act is Act.REBUILD and self.app.git_sha is None) or (
            act is Act.RESTART and not self._can_restart()
        ):
            return None
        words = {
            Act.CONFIG: f" COLOUR={plan.number}",
            Act.SCALE: f" web={_chance(self.seed, plan).randint(0, 2)}",
        }
        return f"{act} {self.name}{words.get(act, '')}"

    def _can_restart(self) -> bool:
        """False for an unhealthy image before Dokku 0.38: no such restart was recorded."""
        bad = self.app.image is not None and not self.app.image.healthy
        return self.app.deployed and (self.harness.simulators.dokku.keeps_build_records or not bad)


def _chance(seed: int, plan: Plan) -> random.Random:
    return random.Random(f"{seed}/{plan.number}/act")
