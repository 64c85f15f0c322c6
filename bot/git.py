"""Git repositories: which commit a ref names, which refs there are, and what a commit ships."""

import asyncio
import re
from collections.abc import Mapping, Sequence

import structlog

from bot.deployments.dokku_facts import FULL_SHA
from bot.deployments.refs import (
    MOST_LISTED,
    CannotTell,
    Commit,
    Commits,
    Found,
    NotThere,
    RefAnswer,
    RefName,
    Refs,
    Several,
)
from bot.git_process import Git, GitFailed, new_folder
from bot.names import Repositories, is_ref
from bot.redaction import Redactor

log = structlog.get_logger(__name__)

_AT_ONCE = 8
_HISTORIES_AT_ONCE = 4
_HISTORY_SHARE = 0.7
"""Of the time limit; the rest is for the commit alone, if the history cannot be had."""
_SUBJECT, _NAME = 200, 80
"""Characters that are kept."""
_BLOCK_BYTES = 512
"""The unit of `ulimit -f`. Source: POSIX, `ulimit`."""
_NO_FILTER = b"filtering not recognized by server"
"""What git warns of before it fetches everything. Source: fetch-pack.c."""
_REPO = re.compile(r"(?!-)[^\s\x00-\x1f\x7f]{1,2000}")
_SHORTEST_SHA = 7
"""Fewer digits are not accepted as a commit: commits without a ref may begin the same way."""
_HEX = re.compile(r"[0-9a-fA-F]{4,39}")
_LINE = re.compile(r"(?P<sha>[0-9a-f]{40})\t(?P<name>\S+)")
_DEFAULT = re.compile(r"ref: refs/heads/(\S+)\tHEAD")
_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_MOST_DATED = 500
"""Refs of a repository whose dates are read; each costs the repository one object."""
_NUMBERS = re.compile(r"(\d+)")
_USUAL_BRANCHES = ("main", "master")


