from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.dokku import commands
from bot.errors import Declined

SHA = "b5d9cb9694436598f983cd87ef0260d68cc9fc2f"


def test_the_vectors_are_dokkus() -> None:
    assert commands.version() == ("version",)
    assert commands.apps_list() == ("apps:list",)
    assert commands.apps_report("web", as_json=True) == ("apps:report", "web", "--format", "json")
    assert commands.ps_report("web", as_json=False) == ("ps:report", "web")
    assert commands.ps_inspect("web") == ("ps:inspect", "web")
    assert commands.git_sha("web") == ("git:report", "web", "--git-sha")
    assert commands.git_deploy_branch("web") == ("git:report", "web", "--git-deploy-branch")
    assert commands.builds_list("web") == ("builds:list", "web", "--format", "json")
    assert commands.builds_output("web", "mwu9") == ("builds:output", "web", "mwu9")
    assert commands.builds_output("web", "pid-4711") == ("builds:output", "web", "pid-4711")
    assert commands.builds_cancel("web") == ("builds:cancel", "web")
    assert commands.git_sync("web", "https://git.example/a/web.git", SHA) == (
        *("git:sync", "--build", "web", "https://git.example/a/web.git", SHA),
    )


@pytest.mark.parametrize("app", ["web", "my-app.v2", "0app", "a" * 255])
def test_apps_that_dokku_could_have(app: str) -> None:
    assert commands.checked_app(app) == app


@pytest.mark.parametrize(
    "app", ["", "-x", ".x", "Web", "my_app", "a b", "a/b", "a:b", "a;b", "é", "a\n", "a" * 256]
)
def test_apps_that_dokku_cannot_have(app: str) -> None:
    with pytest.raises(Declined, match="cannot be the name of a Dokku app"):
        commands.checked_app(app)


@pytest.mark.parametrize("ref", ["main", "v1.2.3", "feature/x_y-1", SHA, "deadbee", "release#2"])
def test_refs_that_git_allows(ref: str) -> None:
    assert commands.checked_ref(ref) == ref


@pytest.mark.parametrize(
    "ref",
    [
        *("", "-x", "--build", "a b", "a..b", "a//b", "/a", "a/", "a.", ".a", "a/.b", "a.lock"),
        *("a.lock/b", "@", "a@{1}", "a~1", "a^", "a:b", "a?b", "a*", "a[b", "a\\b", "a'b", 'a"b'),
        *("a\n", "a\x7fb", "a$(x)", "a`x`", "é", "a" * 256),
    ],
)
def test_refs_that_are_refused(ref: str) -> None:
    with pytest.raises(Declined, match="is not a branch, tag or commit"):
        commands.checked_ref(ref)


@pytest.mark.parametrize(
    "repo",
    [
        "https://git.example/acme/web.git",
        "https://user:p%40ss@git.example:8443/acme/web.git",
        "ssh://git@git.example/~acme/web",
        "git://git.example/web.git",
        "git@git.example:acme/web.git",
        "http://127.0.0.1:8000/web.git",
    ],
)
def test_repositories_that_dokku_can_be_given(repo: str) -> None:
    assert commands.checked_repo(repo) == repo


@pytest.mark.parametrize(
    "repo",
    [
        *("", "web", "/srv/web.git", "file:///srv/web.git", "--upload-pack=x", "-oProxy@x:y"),
        *("https://git.example/a b", "https://-x/y", "ssh://git@-oProxyCommand=x/y", "ext::sh"),
        *("https://git.example/$(x)", "https://git.example/'x'", 'https://git.example/"', "a@b"),
        *("https://git.example/x\n", "git@-x:y", "https://", "https://git.example"),
        "https://git.example/" + "a" * 1_100,
    ],
)
def test_repositories_that_are_refused(repo: str) -> None:
    with pytest.raises(Declined, match="repository's address"):
        commands.checked_repo(repo)


def test_build_ids_are_checked() -> None:
    with pytest.raises(Declined, match="not the id of a Dokku build"):
        commands.builds_output("web", "../x")


@pytest.mark.parametrize(
    "check", [commands.checked_app, commands.checked_ref, commands.checked_repo]
)
@given(text=st.text(st.characters(codec="ascii"), max_size=30))
def test_what_passes_stays_one_harmless_word(check: Callable[[str], str], text: str) -> None:
    try:
        passed = check(text)
    except Declined:
        return
    assert passed.split() == [passed]
    assert not passed.startswith("-")
    assert not set(passed) & set("'\"\\`$;|&<>(){}\n")
