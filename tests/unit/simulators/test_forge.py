"""The simulated git hosting serves real repositories."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.simulators.dokku.refs import RefMissing, RepoUnreachable
from bot.simulators.forge import FEATURE_BRANCH, TAG, Forge, open_forge

pytestmark = pytest.mark.git


@pytest.fixture
async def forge() -> AsyncIterator[Forge]:
    async with open_forge(repos=("myapp", "blog")) as opened:
        yield opened


async def list_remote(url: str) -> tuple[int, dict[str, str]]:
    process = await asyncio.create_subprocess_exec(
        "git", "ls-remote", url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        out, _ = await process.communicate()
    rows = [line.split("\t") for line in out.decode().splitlines()]
    return process.returncode or 0, {ref: sha for sha, ref in rows}


async def test_git_lists_branches_and_tags(forge: Forge) -> None:
    status, refs = await list_remote(forge.url("myapp"))
    assert status == 0
    assert refs["HEAD"] == refs["refs/heads/main"] == forge.sha("myapp", "main")
    assert refs[f"refs/heads/{FEATURE_BRANCH}"] == forge.sha("myapp", FEATURE_BRANCH)
    assert refs[f"refs/tags/{TAG}^{{}}"] == forge.sha("myapp", TAG)
    assert refs[f"refs/tags/{TAG}"] != forge.sha("myapp", TAG)


async def test_commit_moves_the_branch(forge: Forge) -> None:
    before = forge.sha("myapp")
    after = forge.commit("myapp", "Fix the colour")
    assert after != before
    assert (await list_remote(forge.url("myapp")))[1]["refs/heads/main"] == after
    assert forge.commit("myapp", "More of it", branch=FEATURE_BRANCH) == forge.sha(
        "myapp", FEATURE_BRANCH
    )
    assert forge.sha("myapp") == after


async def test_commits_are_reproducible(forge: Forge) -> None:
    async with open_forge(
        repos={"myapp": ("Start the app", "Answer health checks", "Say hello")}
    ) as other:
        assert other.sha("myapp") == forge.sha("myapp")
        assert other.sha("myapp") != forge.sha("blog")


async def test_forge_resolves_refs_for_dokku(forge: Forge) -> None:
    url, sha = forge.url("myapp"), forge.sha("myapp")
    for ref in ("main", "", sha, sha[:7]):
        assert forge.resolve(url, ref) == sha
    assert forge.resolve(url, TAG) == forge.sha("myapp", TAG)
    with pytest.raises(RefMissing):
        forge.resolve(url, "no-such-branch")
    with pytest.raises(RefMissing):
        forge.resolve(url, "0" * 40)
    with pytest.raises(RepoUnreachable):
        forge.resolve(forge.url("nope"), "main")


async def test_unreachable_repository_fails_for_git_and_dokku(forge: Forge) -> None:
    forge.unreachable_for_test("myapp")
    assert (await list_remote(forge.url("myapp")))[0] == 128
    with pytest.raises(RepoUnreachable):
        forge.resolve(forge.url("myapp"), "main")
    assert (await list_remote(forge.url("blog")))[0] == 0
    forge.reachable_for_test("myapp")
    assert (await list_remote(forge.url("myapp")))[0] == 0


async def test_unknown_repository_is_not_found(forge: Forge) -> None:
    assert (await list_remote(forge.url("nope")))[0] == 128
    assert (await list_remote(forge.url("myapp").replace("myapp.git", "myapp.git/../../x.git")))[
        0
    ] == 128


async def test_git_fetches_any_commit_without_its_files(forge: Forge, tmp_path: Path) -> None:
    first = forge.sha("myapp", TAG)  # no branch names it
    await git(tmp_path, "init", "--quiet", "--bare", ".")
    await git(tmp_path, "fetch", "--quiet", "--filter=tree:0", forge.url("myapp"), first)
    assert await git(tmp_path, "log", "--format=%s by %an", first) == "Start the app by Ada Example"
    listed = await git(tmp_path, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)")
    assert listed == "commit"


async def git(folder: Path, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "git", *words, cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()
