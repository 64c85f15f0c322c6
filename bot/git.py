"""Git repositories: which commit a ref names, which refs there are, and what a commit ships."""

import asyncio
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from bot.clock import begun, end_group
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
from bot.git_names import HEADS, TAGS, USUAL_BRANCHES, by_name
from bot.names import Repositories, is_ref, login_config, login_secrets, split_login
from bot.redaction import Redactor

log = structlog.get_logger(__name__)

FOLDER_PREFIX = "deploybot-git-"
_CONFIG = "login.config"
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
_MOST_DATED = 500
"""Refs of a repository whose dates are read; each costs the repository one object."""


_WHY_CHARS = 300
_COMPLAINT = re.compile(r"(?:fatal|error|ERROR|ssh): |Host key verification failed")
# What git needs to reach the network; not the bot's settings, which hold secrets.
_PASSED_ON = frozenset(
    {
        *("PATH", "LANG", "TMPDIR", "USER", "LOGNAME", "SSH_AUTH_SOCK"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    }
)


class _GitFailed(Exception):
    """Why git did not do it, in git's words, redacted."""


class _Git:
    """Runs each git command in a new folder."""

    def __init__(
        self,
        credentials: str | None,
        *,
        redactor: Redactor | None,
        allow_protocols: str,
        most_bytes: int,
    ) -> None:
        """`credentials`: git-credential-store lines. `most_bytes`: kept of an answer."""
        self.most_bytes = most_bytes
        self.redactor = (redactor or Redactor()).with_known(login_secrets(credentials or ""))
        self._credentials = credentials or ""
        self._allow_protocols = allow_protocols

    def log_in(self, folder: str, repo: str) -> str:
        """Prepare the folder to ask a repository. Returns its address without a login.

        Everyone on the host can read a program's arguments, and git hands the address to others:
        logins are in files that only the bot's user can read.
        """
        address, login = split_login(repo)
        stored = self._credentials.splitlines()
        if ":" in login.partition("://")[2].rpartition("@")[0]:
            stored, login = [login, *stored], ""
        kept = _write_secret(folder, "credentials", "".join(f"{one}\n" for one in stored))
        _write_secret(folder, _CONFIG, login_config(str(kept), login))
        return address

    async def local(self, folder: str, *words: str) -> str:
        """Run git on the repository in the folder, without a network. Raises _GitFailed."""
        printed = await self.run(folder, ["git", *words], offline=True)
        return printed.decode("utf-8", "replace")

    async def run(
        self, folder: str, argv: Sequence[str], *, unless: bytes = b"", offline: bool = False
    ) -> bytes:
        """Run git in a new process group and return what it prints. Raises _GitFailed.

        It is killed as soon as it complains of `unless`.
        """
        starting = asyncio.create_subprocess_exec(
            *argv,
            cwd=folder,
            env=self._environment(folder, offline=offline),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        process = await begun(starting, end_group)
        streams = (self._read(process.stdout), self._read(process.stderr, unless))
        reading = [asyncio.ensure_future(one) for one in streams]
        try:
            stdout, stderr = await asyncio.gather(*reading)
            if await process.wait() != 0:
                raise _GitFailed(self._why(stderr))
            return stdout
        finally:
            for one in reading:
                one.cancel()
            await asyncio.wait(reading)
            await end_group(process)

    def _environment(self, folder: str, *, offline: bool) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
        return kept | {
            "HOME": folder,
            "LC_ALL": "C",
            "GIT_CONFIG_GLOBAL": str(Path(folder, _CONFIG)),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(Path(folder).parent),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "GIT_ALLOW_PROTOCOL": "" if offline else self._allow_protocols,
            # Otherwise git 2.39.5 fetches a missing parent or tree by itself, and that fetch lacks
            # it again: hundreds of requests until the time limit. Older versions ignore this.
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=4",
        }

    def _why(self, stderr: bytes) -> str:
        lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines()]
        said = [line for line in lines if line]
        complaint = next((line for line in said if _COMPLAINT.match(line)), None)
        text = complaint or (said[-1] if said else "git gave no reason")
        return self.redactor.text(text)[:_WHY_CHARS]

    async def _read(self, stream: asyncio.StreamReader | None, unless: bytes = b"") -> bytes:
        """Read everything and keep it up to a limit. Raises _GitFailed if it contains `unless`."""
        kept = bytearray()
        while stream is not None and (data := await stream.read(65_536)):
            if len(kept) < self.most_bytes:
                kept += data
            if unless and unless in kept:
                raise _GitFailed(unless.decode())
        return bytes(kept)


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
        self._git = _Git(
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
        except _GitFailed as error:
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
                text = await self._list(full, ("HEAD", f"{HEADS}*", f"{TAGS}*"))
        except (TimeoutError, OSError, _GitFailed) as error:
            log.info("refs_not_listed", why=str(error) or type(error).__name__)
            return ()
        listed = _listed(text)
        names = by_name(listed, _default_branch(text, listed.get("HEAD", "")))
        if not 1 < len(names) <= _MOST_DATED:
            return names
        try:
            async with asyncio.timeout(self._dates_s), self._free:
                newest = await self._newest_first(full)
        except (TimeoutError, OSError, _GitFailed) as error:
            log.info("refs_not_dated", why=str(error) or type(error).__name__)
            return names
        return sorted(names, key=lambda one: newest.get(one[0], len(newest)))

    async def _newest_first(self, repo: str) -> Mapping[str, int]:
        """Name -> its place by date: from the commits alone, without their files or parents."""
        with _new_folder() as folder:
            await self._git.local(folder, "init", "--quiet", "--bare", "--template=", ".")
            words = ("fetch", "--quiet", "--depth=1", "--filter=tree:0", "--")
            refs = (f"+{HEADS}*:{HEADS}*", f"+{TAGS}*:{TAGS}*")
            await self._git.run(folder, ["git", *words, self._git.log_in(folder, repo), *refs])
            shown = ("for-each-ref", "--sort=-creatordate", "--format=%(refname)")
            lines = (await self._git.local(folder, *shown)).split()
        names = [line.removeprefix(HEADS).removeprefix(TAGS) for line in lines]
        return {name: place for place, name in reversed([*enumerate(names)])}

    async def commits(self, repo: str, sha: str, base: str | None) -> Commits | None:
        if not _REPO.fullmatch(repo) or not FULL_SHA.fullmatch(sha):
            return None
        async with self._free_for_history:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._commits(self._repositories.full(repo), sha, base)
            except (_GitFailed, OSError) as error:
                log.info("commits_not_read", sha=sha, why=str(error) or type(error).__name__)
                return None

    async def _commits(self, repo: str, sha: str, base: str | None) -> Commits:
        """Without the comparison if the history cannot be had: too large, or `base` is gone."""
        if base is not None and base != sha and FULL_SHA.fullmatch(base):
            try:
                async with asyncio.timeout(self._timeout_s * _HISTORY_SHARE):
                    return await self._compare(repo, sha, base)
            except (_GitFailed, TimeoutError) as error:
                log.info("commits_not_compared", sha=sha, base=base, why=str(error))
        with _new_folder() as folder:
            await self._fetch(folder, repo, sha, depth=1)
            (head,) = await self._read_log(folder, sha, most=1)
            return Commits(head=head, base=sha if base == sha else None)

    async def _compare(self, repo: str, sha: str, base: str) -> Commits:
        with _new_folder() as folder:
            await self._fetch(folder, repo, sha, base)
            both = ("--left-right", f"{base}...{sha}")
            counted = await self._git.local(folder, "rev-list", "--count", *both)
            behind, ahead = map(int, counted.split())
            (head,) = await self._read_log(folder, sha, most=1)
            span = f"{base}..{sha}" if ahead else f"{sha}..{base}"
            listed = tuple(await self._read_log(folder, span, most=MOST_LISTED))
            return Commits(head=head, base=base, ahead=ahead, behind=behind, listed=listed)

    async def _fetch(self, folder: str, repo: str, *shas: str, depth: int | None = None) -> None:
        """Fetch commits without their trees and files, into a new repository. Raises _GitFailed."""
        await self._git.local(folder, "init", "--quiet", "--bare", "--template=", ".")
        address = self._git.log_in(folder, repo)
        words = ["-c", "fetch.unpackLimit=1", "-c", f"remote.origin.url={address}", "fetch"]
        words += ["--quiet", "--no-tags", "--no-auto-maintenance", "--filter=tree:0"]
        words += [f"--depth={depth}"] if depth else []
        # One pack, whose size the limit bounds.
        limited = 'ulimit -f "$0" && exec git "$@"'
        blocks = str(self._most_history_bytes // _BLOCK_BYTES)
        argv = ["sh", "-c", limited, blocks, *words, "origin", *shas]
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
        with _new_folder() as folder:
            # HEAD distinguishes an empty repository from one without the ref. Without a name, all
            # refs are listed: a shortened commit may be among them.
            shown = ["--symref"] if "HEAD" in names else []
            wanted = ["HEAD", *names] if names else []
            words = ["ls-remote", *shown, "--", self._git.log_in(folder, repo), *wanted]
            return await self._git.run(folder, ["git", *words])

    def _answer(self, text: bytes, names: Sequence[str], ref: str) -> RefAnswer:
        listed = _listed(text)
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


def _listed(text: bytes) -> Mapping[str, str]:
    """Name -> commit (or tag object), of what `ls-remote` printed."""
    found = map(_LINE.fullmatch, text.decode("utf-8", "replace").splitlines())
    return {match["name"]: match["sha"] for match in found if match}


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


def _default_branch(text: bytes, sha: str) -> str | None:
    """The name behind HEAD. A plain web server does not say it: then the branch with its commit."""
    lines = text.decode("utf-8", "replace").splitlines()
    if named := next((match for match in map(_DEFAULT.fullmatch, lines) if match), None):
        return named[1]
    same = [line.removeprefix(f"{sha}\trefs/heads/") for line in lines if "\trefs/heads/" in line]
    same = [name for name in same if "\t" not in name]
    usual = next((name for name in USUAL_BRANCHES if name in same), None)
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


def _new_folder() -> tempfile.TemporaryDirectory[str]:
    """A new folder for each question: git edits the credentials file when a login fails."""
    # What a killed git left may vanish while it is removed.
    return tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, ignore_cleanup_errors=True)


def _write_secret(folder: str, name: str, text: str) -> Path:
    """Write a file that only the bot's user may read."""
    path = Path(folder, name)
    path.touch(mode=0o600)
    path.write_text(text)
    return path
