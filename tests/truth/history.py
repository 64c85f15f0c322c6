"""The journal of one app as a history: its runs, what they started, and what served when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bot.simulators.dokku.behaviours import Behaviour
from bot.simulators.dokku.model import JournalEntry, LiveProcess, RunState

READS = "ps:inspect"
"""The query that shows containers."""


@dataclass(kw_only=True)
class RunStory:
    """One command that changed the app. Places are indices of the app's journal."""

    number: int
    source: str
    outside: bool
    """Not through the bot's SSH connections."""
    began: int
    ended: int | None = None
    status: int | None = None
    """Exit status; None: killed by a signal, or it never ended."""
    chosen: list[Behaviour] = field(default_factory=list)
    fetched: bool = False
    images: set[str] = field(default_factory=set)
    """Images that it tagged or started containers from."""
    containers: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    """Those of its containers that its output names: when checked, otherwise when renamed."""
    finalized: tuple[str, int | None] | None = None
    canceled_outside: bool | None = None
    """Whether someone other than the bot cancelled it; None: nobody did."""
    metadata: str | None = None
    refused: bool = False
    """Another deploy held the lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One answered look at the containers."""

    place: int
    at: datetime
    docker_down: bool


class History:
    """One app's journal. `entries` in the order in which things happened."""

    def __init__(self, entries: Sequence[JournalEntry]) -> None:
        self.entries = entries
        self.runs: dict[int, RunStory] = {}
        self.reads: list[Read] = []
        """Only the bot's looks."""
        self._live: list[tuple[int, Mapping[str, LiveProcess]]] = [(-1, {})]
        self.images: dict[str, str] = {}
        """Image of each container that a run started."""
        for place, entry in enumerate(entries):
            self._take(place, entry)

    def _take(self, place: int, entry: JournalEntry) -> None:
        details = entry.details
        if entry.event == "container_started":
            self.images[str(details["id"])] = str(details["image"])
        if entry.event == "live":
            self._live.append((place, _processes(details)))
        elif entry.event == "asked":
            if details["command"] == READS and not details["outside"]:
                down = bool(details["docker_down"])
                self.reads.append(Read(place=place, at=entry.at, docker_down=down))
        elif entry.event == "run_began":
            number = _number(details)
            self.runs[number] = RunStory(
                number=number,
                source=str(details["source"]),
                outside=bool(details["outside"]),
                began=place,
            )
        elif "run" in details and _number(details) in self.runs:
            self._note(self.runs[_number(details)], place, entry)

    def _note(self, run: RunStory, place: int, entry: JournalEntry) -> None:
        details = entry.details
        if entry.event == "run_ended":
            run.ended, run.status = place, _code(details["status"])
        elif entry.event == "chosen" and isinstance(details["behaviour"], Behaviour):
            run.chosen.append(details["behaviour"])
        elif entry.event == "fetched":
            run.fetched = True
        elif entry.event in {"image_tagged", "container_started"}:
            run.images.add(str(details["image"]))
            if entry.event == "container_started":
                run.containers.add(str(details["id"]))
                if details["checks"]:
                    run.named.add(str(details["id"]))
        else:
            _note_result(run, entry)

    def seen_by(self, read: Read) -> Mapping[str, LiveProcess]:
        """What served when the question was answered.

        The journal records a change of what serves right after the event that caused it. A question
        changes nothing, so a change recorded right after it came before.
        """
        behind = self.entries[read.place + 1 : read.place + 2]
        late = bool(behind) and behind[0].event == "live"
        return self.live_at(read.place + 2 if late else read.place)

    def live_at(self, place: int) -> Mapping[str, LiveProcess]:
        """What served just before the entry at this place."""
        found: Mapping[str, LiveProcess] = {}
        for changed, live in self._live:
            if changed >= place:
                break
            found = live
        return found

    def last_known(self, place: int) -> Mapping[str, LiveProcess]:
        """The last serving state of each process before this place."""
        known: dict[str, LiveProcess] = {}
        for changed, live in self._live:
            if changed < place:
                known.update(live)
        return known

    def place_at(self, instant: datetime) -> int:
        """The place of the first entry after the instant."""
        for place, entry in enumerate(self.entries):
            if entry.at > instant:
                return place
        return len(self.entries)

    def events(self, event: str, begin: int, end: int) -> list[JournalEntry]:
        """Entries of a kind between two places."""
        return [one for one in self.entries[begin:end] if one.event == event]


def _note_result(run: RunStory, entry: JournalEntry) -> None:
    details = entry.details
    if entry.event == "finalized":
        run.finalized = (str(details["status"]), _code(details["exit_code"]))
    elif entry.event == "canceled":
        run.canceled_outside = bool(details["outside"])
    elif entry.event == "metadata_set":
        run.metadata = str(details["metadata"])
    elif entry.event == "renamed" and details["id"] in run.containers:
        # It renames whatever is listed, another command's containers too.
        run.named.add(str(details["id"]))
    elif entry.event == "lock_refused":
        run.refused = True


def _code(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _processes(details: Mapping[str, object]) -> Mapping[str, LiveProcess]:
    return {dyno: one for dyno, one in details.items() if isinstance(one, LiveProcess)}


def _number(details: Mapping[str, object]) -> int:
    number = details["run"]
    if not isinstance(number, int):
        raise TypeError("a run has a number")
    return number


def is_up(process: LiveProcess) -> bool:
    """It serves, or is being restarted."""
    return process.state is not RunState.EXITED
