"""What a commit ships, read from real repositories with git itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from bot.deployments.refs import MOST_LISTED, Commit, Commits
from bot.git import GitRefs
from bot.redaction import Redactor
from bot.redaction_rules import MASK
from bot.simulators.forge import FEATURE_BRANCH, Forge, open_forge
from tests.contract.test_git import git, killed

__all__ = ["killed"]
pytestmark = pytest.mark.git

FOREIGN = "<!channel> *bold* @here https://evil.example `x`"


@pytest.fixture
async def forge() -> AsyncIterator[Forge]:
    async with open_forge(repos={"web": ("one", "two", "three", "four")}) as opened:
        yield opened


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository on disk that serves any commit, without its files if asked."""
    folder = tmp_path / "web"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for word in ("one", "two", "three"):
        git(folder, "commit", "-q", "--allow-empty", "-m", word)
    allow_everything(folder)
    return folder


def allow_everything(folder: Path) -> None:
    git(folder, "config", "uploadpack.allowFilter", "true")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")


@pytest.fixture
def refs() -> GitRefs:
    return GitRefs(allow_protocols="file:http", timeout_s=60)


def subjects(commits: Commits | None) -> list[str]:
    assert commits is not None
    return [one.subject for one in commits.listed]


async def test_commits_since_the_live_one_are_counted_and_named(
    refs: GitRefs, forge: Forge
) -> None:
    url, live = forge.url("web"), forge.sha("web")
    newest = [forge.commit("web", word) for word in ("five", "six")][-1]
    found = await refs.commits(url, newest, live)
    assert found is not None
    assert found.head == Commit(sha=newest, subject="six", author="Ada Example")
    assert (found.base, found.ahead, found.behind) == (live, 2, 0)
    assert subjects(found) == ["six", "five"]


async def test_an_older_commit_is_behind_and_names_what_it_takes_back(
    refs: GitRefs, forge: Forge
) -> None:
    old, live = forge.sha("web"), [forge.commit("web", word) for word in ("five", "six")][-1]
    found = await refs.commits(forge.url("web"), old, live)
    assert found is not None
    assert (found.head.subject, found.ahead, found.behind) == ("four", 0, 2)
    assert subjects(found) == ["six", "five"]


async def test_another_branch_is_ahead_and_behind(refs: GitRefs, forge: Forge) -> None:
    live, branch = forge.commit("web", "five"), forge.sha("web", FEATURE_BRANCH)
    found = await refs.commits(forge.url("web"), branch, live)
    assert found is not None
    assert (found.ahead, found.behind) == (1, 1)
    assert subjects(found) == ["Add a login page"]


async def test_the_same_commit_and_an_unknown_live_one_show_the_commit_alone(
    refs: GitRefs, forge: Forge
) -> None:
    url, sha = forge.url("web"), forge.sha("web")
    head = Commit(sha=sha, subject="four", author="Ada Example")
    assert await refs.commits(url, sha, sha) == Commits(head=head, base=sha)
    assert await refs.commits(url, sha, None) == Commits(head=head)
    gone = "f" * 40
    assert await refs.commits(url, sha, gone) == Commits(head=head)


async def test_a_long_history_is_counted_and_only_its_newest_commits_are_kept(
    refs: GitRefs, forge: Forge
) -> None:
    live = forge.sha("web")
    newest = [forge.commit("web", f"number {number}") for number in range(30)][-1]
    found = await refs.commits(forge.url("web"), newest, live)
    assert found is not None
    assert (found.ahead, len(found.listed)) == (30, MOST_LISTED)
    assert found.listed[0] == found.head


async def test_no_tree_and_no_file_is_fetched(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "large.bin").write_bytes(bytes(range(256)) * 4_000)
    git(repo, "add", "large.bin")
    git(repo, "commit", "-q", "-m", "large")
    live, newest = git(repo, "rev-parse", "HEAD~1"), git(repo, "rev-parse", "HEAD")
    kinds: list[str] = []
    read_log = GitRefs._read_log

    async def noted(self: GitRefs, folder: str, span: str, *, most: int) -> list[Commit]:
        shown = git(Path(folder), "cat-file", "--batch-all-objects", "--batch-check")
        kinds.extend(line.split()[1] for line in shown.splitlines())
        return await read_log(self, folder, span, most=most)

    monkeypatch.setattr(GitRefs, "_read_log", noted)
    refs = GitRefs(allow_protocols="file", timeout_s=60)
    assert subjects(await refs.commits(repo.as_uri(), newest, live)) == ["large"]
    assert set(kinds) == {"commit"}


