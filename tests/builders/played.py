"""Plays the logs of `logs.toml` through the real reader and the rules, for a test and a page."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bot.deployments.dokku_facts import AppReport, Container, Containers, Snapshot
from bot.deployments.excerpt import around_error
from bot.deployments.model import LogFacts
from bot.deployments.verdict.decisions import Decision
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.rules import decide
from bot.dokku.log_markers import LogReader
from bot.dokku.stream import OutputReader
from bot.redaction import Redactor

_FOLDER = Path(__file__).parent
_OLD = Containers(
    listed=(Container(id="0" * 12, process="web.1", image="old", state="running"),),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One log, and what a person must see of it."""

    file: str
    builder: str
    tried: str
    exits: int
    gives: str
    app: str = "web"
    reason: str | None = None
    cause: str | None = None
    shows: Sequence[str] = ()
    hides: Sequence[str] = ()
    steps: Sequence[str] = ()

    @property
    def data(self) -> bytes:
        """The log's bytes."""
        return (_FOLDER / "logs" / f"{self.file}.log").read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What the bot makes of some output."""

    facts: LogFacts
    lines: Sequence[str]
    steps: Sequence[str]
    """Each step that was shown, once in a row."""

    @property
    def excerpt(self) -> str:
        """The lines that a message shows."""
        return "\n".join(around_error(self.lines, self.facts.error))

    def decided(self, exit_status: int | None) -> Decision:
        """The decision about a deploy that changed no container."""
        return decide(
            Evidence(
                exit_status=exit_status,
                keeps_records=False,
                record=None,
                output=self.facts,
                before=Snapshot(builds=None, report=AppReport(), containers=_OLD),
                after=_OLD,
                report=AppReport(),
                expected=None,
                lock_was_free=True,
            )
        )


@cache
def logs() -> tuple[Log, ...]:
    """All logs, in the order of the page."""
    rows = tomllib.loads((_FOLDER / "logs.toml").read_text(encoding="utf-8"))["logs"]
    return tuple(Log(**row) for row in rows)


def play(data: bytes, app: str = "web") -> Played:
    """Read output as it comes, line by line."""
    output, log = OutputReader(Redactor(())), LogReader(app)
    shown: list[str] = []
    steps: list[str] = []
    for part in [*data.splitlines(keepends=True), None]:
        lines = output.finish() if part is None else output.feed(part)
        log.feed(lines)
        shown += [line.shown for line in lines]
        step = log.facts.step
        if step and (not steps or steps[-1] != step):
            steps.append(step)
    return Played(facts=log.facts, lines=shown, steps=steps)
