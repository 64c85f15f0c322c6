"""A simulated git hosting (a forge): real bare repositories over HTTP on 127.0.0.1."""

import asyncio
import atexit
import base64
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web

from bot.simulators.dokku.refs import RefMissing, RepoUnreachable

OWNER = "acme"
LOOPBACK = "127.0.0.1"
FIRST_COMMIT_UNIX = 1_790_000_000
FEATURE_BRANCH = "feature/login"
TAG = "v1.0"
USUAL_COMMITS = ("Start the app", "Answer health checks", "Say hello")
SHORTEST_ABBREVIATION = 4
GIT_TIMEOUT_S = 20.0
UPLOAD_PACK = (
    *("-c", "uploadpack.allowFilter=true", "-c", "uploadpack.allowAnySHA1InWant=true"),
    *("upload-pack", "--stateless-rpc"),
)
"""What large forges allow: fetching any commit, and without its files."""


@dataclass(frozen=True, slots=True)
class _History:
    """What was committed to a repository, in order. Equal histories have equal commits."""

    name: str
    commits: tuple[tuple[str, str], ...]
    """Branch and message. The feature branch and the tag are made together with the first ones."""
    first: int
    """How many commits `main` had when the repository was created."""


@dataclass(frozen=True, slots=True)
class _Repo:
    """One bare repository as it was after its last commit; no later one changes it."""

    history: _History
    path: Path
    refs: Mapping[str, str]
    """Commit by ref name: branches and tags without their prefix."""
    shas: frozenset[str]
    """Every commit that is reachable from a ref."""
    advertised: str
    """The refs, as git advertises them to clients."""


class Forge:
    """The git hosting. It also resolves refs for the simulated Dokku, as its `Refs`."""

    def __init__(self) -> None:
        self.port = 0
        self._repos: dict[str, _Repo] = {}
        self._unreachable: set[str] = set()
        self._private: dict[str, str] = {}
        self._open = asyncio.Event()
        self._open.set()

    def url(self, name: str) -> str:
        """Return the clone URL of a repository."""
        return f"http://{LOOPBACK}:{self.port}/{OWNER}/{name}.git"

    def sha(self, name: str, ref: str = "main") -> str:
        """Return the full SHA of a branch, tag or commit. Raises RefMissing."""
        repo = self._repos[name]
        if ref in repo.refs:
            return repo.refs[ref]
        found = [one for one in repo.shas if one.startswith(ref)]
        if len(ref) >= SHORTEST_ABBREVIATION and len(found) == 1:
            return found[0]
        raise RefMissing(ref)

    def commit(self, name: str, message: str, *, branch: str = "main") -> str:
        """Add a commit to a branch and return its SHA."""
        known = self._repos[name].history
        commits = (*known.commits, (branch, message))
        self._repos[name] = repo = _repo(_History(name, commits, known.first))
        return repo.refs[branch]

    def resolve(self, url: str, ref: str) -> str:
        """Return the full SHA of a ref in the repository of a URL.

        Raises RefMissing, RepoUnreachable.
        """
        scheme, _, rest = url.partition("://")
        userinfo, at, place = rest.rpartition("@")
        url = f"{scheme}://{place}" if at else url
        repo = next((one for one in self._repos if self.url(one) in {url, f"{url}.git"}), None)
        given = unquote(userinfo)
        if repo is None or self._private.get(repo, given) != given:
            raise RepoUnreachable("not_exported")
        if repo in self._unreachable:
            raise RepoUnreachable
        return self.sha(repo, ref or "main")

    def served_for_test(self, url: str) -> Path | None:
        """What a clone URL serves to everyone now: equal for equal histories, else different.

        None: nothing, or not to everyone, or commits are held.
        """
        name = next((one for one in self._repos if self.url(one) == url), None)
        if name is None or name in self._unreachable or name in self._private:
            return None
        return self._repos[name].path if self._open.is_set() else None

    def unreachable_for_test(self, name: str) -> None:
        """Make every request for a repository fail."""
        self._unreachable.add(name)

    def reachable_for_test(self, name: str) -> None:
        """Serve a repository again."""
        self._unreachable.discard(name)

    def private_for_test(self, name: str, userinfo: str) -> None:
        """Serve a repository only to those who send this `user:password`."""
        self._private[name] = userinfo

    def hold_commits_for_test(self) -> None:
        """List refs as before, but answer no fetch until `send_commits_for_test`."""
        self._open.clear()

    def send_commits_for_test(self) -> None:
        """Answer fetches again."""
        self._open.set()

    def add_repo(self, name: str, messages: Sequence[str] = USUAL_COMMITS) -> None:
        """Create a repository: `main` with these commits, a feature branch and an annotated tag.

        The same name and messages always give the same SHAs.
        """
        commits = tuple(("main", message) for message in messages)
        self._repos[name] = _repo(_History(name, commits, len(commits)))

    async def list_refs(self, request: web.Request) -> web.Response:
        """Answer the first request of a fetch (git's smart HTTP protocol, version 0)."""
        repo = self._requested(request)
        if request.query.get("service") != "git-upload-pack":
            raise web.HTTPForbidden
        kind = "application/x-git-upload-pack-advertisement"
        opening = "001e# service=git-upload-pack\n0000"
        return web.Response(body=(opening + repo.advertised).encode(), content_type=kind)

    async def send_commits(self, request: web.Request) -> web.Response:
        """Answer the second request of a fetch: git sends what the client asks for."""
        repo = self._requested(request)
        await self._open.wait()
        # In a thread: a client that goes away cancels this, and a child of the loop would be left.
        ran = await asyncio.to_thread(
            subprocess.run,
            ["git", *UPLOAD_PACK, "."],
            cwd=repo.path,
            env=_environment(repo.path),
            input=await request.read(),
            capture_output=True,
            check=False,
        )
        return web.Response(body=ran.stdout, content_type="application/x-git-upload-pack-result")

    def _requested(self, request: web.Request) -> _Repo:
        name = request.match_info["name"]
        if name in self._unreachable:
            raise web.HTTPServiceUnavailable
        if name not in self._repos:
            raise web.HTTPNotFound
        if (wanted := self._private.get(name)) is not None:
            sent = request.headers.get("Authorization", "")
            if sent != f"Basic {base64.b64encode(wanted.encode()).decode()}":
                raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="git"'})
        return self._repos[name]


