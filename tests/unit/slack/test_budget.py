"""The edit gate: Slack's limit holds, urgent edits come first, nothing starves."""

import asyncio
from collections import Counter, deque
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.clock import Clock
from bot.deployments.ports import Urgency
from bot.deployments.store_parts import Replica
from bot.errors import DatabaseDown
from bot.slack.budget import KEPT_FREE, Beat, BudgetShare, EditGate, Go, Wait, fraction
from bot.slack.limits import EditLimits

LIMITS = EditLimits()


class HandClock(Clock):
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, duration: timedelta) -> None:
        self.seconds += duration.total_seconds()


def a_gate(clock: HandClock, *, running: int = 1) -> EditGate:
    return EditGate(clock=clock, running=lambda: running, limits=LIMITS)


def edit_at_once(gate: EditGate) -> str:
    turn = gate.take()
    assert isinstance(turn, Go)
    gate.done(turn.key)
    return turn.key


def test_no_edit_without_a_request() -> None:
    assert a_gate(HandClock()).take() is None


def test_results_go_before_phases_and_phases_before_refreshes() -> None:
    clock = HandClock()
    gate = a_gate(clock)
    gate.want("refresh", Urgency.ROUTINE)
    gate.want("phase", Urgency.PHASE)
    gate.want("end", Urgency.NOW)
    clock.seconds += 1
    assert [edit_at_once(gate), edit_at_once(gate)] == ["end", "phase"]
    clock.seconds += 1
    assert edit_at_once(gate) == "refresh"


def test_longest_waiting_edit_goes_first() -> None:
    clock = HandClock()
    gate = a_gate(clock)
    for name in ("first", "second"):
        gate.want(name, Urgency.PHASE)
        clock.seconds += 0.1
    gate.want("second", Urgency.PHASE)
    assert [edit_at_once(gate), edit_at_once(gate)] == ["first", "second"]


def test_newer_request_replaces_the_waiting_one() -> None:
    gate = a_gate(HandClock())
    assert gate.want("a", Urgency.ROUTINE)
    assert not gate.want("a", Urgency.ROUTINE)
    assert gate.want("a", Urgency.NOW)
    assert not gate.want("a", Urgency.PHASE)
    edit_at_once(gate)
    assert gate.take() is None


def test_message_has_one_edit_in_flight_and_two_seconds_between_edits() -> None:
    clock = HandClock()
    gate = a_gate(clock)
    gate.want("a", Urgency.NOW)
    assert isinstance(gate.take(), Go)
    gate.want("a", Urgency.NOW)
    clock.seconds += 30
    assert isinstance(gate.take(), Wait)
    gate.done("a")
    assert gate.take() == Wait(LIMITS.spacing_s)
    clock.seconds += LIMITS.spacing_s
    assert gate.take() == Go("a", Urgency.NOW)


def test_hold_delays_an_edit_until_a_more_urgent_request() -> None:
    clock = HandClock()
    gate = a_gate(clock)
    gate.want("a", Urgency.PHASE, hold=timedelta(seconds=1))
    assert gate.take() == Wait(1.0)
    gate.want("a", Urgency.NOW)
    assert gate.take() == Go("a", Urgency.NOW)


def test_shorter_hold_counts() -> None:
    clock = HandClock()
    gate = a_gate(clock)
    gate.want("a", Urgency.PHASE, hold=timedelta(seconds=5))
    assert gate.want("a", Urgency.PHASE, hold=timedelta(seconds=1))
    assert gate.take() == Wait(1.0)


def test_edit_that_was_not_made_uses_no_budget() -> None:
    clock = HandClock()
    gate = a_gate(clock)
    for _ in range(LIMITS.per_minute + 1):
        gate.want("a", Urgency.NOW)
        assert isinstance(gate.take(), Go)
        gate.done("a", edited=False)


def test_forgotten_message_is_not_edited() -> None:
    gate = a_gate(HandClock())
    gate.want("a", Urgency.NOW)
    gate.forget("a")
    gate.forget("a")
    assert gate.take() is None


