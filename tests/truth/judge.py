"""Compare the bot's results with the journal: what is wrong, and why a result is unknown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.simulators.dokku.model import LiveProcess
from tests.truth.history import RunStory, is_up
from tests.truth.pace import POLL_TIMEOUT, SETTLE, SPEED
from tests.truth.truth import NEW, Case, is_provable, true_words

PIPE_CLOSED = 141
BUSY = "the machine was busy"
"""Not the bot's fault: the machine was too busy for it to read answers in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One result as the bot reported it."""

    status: str
    failure: str | None
    live: str

    def __str__(self) -> str:
        return f"{self.status}/{self.failure or '-'}/{self.live}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the harness itself did, in simulated time."""

    connection_faults: Sequence[tuple[datetime, datetime]] = ()
    busy: Sequence[tuple[datetime, datetime]] = ()
    """The machine was too busy for the bot to read answers in time."""
    docker_down: Sequence[tuple[datetime, datetime]] = ()
    bot_died: Sequence[tuple[datetime, datetime]] = ()
    keeps_records: bool = True
    """This Dokku keeps the text of its builds (>= 0.38)."""
    cancel_asked: bool = False
    cap: timedelta = timedelta(0)
    """In simulated time."""
    sha: str | None = None
    faults: bool = True


@dataclass(kw_only=True)
class Judgement:
    """Of one result."""

    wrong: list[str] = field(default_factory=list)
    unknown: str | None = None
    """The cause, if the result says that something is unknown."""


def judge(result: Result, case: Case, known: Circumstances) -> Judgement:
    """Compare one result with the journal."""
    found = Judgement()
    found.wrong += _live_is_true(result, case, known)
    found.wrong += _status_is_true(result, case, known)
    if result.live == "unknown" or result.failure == "lost_contact":
        found.unknown = _cause_of_unknown(result, case, known)
        if found.unknown is None:
            found.wrong.append(f"{result}: reported as unknown, but the evidence was available")
        elif not known.faults and found.unknown != BUSY:
            found.wrong.append(f"{result}: unknown without any fault ({found.unknown})")
    return found


def _live_is_true(result: Result, case: Case, known: Circumstances) -> Iterator[str]:
    if result.live == "unknown":
        return
    outage = overlaps(known.connection_faults, case.begins, case.ends)
    words = true_words(case, outage=outage)
    if result.live not in words:
        expected = ", ".join(sorted(words)) or "another release, so unknown"
        yield f"{result}: live is {result.live}, but the journal says {expected}"


def _status_is_true(result: Result, case: Case, known: Circumstances) -> Iterator[str]:
    alive = [run for run in case.runs if run.ended is None or run.ended > case.end_place]
    if alive and result.live != "unknown":
        yield f"{result}: reported while run {alive[-1].number} was still alive"
    if result.status == "succeeded":
        yield from _success_is_proven(result, case, known)
    elif result.status == "cancelled":
        yield from _cancel_is_true(result, case, known)
    else:
        yield from _failure_is_true(result, case, known)


def _success_is_proven(result: Result, case: Case, known: Circumstances) -> Iterator[str]:
    run = case.last
    if run is None:
        yield f"{result}: without any command"
        return
    if run.status != 0 and run.finalized != ("succeeded", 0):
        yield f"{result}: but its command ended with {run.status}, recorded {run.finalized}"
    if run.metadata is None or not run.metadata.endswith(f"#{known.sha}"):
        yield f"{result}: but Dokku never recorded {known.sha}: {run.metadata}"
    if result.live == NEW:
        yield from _stayed_up(result, case, known)
    elif run.containers:
        yield f"{result}: but its command had started containers, which never proved themselves"


def _stayed_up(result: Result, case: Case, known: Circumstances) -> Iterator[str]:
    reads = case.reads()
    if not reads:
        yield f"{result}: without any look at the containers"
        return
    last = reads[-1]
    settled_since = last.at - SETTLE * SPEED
    begin = case.history.place_at(settled_since)
    for dyno, process in case.history.seen_by(last).items():
        if known.sha is not None and process.sha != known.sha:
            yield f"{result}: {dyno} serves {process.sha[:7]}, not {known.sha[:7]}"
        moved = [
            entry.event
            for event in ("container_started", "crashed", "restarted", "gave_up")
            for entry in case.history.events(event, begin, last.place)
            if entry.details["id"] == process.container_id
        ]
        if moved:
            yield f"{result}: {dyno} had not been up for the settle time ({', '.join(moved)})"
        if not is_up(process):
            yield f"{result}: {dyno} is {process.state}"


