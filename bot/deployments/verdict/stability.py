"""Does the new release stay up? Pure rules over two looks at its containers.

Dokku's own good end says nothing of it: a process that exits one second after its start still
gives exit status 0 and `Running: true` (recording u_crashloop), and one that lives 20 s reads
`running` with the same id nearly always (inspect_d_crash_loops). RestartCount and StartedAt tell.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from bot.deployments.dokku_facts import BuildRecord, Container, Containers, Snapshot
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.verdict.evidence import ours_images, whose
from bot.deployments.verdict.outside_changes import replaced_by
from bot.deployments.verdict.rules import Kind, Verdict

DOWN = frozenset({"restarting", "exited", "dead", "removing", "missing"})
"""Docker's words for a process that ran and does not run now."""

GONE = frozenset({"exited", "dead", "missing"})
"""Those of them that Docker does not start again by itself."""


class Step(StrEnum):
    """What to do after a look."""

    END = "end"
    WAIT = "wait"
    """Look again when the settle time is over."""
    BEGIN_AGAIN = "begin_again"
    """Our release was restarted by somebody: the settle time begins with this look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One read of the containers."""

    began: float
    """Monotonic seconds just before the read."""
    done: float
    """Monotonic seconds just after it."""
    containers: Containers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """What is known while a release is watched."""

    ours: frozenset[str]
    """Container ids that our own output names."""
    images: frozenset[str]
    """Their images, from any look so far."""
    before: Snapshot
    settle: timedelta
    others: tuple[BuildRecord, ...] = ()
    """Records that others began since the snapshot, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The step and, for END, the verdict."""

    step: Step
    verdict: Verdict | None = None


def _end(rule: str, failure: Failure | None, live: Live, reason: str) -> Judgement:
    phase = Phase.SUCCEEDED if failure is None else Phase.FAILED
    verdict = Verdict(
        kind=Kind.END, rule=rule, phase=phase, failure=failure, live=live, reason=reason
    )
    return Judgement(step=Step.END, verdict=verdict)


def judge(first: Look | None, now: Look, known: Settling, *, last_word: bool) -> Judgement:
    """Decide on the newest look; `first` is the look that the settle time began with."""
    if now.containers is None:
        if last_word:
            return _end(
                "unreadable",
                Failure.INTERNAL,
                Live.UNKNOWN,
                "Dokku's command ended well, but its containers could not be read. "
                "What is serving now is not known.",
            )
        return Judgement(step=Step.WAIT)
    listed = now.containers.listed
    if not listed:
        return _end(
            "stopped",
            Failure.INTERRUPTED,
            Live.NONE,
            "The new release was stopped or scaled down before it had proved itself. "
            "Nothing is serving.",
        )
    images = known.images | ours_images(known.ours, now.containers)
    kinds = {whose(one, known.ours, images, known.before.containers) for one in listed}
    if Live.UNKNOWN in kinds:
        gone = all(one.state in GONE for one in listed)
        serves = "Nothing is serving." if gone else "What is serving now is not known."
        return _end(
            "replaced",
            Failure.INTERRUPTED,
            Live.NONE if gone else Live.UNKNOWN,
            f"{replaced_by(known.others)}. {serves}",
        )
    if Live.PREVIOUS in kinds:
        return _old_in_place(kinds, last_word=last_word)
    return _all_new(first, now, listed, known, last_word=last_word)


def _old_in_place(kinds: set[Live], *, last_word: bool) -> Judgement:
    if Live.NEW not in kinds:
        return _end(
            "old_again",
            Failure.INTERRUPTED,
            Live.PREVIOUS,
            "The previous release took its place again before the new one had proved itself. "
            "The previous release is serving.",
        )
    if last_word:
        return _end(
            "old_beside_new",
            Failure.RELEASE_FAILED,
            Live.MIXED,
            "Not every process was replaced. Some processes run the new release, some the old one.",
        )
    return Judgement(step=Step.WAIT)


def _all_new(
    first: Look | None,
    now: Look,
    listed: tuple[Container, ...],
    known: Settling,
    *,
    last_word: bool,
) -> Judgement:
    earlier = {one.id: one for one in first.containers.listed} if first and first.containers else {}
    crashed = sorted(one.process for one in listed if has_crashed(one, earlier.get(one.id)))
    if crashed:
        return _crashed(crashed, gone=all(one.state in GONE for one in listed))
    running = all(one.running for one in listed)
    same = first is not None and earlier.keys() == {one.id for one in listed}
    if first is None or not running or not same:
        if last_word:
            return _end(
                "not_up",
                Failure.RELEASE_FAILED,
                Live.NEW,
                "The new release did not stay the same for long enough to prove itself. "
                "The new release is what is deployed.",
            )
        return Judgement(step=Step.BEGIN_AGAIN)
    if now.began - first.done < known.settle.total_seconds():
        return Judgement(step=Step.WAIT)
    return _end(
        "kept_running",
        None,
        Live.NEW,
        "The new release runs and stayed up.",
    )


def _crashed(processes: list[str], *, gone: bool) -> Judgement:
    serves = "Nothing is serving." if gone else "The new release is what is deployed."
    return _end(
        "crashed",
        Failure.CRASHED,
        Live.NONE if gone else Live.NEW,
        f"The new release was released, but {', '.join(processes)} does not stay up. {serves}",
    )


def has_crashed(now: Container, earlier: Container | None) -> bool:
    """It restarted or exited: by count, by state, or because its start moved."""
    if now.restarts > 0 or now.state in DOWN:
        return True
    return earlier is not None and earlier.started_at != now.started_at