def test_429_pauses_all_edits_then_the_most_urgent_goes_first() -> None:
    clock = HandClock()
    gate = a_gate(clock)
    gate.want("refresh", Urgency.ROUTINE)
    gate.want("end", Urgency.NOW)
    gate.pause(timedelta(seconds=30))
    gate.pause(timedelta(seconds=10))
    assert gate.take() == Wait(30.0)
    clock.seconds += 30
    assert edit_at_once(gate) == "end"


@pytest.mark.parametrize(
    ("running", "seconds"), [(0, 10), (1, 10), (6, 10), (8, 12), (20, 30), (30, 45)]
)
def test_refresh_interval_grows_with_running_deployments(running: int, seconds: int) -> None:
    gate = a_gate(HandClock(), running=running)
    assert gate.refresh_interval() == timedelta(seconds=seconds)


def test_refresh_waits_for_its_interval_but_a_phase_does_not() -> None:
    clock = HandClock()
    gate = a_gate(clock, running=8)
    gate.want("a", Urgency.PHASE)
    edit_at_once(gate)
    gate.want("a", Urgency.ROUTINE)
    assert gate.take() == Wait(12.0)
    gate.want("a", Urgency.PHASE)
    assert gate.take() == Wait(LIMITS.spacing_s)


def test_refreshes_leave_room_for_results() -> None:
    clock = HandClock()
    gate = a_gate(clock)
    for number in range(100):
        gate.want(f"refresh {number}", Urgency.ROUTINE)
    for number in range(100):
        gate.want(f"phase {number}", Urgency.PHASE)
    made: Counter[str] = Counter()
    for _ in range(200):
        turn = gate.take()
        if isinstance(turn, Go):
            gate.done(turn.key)
            made[turn.key.split()[0]] += 1
    assert made == {"phase": LIMITS.per_minute - 6}
    for number in range(10):
        gate.want(f"end {number}", Urgency.NOW)
    for _ in range(6):
        assert edit_at_once(gate).startswith("end")
    assert isinstance(gate.take(), Wait)


def test_edits_in_flight_count_until_they_end() -> None:
    clock = HandClock()
    gate = a_gate(clock)
    for number in range(LIMITS.per_minute + 1):
        gate.want(f"{number}", Urgency.NOW)
    turns = [gate.take() for _ in range(LIMITS.per_minute)]
    keys = [turn.key for turn in turns if isinstance(turn, Go)]
    assert len(keys) == LIMITS.per_minute
    assert isinstance(gate.take(), Wait)
    clock.seconds += 100
    assert isinstance(gate.take(), Wait)
    gate.done(keys[0])
    assert gate.take() == Wait(60.0)


def test_six_running_deployments_show_phases_and_results_at_once() -> None:
    clock = HandClock()
    gate = a_gate(clock, running=6)
    names = [f"message {number}" for number in range(6)]
    waited: list[float] = []
    for name in names:
        gate.want(name, Urgency.ROUTINE)
    for step in range(6 * 60 * 10):
        clock.seconds += 0.1
        if step % 150 == 149:
            gate.want(names[step // 150 % 6], Urgency.PHASE)
            asked, asked_at = names[step // 150 % 6], clock.seconds
        while isinstance(turn := gate.take(), Go):
            gate.done(turn.key)
            if turn.urgency is Urgency.PHASE:
                assert turn.key == asked
                waited.append(clock.seconds - asked_at)
            gate.want(turn.key, Urgency.ROUTINE)
    assert len(waited) == 24
    assert max(waited) <= 2.0


def test_six_simultaneous_results_are_shown_at_once() -> None:
    """Fifty seconds full of phases and refreshes, then six ends in one instant."""
    clock = HandClock()
    gate = a_gate(clock, running=6)
    names = [f"message {number}" for number in range(6)]
    for step in range(10 * 50):
        clock.seconds += 0.1
        for name in names:
            gate.want(name, Urgency.PHASE if step % 40 == 0 else Urgency.ROUTINE)
        while isinstance(turn := gate.take(), Go):
            gate.done(turn.key)
    for name in names:
        gate.want(name, Urgency.NOW)
    ended: list[str] = []
    for _ in range(int(LIMITS.spacing_s * 10)):
        clock.seconds += 0.1
        while isinstance(turn := gate.take(), Go):
            gate.done(turn.key)
            ended.append(turn.key)
    assert sorted(ended) == names


WANTS = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=5),
        st.integers(min_value=0, max_value=80),
        st.sampled_from(Urgency),
        st.floats(min_value=0, max_value=3),
    ),
    max_size=300,
)