def _cancel_is_true(result: Result, case: Case, known: Circumstances) -> Iterator[str]:
    outside = any(run.canceled_outside for run in case.runs)
    if not known.cancel_asked and not outside:
        yield f"{result}: but nobody asked for a cancel"
    run = case.last
    if run is not None and run.finalized == ("succeeded", 0) and run.status == 0:
        yield f"{result}: but its command had ended well"


def _failure_is_true(result: Result, case: Case, known: Circumstances) -> Iterator[str]:
    if result.failure is None:
        yield f"{result}: a failure without a failure word"
        return
    if not _explains(result.failure, case, known):
        run = case.last
        chosen = run.chosen[-1].meaning if run and run.chosen else "nothing chosen"
        yield (
            f"{result}: the journal does not show {result.failure} "
            f"(exit {run.status if run else 'none'}, {chosen})"
        )
    run = case.last
    good = run is not None and run.status == 0 and run.finalized == ("succeeded", 0)
    if good and not known.faults and result.failure not in {"not_deployed", "crashed"}:
        yield f"{result}: but its command ended well, and nobody interfered"


def _explains(word: str, case: Case, known: Circumstances) -> bool:
    """Whether the journal shows what the failure word says."""
    run = case.last
    if run is None and word == "lost_contact":
        # Claimed; afterwards nobody could find out whether the command had been sent.
        return _without_contact(case, known)
    if run is None and word == "timed_out":
        return _is_behind_a_lock(case, known)
    if run is None:
        return known.faults and word in {"server_unreachable", "expired", "interrupted"}
    shows = _SHOWN_BY.get(word)
    return shows is not None and shows(run, case, known)


def _is_behind_a_lock(case: Case, known: Circumstances) -> bool:
    """Claimed and never sent: without records, another deploy's lock could be its own."""
    return not known.keeps_records and case.ends - case.begins >= known.cap and _others_acted(case)


def _is_over_its_cap(_run: RunStory, case: Case, known: Circumstances) -> bool:
    # Counted from the first start, even if that command was lost on its way.
    return case.ends - case.begins >= known.cap


def _without_contact(case: Case, known: Circumstances) -> bool:
    return overlaps([*known.connection_faults, *known.busy], case.begins, case.ends)


def _was_cut_off(run: RunStory) -> bool:
    """It died with its reader or was killed; nobody could receive an exit status."""
    return run.status in {None, PIPE_CLOSED}


def _was_killed_in_the_build(run: RunStory) -> bool:
    return run.status is None and run.ended is not None and run.fetched and not run.containers


def _ended_unobserved(run: RunStory, case: Case, known: Circumstances) -> bool:
    """It ended by itself while the bot was away, on a Dokku that keeps no records."""
    away = [*known.connection_faults, *known.bot_died, *known.busy]
    began = case.history.entries[run.began].at
    return not known.keeps_records and overlaps(away, began, case.ends)


def _others_acted(case: Case) -> bool:
    """Someone else changed the app while its last command ran or was checked."""
    begin, end = case.claim_place, case.end_place
    ran = any(
        run.outside and run.began <= end and (run.ended is None or run.ended >= begin)
        for run in case.history.runs.values()
    )
    asked = case.history.events("asked", begin, end)
    return ran or any(one.details["outside"] for one in asked)


def _never_fetched(run: RunStory, _case: Case, _known: Circumstances) -> bool:
    return not run.fetched and run.status not in {0, None}


_SHOWN_BY: Mapping[str, Callable[[RunStory, Case, Circumstances], bool]] = {
    "build_failed": lambda run, case, known: (
        run.status != 0
        and (
            any(one.build in {"fails", "docker_dies"} for one in run.chosen)
            or _was_killed_in_the_build(run)
            or overlaps(known.docker_down, case.begins, case.ends)
        )
    ),
    "healthcheck_failed": lambda run, _case, _known: (
        run.status != 0 and any(not one.healthy for one in run.chosen)
    ),
    "crashed": lambda _run, case, _known: _crashed(case),
    "not_deployed": lambda run, _case, _known: run.status == 0 and not run.containers,
    "ref_not_found": _never_fetched,
    "repo_unreachable": _never_fetched,
    "release_failed": lambda run, _case, known: known.faults and run.status != 0,
    "timed_out": _is_over_its_cap,
    "lost_contact": lambda _run, case, known: _without_contact(case, known),
    "interrupted": lambda run, case, known: (
        _was_cut_off(run) or _others_acted(case) or _ended_unobserved(run, case, known)
    ),
    "internal": lambda run, _case, known: known.faults and run.status == 0,
    "server_unreachable": lambda _run, _case, known: known.faults,
}


