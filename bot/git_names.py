"""The order in which a repository's branches and tags are offered. Pure."""

import re
from collections.abc import Iterable, Sequence

from bot.deployments.refs import RefName

HEADS, TAGS = "refs/heads/", "refs/tags/"
USUAL_BRANCHES = ("main", "master")
_NUMBERS = re.compile(r"(\d+)")


def by_name(listed: Iterable[str], default: str | None) -> Sequence[RefName]:
    """The default branch, the other branches by name, then tags, the highest version first."""
    branches = [name.removeprefix(HEADS) for name in listed if name.startswith(HEADS)]
    tags = [name.removeprefix(TAGS) for name in listed if name.startswith(TAGS)]
    tags = [name for name in tags if not name.endswith("^{}") and name not in branches]
    branches.sort(key=lambda name: (name != default, name not in USUAL_BRANCHES, name))
    tags.sort(key=_version, reverse=True)
    return [(name, "branch") for name in branches] + [(name, "tag") for name in tags]


def _version(tag: str) -> list[tuple[int, str]]:
    """Sort key: `v1.10` comes after `v1.9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(tag)]