@settings(deadline=None, max_examples=60)
@given(wants=WANTS, running=st.integers(0, 60))
def test_limit_order_and_spacing_always_hold(
    wants: list[tuple[float, int, Urgency, float]], running: int
) -> None:
    """Slow edits too: each is in flight for as long as the fourth number says."""
    clock = HandClock()
    gate = a_gate(clock, running=running)
    pending: dict[str, Urgency] = {}
    flying: list[tuple[float, str]] = []
    starts: list[float] = []
    ended: dict[str, float] = {}
    took: dict[str, float] = {}
    script = [(delay, f"m{key}", urgency, slow) for delay, key, urgency, slow in wants]
    script += [(2.0, "", Urgency.ROUTINE, 0.0)] * 900
    for delay, key, urgency, slow in script:
        clock.seconds += delay
        for until, name in [one for one in flying if one[0] <= clock.seconds]:
            flying.remove((until, name))
            gate.done(name)
            ended[name] = clock.seconds
        if key:
            gate.want(key, urgency)
            pending[key] = min(urgency, pending.get(key, urgency))
            took[key] = slow
        for _ in range(100):
            turn = gate.take()
            if not isinstance(turn, Go):
                break
            assert turn.key not in {name for _, name in flying}
            assert clock.seconds - ended.get(turn.key, -1e9) >= LIMITS.spacing_s
            free_ends = [
                name
                for name, how in pending.items()
                if how is Urgency.NOW
                and name not in {flyer for _, flyer in flying}
                and clock.seconds - ended.get(name, -1e9) >= LIMITS.spacing_s
            ]
            assert pending.pop(turn.key) is Urgency.NOW or not free_ends
            starts.append(clock.seconds)
            flying.append((clock.seconds + took[turn.key], turn.key))
    share = LIMITS.per_minute
    for at in starts:
        assert sum(at - 60 < other <= at for other in starts) <= share
    assert not pending


def test_refresh_is_made_eventually_under_constant_phases() -> None:
    clock = HandClock()
    gate = a_gate(clock)
    gate.want("refresh", Urgency.ROUTINE)
    seconds = 0
    while seconds < 10 * LIMITS.overdue_s:
        seconds += 1
        clock.seconds += 1
        for number in range(100):
            gate.want(f"phase {number}", Urgency.PHASE)
        turn = gate.take()
        if isinstance(turn, Go):
            gate.done(turn.key)
            if turn.key == "refresh":
                break
    assert LIMITS.overdue_s <= seconds <= LIMITS.overdue_s + 5


RUNNING = st.lists(st.integers(0, 1_000), min_size=1, max_size=9)


@given(RUNNING)
def test_parts_of_all_replicas_are_the_whole(running: list[int]) -> None:
    parts = [fraction(mine, running) for mine in running]
    assert sum(parts) == pytest.approx(1)
    assert min(parts) >= 1 / len(running) / 2
    assert sum(int(LIMITS.per_minute * part) for part in parts) <= LIMITS.per_minute


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 30), min_size=3, max_size=3), st.integers(10, 80)),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=20)
def test_replicas_together_keep_the_limit_wherever_the_work_moves(
    spells: list[tuple[list[int], int]],
) -> None:
    """`spells`: how many deployments each of three drives, and for how many seconds."""
    clock, edits = HandClock(), deque[float]()
    running = list(spells[0][0])
    shares = [a_share(running, mine, clock) for mine in running]
    gates = [
        EditGate(clock=clock, running=lambda: sum(running), limits=LIMITS, share=share)
        for share in shares
    ]
    for gate in gates:
        for key in range(40):
            gate.want(f"{id(gate)}-{key}", Urgency.NOW)
    with asyncio.Runner() as runner:
        for loads, seconds in [*spells, (spells[-1][0], 140)]:
            running[:] = loads
            for quarter in range(4 * seconds):
                turn_a_quarter(runner, clock, shares, gates, running, quarter, edits)
    assert len(edits) >= LIMITS.per_minute - len(running), "the work has not moved for long"


