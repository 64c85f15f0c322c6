"""What a branch, tag or commit resolves to, and the port that resolves it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Found:
    """The ref's commit."""

    sha: str
    branch: str | None = None
    """Where HEAD was asked for: the name of the repository's default branch."""


@dataclass(frozen=True, slots=True)
class NotThere:
    """The repository was listed and has no such ref."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The repository could not be listed from here (private, down, too slow, short SHA)."""

    why: str


@dataclass(frozen=True, slots=True)
class Several:
    """An ambiguous short SHA: it may be each of these."""

    shas: tuple[str, ...]


RefName = tuple[str, str]
"""A name and what it is: `branch` or `tag`."""
RefAnswer = Found | NotThere | CannotTell | Several


class Refs(Protocol):
    """Lists git repositories."""

    async def names(self, repo: str) -> Sequence[RefName]:
        """Branches and tags, the likeliest first; empty: it cannot be listed. Raises nothing."""
        ...

    async def resolve(self, repo: str, ref: str) -> RefAnswer:
        """The full commit of a branch, tag or SHA. Answers within 5 s; raises nothing.

        A full SHA is Found as it is. A short one (7 digits or more) is Found if exactly one commit
        that a branch or tag names starts with it, else CannotTell or Several.
        """
        ...
