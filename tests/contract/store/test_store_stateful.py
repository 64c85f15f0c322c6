"""Random sequences: results stay, one deployment runs per app, one owner, order is kept."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete

from bot.deployments.model import Deployment, Event, Live, Phase, Who
from bot.deployments.states import ENDINGS, RUNNING, may_move
from bot.errors import LeaseLost, StaleState
from bot.outbox import Outgoing
from bot.store.engine import open_store
from bot.store.sql_store import SqlStore
from bot.store.tables import metadata
from tests.contract.store.stories import (
    ADA,
    BEGIN,
    HOOK,
    LEASE,
    Dial,
    StillClock,
    create,
    own,
    plan_both,
    said,
)

T = TypeVar("T")
REPLICAS = st.sampled_from(["one", "two", "three"])
MODERATE = settings(
    max_examples=10,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class Opened:
    """A store in its own event loop, used by one machine after the other."""

    def __init__(self, url: str) -> None:
        self.clock, self.dial = StillClock(), Dial()
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        opening = open_store(
            url, clock=self.clock, planner=plan_both, migrate=False, now_ms=self.dial.now_ms
        )
        self.store: SqlStore = self.do(self._stack.enter_async_context(opening))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        # Not by a `Runner`: it sets the handler of a signal for each call.
        return self._loop.run_until_complete(work)

    async def empty(self) -> None:
        """To open another database takes ten times as long."""
        self.dial.ahead = timedelta(0)
        async with self.store.database.write() as tx:
            for table in reversed(metadata.sorted_tables):
                await tx.connection.execute(delete(table))

    def close(self) -> None:
        self.do(self._stack.aclose())
        self._loop.close()


class StoreMachine(RuleBasedStateMachine):
    """A store on an empty database."""

    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self.do, self.store = opened.do, opened.store
        self.clock, self.dial = opened.clock, opened.dial
        self.do(opened.empty())


class Moves(StoreMachine):
    """An ending never changes; one deployment of an app runs at a time."""

    rows: Bundle[str] = Bundle("rows")

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self.known: dict[str, Deployment] = {}

    def running(self, app: str) -> set[str]:
        return {
            row.id for row in self.known.values() if row.dokku_app == app and row.phase in RUNNING
        }

    @rule(target=rows, app=st.sampled_from(["a", "b"]))
    def ask(self, app: str) -> str:
        deployment = self.do(create(self.store, app=app, dokku_app=app))
        owned = self.do(own(self.store, deployment))
        self.known[owned.id] = self.do(self.store.save(owned, was=Phase.QUEUED, by=Who.OWNER))
        return owned.id

    @rule(
        row=rows,
        to=st.sampled_from(Phase),
        by=st.sampled_from(Who),
        believed=st.none() | st.sampled_from(Phase),
    )
    def save(self, row: str, to: Phase, by: Who, believed: Phase | None) -> None:
        known = self.known[row]
        was = known.phase if believed is None else believed
        written = replace(known, phase=to, reason=f"{was} to {to}")
        others = self.running(known.dokku_app) - {row}
        facts = was is to and was not in ENDINGS and not (by is Who.SERVICE and was in RUNNING)
        allowed = (
            was is known.phase
            and (facts or may_move(was, to, by))
            and not (to in RUNNING and others)
        )
        try:
            fresh = self.do(
                self.store.save(written, was=was, by=by, audit=said("moved", to=to.value))
            )
        except StaleState:
            assert not allowed
        else:
            assert allowed
            self.known[row] = fresh

    @rule(row=rows)
    def ask_cancel(self, row: str) -> None:
        fresh = self.do(self.store.ask_cancel(row, ADA, BEGIN))
        assert (fresh.cancel is None) == (
            self.known[row].phase in ENDINGS and self.known[row].cancel is None
        )
        self.known[row] = replace(self.known[row], cancel=fresh.cancel)

    @rule(row=rows, to=st.sampled_from(Phase))
    def correct(self, row: str, to: Phase) -> None:
        written = replace(self.known[row], phase=to, live=Live.NEW)
        event = Event(type="deployment.corrected")
        try:
            fresh = self.do(self.store.correct(written, audit=said("corrected"), event=event))
        except StaleState:
            assert to not in ENDINGS or self.known[row].phase not in ENDINGS
        else:
            assert self.known[row].phase in ENDINGS
            self.known[row] = fresh

    @invariant()
    def every_row_is_what_was_last_written(self) -> None:
        assert {row.id: row for row in self.do(self.store.recent(limit=1000))} == self.known

    @invariant()
    def one_runs_for_each_app(self) -> None:
        unfinished = self.do(self.store.unfinished())
        left = {id_: row for id_, row in self.known.items() if row.phase not in ENDINGS}
        assert {row.id: row for row in unfinished} == left
        for app in ("a", "b"):
            stored = {row.id for row in unfinished if row.phase in RUNNING and row.dokku_app == app}
            assert stored == self.running(app)
            assert len(self.running(app)) <= 1


class Leases(StoreMachine):
    """One replica drives a deployment at a time; an old number writes nothing."""

    fences: Bundle[int] = Bundle("fences")

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self.row = self.do(create(self.store))
        self.holder: str | None = None
        self.fence = 0
        self.until = timedelta(0)
        self.log = 0

    @rule(target=fences, replica=REPLICAS)
    def claim(self, replica: str) -> int:
        fence = self.do(self.store.leases.claim(self.row.id, replica, LEASE))
        if self.holder is not None and self.dial.ahead < self.until:
            assert fence is None
            return self.fence
        assert fence == self.fence + 1
        self.holder, self.fence, self.until = replica, fence, self.dial.ahead + LEASE
        return fence

    @rule(replica=REPLICAS)
    def renew(self, replica: str) -> None:
        held = self.do(self.store.leases.renew(replica, LEASE, [self.row.id]))
        assert held == ({self.row.id} if replica == self.holder else set())
        if held:
            self.until = self.dial.ahead + LEASE

    @rule(fence=fences)
    def release(self, fence: int) -> None:
        self.do(self.store.leases.release(self.row.id, fence))
        if fence == self.fence:
            self.holder = None

    # Never near the lease's end: the real clock goes on while the test runs.
    @rule(steps=st.integers(1, 3))
    def time_passes(self, steps: int) -> None:
        self.dial.ahead += LEASE * 0.4 * steps

    @rule(fence=fences)
    def write(self, fence: int) -> None:
        good = self.holder is not None and fence == self.fence
        row = replace(self.row, fence=fence)
        for act in (
            lambda: self.store.save(row, was=Phase.QUEUED, by=Who.OWNER),
            lambda: self.store.logs.append(row.id, ["line"], fence=fence),
        ):
            try:
                self.do(act())
            except LeaseLost:
                assert not good
            else:
                assert good
        self.log += good

    @invariant()
    def the_log_holds_what_owners_wrote(self) -> None:
        assert self.do(self.store.logs.read(self.row.id)) == "line\n" * self.log


class OutboxOrder(StoreMachine):
    """Each lane gets the rows of a deployment in order; a late row holds back the next ones."""

    taken_rows: Bundle[Outgoing] = Bundle("taken_rows")

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self.rows = [
            self.do(own(self.store, self.do(create(self.store, dokku_app=app)))) for app in "abc"
        ]
        self.planned = 0
        # By lane and deployment: kinds not yet delivered or given up, oldest first.
        self.queues: dict[tuple[str, str], list[str]] = {
            (lane, row.id): [] for lane in ("slack", HOOK) for row in self.rows
        }
        self.next_at = {key: self.clock.now() for key in self.queues}
        self.off: set[str] = set()

    @rule(which=st.integers(0, 2))
    def tell(self, which: int) -> None:
        self.planned += 1
        row = self.rows[which]
        kind = f"event {self.planned}"
        self.do(self.store.save(row, was=row.phase, by=Who.OWNER, event=Event(type=kind)))
        for lane in ("slack", HOOK):
            if not self.queues[lane, row.id]:
                self.next_at[lane, row.id] = self.clock.now()
            self.queues[lane, row.id].append(kind)

    @rule(target=taken_rows, lane=st.sampled_from(["slack", HOOK]), limit=st.integers(1, 3))
    def take(self, lane: str, limit: int) -> Any:
        due = {
            (deployment_id, queue[0])
            for (of, deployment_id), queue in self.queues.items()
            if of == lane and queue and self.next_at[of, deployment_id] <= self.clock.now()
        }
        hold = timedelta(seconds=30)
        taken = self.do(self.store.outbox.take(lane, limit=limit, hold=hold))
        assert {(out.deployment_id, out.kind) for out in taken} <= due
        assert len(taken) == (0 if lane in self.off else min(limit, len(due)))
        for out in taken:
            self.next_at[lane, out.deployment_id] = self.clock.now() + hold
        return multiple(*taken)

    @rule(out=consumes(taken_rows), how=st.sampled_from(["delivered", "give_up", "retry"]))
    def answer(self, out: Outgoing, how: str) -> None:
        key = (out.lane, out.deployment_id)
        first = self.queues[key][:1] == [out.kind]
        if how == "retry":
            later = self.clock.now() + timedelta(seconds=20)
            # Only who still holds the row may say when it is due again.
            held = first and self.next_at[key] == out.held_until
            self.do(self.store.outbox.retry(out, at=later, error="503"))
            if held:
                self.next_at[key] = later
            return
        if how == "delivered":
            self.do(self.store.outbox.delivered(out.id))
        else:
            self.do(self.store.outbox.give_up(out.id, error="gone"))
        if first:
            del self.queues[key][0]
            # The next one has been due since it was planned.
            self.next_at[key] = self.clock.now()

    @rule(lane=st.sampled_from(["slack", HOOK]))
    def turn(self, lane: str) -> None:
        if lane in self.off:
            assert self.do(self.store.outbox.turn_on(lane))
        else:
            self.do(self.store.outbox.turn_off(lane, "410"))
        self.off ^= {lane}

    @rule()
    def time_passes(self) -> None:
        self.clock.move(timedelta(seconds=15))


def run_machine(machine: Callable[[Opened], StoreMachine], url: str) -> None:
    opened = Opened(url)
    try:
        factory = cast("type[StoreMachine]", partial(machine, opened))
        run_state_machine_as_test(factory, settings=MODERATE)
    finally:
        opened.close()


def test_results_never_change_and_one_deployment_runs_per_app(ready_url: str) -> None:
    run_machine(Moves, ready_url)


def test_one_owner_at_a_time(ready_url: str) -> None:
    run_machine(Leases, ready_url)


def test_each_lane_is_delivered_in_order(ready_url: str) -> None:
    run_machine(OutboxOrder, ready_url)
