"""Random acts of people and deaths of replicas: every deployment ends once, in its turn.

The state machine, the queue, locks, approvals and leases together, on two replicas that share a
store, in virtual time.
"""

import asyncio
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from structlog.testing import capture_logs

from bot.deployments.locks.service import LockAsk
from bot.deployments.model import Actor, AppPolicy, Approval, Deployment, Phase, Trigger
from bot.deployments.requests.service import Request
from bot.deployments.states import ENDINGS, RUNNING
from bot.errors import Declined
from tests.support.dokku_of_apps import DokkuOfApps
from tests.support.memory_store import MemoryStore
from tests.support.playing_dokku import FAILING, PlayingDokku
from tests.support.rig import SERVER, Rig, a_rig
from tests.support.virtual_time import LoopClock, VirtualLoop

pytestmark = pytest.mark.slow

T = TypeVar("T")
ADA, GRACE, EVE = (
    Actor(user=f"U0{name.upper()}", team="T01", name=name) for name in ("ada", "grace", "eve")
)
FREE, GUARDED, NEWEST = "free", "guarded", "newest"
APPS = st.sampled_from([FREE, GUARDED, NEWEST])
PEOPLE = st.sampled_from([ADA, GRACE, EVE])
REPLICAS = st.integers(0, 1)
SECONDS = st.sampled_from([0, 1, 4, 15, 40, 200])
PICKS = st.integers(0, 20)
WHOLE_QUEUE_S = 2 * 3600.0
"""Longer than everything that is left may take, shorter than a place in the queue is kept: nothing
ends only because it waited for too long."""
POLICIES = (
    AppPolicy(server=SERVER, app=FREE, dokku_app=FREE, default_ref="main"),
    AppPolicy(server=SERVER, app=NEWEST, dokku_app=NEWEST, default_ref="main", latest=True),
    AppPolicy(
        server=SERVER,
        app=GUARDED,
        dokku_app=GUARDED,
        default_ref="main",
        approval=Approval.SECOND_PERSON,
        approvers=frozenset({GRACE.user, EVE.user}),
    ),
)


class PlayingApps(DokkuOfApps):
    """Several apps whose deploys run by themselves."""

    def __init__(self) -> None:
        self.playing = {name: PlayingDokku() for name in (FREE, GUARDED, NEWEST)}
        self.of = dict(self.playing)
        self.playing[NEWEST].lines, self.playing[NEWEST].status = FAILING, 1
        self.playing[GUARDED].line_s = 11.0


