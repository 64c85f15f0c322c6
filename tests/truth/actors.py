"""Who asks for deployments and meddles with them: one for each app, and one for the weather."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field

from bot.simulators.dokku.app import App
from bot.simulators.dokku.commands.dispatch import outside_command_for_test
from bot.simulators.slack.model import NotPossible
from tests.truth.plans import REFUSALS, Act, Front, Plan, Weather
from tests.truth.theatre import Theatre

MESSAGE_WITHIN_S = 30.0
END_WITHIN_S = 90.0
HOLD_WITHIN_S = 6.0
PUSH_HELD_AT = "build step 4/"
DOCKER_AWAY_S = 0.5
SLOW_S = 0.25
"""Real seconds that each command of a slow server waits."""
ASKS = 3
DEATHS = frozenset({Weather.STOP, Weather.KILL})
STRIKES = {Act.CUT: Weather.DROP, Act.KILL_BOT: Weather.KILL}
"""Weather that strikes at the very moment that a plan names."""


@dataclass(kw_only=True)
class AppActor:
    """Asks for the deployments of one app, in order."""

    theatre: Theatre
    name: str
    seed: int
    planned: dict[str, Plan] = field(default_factory=dict)
    """By deployment id."""
    cancelled: set[str] = field(default_factory=set)
    """Ids of which a cancel was asked."""
    problems: list[str] = field(default_factory=list)
    """What should not have happened to somebody who only asks."""
    lost: int = 0
    """Requests that a killed bot had acknowledged and not written down."""
    _acts: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def app(self) -> App:
        return self.theatre.stage.dokku.apps[self.name]

    async def run(self, plans: Sequence[Plan]) -> None:
        """All of them, to their ends."""
        going: list[str] = []
        for plan in plans:
            if not plan.at_once:
                if not await self._all_ended(going):
                    break
                going.clear()
                await self._calm()
            deployment_id = await self._ask(plan)
            if deployment_id is not None:
                going.append(deployment_id)
                self._acts.append(asyncio.create_task(self._meddle(plan, deployment_id)))
        await self._all_ended(going)
        await self._calm()

    async def _all_ended(self, ids: Sequence[str]) -> bool:
        for deployment_id in ids:
            try:
                async with asyncio.timeout(END_WITHIN_S):
                    await self.theatre.end_of(deployment_id).wait()
            except TimeoutError:
                self.problems.append(f"{deployment_id} did not end within {END_WITHIN_S:.0f} s")
                return False
        return True

    async def _calm(self) -> None:
        """Nothing of the deployment before is left to happen."""
        await asyncio.gather(*self._acts)
        self._acts.clear()
        self.theatre.stage.dokku.release_for_test(self.name)
        self.app.commit_behaviours.pop("", None)

    async def _ask(self, plan: Plan) -> str | None:
        """The deployment's id; None: there is none."""
        ref = await self._set_up(plan)
        slack = self.theatre.stage.slack
        for _ in range(ASKS):
            await self.theatre.bot_is_up()
            before = set(self.theatre.live_messages())
            killed = self._kills()
            with suppress(NotPossible):
                result = await slack.command(
                    slack.user("ada"), slack.channel("deploys"), "/deploy", f"{self.name} {ref}"
                )
                if result.acked:
                    found = await self._message_beyond(before)
                    if found is not None:
                        self.planned[found] = plan
                        return found
                    if self._kills() == killed:
                        self.problems.append(f"plan {plan.number}: no message for {ref}")
                        return None
                    self.lost += 1
            await asyncio.sleep(0.1)
        return None

    def _kills(self) -> int:
        return sum(one.kind == Weather.KILL for one in self.theatre.troubles)

    async def _message_beyond(self, before: set[str]) -> str | None:
        changes = self.theatre.stage.slack.workspace.changes
        with suppress(TimeoutError):
            async with asyncio.timeout(MESSAGE_WITHIN_S):
                while True:
                    for deployment_id, messages in self.theatre.live_messages().items():
                        if deployment_id not in before and f" {self.name} " in messages[0].text:
                            return deployment_id
                    await changes.wait_beyond(len(changes.entries))
        return None

    async def _set_up(self, plan: Plan) -> str:
        """Turn the server's switches; the ref to ask for."""
        sha = self._new_commit(plan)
        ref = plan.ref or sha
        if plan.ref is not None:
            sha = self.theatre.stage.forge.sha(self.name, plan.ref)
        key = "" if plan.way in REFUSALS else sha
        self.app.commit_behaviours[key] = plan.way
        if not plan.at_once:
            self.app.checks_enabled = plan.checks
            if plan.scale is not None and not plan.scale.items() <= self.app.scale.items():
                counts = " ".join(f"{kind}={count}" for kind, count in plan.scale.items())
                await self._elsewhere(f"ps:scale {self.name} {counts}")
            if plan.pushed_into:
                await self._push_before(plan)
            elif plan.at is not None:
                self.theatre.stage.dokku.hold_for_test(self.name, at=plan.at)
        return ref

    def _new_commit(self, plan: Plan, use: str = "") -> str:
        return hashlib.sha1(f"{self.seed} {plan.number} {use}".encode()).hexdigest()

    async def _elsewhere(self, line: str) -> None:
        await outside_command_for_test(self.theatre.stage.dokku, line)

    async def _meddle(self, plan: Plan, deployment_id: str) -> None:
        host, ended = self.theatre.stage.dokku, self.theatre.end_of(deployment_id)
        try:
            if plan.at is not None and not plan.at_once:
                with suppress(TimeoutError):
                    await host.until(
                        lambda: host.holding(self.name) or ended.is_set(), timeout_s=HOLD_WITHIN_S
                    )
            else:
                await _either(ended, plan.after_s)
            if plan.act is not None and not ended.is_set():
                await self._do(plan.act, plan, deployment_id)
            await _either(ended, END_WITHIN_S if plan.for_ever else plan.held_s)
        finally:
            if plan.at is not None:
                host.release_for_test(self.name)

    async def _do(self, act: Act, plan: Plan, deployment_id: str) -> None:
        if act is Act.CANCEL:
            await self._cancel(deployment_id)
        elif act is Act.PUSH:
            self._push(plan)
        elif act is Act.KILL_DOKKU:
            self.theatre.stage.dokku.kill_dokku_for_test(self.name)
        elif act in STRIKES:
            await strike(self.theatre, STRIKES[act])
        elif (line := self._line(act, plan)) is not None:
            outside_command_for_test(self.theatre.stage.dokku, line)

    async def _cancel(self, deployment_id: str) -> None:
        slack = self.theatre.stage.slack
        await self.theatre.bot_is_up()
        self.cancelled.add(deployment_id)
        with suppress(NotPossible):
            await slack.command(
                slack.user("ada"), slack.channel("deploys"), "/deploy", f"cancel {deployment_id}"
            )

    def _push(self, plan: Plan) -> None:
        sha = self._new_commit(plan, "push")
        ways = ["ok", "ok", "build_fails", "checks_fail"]
        if self.theatre.stage.dokku.keeps_build_records:
            ways.append("crash_20s")
        self.app.commit_behaviours[sha] = _chance(self.seed, plan).choice(ways)
        self.theatre.stage.dokku.outside_push_for_test(self.name, sha)

    async def _push_before(self, plan: Plan) -> None:
        """A push that is in the middle of its build when the request comes."""
        host = self.theatre.stage.dokku
        host.hold_for_test(self.name, at=PUSH_HELD_AT)
        self._push(plan)
        with suppress(TimeoutError):  # without docker it never comes so far
            await host.until(lambda: host.holding(self.name), timeout_s=1.0)
        self._acts.append(asyncio.create_task(self._let_go(plan.after_s)))

    async def _let_go(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self.theatre.stage.dokku.release_for_test(self.name)

    def _line(self, act: Act, plan: Plan) -> str | None:
        """What somebody types at the server; None: Dokku would refuse it."""
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
        """Of a Dokku before 0.38 no restart of an image that fails its checks was recorded."""
        bad = self.app.image is not None and not self.app.image.healthy
        return self.app.deployed and (self.theatre.stage.dokku.keeps_build_records or not bad)


def _chance(seed: int, plan: Plan) -> random.Random:
    return random.Random(f"{seed}/{plan.number}/act")


async def _either(ended: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ended.wait()


async def keep_docker(theatre: Theatre) -> None:
    """Start the docker daemon again, whatever killed it. Until cancelled."""
    host = theatre.stage.dokku
    while True:
        while not host.docker_down:
            await host.changed()
        await asyncio.sleep(DOCKER_AWAY_S)
        host.revive_docker_for_test()


async def make_weather(theatre: Theatre, fronts: Sequence[Front], over: asyncio.Event) -> None:
    """One spell after the other until `over`; the last one is at an end when this returns."""
    for front in fronts:
        await _either(over, front.after_s)
        if over.is_set():
            return
        await strike(theatre, front.kind, until=over, lasts_s=front.lasts_s)


async def strike(
    theatre: Theatre, kind: Weather, *, until: asyncio.Event | None = None, lasts_s: float = 0.0
) -> None:
    """One spell, from its beginning to its end."""
    begin, end = _switches(theatre, kind)
    async with theatre.bot_life if kind in DEATHS else nullcontext(), theatre.trouble(kind):
        await begin()
        if until is not None:
            await _either(until, lasts_s)
        await end()


Switch = Callable[[], Awaitable[None]]


def _switches(theatre: Theatre, kind: Weather) -> tuple[Switch, Switch]:
    """How a spell begins, and how it ends."""
    server, host = theatre.stage.server, theatre.stage.dokku

    async def nothing() -> None:
        return

    def answer_after(delay_s: float) -> None:
        host.delay_answers_for_test(delay_s)

    return {
        Weather.DROP: (server.drop_connections_for_test, nothing),
        Weather.STALL: (_later(server.stall_for_test), _later(server.heal_for_test)),
        Weather.REFUSE: (
            server.refuse_connections_for_test,
            server.accept_connections_for_test,
        ),
        Weather.SWALLOW: (
            _later(server.swallow_connections_for_test),
            server.accept_connections_for_test,
        ),
        Weather.SLOW: (_later(answer_after, SLOW_S), _later(answer_after, 0.0)),
        Weather.DOCKER: (
            _later(host.kill_docker_for_test),
            _later(host.revive_docker_for_test),
        ),
        Weather.STOP: (theatre.stop_bot, theatre.start_bot),
        Weather.KILL: (theatre.kill_bot, theatre.start_bot),
    }[kind]


def _later(act: Callable[..., None], *values: float) -> Switch:
    async def switch() -> None:
        act(*values)

    return switch
