"""What the bot may report about one deployment, derived only from the journal, not its rules."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.simulators.dokku.model import LiveProcess
from tests.truth.history import History, Read, RunStory, is_up

NEW, PREVIOUS = "new", "previous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One deployment in its app's journal."""

    history: History
    runs: Sequence[RunStory]
    """The bot's `git:sync` commands for it since the last claim, oldest first."""
    begins: datetime
    """Simulated: when the bot last claimed the app for it, or when it was requested."""
    ends: datetime
    """Simulated: when its result was decided."""
    refused: Sequence[RunStory] = ()
    """Commands that Dokku's lock refused before the last claim: nothing of them ran."""

    @property
    def last(self) -> RunStory | None:
        """Its last command."""
        return self.runs[-1] if self.runs else None

    @property
    def first_place(self) -> int:
        """Where its first command begins in the journal; without a command, where it ends."""
        return self.runs[0].began if self.runs else self.end_place

    @property
    def claim_place(self) -> int:
        """Where in the journal the bot read the containers and claimed the app for it."""
        return min(self.first_place, self.history.place_at(self.begins))

    @property
    def end_place(self) -> int:
        """Where in the journal it ends."""
        return self.history.place_at(self.ends)

    @property
    def before(self) -> Mapping[str, LiveProcess]:
        """What served just before its first command."""
        return self.history.live_at(self.first_place)

    @property
    def images(self) -> frozenset[str]:
        """Images that its commands built or started containers from."""
        return frozenset(image for run in self.runs for image in run.images)

    @property
    def former_images(self) -> frozenset[str]:
        """Images of what served before its first command.

        For a process that was down by then, the image it served last: a restart brings that
        release back.
        """
        return self._images(self.history.last_known(self.first_place))

    @property
    def snapshot(self) -> Mapping[str, LiveProcess]:
        """What the bot saw before its first command."""
        looks = [one for one in self.history.reads if one.place < self.first_place]
        return self.history.seen_by(looks[-1]) if looks else {}

    def _images(self, live: Mapping[str, LiveProcess]) -> frozenset[str]:
        return frozenset(self.history.images.get(one.container_id, "") for one in live.values())

    @property
    def seen_images(self) -> frozenset[str]:
        """Images of this deployment's containers that the bot read, and of those it saw before.

        The output names containers, not images: an image is known once a container was read.
        """
        own_ids = {one for run in self.runs for one in run.named}
        # While its command runs, the bot reads only what was live before, to find outside changes.
        own = [one for one in self.reads() if not (one.docker_down or self._is_in_a_run(one))]
        seen = {
            process.container_id: process
            for read in own
            for process in self.history.seen_by(read).values()
            if process.container_id in own_ids
        }
        return self._images(seen) | self._images(self.snapshot)

    def _is_in_a_run(self, read: Read) -> bool:
        if self._is_held_back and read.place < self.reads()[-1].place:
            # The journal does not say until when it was held back.
            return True
        return any(
            run.began <= read.place and (run.ended is None or read.place < run.ended)
            for run in self.runs
        )

    @property
    def _is_held_back(self) -> bool:
        """Its last command was over, but its exit status had not been sent yet."""
        ended = self.last.ended if self.last else None
        behind = [] if ended is None else self.history.entries[ended + 1 : ended + 2]
        return any(entry.event == "held" for entry in behind)

    def reads(self) -> Sequence[Read]:
        """The bot's looks at the containers from its beginning to its end."""
        return [one for one in self.history.reads if self.begins <= one.at <= self.ends]


def kinds_of(case: Case, process: LiveProcess) -> frozenset[str]:
    """The live states that are true for one serving container.

    Two may be true: the same files give the same image, so a container that someone else started
    from it is both the new release and the previous one. None: another release.
    """
    container = process.container_id
    if any(container in run.containers for run in case.runs):
        return frozenset({NEW})
    if not case.runs or _started(case, container) < case.first_place:
        # It existed before this deployment's command, so it is the previous release.
        return frozenset({PREVIOUS})
    image = case.history.images.get(container, "")
    words = {NEW: case.images, PREVIOUS: case.former_images}
    return frozenset(word for word, images in words.items() if image in images)


def is_provable(case: Case, process: LiveProcess) -> bool:
    """Whether Dokku identifies it: named by the output, there before, or from a known image."""
    container = process.container_id
    image = case.history.images.get(container, "")
    own_ids = {one for run in case.runs for one in run.named}
    there = {one.container_id for one in case.snapshot.values()}
    return container in own_ids | there or image in case.seen_images


def _started(case: Case, container: str) -> int:
    for place, entry in enumerate(case.history.entries):
        if entry.event == "container_started" and entry.details["id"] == container:
            return place
    return -1


def words_for(case: Case, live: Mapping[str, LiveProcess]) -> frozenset[str]:
    """Every value of `live` that is true for these processes. Empty: only `unknown`."""
    kinds = [kinds_of(case, one) for one in live.values() if is_up(one)]
    if not kinds:
        return frozenset({"none"})
    words = {word for word in (NEW, PREVIOUS) if all(word in one for one in kinds)}
    if _can_be_mixed(kinds):
        words.add("mixed")
    return frozenset(words)


def _can_be_mixed(kinds: Collection[frozenset[str]]) -> bool:
    new = [NEW in one for one in kinds]
    old = [PREVIOUS in one for one in kinds]
    if not all(a or b for a, b in zip(new, old, strict=True)):
        return False
    return any(a and b for i, a in enumerate(new) for j, b in enumerate(old) if i != j)


def true_words(case: Case, *, outage: bool) -> frozenset[str]:
    """The values of `live` that the result may show.

    Tolerance 1: the result is reported after the bot's last look, so only what served when that
    look was answered counts; a later change could not be known.
    Tolerance 2: with a faulty connection an answer may not arrive, so earlier looks, back to the
    last command's end, count as well. Otherwise only the last look counts.
    """
    reads = case.reads()
    if not reads:
        return words_for(case, case.history.live_at(case.end_place))
    if not outage:
        return words_for(case, case.history.seen_by(reads[-1]))
    since = case.last.ended if case.last and case.last.ended is not None else case.first_place
    late = [one for one in reads if one.place >= since] or reads[-1:]
    return frozenset().union(*(words_for(case, case.history.seen_by(one)) for one in late))
