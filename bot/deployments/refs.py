"""What a ref resolves to and what a commit ships, and the port that asks a repository."""

import difflib
from collections.abc import Collection, Sequence
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


MOST_NEAR = 3
_MOST_COMPARED = 2_000
"""Names that a mistyped one is compared with: the first, which are the newest."""


def near_refs(typed: str, names: Collection[str]) -> Sequence[str]:
    """The names that a ref may mean which is none of them: that contain it, or are spelled alike.

    The last part of a name counts too, for nobody remembers whether it was `feature/` or `fix/`.
    """
    if typed in names or not typed:
        return ()
    compared, wanted = list(names)[:_MOST_COMPARED], typed.lower()
    found = [name for name in compared if wanted in name.lower()]
    spelled = {form.lower(): name for name in compared for form in (name, name.rpartition("/")[2])}
    found += [spelled[one] for one in difflib.get_close_matches(wanted, spelled, n=MOST_NEAR)]
    return list(dict.fromkeys(found))[:MOST_NEAR]


MOST_LISTED = 20
"""The most commits that are kept of a comparison."""
MOST_COUNTED = 1_000
"""More commits than this are shown as `1000+`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit, in its author's words: foreign text, redacted."""

    sha: str
    subject: str
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commits:
    """What a deployment ships: its commit, and how that compares with the one that is live."""

    head: Commit
    base: str | None = None
    """The commit that it is compared with. None: the two could not be compared."""
    ahead: int = 0
    """How many commits it adds to `base`."""
    behind: int = 0
    """How many commits of `base` it lacks."""
    listed: tuple[Commit, ...] = ()
    """The newest of those that it adds; if it adds none, of those that it lacks. Newest first."""


class Refs(Protocol):
    """Asks git repositories."""

    async def names(self, repo: str) -> Sequence[RefName]:
        """Branches and tags, the likeliest first; empty: it cannot be listed. Raises nothing."""
        ...

    async def resolve(self, repo: str, ref: str) -> RefAnswer:
        """The full commit of a branch, tag or SHA. Answers within 5 s; raises nothing.

        A full SHA is Found as it is. A short one (7 digits or more) is Found if exactly one commit
        that a branch or tag names starts with it, else CannotTell or Several.
        """
        ...

    async def commits(self, repo: str, sha: str, base: str | None) -> Commits | None:
        """What deploying `sha` ships where `base` is live. None: it cannot be read.

        Takes at most 5 s once it is this question's turn; raises nothing.
        """
        ...