class GitRefs(Refs):
    """Implements the port, with git itself."""

    def __init__(
        self,
        credentials: str | None = None,
        *,
        redactor: Redactor | None = None,
        repositories: Repositories | None = None,
        allow_protocols: str = "https:http:ssh:git",
        timeout_s: float = 5.0,
        dates_s: float = 1.5,
        most_bytes: int = 4 * 1024 * 1024,
        most_history_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        """`credentials`: git-credential-store lines (`https://user:token@host`), if any."""
        self._git = Git(
            credentials,
            redactor=redactor,
            allow_protocols=allow_protocols,
            most_bytes=most_bytes,
        )
        self._repositories = repositories or Repositories()
        self._timeout_s = timeout_s
        self._dates_s = dates_s
        self._most_history_bytes = most_history_bytes
        self._free = asyncio.Semaphore(_AT_ONCE)
        # Not shared with `resolve`, which deployments wait for.
        self._free_for_history = asyncio.Semaphore(_HISTORIES_AT_ONCE)

    async def resolve(self, repo: str, ref: str) -> RefAnswer:
        if FULL_SHA.fullmatch(ref.lower()):
            return Found(ref.lower())
        if not _REPO.fullmatch(repo) or not is_ref(ref):
            return CannotTell("git does not accept this repository or ref")
        names = _candidates(ref)
        short = _HEX.fullmatch(ref) is not None and len(ref) >= _SHORTEST_SHA
        try:
            async with asyncio.timeout(self._timeout_s), self._free:
                listed = await self._list(self._repositories.full(repo), () if short else names)
        except TimeoutError:
            return CannotTell(f"the repository could not be listed within {self._timeout_s:g} s")
        except OSError as err:
            return CannotTell(f"git could not be run on the bot's machine: {err.strerror}")
        except GitFailed as error:
            return CannotTell(str(error))
        answer = self._answer(listed, names, ref)
        if ref == "HEAD" and isinstance(answer, Found):
            return Found(answer.sha, branch=_default_branch(listed, answer.sha))
        return answer

    async def names(self, repo: str) -> Sequence[RefName]:
        """Branches and tags, newest first.

        Where their dates cannot be had soon: the default branch, the other branches by name, then
        tags, the highest version first.
        """
        if not _REPO.fullmatch(repo):
            return ()
        full = self._repositories.full(repo)
        try:
            async with asyncio.timeout(self._timeout_s), self._free:
                names = _names(await self._list(full, ("HEAD", "refs/heads/*", "refs/tags/*")))
        except (TimeoutError, OSError, GitFailed) as error:
            log.info("refs_not_listed", why=str(error) or type(error).__name__)
            return ()
        if not 1 < len(names) <= _MOST_DATED:
            return names
        try:
            async with asyncio.timeout(self._dates_s), self._free:
                newest = await self._newest_first(full)
        except (TimeoutError, OSError, GitFailed) as error:
            log.info("refs_not_dated", why=str(error) or type(error).__name__)
            return names
        return sorted(names, key=lambda one: newest.get(one[0], len(newest)))

    async def _newest_first(self, repo: str) -> Mapping[str, int]:
        """Name -> its place by date: from the commits alone, without their files or parents."""
        with new_folder() as folder:
            await self._git.local(folder, "init", "--quiet", "--bare", "--template=", ".")
            words = ("fetch", "--quiet", "--depth=1", "--filter=tree:0", "--", repo)
            refs = (f"+{_HEADS}*:{_HEADS}*", f"+{_TAGS}*:{_TAGS}*")
            await self._git.run(folder, [*self._git.remote(folder), *words, *refs])
            shown = ("for-each-ref", "--sort=-creatordate", "--format=%(refname)")
            lines = (await self._git.local(folder, *shown)).split()
        names = [line.removeprefix(_HEADS).removeprefix(_TAGS) for line in lines]
        return {name: place for place, name in reversed([*enumerate(names)])}

    async def commits(self, repo: str, sha: str, base: str | None) -> Commits | None:
        if not _REPO.fullmatch(repo) or not FULL_SHA.fullmatch(sha):
            return None
        async with self._free_for_history:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._commits(self._repositories.full(repo), sha, base)
            except (GitFailed, OSError) as error:
                log.info("commits_not_read", sha=sha, why=str(error) or type(error).__name__)
                return None

    async def _commits(self, repo: str, sha: str, base: str | None) -> Commits:
        """Without the comparison if the history cannot be had: too large, or `base` is gone."""
        if base is not None and base != sha and FULL_SHA.fullmatch(base):
            try:
                async with asyncio.timeout(self._timeout_s * _HISTORY_SHARE):
                    return await self._compare(repo, sha, base)
            except (GitFailed, TimeoutError) as error:
                log.info("commits_not_compared", sha=sha, base=base, why=str(error))
        with new_folder() as folder:
            await self._fetch(folder, repo, sha, depth=1)
            (head,) = await self._read_log(folder, sha, most=1)
            return Commits(head=head, base=sha if base == sha else None)

    async def _compare(self, repo: str, sha: str, base: str) -> Commits:
        with new_folder() as folder:
            await self._fetch(folder, repo, sha, base)
            both = ("--left-right", f"{base}...{sha}")
            counted = await self._git.local(folder, "rev-list", "--count", *both)
            behind, ahead = map(int, counted.split())
            (head,) = await self._read_log(folder, sha, most=1)
            span = f"{base}..{sha}" if ahead else f"{sha}..{base}"
            listed = tuple(await self._read_log(folder, span, most=MOST_LISTED))
            return Commits(head=head, base=base, ahead=ahead, behind=behind, listed=listed)

    async def _fetch(self, folder: str, repo: str, *shas: str, depth: int | None = None) -> None:
        """Fetch commits without their trees and files, into a new repository. Raises GitFailed."""
        await self._git.local(folder, "init", "--quiet", "--bare", "--template=", ".")
        words = ["-c", "fetch.unpackLimit=1", "-c", f"remote.origin.url={repo}", "fetch"]
        words += ["--quiet", "--no-tags", "--no-auto-maintenance", "--filter=tree:0"]
        words += [f"--depth={depth}"] if depth else []
        # One pack, whose size the limit bounds.
        limited = 'ulimit -f "$0" && exec git "$@"'
        blocks = str(self._most_history_bytes // _BLOCK_BYTES)
        _, *options = self._git.remote(folder)
        argv = ["sh", "-c", limited, blocks, *options, *words, "origin", *shas]
        await self._git.run(folder, argv, unless=_NO_FILTER)

    async def _read_log(self, folder: str, span: str, *, most: int) -> list[Commit]:
        shape = "--format=%H%x00%an%x00%s"
        words = await self._git.local(folder, "log", "-z", "--no-mailmap", f"-{most}", shape, span)
        texts = iter(words.split("\0"))
        mask = self._git.redactor.text
        return [
            Commit(sha=sha, subject=mask(subject)[:_SUBJECT], author=mask(author)[:_NAME])
            for sha, author, subject in zip(texts, texts, texts, strict=False)
        ]

    async def _list(self, repo: str, names: Sequence[str]) -> bytes:
        with new_folder() as folder:
            # HEAD distinguishes an empty repository from one without the ref. Without a name, all
            # refs are listed: a shortened commit may be among them.
            shown = ["--symref"] if "HEAD" in names else []
            wanted = ["HEAD", *names] if names else []
            words = ["ls-remote", *shown, "--", repo, *wanted]
            return await self._git.run(folder, [*self._git.remote(folder), *words])

    def _answer(self, text: bytes, names: Sequence[str], ref: str) -> RefAnswer:
        listed: dict[str, str] = {}
        for line in text.decode("utf-8", "replace").splitlines():
            match = _LINE.fullmatch(line)
            if match:
                listed[match["name"]] = match["sha"]
        for name in names:
            if name in listed:
                return Found(listed.get(f"{name}^{{}}", listed[name]))
        if _HEX.fullmatch(ref):
            whole = len(ref) >= _SHORTEST_SHA and len(text) < self._git.most_bytes
            return _shortened(listed if whole else {}, ref.lower())
        if not listed:
            return CannotTell(
                "the repository lists nothing: it is empty, or hides its refs from the bot"
            )
        return NotThere()


def _candidates(ref: str) -> Sequence[str]:
    """Names under which a repository may list the ref; the first one found counts."""
    if ref == "HEAD":
        return ["HEAD", "refs/heads/*"]
    if ref.startswith("refs/"):
        return [ref, f"{ref}^{{}}"]
    if ref.startswith(("heads/", "tags/")):
        return [f"refs/{ref}^{{}}", f"refs/{ref}"]
    # An annotated tag is a separate object; `^{}` is the commit that it names.
    return [f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"]


def _names(text: bytes) -> Sequence[RefName]:
    listed = {}
    for line in text.decode("utf-8", "replace").splitlines():
        if match := _LINE.fullmatch(line):
            listed[match["name"]] = match["sha"]
    default = _default_branch(text, listed.get("HEAD", ""))
    branches = [name.removeprefix(_HEADS) for name in listed if name.startswith(_HEADS)]
    tags = [name.removeprefix(_TAGS) for name in listed if name.startswith(_TAGS)]
    tags = [name for name in tags if not name.endswith("^{}") and name not in branches]
    branches.sort(key=lambda name: (name != default, name not in _USUAL_BRANCHES, name))
    tags.sort(key=_version, reverse=True)
    return [(name, "branch") for name in branches] + [(name, "tag") for name in tags]


def _version(tag: str) -> list[tuple[int, str]]:
    """Sort key: `v1.10` comes after `v1.9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(tag)]


def _default_branch(text: bytes, sha: str) -> str | None:
    """The name behind HEAD. A plain web server does not say it: then the branch with its commit."""
    lines = text.decode("utf-8", "replace").splitlines()
    if named := next((match for match in map(_DEFAULT.fullmatch, lines) if match), None):
        return named[1]
    same = [line.removeprefix(f"{sha}\trefs/heads/") for line in lines if "\trefs/heads/" in line]
    same = [name for name in same if "\t" not in name]
    usual = next((name for name in _USUAL_BRANCHES if name in same), None)
    return same[0] if len(same) == 1 else usual


def _shortened(listed: Mapping[str, str], digits: str) -> RefAnswer:
    """Find the listed commit with these first digits. An annotated tag counts as what it names."""
    peeled = {name.removesuffix("^{}") for name in listed if name.endswith("^{}")}
    commits = {sha for name, sha in listed.items() if name not in peeled}
    found = sorted(sha for sha in commits if sha.startswith(digits))
    if len(found) > 1:
        return Several(tuple(found))
    if found:
        return Found(found[0])
    return CannotTell("a shortened commit that no branch or tag names cannot be looked up")
