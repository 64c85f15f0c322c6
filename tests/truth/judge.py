"""The bot's ends against the journal: what is wrong, and why what is unknown is unknown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.simulators.dokku.model import LiveProcess
from tests.truth.history import RunStory, is_up
from tests.truth.pace import POLL_TIMEOUT, SETTLE, SPEED
from tests.truth.truth import NEW, Case, is_provable, true_words

PIPE_CLOSED = 141
BUSY = "the machine was busy"
"""No fault of anybody's that is judged: the bot was kept from hearing answers in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end as it was told."""

    status: str
    failure: str | None
    live: str

    def __str__(self) -> str:
        return f"{self.status}/{self.failure or '-'}/{self.live}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the harness itself did, in simulated instants."""

    line_troubled: Sequence[tuple[datetime, datetime]] = ()
    busy: Sequence[tuple[datetime, datetime]] = ()
    """The machine was too busy for the bot to hear its answers in time."""
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
    """Of one end."""

    wrong: list[str] = field(default_factory=list)
    unknown: str | None = None
    """The cause, where the end says that something is not known."""


def judge(end: End, case: Case, known: Circumstances) -> Judgement:
    """Hold one end against the journal."""
    found = Judgement()
    found.wrong += _live_is_true(end, case, known)
    found.wrong += _status_is_true(end, case, known)
    if end.live == "unknown" or end.failure == "lost_contact":
        found.unknown = _withheld(end, case, known)
        if found.unknown is None:
            found.wrong.append(f"{end}: called unknown, but nothing withheld the evidence")
        elif not known.faults and found.unknown != BUSY:
            found.wrong.append(f"{end}: unknown without any fault ({found.unknown})")
    return found


def _live_is_true(end: End, case: Case, known: Circumstances) -> Iterator[str]:
    if end.live == "unknown":
        return
    outage = overlaps(known.line_troubled, case.begins, case.ends)
    words = true_words(case, outage=outage)
    if end.live not in words:
        told = ", ".join(sorted(words)) or "another release, so unknown"
        yield f"{end}: live is {end.live}, but the journal says {told}"


def _status_is_true(end: End, case: Case, known: Circumstances) -> Iterator[str]:
    alive = [run for run in case.runs if run.ended is None or run.ended > case.end_place]
    if alive and end.live != "unknown":
        yield f"{end}: told while run {alive[-1].number} was still alive"
    if end.status == "succeeded":
        yield from _success_is_proven(end, case, known)
    elif end.status == "cancelled":
        yield from _cancel_is_true(end, case, known)
    else:
        yield from _failure_is_true(end, case, known)


def _success_is_proven(end: End, case: Case, known: Circumstances) -> Iterator[str]:
    run = case.last
    if run is None:
        yield f"{end}: without any command"
        return
    if run.status != 0 and run.finalized != ("succeeded", 0):
        yield f"{end}: but its command ended with {run.status}, recorded {run.finalized}"
    if run.metadata is None or not run.metadata.endswith(f"#{known.sha}"):
        yield f"{end}: but Dokku never recorded {known.sha}: {run.metadata}"
    if end.live == NEW:
        yield from _stayed_up(end, case, known)
    elif run.containers:
        yield f"{end}: but its command had started containers, which never proved themselves"


def _stayed_up(end: End, case: Case, known: Circumstances) -> Iterator[str]:
    reads = case.reads()
    if not reads:
        yield f"{end}: without any look at the containers"
        return
    last = reads[-1]
    settled_since = last.at - SETTLE * SPEED
    begin = case.history.place_at(settled_since)
    for dyno, process in case.history.seen_by(last).items():
        if known.sha is not None and process.sha != known.sha:
            yield f"{end}: {dyno} serves {process.sha[:7]}, not {known.sha[:7]}"
        moved = [
            entry.event
            for event in ("container_started", "crashed", "restarted", "gave_up")
            for entry in case.history.events(event, begin, last.place)
            if entry.details["id"] == process.container_id
        ]
        if moved:
            yield f"{end}: {dyno} had not been up for the settle time ({', '.join(moved)})"
        if not is_up(process):
            yield f"{end}: {dyno} is {process.state}"


