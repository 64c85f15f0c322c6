"""Trimmed recordings of real Dokku servers, in tests/data/dokku/<version>/."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[2] / "data" / "dokku"
VERSIONS = sorted(folder.name for folder in _FOLDER.iterdir())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One command over SSH."""

    version: str
    scenario: str
    argv: tuple[str, ...]
    exit: int | None
    """None: the recording ended before the command."""
    output: tuple[tuple[str, str], ...]
    """("out" or "err", text) in the order of arrival."""

    @property
    def stdout(self) -> str:
        return "".join(text for pipe, text in self.output if pipe == "out")

    @property
    def both(self) -> bytes:
        return "".join(text for _, text in self.output).encode()

    def __str__(self) -> str:
        return f"{self.version}-{self.scenario}"


def deploys(version: str) -> list[Recording]:
    """Every `git:sync` that was recorded on a version."""
    return [
        Recording(
            version=version,
            scenario=item["scenario"],
            argv=tuple(item["argv"]),
            exit=item["exit"],
            output=tuple((pipe, text) for pipe, text in item["output"]),
        )
        for item in _load(version, "deploys")
    ]


def questions(version: str, command: str) -> list[Recording]:
    """Every answer to a command that was recorded on a version."""
    return [
        Recording(
            version=version,
            scenario=item["scenario"],
            argv=tuple(item["argv"]),
            exit=item["exit"],
            output=(("out", item["stdout"]), ("err", item["stderr"])),
        )
        for item in _load(version, "questions")
        if item["argv"][0] == command
    ]


def _load(version: str, kind: str) -> list[Any]:
    items: list[Any] = json.loads((_FOLDER / version / f"{kind}.json").read_text())
    return items
