"""Commits without a repository, for tests that need none."""

import hashlib
import re

SHA = re.compile("[0-9a-f]{40}")


class HashedRefs:
    """Every ref exists in every repository: a full SHA is itself, a name has a made-up one."""

    def resolve(self, url: str, ref: str) -> str:
        """Give the commit of a ref."""
        if SHA.fullmatch(ref):
            return ref
        return hashlib.sha1(f"{url} {ref or 'main'}".encode()).hexdigest()
