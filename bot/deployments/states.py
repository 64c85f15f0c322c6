"""The state machine as a table; the store repeats its guard in every UPDATE."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.deployments.model import Deployment, Phase, Status, Who
from bot.errors import StaleState

STATUS: Mapping[Phase, Status] = {
    Phase.AWAITING_APPROVAL: Status.PENDING,
    Phase.QUEUED: Status.PENDING,
    Phase.STARTING: Status.RUNNING,
    Phase.FETCHING: Status.RUNNING,
    Phase.BUILDING: Status.RUNNING,
    Phase.RELEASING: Status.RUNNING,
    Phase.CHECKING: Status.RUNNING,
    Phase.CANCELLING: Status.RUNNING,
    Phase.SUCCEEDED: Status.SUCCEEDED,
    Phase.FAILED: Status.FAILED,
    Phase.CANCELLED: Status.CANCELLED,
}

ENDINGS = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED})
WAITING = frozenset(phase for phase, status in STATUS.items() if status is Status.PENDING)
RUNNING = frozenset(phase for phase, status in STATUS.items() if status is Status.RUNNING)
COMMAND_RUNS = frozenset(
    {Phase.STARTING, Phase.FETCHING, Phase.BUILDING, Phase.RELEASING, Phase.CANCELLING}
)
"""Phases in which Dokku's command may still be running."""
FETCHED = frozenset({Phase.BUILDING, Phase.RELEASING})
"""Phases of a running command that has its commit, and holds the app's deploy lock."""

SECOND_START = "started_again"
"""The audit entry of a second attempt, which starts without a move into a running phase."""

ORDER: Mapping[Phase, int] = {
    phase: rank
    for rank, phase in enumerate(
        (Phase.STARTING, Phase.FETCHING, Phase.BUILDING, Phase.RELEASING, Phase.CHECKING)
    )
}
"""Within one attempt a running deployment only moves on along this order."""


@dataclass(frozen=True, slots=True)
class Move:
    """One row: from, to, who may cause it, on what evidence."""

    frm: Phase
    to: Phase
    by: Who
    evidence: str


MOVES = (
    Move(Phase.AWAITING_APPROVAL, Phase.QUEUED, Who.SERVICE, "approved by an approver"),
    Move(
        Phase.AWAITING_APPROVAL, Phase.CANCELLED, Who.SERVICE, "cancel requested, nothing was sent"
    ),
    Move(Phase.AWAITING_APPROVAL, Phase.FAILED, Who.SERVICE, "rejected, or waited too long"),
    Move(Phase.QUEUED, Phase.STARTING, Who.OWNER, "head of its queue, no build on the server"),
    Move(Phase.QUEUED, Phase.CANCELLED, Who.SERVICE, "cancel requested, nothing was sent"),
    Move(Phase.QUEUED, Phase.FAILED, Who.SERVICE, "waited too long, or known not to be deployable"),
    Move(Phase.STARTING, Phase.QUEUED, Who.OWNER, "Dokku refused: another deploy holds its lock"),
    Move(Phase.FETCHING, Phase.QUEUED, Who.OWNER, "Dokku refused: another deploy holds its lock"),
    Move(Phase.STARTING, Phase.FETCHING, Who.OWNER, "a log marker"),
    Move(Phase.STARTING, Phase.BUILDING, Who.OWNER, "a log marker"),
    Move(Phase.STARTING, Phase.RELEASING, Who.OWNER, "a log marker"),
    Move(Phase.FETCHING, Phase.BUILDING, Who.OWNER, "a log marker"),
    Move(Phase.FETCHING, Phase.RELEASING, Who.OWNER, "a log marker"),
    Move(Phase.BUILDING, Phase.RELEASING, Who.OWNER, "a log marker"),
    Move(Phase.FETCHING, Phase.STARTING, Who.OWNER, "second attempt: the first one died"),
    Move(Phase.BUILDING, Phase.STARTING, Who.OWNER, "second attempt: the first one died"),
    Move(Phase.STARTING, Phase.CHECKING, Who.OWNER, "a good end of the command"),
    Move(Phase.FETCHING, Phase.CHECKING, Who.OWNER, "a good end of the command"),
    Move(Phase.BUILDING, Phase.CHECKING, Who.OWNER, "a good end of the command"),
    Move(Phase.RELEASING, Phase.CHECKING, Who.OWNER, "a good end of the command"),
    Move(Phase.CANCELLING, Phase.CHECKING, Who.OWNER, "a good end: the cancel came too late"),
    Move(
        Phase.STARTING, Phase.CANCELLING, Who.OWNER, "cancel requested, or the time limit reached"
    ),
    Move(
        Phase.FETCHING, Phase.CANCELLING, Who.OWNER, "cancel requested, or the time limit reached"
    ),
    Move(
        Phase.BUILDING, Phase.CANCELLING, Who.OWNER, "cancel requested, or the time limit reached"
    ),
    Move(
        Phase.RELEASING, Phase.CANCELLING, Who.OWNER, "cancel requested, or the time limit reached"
    ),
    Move(Phase.STARTING, Phase.CANCELLED, Who.OWNER, "the record says canceled"),
    Move(Phase.FETCHING, Phase.CANCELLED, Who.OWNER, "the record says canceled"),
    Move(Phase.BUILDING, Phase.CANCELLED, Who.OWNER, "the record says canceled"),
    Move(Phase.RELEASING, Phase.CANCELLED, Who.OWNER, "the record says canceled"),
    Move(Phase.CANCELLING, Phase.CANCELLED, Who.OWNER, "the record, or the command's death"),
    Move(Phase.STARTING, Phase.FAILED, Who.OWNER, "a verdict"),
    Move(Phase.FETCHING, Phase.FAILED, Who.OWNER, "a verdict"),
    Move(Phase.BUILDING, Phase.FAILED, Who.OWNER, "a verdict"),
    Move(Phase.RELEASING, Phase.FAILED, Who.OWNER, "a verdict"),
    Move(Phase.CANCELLING, Phase.FAILED, Who.OWNER, "a verdict"),
    Move(Phase.CHECKING, Phase.SUCCEEDED, Who.OWNER, "the new release kept running"),
    Move(Phase.CHECKING, Phase.FAILED, Who.OWNER, "the new release did not keep running"),
)
_BY_PAIR: Mapping[tuple[Phase, Phase], Move] = {(move.frm, move.to): move for move in MOVES}


def find_move(frm: Phase, to: Phase) -> Move | None:
    """The row for going from `frm` to `to`; None: forbidden."""
    return _BY_PAIR.get((frm, to))


def may_move(frm: Phase, to: Phase, by: Who) -> bool:
    """Whether `by` may cause the move; the owner may do what anybody may.

    An ended deployment never moves; a late verdict is a correction, not a move.
    """
    move = find_move(frm, to)
    return move is not None and by in {move.by, Who.OWNER}


def check_move(deployment: Deployment, *, was: Phase, by: Who) -> None:
    """Raises StaleState, if `by` may not write this row over one in the phase `was`."""
    if was in ENDINGS:
        raise StaleState(f"deployment {deployment.id} ended {was}: an end never changes")
    if was is deployment.phase:
        if by is Who.SERVICE and was in RUNNING:
            raise StaleState(f"deployment {deployment.id} is {was}: only its owner writes to it")
    elif not may_move(was, deployment.phase, by):
        raise StaleState(
            f"deployment {deployment.id} may not go from {was} to {deployment.phase} by the {by}"
        )


def status_of(phase: Phase) -> Status:
    """The status of a phase."""
    return STATUS[phase]
