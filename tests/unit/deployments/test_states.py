"""The state machine's table and its guard."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bot.deployments.model import Phase, Status, Who
from bot.deployments.states import (
    COMMAND_RUNS,
    ENDINGS,
    MOVES,
    ORDER,
    RUNNING,
    STATUS,
    WAITING,
    check_move,
    find_move,
    may_move,
    status_of,
)
from bot.errors import StaleState
from tests.support.builders import a_deployment

P = Phase
ALLOWED = {
    P.AWAITING_APPROVAL: {P.QUEUED, P.CANCELLED, P.FAILED},
    P.QUEUED: {P.STARTING, P.CANCELLED, P.FAILED},
    P.STARTING: {
        P.QUEUED,
        P.FETCHING,
        P.BUILDING,
        P.RELEASING,
        P.CHECKING,
        P.CANCELLING,
        P.FAILED,
        P.CANCELLED,
    },
    P.FETCHING: {
        P.QUEUED,
        P.BUILDING,
        P.RELEASING,
        P.STARTING,
        P.CHECKING,
        P.CANCELLING,
        P.FAILED,
        P.CANCELLED,
    },
    P.BUILDING: {P.RELEASING, P.STARTING, P.CHECKING, P.CANCELLING, P.FAILED, P.CANCELLED},
    P.RELEASING: {P.CHECKING, P.CANCELLING, P.FAILED, P.CANCELLED},
    P.CANCELLING: {P.CHECKING, P.CANCELLED, P.FAILED},
    P.CHECKING: {P.SUCCEEDED, P.FAILED},
    P.SUCCEEDED: set(),
    P.FAILED: set(),
    P.CANCELLED: set(),
}
SERVICE_MAY = {
    (P.AWAITING_APPROVAL, P.QUEUED),
    (P.AWAITING_APPROVAL, P.CANCELLED),
    (P.AWAITING_APPROVAL, P.FAILED),
    (P.QUEUED, P.CANCELLED),
    (P.QUEUED, P.FAILED),
}


@pytest.mark.parametrize("frm", Phase)
@pytest.mark.parametrize("to", Phase)
def test_only_moves_in_the_table_are_allowed(frm: Phase, to: Phase) -> None:
    allowed = to in ALLOWED[frm]
    assert may_move(frm, to, Who.OWNER) is allowed
    assert may_move(frm, to, Who.SERVICE) is ((frm, to) in SERVICE_MAY)
    assert (find_move(frm, to) is not None) is allowed


def test_every_move_is_listed_once_with_its_evidence() -> None:
    pairs = [(move.frm, move.to) for move in MOVES]
    assert len(pairs) == len(set(pairs))
    assert all(move.evidence for move in MOVES)
    for move in MOVES:
        assert find_move(move.frm, move.to) is move


def test_every_phase_has_its_status() -> None:
    assert {phase: str(status_of(phase)) for phase in Phase} == {
        P.AWAITING_APPROVAL: "pending",
        P.QUEUED: "pending",
        P.STARTING: "running",
        P.FETCHING: "running",
        P.BUILDING: "running",
        P.RELEASING: "running",
        P.CHECKING: "running",
        P.CANCELLING: "running",
        P.SUCCEEDED: "succeeded",
        P.FAILED: "failed",
        P.CANCELLED: "cancelled",
    }
    assert set(STATUS) == set(Phase)


def test_phase_groups_follow_the_statuses() -> None:
    assert {P.SUCCEEDED, P.FAILED, P.CANCELLED} == ENDINGS
    assert {P.AWAITING_APPROVAL, P.QUEUED} == WAITING
    assert {one for one in Phase if status_of(one) is Status.RUNNING} == RUNNING
    assert RUNNING - {P.CHECKING} == COMMAND_RUNS
    assert sorted(ORDER, key=lambda one: ORDER[one]) == [
        P.STARTING,
        P.FETCHING,
        P.BUILDING,
        P.RELEASING,
        P.CHECKING,
    ]


@pytest.mark.parametrize(
    ("was", "to", "by", "why"),
    [
        (P.FAILED, P.FAILED, Who.OWNER, "deployment 01 ended failed: an end never changes"),
        (P.SUCCEEDED, P.QUEUED, Who.SERVICE, "deployment 01 ended succeeded: an end never changes"),
        (
            *(P.BUILDING, P.BUILDING, Who.SERVICE),
            "deployment 01 is building: only its owner writes to it",
        ),
        (
            *(P.BUILDING, P.QUEUED, Who.OWNER),
            "deployment 01 may not go from building to queued by the owner",
        ),
    ],
)
def test_write_that_is_not_allowed_is_stale(was: Phase, to: Phase, by: Who, why: str) -> None:
    with pytest.raises(StaleState) as refused:
        check_move(a_deployment(id="01", phase=to), was=was, by=by)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("was", "to", "by"),
    [
        (P.BUILDING, P.BUILDING, Who.OWNER),
        (P.QUEUED, P.QUEUED, Who.SERVICE),
        (P.QUEUED, P.CANCELLED, Who.SERVICE),
        (P.BUILDING, P.RELEASING, Who.OWNER),
    ],
)
def test_write_that_is_allowed_passes(was: Phase, to: Phase, by: Who) -> None:
    check_move(a_deployment(id="01", phase=to), was=was, by=by)


class Walk(RuleBasedStateMachine):
    """Any walk along the table: a result never changes; phases never go back in an attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = P.QUEUED
        self.result: Phase | None = None

    @rule(to=st.sampled_from(Phase), by=st.sampled_from(Who))
    def step(self, to: Phase, by: Who) -> None:
        if not may_move(self.phase, to, by):
            return
        if self.phase in ORDER and to in ORDER and to is not P.STARTING:
            assert ORDER[to] > ORDER[self.phase]
        self.phase = to
        if to in ENDINGS:
            assert self.result is None
            self.result = to

    @invariant()
    def result_never_changes(self) -> None:
        assert self.result is None or self.phase is self.result


TestWalk = Walk.TestCase
