"""The kinds of rows, and how each asks the rules."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from bot.deployments.dokku_facts import BuildRecord, Container, Containers
from bot.deployments.model import Failure
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.rules import before_start
from bot.deployments.verdict.stability import judge
from tests.verdicts.flat import Verdict, decide, flat
from tests.verdicts.samples import SETTLE, SETTLING, look


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(ABC):
    """One kind of evidence. `read` says in words what the rules are given."""

    read: str
    recording: str | None = None
    """`VERSION/SCENARIO` under bot/simulators/dokku/transcripts; None: nobody recorded it."""
    step: str | None = None
    """The recorded deploy whose text and exit status are the row's own."""
    model: str | None = None
    """The row's name where the simulated Dokku's model plays it, through the whole bot."""
    alone: str | None = None
    """Why the rules alone can show it: neither a recording nor the model can."""

    @property
    def name(self) -> str:
        """What it is called where it is spoken of; two rows of one recorded deploy share it."""
        return self.model or (f"{self.recording}:{self.step}" if self.step else self.read)

    @abstractmethod
    def outcome(self) -> Verdict:
        """What the rules say of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstarted(Row):
    """An end before Dokku's command was started."""

    failure: Failure
    cause: str
    after: Containers | None

    def outcome(self) -> Verdict:
        """By `before_start`."""
        return flat(before_start(self.cause, self.after, failure=self.failure))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Row):
    """The command has ended, or its line was lost."""

    evidence: Evidence

    def outcome(self) -> Verdict:
        """By `decide`."""
        return decide(self.evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Row):
    """A good end: two looks at the new release, more than the settle time apart."""

    first: tuple[Container, ...] | None
    """What the first look showed; None: this is the first one."""
    now: tuple[Container, ...] | None
    """What this look shows; None: it could not be read."""
    last_word: bool = False
    others: tuple[BuildRecord, ...] = ()
    """Records that others began since the start."""

    def outcome(self) -> Verdict:
        """By `judge`."""
        first = None if self.first is None else look(0, self.first)
        now = look(SETTLE.total_seconds() + 1, self.now)
        known = replace(SETTLING, others=self.others)
        return flat(judge(first, now, known, last_word=self.last_word))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows that belong together."""

    title: str
    text: str
    rows: tuple[Row, ...]