def turn_a_quarter(
    runner: asyncio.Runner,
    clock: HandClock,
    shares: Sequence[BudgetShare],
    gates: Sequence[EditGate],
    running: Sequence[int],
    quarter: int,
    edits: deque[float],
) -> None:
    """A quarter of a second: each replica looks every 5 s, and edits all that it may."""
    clock.seconds += 0.25
    for number, (share, gate) in enumerate(zip(shares, gates, strict=True)):
        if quarter % 20 == 3 * number:
            runner.run(share.look(running[number]))
        while isinstance(turn := gate.take(), Go):
            gate.done(turn.key)
            gate.want(turn.key, Urgency.NOW)
            edits.append(clock.seconds)
    while edits[0] <= clock.seconds - 60:
        edits.popleft()
    assert len(edits) <= LIMITS.per_minute


def a_beat(running: Sequence[int]) -> Beat:
    async def beat(_driven: int, _within: timedelta, /, **_told: object) -> list[Replica]:
        return [Replica(f"r{number}", each) for number, each in enumerate(running)]

    return beat


def a_share(running: list[int], mine: int, clock: HandClock) -> BudgetShare:
    share = BudgetShare(a_beat(running), clock=clock)
    asyncio.run(share.look(mine))
    return share


async def test_share_follows_the_living_and_outlives_the_database() -> None:
    seen = [Replica("a", 10), Replica("b", 0)]
    told: list[int] = []

    async def beat(driven: int, within: timedelta, **_told: object) -> list[Replica]:
        assert within >= timedelta(minutes=1), "what a dead one edited counts for a minute"
        told.append(driven)
        if not seen:
            raise DatabaseDown("away")
        return seen

    clock = HandClock()
    share = BudgetShare(beat, clock=clock)
    gate = EditGate(clock=clock, running=lambda: 10, limits=LIMITS, share=share)
    assert gate.refresh_interval() == timedelta(seconds=15)
    await share.look(10)
    assert (share.fraction, told) == (0.75, [10])
    assert gate.refresh_interval() == timedelta(seconds=20)
    seen.clear()
    await share.look(10)
    assert share.fraction == 0.75
    seen.append(Replica("a", 10))
    await share.look(10)
    assert share.fraction == 0.75, "what the other one edited counts for a minute"
    clock.seconds += 76
    await share.look(10)
    assert share.fraction == 1.0


def test_six_results_are_shown_at_once_by_one_of_two_replicas() -> None:
    """The reserve for results shrinks with the part: refreshes must not starve."""
    clock = HandClock()
    gate = EditGate(
        clock=clock, running=lambda: 30, limits=LIMITS, share=a_share([15, 15], 15, clock)
    )
    shown = 0
    for key in range(60):
        gate.want(str(key), Urgency.ROUTINE)
    for _ in range(4 * 60):
        clock.seconds += 0.25
        if isinstance(turn := gate.take(), Go):
            gate.done(turn.key)
            shown += 1
    assert shown == LIMITS.per_minute // 2 - round(KEPT_FREE[Urgency.ROUTINE] / 2)


async def test_what_a_living_replica_posts_is_posted_by_nobody_else() -> None:
    busy = Replica("a", 0, frozenset({"01A"}), timedelta(seconds=14))
    dead = Replica("b", 0, frozenset({"01B"}), timedelta(seconds=16))
    told: list[object] = []

    async def listens() -> bool:
        return True

    async def beat(
        _driven: int, _within: timedelta, *, listens: bool, posting: Collection[str]
    ) -> list[Replica]:
        told.append((listens, posting))
        return [busy, dead, Replica("c", 0, frozenset({"01C"}))]

    share = BudgetShare(beat, clock=HandClock())
    share.tell_who_listens(listens)
    share.tell_what_is_posted(lambda: {"01C"})
    await share.look(0)
    assert share.posting() == {"01A", "01C"}
    assert told == [(True, ("01C",))]
