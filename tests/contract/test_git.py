import asyncio
import base64
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.deployments.refs import CannotTell, Found, NotThere, Several
from bot.git import GitRefs
from bot.git_folders import remove_left_folders
from bot.redaction_rules import MASK


def git(folder: Path, *words: str, at: str | None = None) -> str:
    dates = {f"GIT_{who}_DATE": at for who in ("AUTHOR", "COMMITTER")} if at else {}
    quiet = {
        **dates,
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "ada@example.com" for who in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(
        ["git", *words], cwd=folder, env=quiet, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A bare repository: main, feature/x, a branch and a tag called both, tags light and v1."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    for word in ("one", "two", "three"):
        git(work, "commit", "-q", "--allow-empty", "-m", word)
    git(work, "branch", "feature/x", "HEAD~1")
    git(work, "branch", "both", "HEAD~2")
    git(work, "tag", "both", "HEAD")
    git(work, "tag", "light", "HEAD~1")
    git(work, "tag", "-a", "-m", "first", "v1", "HEAD~2")
    git(tmp_path, "clone", "-q", "--bare", "work", "web.git")
    git(tmp_path / "web.git", "update-server-info")
    return tmp_path / "web.git"


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process groups that were killed."""
    groups: list[int] = []
    kill = os.killpg

    def noted(pid: int, number: int) -> None:
        groups.append(pid)
        kill(pid, number)

    monkeypatch.setattr(os, "killpg", noted)
    return groups


async def test_reaped_process_group_is_not_killed(
    refs: GitRefs, repo: Path, killed: list[int]
) -> None:
    assert isinstance(await refs.resolve(str(repo), "main"), Found)
    assert killed == []


@pytest.fixture
def refs() -> GitRefs:
    return GitRefs(allow_protocols="file:http", timeout_s=20, dates_s=20)


@pytest.mark.parametrize(
    ("ref", "commit"),
    [
        *(("main", "main"), ("feature/x", "feature/x"), ("light", "light"), ("HEAD", "main")),
        *(("both", "refs/heads/both"), ("tags/both", "refs/tags/both"), ("heads/main", "main")),
        *(("refs/heads/main", "main"), ("v1", "v1^{commit}"), ("refs/tags/v1", "v1^{commit}")),
    ],
)
async def test_branches_and_tags_are_commits(
    refs: GitRefs, repo: Path, ref: str, commit: str
) -> None:
    branch = "main" if ref == "HEAD" else None
    assert await refs.resolve(repo.as_uri(), ref) == Found(git(repo, "rev-parse", commit), branch)


@pytest.fixture
def dated(tmp_path: Path, repo: Path) -> Path:
    """The repository with a branch per day, which may be fetched without its files."""
    work = tmp_path / "work"
    for day in (3, 1, 2):
        git(work, "checkout", "-q", "-b", f"day-{day}", "main")
        date = f"2031-01-0{day}T00:00:00Z"
        git(work, "commit", "-q", "--allow-empty", "-m", "x", at=date)
        git(work, "push", "-q", str(repo), f"day-{day}")
    git(repo, "config", "uploadpack.allowFilter", "true")
    return repo


async def test_names_are_the_newest_first(refs: GitRefs, dated: Path) -> None:
    names = [name for name, _ in await refs.names(dated.as_uri())]
    assert names[:3] == ["day-3", "day-2", "day-1"]
    assert set(names[3:]) == {"main", "both", "feature/x", "light", "v1"}


async def test_names_without_dates_begin_with_the_default_branch(repo: Path) -> None:
    refs = GitRefs(allow_protocols="file:http", timeout_s=20, dates_s=0)
    git(repo, "tag", "v9", "main")
    git(repo, "tag", "v10", "main")
    names = await refs.names(repo.as_uri())
    assert names[:3] == [("main", "branch"), ("both", "branch"), ("feature/x", "branch")]
    assert [name for name, kind in names if kind == "tag"] == ["v10", "v9", "v1", "light"]
    assert await refs.names(f"{repo.as_uri()}-gone") == ()
    assert await refs.names("-x") == ()


@pytest.mark.parametrize("ref", ["nope", "feature", "x", "ain", "refs/heads/nope", "deadbeefx"])
async def test_unlisted_ref_is_not_there(refs: GitRefs, repo: Path, ref: str) -> None:
    assert await refs.resolve(repo.as_uri(), ref) == NotThere()


async def test_full_commit_needs_no_listing(refs: GitRefs) -> None:
    assert await refs.resolve("https://nowhere.invalid/x", "AB" * 20) == Found("ab" * 20)


async def test_a_short_commit_is_found_where_one_branch_or_tag_names_it(
    refs: GitRefs, repo: Path
) -> None:
    full = git(repo, "rev-parse", "main")
    for short in (full[:7], full[:9].upper(), full[:39]):
        assert await refs.resolve(repo.as_uri(), short) == Found(full)
    # The commit of an annotated tag, not the tag's own object.
    first = git(repo, "rev-parse", "v1^{commit}")
    git(repo, "update-ref", "-d", "refs/heads/both")
    assert await refs.resolve(repo.as_uri(), first[:8]) == Found(first)
    tag = git(repo, "rev-parse", "v1")
    assert isinstance(await refs.resolve(repo.as_uri(), tag[:8]), CannotTell)


async def test_short_commit_without_a_ref_is_unknown(refs: GitRefs, repo: Path) -> None:
    full = git(repo, "rev-parse", "main")
    for short in (full[:6], full[:4], "0" * 7):
        answer = await refs.resolve(repo.as_uri(), short)
        assert isinstance(answer, CannotTell)
        assert "shortened commit" in answer.why


async def test_branch_named_like_a_commit_comes_first(refs: GitRefs, repo: Path) -> None:
    full, other = git(repo, "rev-parse", "main"), git(repo, "rev-parse", "main~1")
    git(repo, "update-ref", f"refs/heads/{full[:7]}", other)
    assert await refs.resolve(repo.as_uri(), full[:7]) == Found(other)


async def test_commits_with_the_same_first_digits_are_all_named(refs: GitRefs, repo: Path) -> None:
    alike = ["abcdef0" + "1" * 33, "abcdef0" + "2" * 33]
    (repo / "info" / "refs").write_text(
        "".join(f"{sha}\trefs/heads/{number}\n" for number, sha in enumerate(alike))
    )
    async with hosting(repo) as address:
        assert await refs.resolve(address, "abcdef0") == Several(tuple(alike))
        assert await refs.resolve(address, "abcdef01") == Found(alike[0])
        cut = GitRefs(allow_protocols="file:http", timeout_s=20, most_bytes=100)
        assert isinstance(await cut.resolve(address, "abcdef01"), CannotTell)


async def test_empty_repository_is_unknown(refs: GitRefs, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "empty.git")
    answer = await refs.resolve((tmp_path / "empty.git").as_uri(), "main")
    assert isinstance(answer, CannotTell)
    assert "lists nothing" in answer.why


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("{folder}/nope.git", "fatal: "),
        ("ext::sh -c true", "does not accept"),
        ("ext::true", "fatal: transport 'ext' not allowed"),
        ("ssh://git@127.0.0.1:1/x", "fatal: transport 'ssh' not allowed"),
        ("--upload-pack=touch", "does not accept"),
        ("", "does not accept"),
    ],
)
async def test_unlistable_repository_says_why(
    refs: GitRefs, tmp_path: Path, address: str, why: str
) -> None:
    answer = await refs.resolve(address.format(folder=tmp_path.as_uri()), "main")
    assert isinstance(answer, CannotTell)
    assert answer.why.startswith(why) or why in answer.why


async def test_unreachable_ssh_host_fails_without_a_prompt() -> None:
    answer = await GitRefs(timeout_s=20).resolve("ssh://git@127.0.0.1:1/x", "main")
    assert isinstance(answer, CannotTell)
    assert "refused" in answer.why


@asynccontextmanager
async def hosting(
    repo: Path, login: str | None = None, *, asked: list[str] | None = None
) -> AsyncIterator[str]:
    """The repository over HTTP, behind a login if one is given. Yields its address.

    `asked`: gets the path of each request.
    """

    async def serve(request: web.Request) -> web.StreamResponse:
        if asked is not None:
            asked.append(request.match_info["path"])
        expected = f"Basic {base64.b64encode((login or '').encode()).decode()}"
        if login and request.headers.get("Authorization") != expected:
            challenge = {"WWW-Authenticate": 'Basic realm="git"'}
            return web.Response(status=401, headers=challenge)
        path = repo / request.match_info["path"]
        if not path.is_file():
            return web.Response(status=404)
        return web.Response(body=path.read_bytes())

    app = web.Application()
    app.router.add_get("/web.git/{path:.*}", serve)
    dispatcher = web.AppRunner(app)
    await dispatcher.setup()
    await web.TCPSite(dispatcher, "127.0.0.1", 0).start()
    try:
        host, port = dispatcher.addresses[0][:2]
        yield f"http://{host}:{port}/web.git"
    finally:
        await dispatcher.cleanup()


async def test_a_private_repository_is_listed_with_stored_credentials(repo: Path) -> None:
    async with hosting(repo, "ada:s3cr3t-token") as address:
        host = address.split("/")[2]
        credentials = f"http://other:wrong@example.com\nhttp://ada:s3cr3t-token@{host}\n"
        refs = GitRefs(credentials, timeout_s=20)
        assert await refs.resolve(address, "main") == Found(git(repo, "rev-parse", "main"))


@pytest.mark.parametrize("credentials", [None, "http://ada:wrong-token@{host}\n"])
async def test_private_repository_without_the_right_login_is_unknown(
    repo: Path, credentials: str | None
) -> None:
    async with hosting(repo, "ada:s3cr3t-token") as address:
        given = credentials.format(host=address.split("/")[2]) if credentials else None
        answer = await GitRefs(given, timeout_s=20).resolve(address, "main")
    assert isinstance(answer, CannotTell)
    assert "fatal: " in answer.why
    assert "wrong-token" not in answer.why


async def test_errors_hide_the_login_in_an_address(repo: Path) -> None:
    async with hosting(repo, "ada:s3cr3t-token") as address:
        answer = await GitRefs(timeout_s=20).resolve(
            address.replace("http://", "http://ada:hunter2-pw@") + "/missing", "main"
        )
    assert isinstance(answer, CannotTell)
    assert "hunter2-pw" not in answer.why
    assert MASK in answer.why or "@" not in answer.why


@pytest.fixture
def argued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All arguments of the programs that were started: everybody on the host can read them."""
    seen: list[str] = []
    start = asyncio.create_subprocess_exec

    async def noted(*argv: str, **more: Any) -> asyncio.subprocess.Process:
        seen.extend(argv)
        return await start(*argv, **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    return seen


async def test_login_of_an_address_is_used_and_is_no_argument(
    repo: Path, argued: list[str]
) -> None:
    head = git(repo, "rev-parse", "main")
    async with hosting(repo, "a@da:s3cr3t token/%") as address:
        own = address.replace("http://", "http://a%40da:s3cr3t%20token%2f%25@")
        # The address's own login comes before those of the settings.
        host = address.split("/")[2]
        refs = GitRefs(f"http://ada:wrong@{host}\n", timeout_s=20, dates_s=20)
        assert await refs.resolve(own, "main") == Found(head)
        assert await refs.names(own)
        await refs.commits(own, head, git(repo, "rev-parse", "main~1"))
    assert "ls-remote" in argued
    assert "fetch" in argued
    assert not [one for one in argued if "s3cr3t" in one or "wrong" in one]


async def test_plain_web_server_is_not_asked_again_for_what_a_fetch_left_out(repo: Path) -> None:
    asked: list[str] = []
    async with hosting(repo, asked=asked) as address:
        head, base = git(repo, "rev-parse", "main"), git(repo, "rev-parse", "main~1")
        refs = GitRefs(allow_protocols="http", timeout_s=60)
        found = await refs.commits(address, head, base)
    assert found is not None
    assert (found.head.sha, found.base, found.ahead) == (head, base, 1)
    # It serves no parts of a history; git itself would ask for the rest hundreds of times.
    assert asked.count("info/refs") == 1


async def test_user_of_an_address_chooses_among_the_stored_logins(
    repo: Path, argued: list[str]
) -> None:
    async with hosting(repo, "ada:s3cr3t-token") as address:
        host = address.split("/")[2]
        lines = f"http://eve:other@{host}\nhttp://ada:s3cr3t-token@{host}\n"
        own = address.replace("http://", "http://ada@")
        answer = await GitRefs(lines, timeout_s=20).resolve(own, "main")
    assert answer == Found(git(repo, "rev-parse", "main"))
    assert not [one for one in argued if "ada@" in one]  # a token may be in its place


def test_folders_of_a_killed_bot_are_removed_once_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = ("deploybot-git-old", "deploybot-git-new", "deploybot-git-foreign", "other", "target")
    old, new, foreign, other, target = (tmp_path / name for name in names)
    for folder in (old, new, foreign, other, target):
        (folder / "objects").mkdir(parents=True)
    (tmp_path / "deploybot-git-file").write_text("")
    (tmp_path / "deploybot-git-link").symlink_to(target)
    if os.geteuid() == 0:
        os.chown(foreign, 12_345, 12_345)
    else:
        foreign.rename(tmp_path / "foreign")
    hour_ago = time.time() - 3_600
    for path in tmp_path.iterdir():
        if path != new:
            os.utime(path, (hour_ago, hour_ago), follow_symlinks=False)
    before = {path.name for path in tmp_path.iterdir()}
    remove_left_folders()
    assert before - {path.name for path in tmp_path.iterdir()} == {old.name}
    assert (target / "objects").is_dir()


async def test_silent_git_server_is_limited_in_time() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        done.set()

    done = asyncio.Event()
    listener = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        begin = time.monotonic()
        answer = await GitRefs(timeout_s=1).resolve(f"http://127.0.0.1:{port}/x.git", "main")
        assert answer == CannotTell("the repository could not be listed within 1 s")
        assert time.monotonic() - begin < 10
        async with asyncio.timeout(10):
            await done.wait()  # git's helper is gone too


async def test_git_reads_no_settings_of_the_bot(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text('[url "file:///nowhere/"]\n\tinsteadOf = file:///\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "url.file:///nowhere/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "file:///")
    refs = GitRefs(allow_protocols="file", timeout_s=20)
    assert isinstance(await refs.resolve(repo.as_uri(), "main"), Found)
