"""Git repositories: which commit a ref names, and the web page of a commit.

`GitRefs` lists a repository with git itself (a subprocess); `commit_url` is pure.
"""

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bot.deployments.dokku_facts import FULL_SHA
from bot.deployments.refs import CannotTell, Found, NotThere, RefAnswer, RefName, Refs, Several
from bot.names import is_ref
from bot.redaction import Redactor

_AT_ONCE = 8
_WHY_CHARS = 300
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


@dataclass(frozen=True, slots=True)
class _Listing:
    """What `git ls-remote` printed."""

    exit_status: int
    stdout: bytes
    stderr: bytes


class GitRefs(Refs):
    """Implements the port: a subprocess that may not prompt, read settings or outlive the bot."""

    def __init__(
        self,
        credentials: str | None = None,
        *,
        redactor: Redactor | None = None,
        allow_protocols: str = "https:http:ssh:git",
        timeout_s: float = 5.0,
        dates_s: float = 1.5,
        most_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        """`credentials`: git-credential-store lines (`https://user:token@host`), if any."""
        self._credentials = credentials or ""
        self._redactor = (redactor or Redactor()).with_known(_secrets(self._credentials))
        self._allow_protocols = allow_protocols
        self._timeout_s = timeout_s
        self._dates_s = dates_s
        self._most_bytes = most_bytes
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def resolve(self, repo: str, ref: str) -> RefAnswer:
        if FULL_SHA.fullmatch(ref.lower()):
            return Found(ref.lower())
        if not _REPO.fullmatch(repo) or not is_ref(ref):
            return CannotTell("git does not accept this repository or ref")
        names = _candidates(ref)
        short = _HEX.fullmatch(ref) is not None and len(ref) >= _SHORTEST_SHA
        try:
            async with asyncio.timeout(self._timeout_s), self._free:
                listing = await self._list(repo, () if short else names)
        except TimeoutError:
            return CannotTell(f"the repository could not be listed within {self._timeout_s:g} s")
        except OSError as err:
            return CannotTell(f"git could not be run on the bot's machine: {err.strerror}")
        if listing.exit_status != 0:
            return CannotTell(self._why(listing.stderr))
        answer = self._answer(listing.stdout, names, ref)
        if ref == "HEAD" and isinstance(answer, Found):
            return Found(answer.sha, branch=_default_branch(listing.stdout, answer.sha))
        return answer

    async def names(self, repo: str) -> Sequence[RefName]:
        """Branches and tags, newest first.

        Where their dates cannot be had soon: the default branch, the other branches by name, then
        tags, the highest version first.
        """
        if not _REPO.fullmatch(repo):
            return ()
        try:
            async with asyncio.timeout(self._timeout_s), self._free:
                listing = await self._list(repo, ("HEAD", "refs/heads/*", "refs/tags/*"))
                names = _names(listing.stdout) if listing.exit_status == 0 else ()
        except (TimeoutError, OSError):
            return ()
        if not 1 < len(names) <= _MOST_DATED:
            return names
        try:
            async with asyncio.timeout(self._dates_s), self._free:
                newest = await self._newest_first(repo)
        except (TimeoutError, OSError):
            return names
        return sorted(names, key=lambda one: newest.get(one[0], len(newest)))

    async def _newest_first(self, repo: str) -> Mapping[str, int]:
        """Name -> its place by date: from the commits alone, without their files or parents."""
        with tempfile.TemporaryDirectory(prefix="deploybot-git-") as folder:
            refs = (f"+{_HEADS}*:{_HEADS}*", f"+{_TAGS}*:{_TAGS}*")
            fetch = ("fetch", "--quiet", "--depth=1", "--filter=tree:0", "--", repo, *refs)
            shown = ("for-each-ref", "--sort=-creatordate", "--format=%(refname)")
            for argv in (("init", "--quiet", "--bare", "."), fetch, shown):
                done = await self._run(folder, argv)
                if done.exit_status != 0:
                    return {}
        names = [
            line.removeprefix(_HEADS).removeprefix(_TAGS) for line in done.stdout.decode().split()
        ]
        return {name: place for place, name in reversed([*enumerate(names)])}

    async def _list(self, repo: str, names: Sequence[str]) -> _Listing:
        # A new folder for each call: git edits the credentials file when a login fails.
        with tempfile.TemporaryDirectory(prefix="deploybot-git-") as folder:
            # HEAD distinguishes an empty repository from one without the ref. Without a name, all
            # refs are listed: a shortened commit may be among them.
            shown = ["--symref"] if "HEAD" in names else []
            wanted = ["HEAD", *names] if names else []
            return await self._run(folder, ("ls-remote", *shown, "--", repo, *wanted))

    async def _run(self, folder: str, argv: Sequence[str]) -> _Listing:
        options = ["-c", "credential.helper=", "-c", "core.askPass="]
        if self._credentials:
            path = _write_secret(folder, self._credentials.rstrip() + "\n")
            options += ["-c", f"credential.helper=store --file='{path}'"]
        process = await asyncio.create_subprocess_exec(
            "git",
            *options,
            *argv,
            cwd=folder,
            env=self._environment(folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            stdout, stderr = await asyncio.gather(
                self._read(process.stdout), self._read(process.stderr)
            )
            return _Listing(await process.wait(), stdout, stderr)
        finally:
            # git's helpers (ssh, git-remote-https) are in its process group. Once git is
            # reaped, another group may have its number.
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    def _environment(self, folder: str) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
        return kept | {
            "HOME": folder,
            "LC_ALL": "C",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(Path(folder).parent),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "GIT_ALLOW_PROTOCOL": self._allow_protocols,
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=4",
        }

    def _why(self, stderr: bytes) -> str:
        lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines()]
        said = [line for line in lines if line]
        complaint = next((line for line in said if _COMPLAINT.match(line)), None)
        text = complaint or (said[-1] if said else "git gave no reason")
        return self._redactor.text(text)[:_WHY_CHARS]

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
            whole = len(ref) >= _SHORTEST_SHA and len(text) < self._most_bytes
            return _shortened(listed if whole else {}, ref.lower())
        if not listed:
            return CannotTell(
                "the repository lists nothing: it is empty, or hides its refs from the bot"
            )
        return NotThere()

    async def _read(self, stream: asyncio.StreamReader | None) -> bytes:
        """Read everything and keep it up to a limit."""
        kept = bytearray()
        while stream is not None and (data := await stream.read(65_536)):
            if len(kept) < self._most_bytes:
                kept += data
        return bytes(kept)


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


def _write_secret(folder: str, text: str) -> Path:
    """Write a file that only the bot's user may read."""
    path = Path(folder, "credentials")
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def _secrets(credentials: str) -> list[str]:
    """Passwords (or tokens instead of a user) in credential lines, as written and decoded."""
    found: list[str] = []
    for line in credentials.splitlines():
        user, _, password = urlsplit(line.strip()).netloc.rpartition("@")[0].partition(":")
        written = [password] if password else [user]
        found += [*written, *map(unquote, written)]
    return found


# --- the web page of a commit

_SHA = re.compile(r"[0-9a-f]{7,40}")
_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^/].*)")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_PATH = re.compile(r"[A-Za-z0-9~_.-]+(?:/[A-Za-z0-9_.-]+)+")
_FORGES = (
    ("gitlab", "{base}/-/commit/{sha}"),
    ("bitbucket", "{base}/commits/{sha}"),
    ("github", "{base}/commit/{sha}"),
    ("codeberg", "{base}/commit/{sha}"),
    ("gitea", "{base}/commit/{sha}"),
    ("forgejo", "{base}/commit/{sha}"),
    ("git.sr.ht", "{base}/commit/{sha}"),
)
"""Part of the host's name -> the URL of its page of a commit."""


def commit_url(repo: str, sha: str) -> str | None:
    """The page of a commit on a known forge; None for an unknown host.

    Accepts every form that git accepts (https, ssh, `user@host:path`) and drops credentials.
    """
    location = _location(repo)
    if location is None or not _SHA.fullmatch(sha):
        return None
    scheme, host, path = location
    page = next((page for name, page in _FORGES if name in host), None)
    return page.format(base=f"{scheme}://{host}/{path}", sha=sha) if page else None


def _location(repo: str) -> tuple[str, str, str] | None:
    """Scheme, host (with the port of a web server) and path."""
    scheme = "https"
    if "://" in repo:
        try:
            parts = urlsplit(repo)
            host, port, path = parts.hostname or "", parts.port, parts.path
        except ValueError:
            return None
        if not _HOST.fullmatch(host):
            return None
        if parts.scheme in {"http", "https"}:
            scheme = parts.scheme
            host = f"{host}:{port}" if port else host
    else:
        match = _SCP.fullmatch(repo)
        if match is None:
            return None
        host, path = match["host"].lower(), match["path"]
    path = path.strip("/").removesuffix(".git")
    return (scheme, host, path) if _PATH.fullmatch(path) else None
