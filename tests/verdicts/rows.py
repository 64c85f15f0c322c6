"""The rows of rows.toml and more.toml, read into what the rules are asked."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from bot.errors import NotShown
from tests.verdicts.codes import Question, question

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of evidence, and what the rules must say of it."""

    number: int
    """Its place in the file, from 1; docs/verdicts.md shows it."""
    read: str
    """What was read, in words."""
    gives: str
    """The expected outcome: `kind phase failure live rule`."""
    cause: str
    """The expected cause (`answers.cause`); empty where no result is decided."""
    question: Question
    text: str | None
    """The output line that names the cause."""
    recording: str | None
    """`VERSION/SCENARIO` under bot/simulators/dokku/transcripts; None: nobody recorded it."""
    step: str | None
    """The recorded deploy whose output and exit status are the row's."""
    model: str | None
    """The row's name if the simulated Dokku's model plays it, through the whole bot."""
    alone: str | None
    """Why neither a recording nor the model can show it."""

    @property
    def name(self) -> str:
        """What other files call it; two rows of one recorded deploy share a name."""
        return self.model or (f"{self.recording}:{self.step}" if self.step else self.read)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows that belong together."""

    title: str
    text: str
    rows: tuple[Row, ...]


def _sections(file: str) -> tuple[Section, ...]:
    content = tomllib.loads((HERE / file).read_text(encoding="utf-8"))
    texts = content.get("texts", {}) | {"not_shown": str(NotShown("web", "production"))}
    numbers = count(1)
    return tuple(
        Section(
            title=one["title"],
            text=one.get("text", ""),
            rows=tuple(_row(row, next(numbers), texts) for row in one["rows"]),
        )
        for one in content["sections"]
    )


def _row(given: Mapping[str, Any], number: int, texts: Mapping[str, str]) -> Row:
    recording, _, step = given.get("recording", "").partition(":")
    text = texts[given["text"]] if "text" in given else None
    return Row(
        number=number,
        read=given["read"],
        gives=given["gives"],
        cause=given.get("cause", ""),
        question=question(given["see"], text),
        text=text,
        recording=recording or None,
        step=step or None,
        model=given.get("model"),
        alone=given.get("alone"),
    )


SECTIONS = _sections("rows.toml")
"""In the order of docs/verdicts.md and golden.json."""
ROWS = tuple(row for section in SECTIONS for row in section.rows)
MORE_ROWS = tuple(row for section in _sections("more.toml") for row in section.rows)