def _cancel_is_true(end: End, case: Case, known: Circumstances) -> Iterator[str]:
    elsewhere = any(run.canceled_elsewhere for run in case.runs)
    if not known.cancel_asked and not elsewhere:
        yield f"{end}: but nobody asked for a cancel"
    run = case.last
    if run is not None and run.finalized == ("succeeded", 0) and run.status == 0:
        yield f"{end}: but its command had ended well"


def _failure_is_true(end: End, case: Case, known: Circumstances) -> Iterator[str]:
    if end.failure is None:
        yield f"{end}: a failure without its word"
        return
    if not _explains(end.failure, case, known):
        run = case.last
        chosen = run.chosen[-1].meaning if run and run.chosen else "nothing chosen"
        yield (
            f"{end}: the journal does not show {end.failure} "
            f"(exit {run.status if run else 'none'}, {chosen})"
        )
    run = case.last
    good = run is not None and run.status == 0 and run.finalized == ("succeeded", 0)
    if good and not known.faults and end.failure not in {"not_deployed", "crashed"}:
        yield f"{end}: but its command ended well, and nobody meddled"


def _explains(word: str, case: Case, known: Circumstances) -> bool:
    """Whether the journal shows what the word of a failure says."""
    run = case.last
    if run is None and word == "lost_contact":
        # Claimed, and nobody could ask any more whether the command had been sent.
        return _out_of_touch(case, known)
    if run is None and word == "timed_out":
        return _is_behind_anothers_lock(case, known)
    if run is None:
        return known.faults and word in {"server_unreachable", "expired", "interrupted"}
    shows = _SHOWN_BY.get(word)
    return shows is not None and shows(run, case, known)


def _is_behind_anothers_lock(case: Case, known: Circumstances) -> bool:
    """Claimed, and never sent: without records, another's lock may as well be its own."""
    return not known.keeps_records and case.ends - case.begins >= known.cap and _others_acted(case)


def _is_over_its_cap(_run: RunStory, case: Case, known: Circumstances) -> bool:
    # From the first start on, also of a command that was lost on its way.
    return case.ends - case.begins >= known.cap


def _out_of_touch(case: Case, known: Circumstances) -> bool:
    return overlaps([*known.line_troubled, *known.busy], case.begins, case.ends)


def _was_cut_off(run: RunStory) -> bool:
    """It died with its reader or was killed; nobody could hear an exit status of its own."""
    return run.status in {None, PIPE_CLOSED}


def _ended_unheard(run: RunStory, case: Case, known: Circumstances) -> bool:
    """It ended by itself while nobody listened, on a Dokku that tells nobody afterwards."""
    deaf = [*known.line_troubled, *known.bot_died, *known.busy]
    began = case.history.entries[run.began].at
    return not known.keeps_records and overlaps(deaf, began, case.ends)


def _others_acted(case: Case) -> bool:
    """Somebody else did something to the app while its last command ran or was proven."""
    begin, end = case.claim_place, case.end_place
    ran = any(
        run.elsewhere and run.began <= end and (run.ended is None or run.ended >= begin)
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
    "lost_contact": lambda _run, case, known: _out_of_touch(case, known),
    "interrupted": lambda run, case, known: (
        _was_cut_off(run) or _others_acted(case) or _ended_unheard(run, case, known)
    ),
    "internal": lambda run, _case, known: known.faults and run.status == 0,
    "server_unreachable": lambda _run, _case, known: known.faults,
}


def _crashed(case: Case) -> bool:
    ours = {one for run in case.runs for one in run.containers}
    image_mates = {one for one, image in case.history.images.items() if image in case.images} | ours
    return any(
        entry.details["id"] in image_mates
        for event in ("crashed", "gave_up", "container_stopped")
        for entry in case.history.events(event, case.first_place, case.end_place)
    )