@functools.cache
def _root() -> Path:
    """Return the folder of all repositories of this process."""
    root = Path(tempfile.mkdtemp(prefix="forge-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@functools.cache
def _repo(history: _History) -> _Repo:
    """Create the repository of a history, once for all forges of this process."""
    path = Path(tempfile.mkdtemp(dir=_root())) / f"{history.name}.git"
    if len(history.commits) == history.first:
        bare = ("init", "--quiet", "--bare", "--initial-branch=main", "--template=")
        _git(path.parent, *bare, str(path))
        streams = [
            _commit(history.name, at, *commit) for at, commit in enumerate(history.commits, start=1)
        ]
        feature = (FEATURE_BRANCH, "Add a login page", "refs/heads/main")
        streams += [_commit(history.name, history.first + 1, *feature), _tag()]
    else:
        before = replace(history, commits=history.commits[:-1])
        shutil.copytree(_repo(before).path, path)
        branch, message = history.commits[-1]
        parent = f"refs/heads/{branch}^0"
        # One more than there are in the history: the feature branch's first one.
        streams = [_commit(history.name, len(history.commits) + 1, branch, message, parent)]
    _git(path, "fast-import", "--quiet", given="".join(streams))
    refs = {}
    shape = "%(refname:short) %(objectname) %(*objectname)"
    for line in _git(path, "for-each-ref", f"--format={shape}").splitlines():
        name, *ids = line.split()
        refs[name] = ids[-1]
    return _Repo(
        history=history,
        path=path,
        refs=refs,
        shas=frozenset(_git(path, "rev-list", "--all").split()),
        advertised=_git(path, *UPLOAD_PACK, "--http-backend-info-refs", "."),
    )


def _commit(repo: str, number: int, branch: str, message: str, parent: str = "") -> str:
    """Format a commit for `git fast-import`; without `parent` it follows the branch's last one."""
    who = f"Ada Example <ada@example.com> {FIRST_COMMIT_UNIX + 60 * number} +0000"
    start = f"from {parent}\n" if parent else ""
    return (
        f"commit refs/heads/{branch}\nmark :{number}\nauthor {who}\ncommitter {who}\n"
        f"{_data(message)}{start}"
        f"M 100644 inline version.txt\n{_data(f'{repo} {number}')}"
    )


def _tag() -> str:
    """Format an annotated tag of the first commit."""
    who = f"Ada Example <ada@example.com> {FIRST_COMMIT_UNIX} +0000"
    return f"tag {TAG}\nfrom :1\ntagger {who}\n{_data('The first release')}"


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"


def _git(folder: Path, *words: str, given: str = "") -> str:
    """Run git in a folder, without any user's settings. Raises CalledProcessError."""
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        env=_environment(folder),
        input=given,
        capture_output=True,
        text=True,
        check=True,
        timeout=GIT_TIMEOUT_S,
    )
    return done.stdout


def _environment(folder: Path) -> Mapping[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }


@asynccontextmanager
async def open_forge(
    *, repos: Mapping[str, Sequence[str]] | Iterable[str], port: int = 0
) -> AsyncIterator[Forge]:
    """Serve repositories on 127.0.0.1 until the block ends.

    Args:
        repos: their names, or a mapping from name to the messages of the commits on `main`.
        port: where to listen; 0 for any free port.
    """
    forge = Forge()
    for name in repos:
        messages = repos[name] if isinstance(repos, Mapping) else USUAL_COMMITS
        forge.add_repo(name, messages)
    application = web.Application()
    application.router.add_get(f"/{OWNER}/{{name}}.git/info/refs", forge.list_refs)
    application.router.add_post(f"/{OWNER}/{{name}}.git/git-upload-pack", forge.send_commits)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, port)
        await site.start()
        forge.port = runner.addresses[0][1]
        yield forge
    finally:
        await runner.cleanup()
