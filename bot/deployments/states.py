"""The state machine as a table; the store repeats its guard in every UPDATE (design: phases)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bot.deployments.model import Phase, Status


class Who(StrEnum):
    """Who may cause a move."""

    OWNER = "owner"
    """The replica that holds the deployment's lease."""
    SERVICE = "service"
    """Anybody who was asked by a person, or by the queue's own rules; no lease needed."""


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

ORDER: Mapping[Phase, int] = {
    phase: place
    for place, phase in enumerate(
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


def _rows() -> tuple[Move, ...]:
    p, owner, service = Phase, Who.OWNER, Who.SERVICE
    rows = [
        Move(p.AWAITING_APPROVAL, p.QUEUED, service, "approved by somebody who may"),
        Move(p.AWAITING_APPROVAL, p.CANCELLED, service, "cancel asked, nothing was sent"),
        Move(p.AWAITING_APPROVAL, p.FAILED, service, "rejected, expired or not deployable"),
        Move(p.QUEUED, p.STARTING, owner, "head of its queue, no build runs on the server"),
        Move(p.QUEUED, p.CANCELLED, service, "cancel asked or superseded, nothing was sent"),
        Move(p.QUEUED, p.FAILED, service, "expired, or known not to be deployable"),
        Move(p.STARTING, p.QUEUED, owner, "Dokku refused: another deploy holds its lock"),
        Move(p.STARTING, p.FETCHING, owner, "Dokku's own line"),
        Move(p.STARTING, p.BUILDING, owner, "Dokku's own line"),
        Move(p.STARTING, p.RELEASING, owner, "Dokku's own line"),
        Move(p.FETCHING, p.BUILDING, owner, "Dokku's own line"),
        Move(p.FETCHING, p.RELEASING, owner, "Dokku's own line"),
        Move(p.BUILDING, p.RELEASING, owner, "Dokku's own line"),
        Move(p.FETCHING, p.STARTING, owner, "second attempt: the first died before the release"),
        Move(p.BUILDING, p.STARTING, owner, "second attempt: the first died before the release"),
    ]
    for phase in (p.STARTING, p.FETCHING, p.BUILDING, p.RELEASING):
        rows += [
            Move(phase, p.CHECKING, owner, "a good end of our command"),
            Move(phase, p.CANCELLING, owner, "cancel asked, or the cap reached"),
            Move(phase, p.FAILED, owner, "a verdict"),
            Move(phase, p.CANCELLED, owner, "the record says canceled"),
        ]
    rows += [
        Move(p.CANCELLING, p.CHECKING, owner, "the cancel came too late"),
        Move(p.CANCELLING, p.CANCELLED, owner, "the record says canceled, or the command is dead"),
        Move(p.CANCELLING, p.FAILED, owner, "a verdict"),
        Move(p.CHECKING, p.SUCCEEDED, owner, "the new release kept running, or none is scaled up"),
        Move(p.CHECKING, p.FAILED, owner, "the new release did not keep running"),
    ]
    return tuple(rows)


MOVES = _rows()
_BY_PAIR: Mapping[tuple[Phase, Phase], Move] = {(move.frm, move.to): move for move in MOVES}


def find_move(frm: Phase, to: Phase) -> Move | None:
    """The row that allows going from `frm` to `to`; None: forbidden."""
    return _BY_PAIR.get((frm, to))


def may_move(frm: Phase, to: Phase, by: Who) -> bool:
    """Whether `by` may cause the move; the owner may do what anybody may.

    An ending never moves (a late verdict is its own act).
    """
    move = find_move(frm, to)
    return move is not None and by in {move.by, Who.OWNER}


def status_of(phase: Phase) -> Status:
    """The word the outside sees for a phase."""
    return STATUS[phase]
