"""What each version of Dokku can do. Support for a new version begins here."""

import re
from dataclasses import dataclass

_VERSION = re.compile(r"\b(\d+)\.(\d+)\.(\d+)")
_NAMED = re.compile(r"^dokku version (.*)$", re.MULTILINE)

Version = tuple[int, int, int]

SINCE: dict[str, Version] = {
    "records": (0, 38, 0),
    "build_if_changes": (0, 34, 0),
    "json_reports": (0, 27, 0),
}
"""Capability -> first version that has it (Dokku's tags and sources)."""

MEANS: dict[str, str] = {
    "records": "`builds:list`, `builds:info`, `builds:output`, `builds:cancel`: a record and the "
    "text of each deploy, who else deploys, and a cancel that is confirmed",
    "build_if_changes": "`git:sync --build-if-changes`; never used, for it skips commits whose "
    "build failed",
    "json_reports": "`--format json` of `apps:report` and `ps:report`",
}
"""For people."""

PROVEN: frozenset[tuple[int, int]] = frozenset({(0, 35), (0, 38)})
"""Versions that were recorded: the rules are held against what they really print and do."""
OLDEST: Version = (0, 30, 0)
"""From here on reports are read by key, whether recorded or not."""


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
    proven: bool
    """Recorded: what the bot says of it rests on what this version was seen to do."""

    def standing(self) -> str:
        """How far the bot can be trusted with this version, for operators."""
        if self.version is None:
            return "It names no version and is taken for the newest, which is unproven."
        sentences = [_proof(self)]
        if not self.records:
            sentences.append(
                "Before 0.38 Dokku keeps no build records: after a lost connection its lock "
                "and the containers alone tell the end, a cancel closes the bot's own connection, "
                "and who else deploys is not named. Better upgrade."
            )
        return " ".join(sentences)


def capabilities(answer: str) -> Capabilities:
    """From the answer of `version`, such as `dokku version 0.38.27`.

    What a login prints before it may name the version of something else.
    """
    named_so = _NAMED.findall(answer.replace("\r", ""))
    version = _read(named_so[-1] if named_so else answer)
    can = {name: version is None or version >= since for name, since in SINCE.items()}
    named = None if version is None else ".".join(str(part) for part in version)
    return Capabilities(version=named, proven=version is not None and version[:2] in PROVEN, **can)


def _read(text: str) -> Version | None:
    match = _VERSION.search(text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _proof(can: Capabilities) -> str:
    recorded = " and ".join(f"{major}.{minor}" for major, minor in sorted(PROVEN))
    if can.proven:
        return "Proven by recordings."
    version = _read(can.version or "")
    if version is not None and version < OLDEST:
        oldest = ".".join(str(part) for part in OLDEST[:2])
        return f"Older than {oldest}: what it prints may be misread. Upgrade it."
    return f"Unproven: its reports are read by key; only {recorded} were recorded."
