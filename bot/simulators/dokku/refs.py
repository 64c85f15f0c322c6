"""Where `git:sync` finds commits."""

import hashlib
import re
from typing import Protocol

SHA = re.compile("[0-9a-f]{40}")


class RefMissing(Exception):
    """The repository has no such branch, tag or commit."""


class RepoUnreachable(Exception):
    """The repository cannot be reached or read.

    `reason` chooses the recorded text: `no_such_host`, `refused`, `not_exported`, `ssh_refused`
    or `no_url`.
    """

    def __init__(self, reason: str = "no_such_host") -> None:
        super().__init__(reason)
        self.reason = reason


class Refs(Protocol):
    """Resolves refs of repositories; the simulated git hosting implements it."""

    def resolve(self, url: str, ref: str) -> str:
        """Return the full SHA of a ref; the empty ref is the default branch.

        Raises RefMissing, RepoUnreachable.
        """
        ...


class HashedRefs:
    """Refs without a repository: a full SHA is itself, any other name gets a made-up SHA."""

    def resolve(self, url: str, ref: str) -> str:
        """Return the commit of a ref; every ref exists in every repository."""
        if SHA.fullmatch(ref):
            return ref
        return hashlib.sha1(f"{url} {ref or 'main'}".encode()).hexdigest()