class Lifecycle(RuleBasedStateMachine):
    """Everything in one event loop, whose clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = 0
        self.ends: dict[str, tuple[Phase, Any]] = {}
        self.stack = ExitStack()
        self.stack.enter_context(capture_logs())
        self.loop = VirtualLoop()
        self.runner = self.stack.enter_context(asyncio.Runner(loop_factory=lambda: self.loop))
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.store = MemoryStore(LoopClock())
        self.dokku = PlayingApps()
        self.watching = [asyncio.create_task(one.watch()) for one in self.dokku.playing.values()]
        self.rigs = [self._a_rig(), self._a_rig()]

    def _a_rig(self) -> Rig:
        rig = a_rig(store=self.store, dokku=self.dokku)  # type: ignore[arg-type]  # a port too
        rig.catalog.tables = list(POLICIES)
        rig.service.access.set_home("T01")
        return rig

    def run(self, work: Any) -> None:
        """Do it; whoever asked for it gets the refusal."""
        with suppress(Declined):
            self.runner.run(work)

    def some(self, pick: int, *phases: Phase) -> Deployment | None:
        rows = [one for one in self.store.rows.values() if one.phase in phases]
        return rows[pick % len(rows)] if rows else None

    # --- what happens

    @rule(app=APPS, person=PEOPLE, on=REPLICAS)
    def request(self, app: str, person: Actor, on: int) -> None:
        self.keys += 1
        ask = Request(
            app=app,
            actor=person,
            trigger=Trigger.COMMAND,
            request_key=f"command:{self.keys}",
            channel="C01",
        )
        self.run(self.rigs[on].service.request(ask))

    @precondition(lambda self: self.some(0, Phase.AWAITING_APPROVAL))
    @rule(pick=PICKS, person=PEOPLE, on=REPLICAS, accepts=st.booleans())
    def decide(self, pick: int, person: Actor, on: int, accepts: bool) -> None:
        row = self.some(pick, Phase.AWAITING_APPROVAL)
        assert row is not None
        approvals = self.rigs[on].service.approvals
        act = approvals.approve if accepts else approvals.reject
        self.run(act(row.id, actor=person, through="button"))

    @precondition(lambda self: self.some(0, *RUNNING, Phase.QUEUED))
    @rule(pick=PICKS, person=PEOPLE, on=REPLICAS)
    def cancel(self, pick: int, person: Actor, on: int) -> None:
        row = self.some(pick, *RUNNING, Phase.QUEUED)
        assert row is not None
        self.run(self.rigs[on].service.cancel(row.id, actor=person, through="button"))

    @rule(app=APPS, person=PEOPLE, on=REPLICAS, minutes=st.sampled_from([None, 1, 30]))
    def lock(self, app: str, person: Actor, on: int, minutes: int | None) -> None:
        lasts = None if minutes is None else timedelta(minutes=minutes)
        ask = LockAsk(app=app, lasts=lasts, actor=person, through="command", channel="C01")
        self.run(self.rigs[on].service.locks.lock(ask))

    @rule(pick=PICKS, person=PEOPLE, on=REPLICAS)
    def unlock(self, pick: int, person: Actor, on: int) -> None:
        held = self.store.locks.held
        if held:
            lock = held[pick % len(held)]
            locks = self.rigs[on].service.locks
            self.run(locks.unlock(lock, actor=person, through="command"))

    @rule(on=REPLICAS, away=SECONDS)
    def crash(self, on: int, away: int) -> None:
        self.runner.run(self.rigs[on].crash())
        self._hang_up()
        self.passes(away)
        self.rigs[on] = self.runner.run(self._started())

    @rule(on=REPLICAS, drain=st.sampled_from([0, 3]))
    def restart(self, on: int, drain: int) -> None:
        self.runner.run(self.rigs[on].stop(timeout_s=drain))
        self._hang_up()
        self.rigs[on] = self.runner.run(self._started())

    async def _started(self) -> Rig:
        return self._a_rig()

    def _hang_up(self) -> None:
        """Connections end with the process; those of the other replica may break as well."""
        for app in self.dokku.playing.values():
            for stream in app.streams:
                if not stream.ended:
                    stream.lose()

    @rule(seconds=SECONDS)
    def passes(self, seconds: int) -> None:
        self.runner.run(asyncio.sleep(seconds))

    # --- what must hold

    @invariant()
    def one_runs_per_app(self) -> None:
        running = Counter(one.app for one in self.store.rows.values() if one.phase in RUNNING)
        assert not running or max(running.values()) == 1, running
        for name, app in self.dokku.playing.items():
            assert app.most_alive <= 1, name

    @invariant()
    def one_owner_each(self) -> None:
        self.runner.run(self._check_owners())

    async def _check_owners(self) -> None:
        for key in self.store.rows:
            assert sum(rig.dispatcher.shows(key) for rig in self.rigs) <= 1, key

    @invariant()
    def ends_stay(self) -> None:
        for row in self.store.rows.values():
            end = row.phase, row.failure
            if row.phase in ENDINGS:
                corrected = "corrected" in self.store.actions(row.id)
                assert corrected or self.ends.setdefault(row.id, end) == end
            else:
                assert row.id not in self.ends, row

    def teardown(self) -> None:
        try:
            self._nothing_waits_for_ever()
        finally:
            self.runner.run(self._close())
            self.stack.close()
        assert self.loop.unhandled == []

    def _nothing_waits_for_ever(self) -> None:
        for lock in list(self.store.locks.held):
            self.run(self.rigs[0].service.locks.unlock(lock, actor=lock.holder, through="command"))
        for row in list(self.store.rows.values()):
            if row.phase is Phase.AWAITING_APPROVAL:
                self.run(
                    self.rigs[0].service.approvals.reject(row.id, actor=GRACE, through="button")
                )
        self.runner.run(self._until_idle())
        self.one_runs_per_app()
        self.ends_stay()
        for row in self.store.rows.values():
            assert self.store.event_types(row.id).count("deployment.finished") == 1, row
            assert self.store.leases[row.id].until <= self.loop.time(), row

    async def _until_idle(self) -> None:
        deadline = self.loop.time() + WHOLE_QUEUE_S
        while left := [one for one in self.store.rows.values() if one.phase not in ENDINGS]:
            assert self.loop.time() < deadline, left
            await asyncio.sleep(1)
        await asyncio.sleep(60)

    async def _close(self) -> None:
        for rig in self.rigs:
            await rig.stop(timeout_s=0)
        for task in self.watching:
            task.cancel()
        await asyncio.gather(*self.watching, return_exceptions=True)


def test_every_deployment_ends_once_in_its_turn() -> None:
    run_state_machine_as_test(
        Lifecycle,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
