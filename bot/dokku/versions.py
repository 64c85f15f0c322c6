"""What each version of Dokku can do. Support for a new version begins here."""

import re
from dataclasses import dataclass

_VERSION = re.compile(r"\b(\d+)\.(\d+)\.(\d+)")

Version = tuple[int, int, int]

SINCE: dict[str, Version] = {
    "records": (0, 38, 0),
    "build_if_changes": (0, 34, 0),
    "json_reports": (0, 27, 0),
}
"""Capability -> first version that has it (Dokku's tags and sources)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one server can do."""

    version: str | None
    """`0.38.27`; None: it named none (built from source), the newest is assumed."""
    records: bool
    """`builds:*`."""
    build_if_changes: bool
    """`git:sync --build-if-changes`. Not used: it skips commits whose build failed."""
    json_reports: bool
    """`--format json` of `apps:report` and `ps:report`."""


def capabilities(answer: str) -> Capabilities:
    """From the answer of `version`, such as `dokku version 0.38.27`."""
    match = _VERSION.search(answer)
    version = (int(match[1]), int(match[2]), int(match[3])) if match else None
    can = {name: version is None or version >= since for name, since in SINCE.items()}
    return Capabilities(version=match[0] if match else None, **can)
