"""What Dokku prints at an end (printed.toml), with the rows that each text leads to."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.verdicts.rows import ROWS, Row

_FILE = Path(__file__).with_name("printed.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """One text, as it is printed; `X` stands for what differs."""

    exits: str
    """Exit status; a sentence where none comes."""
    says: str
    rows: tuple[Row, ...]
    not_met: str | None
    """Why no deployment of the bot ends with it, or what is left out."""


def _printed() -> tuple[Printed, ...]:
    named: dict[str, Row] = {}
    for row in ROWS:
        named.setdefault(row.name, row)
    return tuple(
        Printed(
            exits=one["exits"],
            says=one["says"],
            rows=tuple(named[name] for name in one.get("rows", ())),
            not_met=one.get("not_met"),
        )
        for one in tomllib.loads(_FILE.read_text(encoding="utf-8"))["texts"]
    )


PRINTED = _printed()