async def test_a_server_that_would_send_everything_is_left(
    refs: GitRefs, repo: Path, killed: list[int]
) -> None:
    git(repo, "config", "uploadpack.allowFilter", "false")
    sha = git(repo, "rev-parse", "HEAD")
    assert await refs.commits(repo.as_uri(), sha, git(repo, "rev-parse", "HEAD~1")) is None
    assert await refs.commits(repo.as_uri(), sha, None) is None


async def test_a_server_that_hides_commits_shows_nothing(refs: GitRefs, repo: Path) -> None:
    git(repo, "config", "uploadpack.allowAnySHA1InWant", "false")
    git(repo, "config", "protocol.version", "0")
    old = git(repo, "rev-parse", "HEAD~1")
    git(repo, "reset", "-q", "--hard", "HEAD~2")  # no branch names it any more
    found = await GitRefs(allow_protocols="file", timeout_s=60).commits(repo.as_uri(), old, None)
    assert found is None or found.head.sha == old  # git's version 2 serves any commit


async def test_a_cut_off_history_is_not_compared(repo: Path, tmp_path: Path) -> None:
    """Its count would be wrong: the oldest commits that the server has seem to have no parents."""
    git(tmp_path, "clone", "-q", "--bare", "--depth=2", repo.as_uri(), "short.git")
    short = tmp_path / "short.git"
    allow_everything(short)
    sha, live = git(short, "rev-parse", "HEAD"), git(short, "rev-parse", "HEAD~1")
    refs = GitRefs(allow_protocols="file", timeout_s=60)
    found = await refs.commits(short.as_uri(), sha, live)
    assert found is None or found == Commits(head=found.head)


async def test_what_is_fetched_is_limited_in_size(repo: Path) -> None:
    for number in range(20):
        text = Random(number).randbytes(4_000).hex()
        git(repo, "commit", "-q", "--allow-empty", "-m", text)
    sha, live = git(repo, "rev-parse", "HEAD"), git(repo, "rev-parse", "HEAD~19")
    small = GitRefs(allow_protocols="file", timeout_s=60, most_history_bytes=8 * 1024)
    found = await small.commits(repo.as_uri(), sha, live)
    assert found is not None
    assert (found.base, found.listed) == (None, ())


async def test_subjects_are_masked_and_cut_and_keep_foreign_text_as_it_is(repo: Path) -> None:
    git(repo, "commit", "-q", "--allow-empty", "-m", FOREIGN)
    git(repo, "commit", "-q", "--allow-empty", "-m", "password: hunter2-secret-pw " + "x" * 900)
    sha, live = git(repo, "rev-parse", "HEAD"), git(repo, "rev-parse", "HEAD~2")
    redactor = Redactor().with_known(["hunter2-secret-pw"])
    refs = GitRefs(allow_protocols="file", timeout_s=60, redactor=redactor)
    newest, foreign = subjects(await refs.commits(repo.as_uri(), sha, live))
    assert foreign == FOREIGN
    assert "hunter2" not in newest
    assert MASK in newest
    assert len(newest) == 200


@pytest.mark.parametrize("address", ["ext::sh -c true", "--upload-pack=touch", "", "ssh://x/y"])
async def test_what_git_must_not_fetch_shows_nothing(address: str) -> None:
    refs = GitRefs(allow_protocols="file", timeout_s=60)
    assert await refs.commits(address, "a" * 40, "b" * 40) is None


@pytest.mark.parametrize("sha", ["main", "", "-x", "A" * 40, "a" * 39])
async def test_only_full_commits_are_asked_for(refs: GitRefs, repo: Path, sha: str) -> None:
    assert await refs.commits(repo.as_uri(), sha, None) is None


async def test_unreachable_repository_shows_nothing(refs: GitRefs, forge: Forge) -> None:
    url, sha = forge.url("web"), forge.sha("web")
    forge.unreachable_for_test("web")
    assert await refs.commits(url, sha, None) is None


async def test_without_a_folder_to_write_to_nothing_is_shown(
    refs: GitRefs, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_args: object, **_options: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("bot.git.tempfile.TemporaryDirectory", nowhere)
    assert await refs.commits(repo.as_uri(), git(repo, "rev-parse", "HEAD"), None) is None


async def test_a_silent_server_ends_within_the_limit_and_leaves_no_process() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        done.release()

    done = asyncio.Semaphore(0)
    listener = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/x.git"
        begin = time.monotonic()
        refs = GitRefs(timeout_s=1)
        assert await refs.commits(url, "a" * 40, "b" * 40) is None
        assert time.monotonic() - begin < 20
        async with asyncio.timeout(20):
            await done.acquire()  # git's helper is gone too