def _withheld(end: End, case: Case, known: Circumstances) -> str | None:
    """Why the bot could not know; None: it could.

    A look at the containers that came through after the last command's end tells what serves:
    trouble before it withheld nothing.
    """
    reads = case.reads()
    if reads:
        whose = _not_to_be_told_apart(end, case, known, case.history.seen_by(reads[-1]))
        if whose is not None:
            return whose
    if end.failure == "timed_out" and _alive(case.last, case):
        return "the command outlived its cap"
    if end.failure == "timed_out" and case.last is None and _is_behind_anothers_lock(case, known):
        return "another held the lock, and nothing told whether its command was sent"
    if _blind_at_the_start(case):
        return "docker was down before the start"
    since = _could_be_read_since(case)
    looks = [one for one in reads if one.at >= since]
    if looks and looks[-1].docker_down:
        return "docker was down"
    through = [one for one in looks if not overlaps(known.line_troubled, one.at, one.at)]
    spells = {
        "docker was down": known.docker_down,
        "the line to the server was troubled": known.line_troubled,
        BUSY: known.busy,
    }
    # After a look that came through, only later trouble withholds anything.
    since = through[-1].at if through else since
    return next((why for why, them in spells.items() if overlaps(them, since, case.ends)), None)


def _not_to_be_told_apart(
    end: End, case: Case, known: Circumstances, live: Mapping[str, LiveProcess]
) -> str | None:
    """Why the bot could not tell whose containers it saw; None: it could."""
    if not known.keeps_records and _unheard(case, live):
        return "the output that names its containers was lost with the line"
    up = [one for one in live.values() if is_up(one)]
    # Without a command, what was there when it was claimed may not be what serves now.
    replaced = case.last is None and end.failure == "interrupted" and _others_acted(case)
    unnamed = any(one.container_id in run.containers - run.named for run in case.runs for one in up)
    provable = all(is_provable(case, one) for one in up)
    if unnamed and not provable:
        return "it ended before its output had named its containers"
    if replaced or not provable or _in_flight_at_the_claim(case, up):
        return f"another command's containers serve ({_others(case)})"
    return None


def _in_flight_at_the_claim(case: Case, up: Sequence[LiveProcess]) -> bool:
    """They are of a command that was under way when ours was claimed.

    Whether the look before the claim came before or after its switch, the journal does not say.
    """
    return any(
        one.container_id in run.containers
        for run in case.history.runs.values()
        if run.elsewhere
        and run.began <= case.claim_place
        and (run.ended is None or run.ended >= case.claim_place)
        for one in up
    )


def _unheard(case: Case, live: Mapping[str, LiveProcess]) -> bool:
    """Containers of a command serve whose line was cut before, or as, it named them."""
    return any(
        _was_cut_off(run) and one.container_id in run.containers
        for run in case.runs
        for one in live.values()
    )


def _blind_at_the_start(case: Case) -> bool:
    """What was there before could not be seen, so nothing can be told to be the same.

    Tolerance: the look was made within one question's time before the claim; which of the looks
    of that time was this one, the journal does not say.
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
        if run.elsewhere and (run.ended is None or run.ended >= case.claim_place)
    ]
    return ", ".join(names) or "nobody's"


def _could_be_read_since(case: Case) -> datetime:
    """From when on a look could have told."""
    run = case.last
    if run is None:
        return case.ends - POLL_TIMEOUT * SPEED
    return case.history.entries[run.began if run.ended is None else run.ended].at


def _alive(run: RunStory | None, case: Case) -> bool:
    return run is not None and (run.ended is None or run.ended > case.end_place)


def overlaps(spells: Sequence[tuple[datetime, datetime]], begin: datetime, end: datetime) -> bool:
    """Whether any of the spells touches the time between two instants."""
    return any(began <= end and ended >= begin for began, ended in spells)