def _crashed(case: Case) -> bool:
    own = {one for run in case.runs for one in run.containers}
    image_mates = {one for one, image in case.history.images.items() if image in case.images} | own
    return any(
        entry.details["id"] in image_mates
        for event in ("crashed", "gave_up", "container_stopped")
        for entry in case.history.events(event, case.first_place, case.end_place)
    )


def _cause_of_unknown(result: Result, case: Case, known: Circumstances) -> str | None:
    """Why the bot could not know; None: it could.

    A successful look at the containers after the last command's end shows what serves, so
    earlier faults do not excuse an unknown result.
    """
    reads = case.reads()
    if reads:
        cause = _indistinguishable(result, case, known, case.history.seen_by(reads[-1]))
        if cause is not None:
            return cause
    if result.failure == "timed_out" and _alive(case.last, case):
        return "the command outlived its cap"
    if result.failure == "timed_out" and case.last is None and _is_behind_a_lock(case, known):
        return "another deploy held the lock, and nothing shows whether the command was sent"
    if _blind_at_the_start(case):
        return "docker was down before the start"
    since = _could_be_read_since(case)
    looks = [one for one in reads if one.at >= since]
    if looks and looks[-1].docker_down:
        return "docker was down"
    through = [one for one in looks if not overlaps(known.connection_faults, one.at, one.at)]
    periods = {
        "docker was down": known.docker_down,
        "the connection to the server was faulty": known.connection_faults,
        BUSY: known.busy,
    }
    # After a successful look, only later faults excuse an unknown result.
    since = through[-1].at if through else since
    return next((why for why, them in periods.items() if overlaps(them, since, case.ends)), None)


def _indistinguishable(
    result: Result, case: Case, known: Circumstances, live: Mapping[str, LiveProcess]
) -> str | None:
    """Why the bot could not identify the containers it saw; None: it could."""
    if not known.keeps_records and _lost_its_output(case, live):
        return "the output that names its containers was lost with the connection"
    up = [one for one in live.values() if is_up(one)]
    # Without a command, the containers at the claim may not be those that serve now.
    replaced = case.last is None and result.failure == "interrupted" and _others_acted(case)
    unnamed = any(one.container_id in run.containers - run.named for run in case.runs for one in up)
    provable = all(is_provable(case, one) for one in up)
    if unnamed and not provable:
        return "it ended before its output had named its containers"
    if replaced or not provable or _in_flight_at_the_claim(case, up):
        return f"another command's containers serve ({_others(case)})"
    return None


def _in_flight_at_the_claim(case: Case, up: Sequence[LiveProcess]) -> bool:
    """They belong to a command that was running when this deployment was claimed.

    The journal does not say whether the look before the claim came before or after its switch.
    """
    return any(
        one.container_id in run.containers
        for run in case.history.runs.values()
        if run.outside
        and run.began <= case.claim_place
        and (run.ended is None or run.ended >= case.claim_place)
        for one in up
    )


def _lost_its_output(case: Case, live: Mapping[str, LiveProcess]) -> bool:
    """A command's containers serve, but its connection was cut before it named them all."""
    return any(
        _was_cut_off(run) and one.container_id in run.containers
        for run in case.runs
        for one in live.values()
    )


def _blind_at_the_start(case: Case) -> bool:
    """The previous containers could not be read, so nothing can be compared with them.

    Tolerance: the look was made within one question's time before the claim; the journal does
    not say which of the looks in that time it was.
    """
    since = case.begins - POLL_TIMEOUT * SPEED
    return bool(case.runs) and any(
        one.docker_down and one.at >= since
        for one in case.history.reads
        if one.place < case.first_place
    )


def _others(case: Case) -> str:
    names = [
        run.source or "ps:scale"
        for run in case.history.runs.values()
        if run.outside and (run.ended is None or run.ended >= case.claim_place)
    ]
    return ", ".join(names) or "nobody's"


def _could_be_read_since(case: Case) -> datetime:
    """When a look could have shown it for the first time."""
    run = case.last
    if run is None:
        return case.ends - POLL_TIMEOUT * SPEED
    return case.history.entries[run.began if run.ended is None else run.ended].at


def _alive(run: RunStory | None, case: Case) -> bool:
    return run is not None and (run.ended is None or run.ended > case.end_place)


def overlaps(periods: Sequence[tuple[datetime, datetime]], begin: datetime, end: datetime) -> bool:
    """Whether any of the periods overlaps the time between two instants."""
    return any(began <= end and ended >= begin for began, ended in periods)
